//! Where in the kernel tasks hang: the stacks of every task of the host in state D (uninterruptible
//! sleep). Only root may read them (proc_pid_stack(5)); everybody may see where they wait.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::processes::word;
use super::{Found, Look};
use crate::manager::process::PROC;
use crate::sampler::pid_stat::{parse, pids};

/// Tasks that are told of; on a host where more hang, these say why.
const TASKS_MAX: usize = 32;

/// Tasks that are looked at: a host with more threads than this is looked at in part.
const LOOKED_AT_MAX: usize = 20_000;

/// Reads them.
pub fn read(_look: &Look) -> Result<Found, String> {
    let (hanging, whole) = hanging(Path::new(PROC))?;
    let mut text = String::new();
    let mut refused = None;
    for task in hanging.iter().take(TASKS_MAX) {
        let name = word(task, "comm").unwrap_or_default();
        let wchan = word(task, "wchan").unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {name}: waits in {wchan}", task.display());
        match std::fs::read_to_string(task.join("stack")) {
            Ok(stack) => {
                for line in stack.lines() {
                    let _ = writeln!(text, "    {line}");
                }
            }
            Err(error) => refused = Some(error),
        }
    }
    if hanging.is_empty() {
        text.push_str("no task hangs in the kernel\n");
    }
    let missing = match refused {
        Some(error) => Some(format!("stacks cannot be read: {error}; that needs root")),
        None if hanging.len() > TASKS_MAX => {
            Some(format!("only {TASKS_MAX} of {} tasks", hanging.len()))
        }
        None if !whole => Some(format!("only {LOOKED_AT_MAX} tasks were looked at")),
        None => None,
    };
    Ok(Found { text, missing })
}

/// Tasks in state D, and whether all tasks were looked at.
fn hanging(root: &Path) -> Result<(Vec<PathBuf>, bool), String> {
    let mut found = Vec::new();
    let mut looked_at = 0;
    for pid in pids(root).map_err(|error| error.to_string())? {
        let tasks = root.join(pid.to_string()).join("task");
        // It may be gone by now.
        let Ok(entries) = std::fs::read_dir(&tasks) else {
            continue;
        };
        for entry in entries.flatten() {
            looked_at += 1;
            if looked_at > LOOKED_AT_MAX {
                return Ok((found, false));
            }
            let task = entry.path();
            if std::fs::read(task.join("stat")).is_ok_and(|line| is_hanging(&line)) {
                found.push(task);
            }
        }
    }
    Ok((found, true))
}

fn is_hanging(line: &[u8]) -> bool {
    parse(line).is_ok_and(|(_, stat)| stat.state == b'D')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_hangs_is_found_beside_one_that_sleeps() {
        let root = tempfile::tempdir().unwrap();
        for (pid, task, state) in [(7, 7, 'S'), (7, 9, 'D'), (8, 8, 'R')] {
            let dir = root.path().join(format!("{pid}/task/{task}"));
            std::fs::create_dir_all(&dir).unwrap();
            let line =
                format!("{task} (a) b) {state} 1 7 7 0 -1 0 0 0 0 0 1 2 0 0 20 0 1 0 5 6 7 8");
            nodemedic_edge::files::write_atomic(&dir.join("stat"), line.as_bytes(), 0o600).unwrap();
        }
        let (found, whole) = hanging(root.path()).unwrap();
        assert_eq!(found, [root.path().join("7/task/9")]);
        assert!(whole);
    }
}
