//! What the host is busy with: its busiest and its largest processes, from two looks.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use nodemedic_edge::clock;
use nodemedic_protocol::sample::Process;
use tokio::time::sleep;

use super::{Found, Look};
use crate::manager::process::PROC;
use crate::sampler::processes::{Processes, Table, Units};

/// Between the two looks: long enough for the kernel's ticks of 10 ms, a small part of the bound.
const BETWEEN: Duration = Duration::from_millis(300);

/// Length of each list.
const LISTED: usize = 15;

/// Reads them.
pub async fn read(look: Look) -> Result<Found, String> {
    let mut processes = Processes::new(Path::new(PROC), Units::of_host());
    let (tell, told) = std::sync::mpsc::channel();
    let first = move |_: &Look| {
        let scanned = processes.scan(clock::boottime_us(), LISTED);
        scanned.map_err(|error| error.to_string())?;
        // The receiver is dropped when the bundle was dropped meanwhile.
        let _ = tell.send(processes);
        Ok(Found::default())
    };
    look.clone().blocking(first).await?;
    sleep(BETWEEN).await;
    let second = move |_: &Look| {
        let mut processes = told.try_recv().map_err(|error| error.to_string())?;
        let table = processes.scan(clock::boottime_us(), LISTED);
        Ok(Found::from(render(&table.map_err(|e| e.to_string())?)))
    };
    look.blocking(second).await
}

fn render(table: &Table) -> String {
    let mut text = format!("{} processes\n\nbusiest\n", table.count);
    rows(&mut text, &table.top_cpu);
    text.push_str("\nlargest\n");
    rows(&mut text, &table.top_memory);
    text
}

fn rows(text: &mut String, processes: &[Process]) {
    for process in processes {
        let cpu = process.cpu.map_or(0, |share| share.0);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:>8} {:5} {:>5}.{}% {:>10} KiB  {}",
            process.pid,
            process.state,
            cpu / 10,
            cpu % 10,
            process.rss_bytes / 1024,
            process.name
        );
    }
}
