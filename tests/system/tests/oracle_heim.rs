//! A second opinion on what the agent samples: heim, written by other people, reads the same host
//! before and after, and the agent's own sample must lie between.
//!
//! Most of it is counters that only rise, so there is nothing to tune: the agent's value is at
//! least what heim read before and at most what heim read after. Memory of the host is left out,
//! because heim reads it 2.3 % beside the kernel's own numbers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is a test: a panic is its error message"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nodemedic_protocol::local::{LocalRequest, LocalResponse};
use nodemedic_protocol::sample::Sample;
use nodemedic_system_tests::process::Process;
use nodemedic_system_tests::wait::wait_for;
use nodemedic_system_tests::{binaries, binary};
use serde::Deserialize;

/// heim reads some hundred processes in a tenth of a second; a loaded machine is slower.
const HEIM_BOUND: Duration = Duration::from_secs(30);
/// The agent samples each second, the whole process table more seldom.
const SAMPLE_BOUND: Duration = Duration::from_secs(60);

/// The kernel counts busy time in six kinds of hundredths of a second, and each side rounds each
/// kind once.
const CPU_ROUNDING_MS: u64 = 6 * 10;

/// More than anything else on a test machine holds for long, so that it is among the largest.
const BLOCK_BYTES: usize = 400 << 20;
/// Between the two looks the allocator and the test's own buffers may take or give so much.
const RSS_SLACK_BYTES: u64 = 8 << 20;

/// Processes that were born and gone between heim's two looks, seen by the agent alone: a share of
/// all, for a machine that compiles starts dozens per second.
const SHORT_LIVED_PERCENT: usize = 25;

#[derive(Deserialize)]
struct Heim {
    cpu: HeimCpu,
    disks: BTreeMap<String, HeimDisk>,
    nics: BTreeMap<String, HeimNic>,
    processes: BTreeMap<u32, HeimProcess>,
}

#[derive(Deserialize)]
struct HeimCpu {
    logical: u32,
    busy_ms: u64,
}

#[derive(Deserialize)]
struct HeimDisk {
    read_bytes: u64,
    written_bytes: u64,
}

#[derive(Deserialize)]
struct HeimNic {
    rx_bytes: u64,
    tx_bytes: u64,
}

#[derive(Deserialize)]
struct HeimProcess {
    name: String,
    rss_bytes: u64,
}

#[test]
fn the_agents_sample_lies_between_two_readings_of_heim() {
    let block = vec![1_u8; BLOCK_BYTES];
    let directory = tempfile::tempdir().unwrap();
    let before = heim(directory.path(), "before");
    let sample = agent_sample(directory.path());
    let after = heim(directory.path(), "after");
    assert_eq!(
        block.iter().map(|b| usize::from(*b)).sum::<usize>(),
        BLOCK_BYTES
    );

    compare_cpu(&before, &sample, &after);
    compare_disks(&before, &sample, &after);
    compare_nics(&before, &sample, &after);
    compare_process_count(&before, &sample, &after);
    compare_own_process(&before, &sample, &after);
}

fn heim(directory: &Path, when: &str) -> Heim {
    let program = binaries().join("../oracle-heim/debug/nodemedic-oracle-heim");
    assert!(
        program.exists(),
        "{} is not built: run `cargo xtask test`, which builds it first",
        program.display()
    );
    let log = directory.join(format!("heim-{when}.json"));
    let mut process = Process::start("heim", Command::new(program), &log);
    assert_eq!(process.exit_code(HEIM_BOUND), Some(0), "{}", log.display());
    let text = fs::read_to_string(&log).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in what heim said: {text}"))
}

/// Runs an agent that works alone until it has seen this process, and gives that sample.
fn agent_sample(directory: &Path) -> Sample {
    let config = directory.join("agent.toml");
    let text = format!(
        "node = \"oracle\"\n[paths]\nstate = {:?}\nrun = {:?}\n\
         [sampling]\ninterval = \"1s\"\ntop = 10\n",
        directory.join("state"),
        directory.join("run"),
    );
    fs::File::create(&config)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .unwrap();
    let mut command = Command::new(binary("nodemedic-agent"));
    command.arg("--config").arg(&config);
    let log = directory.join("agent.log");
    let agent = Process::start("agent", command, &log);
    let socket = directory.join("run/agent.sock");
    let (sample, _) = wait_for("a sample with this process", SAMPLE_BOUND, || {
        let sample = ask(&socket)?;
        let own = std::process::id();
        match sample.top_memory.iter().any(|p| p.pid == own) {
            true => Ok(sample),
            false => Err(format!("{:?}", sample.top_memory)),
        }
    });
    assert_eq!(agent.terminate(HEIM_BOUND), Some(0), "{}", log.display());
    sample
}

fn ask(socket: &Path) -> Result<Sample, String> {
    let mut stream = UnixStream::connect(socket).map_err(|e| e.to_string())?;
    stream
        .set_read_timeout(Some(HEIM_BOUND))
        .map_err(|e| e.to_string())?;
    let request = serde_json::to_string(&LocalRequest::Status).map_err(|e| e.to_string())?;
    stream
        .write_all(format!("{request}\n").as_bytes())
        .map_err(|e| e.to_string())?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .map_err(|e| e.to_string())?;
    match serde_json::from_str(&line).map_err(|e| format!("{e} in {line}"))? {
        LocalResponse::Status(status) => status.sample.ok_or_else(|| "no sample yet".to_owned()),
        other => Err(format!("{other:?}")),
    }
}

fn between(what: &str, before: u64, value: u64, after: u64) {
    assert!(
        (before..=after).contains(&value),
        "{what}: the agent says {value}, heim said {before} before and {after} after"
    );
}

fn compare_cpu(before: &Heim, sample: &Sample, after: &Heim) {
    let cpu = sample.cpu.as_ref().unwrap();
    assert_eq!(cpu.online, after.cpu.logical);
    between(
        "busy processor time in ms",
        before.cpu.busy_ms.saturating_sub(CPU_ROUNDING_MS),
        cpu.busy_ms,
        after.cpu.busy_ms + CPU_ROUNDING_MS,
    );
}

/// heim lists partitions, loops and removable media too, which the agent leaves out. What has a
/// driver behind it in /sys/block and is none of these must be seen by both.
fn compare_disks(before: &Heim, sample: &Sample, after: &Heim) {
    for disk in &sample.disks {
        let (a, b) = (&before.disks[&disk.name], &after.disks[&disk.name]);
        let name = &disk.name;
        between(
            &format!("{name} read bytes"),
            a.read_bytes,
            disk.read_bytes,
            b.read_bytes,
        );
        between(
            &format!("{name} written bytes"),
            a.written_bytes,
            disk.written_bytes,
            b.written_bytes,
        );
    }
    for (name, used) in &before.disks {
        let has_driver = Path::new("/sys/block").join(name).join("device").exists();
        let removable = ["fd", "sr", "nbd"]
            .iter()
            .any(|kind| name.starts_with(kind));
        if has_driver && !removable && used.read_bytes > 0 {
            let seen = sample.disks.iter().any(|d| d.name == *name);
            assert!(seen, "heim sees the disk {name}, the agent does not");
        }
    }
}

fn compare_nics(before: &Heim, sample: &Sample, after: &Heim) {
    let theirs: BTreeSet<&str> = before
        .nics
        .keys()
        .filter(|name| *name != "lo" && after.nics.contains_key(*name))
        .map(String::as_str)
        .collect();
    let ours: BTreeSet<&str> = sample.nics.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(ours, theirs);
    for nic in &sample.nics {
        let (a, b) = (&before.nics[&nic.name], &after.nics[&nic.name]);
        between(
            &format!("{} received", nic.name),
            a.rx_bytes,
            nic.rx_bytes,
            b.rx_bytes,
        );
        between(
            &format!("{} sent", nic.name),
            a.tx_bytes,
            nic.tx_bytes,
            b.tx_bytes,
        );
    }
}

fn compare_process_count(before: &Heim, sample: &Sample, after: &Heim) {
    let first: BTreeSet<u32> = before.processes.keys().copied().collect();
    let second: BTreeSet<u32> = after.processes.keys().copied().collect();
    let lasting = first.intersection(&second).count();
    let seen = first.union(&second).count();
    let most = seen + seen * SHORT_LIVED_PERCENT / 100;
    let count = sample.process_count.unwrap();
    between("processes", lasting as u64, u64::from(count), most as u64);
}

fn compare_own_process(before: &Heim, sample: &Sample, after: &Heim) {
    let own = std::process::id();
    let ours = sample.top_memory.iter().find(|p| p.pid == own).unwrap();
    let (a, b) = (&before.processes[&own], &after.processes[&own]);
    // The kernel cuts names to 15 bytes, as the agent reports them; heim completes them from the
    // command line.
    assert!(
        b.name.starts_with(&ours.name),
        "{} or {}",
        ours.name,
        b.name
    );
    assert!(!ours.name.is_empty());
    let low = a.rss_bytes.min(b.rss_bytes);
    let high = a.rss_bytes.max(b.rss_bytes);
    between(
        "resident bytes of this process",
        low.saturating_sub(RSS_SLACK_BYTES),
        ours.rss_bytes,
        high + RSS_SLACK_BYTES,
    );
    assert!(low >= BLOCK_BYTES as u64, "heim does not see the block");
}
