//! `cargo xtask bench watchdog`: the longest gap between two feeds of the shipped watchdog while
//! stress-ng takes the processors, the memory and the disk away, against its timeout; and how small
//! the watchdog is.
//!
//! Four watchdogs run in the same seconds: with the timeout that is the default and with a short
//! one, each with real-time scheduling and with that refused.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::load::{LOADS, Load};
use super::measure::{pause, read};
use super::save_text;
use crate::{build, process, setup};

/// Each load runs at least so long: with the default timeout a feed is due each few seconds.
const SECONDS_MIN: u64 = 10;
/// A loader of C and one watchdog are ready in milliseconds; the rest is a loaded machine.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at whether it is ready.
const READY_STEP: Duration = Duration::from_millis(20);
/// One small file.
const COMPILE_LIMIT: Duration = Duration::from_secs(60);
/// stress-ng ends by itself; on a machine without memory its clean-up takes a while.
const STRESS_SPARE: Duration = Duration::from_secs(120);
/// Of a watchdog's notes, see `feed_gap.c`.
const NOTES_BYTES: usize = 32;

/// One way to run the watchdog.
struct Way {
    timeout_ms: u64,
    real_time: bool,
}

const WAYS: &[Way] = &[
    Way {
        timeout_ms: 10_000,
        real_time: true,
    },
    Way {
        timeout_ms: 10_000,
        real_time: false,
    },
    Way {
        timeout_ms: 2000,
        real_time: true,
    },
    Way {
        timeout_ms: 2000,
        real_time: false,
    },
];

struct Running {
    way: &'static Way,
    notes: PathBuf,
    child: Child,
}

/// What one watchdog did under one load.
struct Row {
    load: &'static Load,
    way: &'static Way,
    feeds: u64,
    longest_us: u64,
    rss_kib: u64,
}

impl Row {
    /// The goal of issue and documents: under a third.
    fn kept(&self) -> bool {
        self.longest_us.saturating_mul(3) < self.way.timeout_ms.saturating_mul(1000)
    }
}

/// Runs every load for so many seconds, prints a table, and fails when a gap with real-time rights
/// was a third of its timeout or more.
pub fn run(seconds: u64) -> Result<()> {
    let seconds = seconds.max(SECONDS_MIN);
    setup::ensure(&[setup::BUILD, setup::STRESS])?;
    let program = build::shipped("nodemedic-watchdog")?;
    // In memory: the notes must not wait for the disk that is under load.
    let scratch = Path::new("/dev/shm").join(format!("nodemedic-bench-{}", std::process::id()));
    super::make(&scratch)?;
    let disk = build::target().join("bench/stress");
    super::make(&disk)?;
    let shim = compile(&scratch)?;
    let mut rows = Vec::new();
    for load in LOADS {
        println!("load {}: {}, {seconds} s", load.name, load.does);
        let mut running = Vec::new();
        let measured = start_all(&program, &shim, &scratch, &mut running)
            .and_then(|()| measure(load, seconds, &disk, &mut running));
        // All are stopped before the first error is told.
        let stopped: Vec<Result<()>> = running
            .into_iter()
            .map(|one| process::stop(one.child, "nodemedic-watchdog"))
            .collect();
        rows.extend(measured?);
        stopped.into_iter().collect::<Result<()>>()?;
    }
    print(&rows, seconds);
    let size = size(&scratch)?;
    println!("\n{}", size.0);
    save(&rows, seconds, &size.1)?;
    for place in [&scratch, &disk] {
        fs::remove_dir_all(place).with_context(|| format!("removing {}", place.display()))?;
    }
    match rows.iter().find(|row| row.way.real_time && !row.kept()) {
        None => Ok(()),
        Some(row) => bail!(
            "under load {} the watchdog with a timeout of {} ms was {} us without feeding: a third \
             or more",
            row.load.name,
            row.way.timeout_ms,
            row.longest_us
        ),
    }
}

fn compile(scratch: &Path) -> Result<PathBuf> {
    let source = build::root().join("xtask/src/bench/feed_gap.c");
    let shim = scratch.join("feed_gap.so");
    let mut command = Command::new("cc");
    command.args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]);
    command.arg(&shim).arg(source).arg("-ldl");
    build::succeed(&mut command, COMPILE_LIMIT)?;
    Ok(shim)
}

fn start_all(
    program: &Path,
    shim: &Path,
    scratch: &Path,
    running: &mut Vec<Running>,
) -> Result<()> {
    for (number, way) in WAYS.iter().enumerate() {
        let place = scratch.join(number.to_string());
        super::make(&place)?;
        let notes = place.join("notes");
        let file =
            fs::File::create(&notes).with_context(|| format!("creating {}", notes.display()))?;
        file.write_all_at(&[0; NOTES_BYTES], 0)
            .with_context(|| format!("writing {}", notes.display()))?;
        let log = fs::File::create(place.join("log")).context("creating a watchdog's log")?;
        let mut command = match way.real_time {
            true => Command::new(program),
            false => {
                let mut command = Command::new("setpriv");
                command.args(["--bounding-set=-sys_nice", "--inh-caps=-sys_nice", "--"]);
                command.arg(program);
                command
            }
        };
        // The device is what `feed_gap.c` says it is; the file only has to be there.
        command
            .args(["--device", "/dev/null", "--timeout"])
            .arg(format!("{}ms", way.timeout_ms))
            .arg("--socket")
            .arg(place.join("socket"))
            .arg("--state")
            .arg(&place)
            .env("LD_PRELOAD", shim)
            .env("FEED_GAP", &notes)
            .stdin(Stdio::null())
            .stderr(log);
        let child = process::start(&mut command)?;
        running.push(Running { way, notes, child });
    }
    for one in running {
        let until = crate::steps::now() + READY_LIMIT;
        while notes(&one.notes)?.0 == 0 {
            if crate::steps::now() > until {
                let log = one.notes.with_file_name("log");
                let said = fs::read_to_string(&log).unwrap_or_default();
                bail!("the watchdog does not feed within {READY_LIMIT:?}; it says: {said}");
            }
            pause(READY_STEP);
        }
    }
    Ok(())
}

/// Feeds so far and the longest gap in microseconds. A gap that is still open counts too.
fn notes(path: &Path) -> Result<(u64, u64)> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let number = |at: usize| -> Result<u64> {
        let eight = bytes.get(at..at + 8).context("the notes are too short")?;
        Ok(u64::from_le_bytes(eight.try_into()?))
    };
    let (feeds, last, longest) = (number(0)?, number(8)?, number(16)?);
    let now = u64::try_from(crate::steps::now().as_nanos())?;
    let open = if feeds > 0 {
        now.saturating_sub(last)
    } else {
        0
    };
    Ok((feeds, longest.max(open) / 1000))
}

fn measure(
    load: &'static Load,
    seconds: u64,
    disk: &Path,
    running: &mut [Running],
) -> Result<Vec<Row>> {
    let span = Duration::from_secs(seconds);
    let words = load.words()?;
    if words.is_empty() {
        pause(span);
    } else {
        let mut stress = Command::new("stress-ng");
        stress
            .args(words)
            .args(["--quiet", "--timeout", &format!("{seconds}s")])
            .arg("--temp-path")
            .arg(disk);
        build::succeed(&mut stress, span + STRESS_SPARE)?;
    }
    running
        .iter()
        .map(|one| {
            let (feeds, longest_us) = notes(&one.notes)?;
            Ok(Row {
                load,
                way: one.way,
                feeds,
                longest_us,
                rss_kib: read(one.child.id())?.rss_kib,
            })
        })
        .collect()
}

fn print(rows: &[Row], seconds: u64) {
    println!("\nlongest gap between two feeds, {seconds} s per load\n");
    println!(
        "{:<8} {:>11} {:<10} {:>6} {:>12} {:>13} {:>8} {:>8}",
        "load",
        "timeout ms",
        "real time",
        "feeds",
        "longest ms",
        "of timeout %",
        "third",
        "RSS KiB"
    );
    for row in rows {
        let limit_us = row.way.timeout_ms.saturating_mul(1000);
        println!(
            "{:<8} {:>11} {:<10} {:>6} {:>12} {:>13} {:>8} {:>8}",
            row.load.name,
            row.way.timeout_ms,
            if row.way.real_time { "yes" } else { "refused" },
            row.feeds,
            row.longest_us / 1000,
            row.longest_us.saturating_mul(100) / limit_us.max(1),
            if row.kept() { "kept" } else { "NOT KEPT" },
            row.rss_kib,
        );
    }
}

/// How small it is: in words and as JSON.
fn size(scratch: &Path) -> Result<(String, serde_json::Value)> {
    let (mut all, mut code) = (0_usize, 0_usize);
    let folder = build::root().join("watchdog/src");
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        all += text.lines().count();
        code += text.lines().filter(|line| is_code(line)).count();
    }
    let listing = scratch.join("tree");
    let file = fs::File::create(&listing).context("creating a file for cargo's tree")?;
    let words = [
        "tree",
        "--package",
        "nodemedic-watchdog",
        "--edges",
        "normal",
    ];
    build::succeed(build::cargo(&words).stdout(file), COMPILE_LIMIT)?;
    let tree = fs::read_to_string(&listing).context("reading cargo's tree")?;
    let lines = tree.lines().count();
    let said = format!(
        "watchdog/src: {code} lines of code, {all} with comments and blanks; its cargo tree has \
         {lines} lines:\n{tree}"
    );
    let json = json!({ "code_lines": code, "lines": all, "cargo_tree_lines": lines });
    Ok((said, json))
}

/// Neither blank nor a comment alone.
fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}

fn save(rows: &[Row], seconds: u64, size: &serde_json::Value) -> Result<()> {
    let rows: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| {
            json!({
                "load": row.load.name,
                "timeout_ms": row.way.timeout_ms,
                "real_time": row.way.real_time,
                "feeds": row.feeds,
                "longest_gap_us": row.longest_us,
                "rss_kib": row.rss_kib,
            })
        })
        .collect();
    let wall = crate::steps::wall_s();
    let report = json!({ "at_unix_s": wall, "seconds": seconds, "rows": rows, "size": size });
    let path = build::target().join(format!("bench/watchdog-{wall}.json"));
    save_text(&path, &report.to_string())?;
    println!("written to {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blanks_are_no_code() {
        assert!(is_code("    let x = 1; // one"));
        assert!(!is_code("    /// One."));
        assert!(!is_code("   "));
    }

    #[test]
    fn a_third_of_the_timeout_is_too_long() {
        let row = |longest_us| Row {
            load: &LOADS[0],
            way: &WAYS[2],
            feeds: 2,
            longest_us,
            rss_kib: 0,
        };
        assert!(row(666_666).kept());
        assert!(!row(666_667).kept());
    }
}
