//! Kills or stops every process of a unit, and lets the stopped ones go on.

use std::path::Path;

use rustix::process::Signal;

use super::Settings;
use super::record::{Record, Records, Undo};
use crate::diagnose::Subject;
use crate::manager::process::{PROC, Process};
use crate::sampler::pid_stat::stat_of;

/// Rounds until no process is found that is not stopped: one that runs may make others.
const ROUNDS_MAX: usize = 5;

fn members(settings: &Settings, subject: &Subject) -> Result<Vec<u32>, String> {
    let target = subject.target.as_ref();
    let found = target.map_or(Ok(Vec::new()), |t| t.members(&settings.cgroup_root))?;
    let own = [std::process::id(), 1];
    if found.iter().any(|pid| own.contains(pid)) {
        return Err(format!(
            "{} holds this agent itself, or process 1: not done",
            subject.key
        ));
    }
    if found.is_empty() {
        return Err(format!("no process of {} runs", subject.key));
    }
    Ok(found)
}

/// Kills every process; says which.
pub async fn kill(settings: &Settings, subject: &Subject) -> Result<String, String> {
    let pids = members(settings, subject)?;
    for pid in &pids {
        signal(*pid, None, Signal::KILL)?;
    }
    Ok(format!("killed {}", list(&pids)))
}

/// Stops every process that is not stopped already; each is on record before.
pub async fn stop(
    settings: &Settings,
    records: &Records,
    record: &mut Record,
    subject: &Subject,
) -> Result<(), String> {
    let mut held: Vec<(u32, u64)> = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let mut new = Vec::new();
        for pid in members(settings, subject)? {
            let stat = stat_of(Path::new(PROC), pid).map_err(|error| error.to_string())?;
            // One that a person stopped is not ours to let go on.
            let runs = stat.filter(|stat| !matches!(stat.state, b'T' | b't') && !stat.is_over());
            if let Some(stat) = runs
                && !held.contains(&(pid, stat.start_ticks))
            {
                new.push((pid, stat.start_ticks));
            }
        }
        if new.is_empty() {
            break;
        }
        held.extend(&new);
        record.undo = Undo::Continue {
            of: subject.key.component(),
            processes: held.clone(),
        };
        records.keep(record)?;
        for (pid, start_ticks) in new {
            signal(pid, Some(start_ticks), Signal::STOP)?;
        }
    }
    if held.is_empty() {
        return Err(format!(
            "every process of {} is stopped already",
            subject.key
        ));
    }
    let pids: Vec<u32> = held.iter().map(|(pid, _)| *pid).collect();
    record.detail = format!("stopped {}", list(&pids));
    Ok(())
}

/// Lets them go on, if they still are who they were.
pub fn go_on(processes: &[(u32, u64)]) -> Result<(), String> {
    let mut refused = None;
    for (pid, start_ticks) in processes {
        // All of them, even when one cannot.
        refused = signal(*pid, Some(*start_ticks), Signal::CONT)
            .err()
            .or(refused);
    }
    refused.map_or(Ok(()), Err)
}

fn signal(pid: u32, start_ticks: Option<u64>, signal: Signal) -> Result<(), String> {
    let failed = |error: std::io::Error| {
        format!(
            "cannot signal process {pid}: {error}; the agent needs CAP_KILL for processes of other \
             users"
        )
    };
    match Process::open(pid, start_ticks).map_err(failed)? {
        Some(process) => process.signal(signal).map_err(failed),
        None => Ok(()),
    }
}

fn list(pids: &[u32]) -> String {
    crate::manager::command::list(pids)
}
