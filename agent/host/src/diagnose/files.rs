//! Files, sockets and pipes that the processes of the unit hold open (proc_pid_fd(5)).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::processes::{LISTED_MAX, members};
use super::{Found, Look};
use crate::manager::process::PROC;

/// Descriptors that are named for one process; the rest is counted by kind.
const NAMED_MAX: usize = 100;

/// Reads them.
pub fn read(look: &Look) -> Result<Found, String> {
    let mut text = String::new();
    let mut refused = None;
    for pid in members(look)?.into_iter().take(LISTED_MAX) {
        match of_process(&Path::new(PROC).join(pid.to_string())) {
            Ok(Some(found)) => {
                // Writing to a String cannot fail.
                let _ = write!(text, "process {pid}: {found}");
            }
            Ok(None) => {}
            Err(error) => refused = Some(format!("process {pid}: {error}")),
        }
    }
    if text.is_empty() && refused.is_none() {
        text.push_str("no process of it is left\n");
    }
    Ok(Found {
        text,
        missing: refused,
    })
}

/// `None` when it is gone.
fn of_process(process: &Path) -> Result<Option<String>, std::io::Error> {
    let entries = match std::fs::read_dir(process.join("fd")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut named = BTreeMap::new();
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    let mut count = 0;
    for entry in entries.flatten() {
        let Ok(link) = std::fs::read_link(entry.path()) else {
            continue;
        };
        let link = link.to_string_lossy().into_owned();
        count += 1;
        // `socket:[4711]` is one of many sockets.
        let kind = link.split_once(":[").map_or("file", |(kind, _)| kind);
        *kinds.entry(kind.to_owned()).or_default() += 1;
        let number: u32 = entry.file_name().to_string_lossy().parse().unwrap_or(0);
        if named.len() < NAMED_MAX {
            named.insert(number, link);
        }
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    let mut text = format!("{count} open ({})\n", kinds.join(", "));
    for (number, link) in &named {
        let _ = writeln!(text, "  {number:>5} {link}");
    }
    if count > named.len() {
        let _ = writeln!(text, "  ... and {} more", count - named.len());
    }
    Ok(Some(text))
}
