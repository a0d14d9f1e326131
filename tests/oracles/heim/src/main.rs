//! What heim sees of this host, as one JSON object on stdout: CPU times, disks, network interfaces
//! and processes. An independent oracle for tests/system/tests/oracle_heim.rs; it is never shipped.
//!
//! Memory of the host is left out: heim reads 2.3 % beside the kernel's own numbers.

use std::collections::BTreeMap;
use std::process::ExitCode;

use futures::StreamExt;
use futures::pin_mut;
use heim::cpu::os::linux::CpuTimeExt;
use heim::units::{Time, information, time};
use serde_json::{Value, json};

fn main() -> ExitCode {
    match futures::executor::block_on(everything()) {
        Ok(value) => {
            println!("{value}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("reading this host with heim: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn everything() -> Result<Value, heim::Error> {
    Ok(json!({
        "cpu": cpu().await?,
        "disks": disks().await?,
        "nics": nics().await?,
        "processes": processes().await,
    }))
}

/// All processor time that was neither idle nor waiting for storage, since boot.
async fn cpu() -> Result<Value, heim::Error> {
    let t = heim::cpu::time().await?;
    let busy = [
        t.user(),
        t.nice(),
        t.system(),
        t.irq(),
        t.soft_irq(),
        t.steal(),
    ];
    Ok(json!({
        "logical": heim::cpu::logical_count().await?,
        "busy_ms": busy.into_iter().map(ms).sum::<u64>(),
    }))
}

fn ms(t: Time) -> u64 {
    (t.get::<time::second>() * 1000.0).round() as u64
}

async fn disks() -> Result<BTreeMap<String, Value>, heim::Error> {
    let mut found = BTreeMap::new();
    let counters = heim::disk::io_counters().await?;
    pin_mut!(counters);
    while let Some(one) = counters.next().await {
        let one = one?;
        found.insert(
            one.device_name().to_string_lossy().into_owned(),
            json!({
                "read_bytes": one.read_bytes().get::<information::byte>(),
                "written_bytes": one.write_bytes().get::<information::byte>(),
            }),
        );
    }
    Ok(found)
}

async fn nics() -> Result<BTreeMap<String, Value>, heim::Error> {
    let mut found = BTreeMap::new();
    let counters = heim::net::io_counters().await?;
    pin_mut!(counters);
    while let Some(one) = counters.next().await {
        let one = one?;
        found.insert(
            one.interface().to_owned(),
            json!({
                "rx_bytes": one.bytes_recv().get::<information::byte>(),
                "tx_bytes": one.bytes_sent().get::<information::byte>(),
            }),
        );
    }
    Ok(found)
}

/// By process id. A process that ends while it is read is left out.
async fn processes() -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let Ok(all) = heim::process::processes().await else {
        return found;
    };
    pin_mut!(all);
    while let Some(one) = all.next().await {
        let Ok(one) = one else { continue };
        let (Ok(name), Ok(memory)) = (one.name().await, one.memory().await) else {
            continue;
        };
        let rss_bytes = memory.rss().get::<information::byte>();
        found.insert(
            one.pid().to_string(),
            json!({ "name": name, "rss_bytes": rss_bytes }),
        );
    }
    found
}
