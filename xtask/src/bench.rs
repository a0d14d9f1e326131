//! `cargo xtask bench`: what the agent costs beside node_exporter, collectd and monit, all of them
//! looking at the same host once per second in the same minute.
//!
//! Everything is on loopback with private configuration in a directory of its own, and only what
//! was started here is ended.

pub mod heal;
mod load;
mod measure;
mod rivals;
pub mod watchdog;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use self::measure::{Reading, pause, read};
use self::rivals::Rival;
use crate::{build, process, setup};

/// Start-up costs once and is no part of what a host pays per second.
const WARM_UP: Duration = Duration::from_secs(5);
/// Shorter runs measure the noise of the clock tick.
const SECONDS_MIN: u64 = 5;

struct Running {
    rival: Rival,
    child: Child,
}

struct Row {
    name: &'static str,
    cpu_us_per_s: u64,
    rss_kib: u64,
    anonymous_kib: u64,
    does: &'static str,
}

/// Measures for so many seconds, prints a table, and writes it under the target directory.
pub fn run(seconds: u64) -> Result<()> {
    let seconds = seconds.max(SECONDS_MIN);
    setup::ensure(&[setup::BUILD, setup::BENCH])?;
    let agent = build::shipped("nodemedic-agent")?;
    // Not under the target directory: the path of a socket may have 107 bytes at most.
    let scratch = std::env::temp_dir().join(format!("nodemedic-bench-{}", std::process::id()));
    make(&scratch)?;
    make(&build::target().join("bench"))?;

    let mut running = Vec::new();
    let measured =
        start_all(&agent, &scratch, &mut running).and_then(|()| measure_all(&mut running, seconds));
    // All are stopped before the first error is told.
    let stopped: Vec<Result<()>> = running
        .into_iter()
        .map(|one| process::stop(one.child, one.rival.name))
        .collect();
    let (rows, sample) = measured?;
    stopped.into_iter().collect::<Result<()>>()?;
    print(&rows, seconds, &sample);
    let path = save(&rows, seconds, &sample)?;
    println!("\nwritten to {}", path.display());
    // After a failure it stays, with the logs in it.
    fs::remove_dir_all(&scratch).with_context(|| format!("removing {}", scratch.display()))
}

fn make(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))
}

fn start_all(agent: &Path, scratch: &Path, running: &mut Vec<Running>) -> Result<()> {
    for rival in rivals::all(agent, scratch)? {
        let child = process::start(&mut rival.command(scratch)?)?;
        running.push(Running { rival, child });
    }
    for one in running {
        one.rival
            .wait_until_ready(&mut one.child)
            .with_context(|| {
                let log = scratch.join(format!("{}.log", one.rival.name));
                format!(
                    "waiting for {}, which says in {}",
                    one.rival.name,
                    log.display()
                )
            })?;
    }
    Ok(())
}

/// One poll per second for whoever must be asked, the same seconds for all.
fn measure_all(running: &mut [Running], seconds: u64) -> Result<(Vec<Row>, Value)> {
    println!("warming up for {} s, then {seconds} s", WARM_UP.as_secs());
    beat(running, WARM_UP.as_secs())?;
    let before = read_all(running)?;
    beat(running, seconds)?;
    let after = read_all(running)?;
    let rows = running
        .iter()
        .zip(before.iter().zip(&after))
        .map(|(one, (a, b))| Row {
            name: one.rival.name,
            cpu_us_per_s: b.cpu_us.saturating_sub(a.cpu_us) / seconds,
            rss_kib: b.rss_kib,
            anonymous_kib: b.anonymous_kib,
            does: one.rival.does,
        })
        .collect();
    let sample = match running.first() {
        Some(agent) => agent.rival.status()?,
        None => Value::Null,
    };
    Ok((rows, sample))
}

fn read_all(running: &[Running]) -> Result<Vec<Reading>> {
    running
        .iter()
        .map(|one| read(one.child.id()).with_context(|| format!("measuring {}", one.rival.name)))
        .collect()
}

fn beat(running: &mut [Running], seconds: u64) -> Result<()> {
    let end = crate::steps::now() + Duration::from_secs(seconds);
    for tick in (0..seconds).rev() {
        for one in running.iter() {
            one.rival.poll()?;
        }
        let next = end.saturating_sub(Duration::from_secs(tick));
        pause(next.saturating_sub(crate::steps::now()));
    }
    Ok(())
}

fn per_mille(part: u64, of: u64) -> u64 {
    part.saturating_mul(1000) / of.max(1)
}

fn times(value: u64, of: u64) -> String {
    let ratio = per_mille(value, of);
    format!("{}.{:02}x", ratio / 1000, ratio % 1000 / 10)
}

fn print(rows: &[Row], seconds: u64, status: &Value) {
    let Some(first) = rows.first() else { return };
    println!("\nonce per second, {seconds} s, the same seconds for all\n");
    println!(
        "{:<16} {:>11} {:>8} {:>9} {:>8} {:>9}  what it does",
        "program", "CPU us/s", "ratio", "RSS KiB", "ratio", "anon KiB"
    );
    for row in rows {
        println!(
            "{:<16} {:>11} {:>8} {:>9} {:>8} {:>9}  {}",
            row.name,
            row.cpu_us_per_s,
            times(row.cpu_us_per_s, first.cpu_us_per_s),
            row.rss_kib,
            times(row.rss_kib, first.rss_kib),
            row.anonymous_kib,
            row.does,
        );
    }
    println!("\nThe agent samples once per second, so its CPU us/s is the cost of one full sample");
    println!("with everything that the agent does about it.");
    let sample = &status["sample"];
    println!(
        "its last sample: {} us from first to last read; processes {}, disks {}, interfaces {}",
        sample["took_us"],
        sample["process_count"],
        sample["disks"].as_array().map_or(0, Vec::len),
        sample["nics"].as_array().map_or(0, Vec::len),
    );
}

fn save(rows: &[Row], seconds: u64, status: &Value) -> Result<PathBuf> {
    let first = rows.first();
    let of = |get: fn(&Row) -> u64| first.map_or(0, get);
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "program": row.name,
                "cpu_us_per_s": row.cpu_us_per_s,
                "cpu_ratio_per_mille": per_mille(row.cpu_us_per_s, of(|r| r.cpu_us_per_s)),
                "rss_kib": row.rss_kib,
                "rss_ratio_per_mille": per_mille(row.rss_kib, of(|r| r.rss_kib)),
                "anonymous_kib": row.anonymous_kib,
            })
        })
        .collect();
    let wall = crate::steps::wall_s();
    let report = json!({
        "at_unix_s": wall,
        "seconds": seconds,
        "interval_ms": 1000,
        "rows": rows,
        "agent": {
            "version": status["version"],
            "sample_took_us": status["sample"]["took_us"],
            "process_count": status["sample"]["process_count"],
        },
    });
    let path = build::target().join(format!("bench/{wall}.json"));
    let text = serde_json::to_string(&report).context("writing the report as JSON")?;
    save_text(&path, &text)?;
    save_text(&build::target().join("bench/latest.json"), &text)?;
    Ok(path)
}

/// A text as a file of its own.
fn save_text(path: &Path, text: &str) -> Result<()> {
    let mut file =
        fs::File::create(path).with_context(|| format!("creating {}", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("writing {}", path.display()))
}
