//! The processes of a unit as /proc shows them (proc(5)): only what some limit asks for.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nodemedic_edge::files::read_capped;
use nodemedic_protocol::Boottime;
use nodemedic_protocol::work::Limits;

use crate::manager::process::PROC;
use crate::sampler::pid_stat::stat_of;

/// Processes and threads that are looked at. A unit with more is not looked at at all: half a look
/// would say that the other half is well.
const TASKS_MAX: usize = 10_000;

/// Files of /proc with one line for each of a few dozen numbers.
const FILE_MAX_BYTES: usize = 16 << 10;

/// What is looked at beside the stat line.
#[derive(Clone, Copy, Debug)]
pub struct Wants {
    fds: bool,
    fd_limit: bool,
    threads: bool,
}

impl Wants {
    /// What these limits need.
    pub const fn of(limits: &Limits) -> Wants {
        Wants {
            fds: limits.fds.is_some() || limits.fds_percent.is_some(),
            fd_limit: limits.fds_percent.is_some(),
            threads: limits.d_state.is_some(),
        }
    }
}

/// One look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// When.
    pub at: Boottime,
    /// Each process that lives.
    pub processes: Vec<Process>,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started: with the number, its identity.
    pub start_ticks: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// User and kernel time, in milliseconds.
    pub cpu_ms: u64,
    /// Open files, if asked for.
    pub fds: Option<Result<u64, String>>,
    /// How many it may open, if asked for; absent in an `Ok` when there is no limit.
    pub fd_limit: Option<Result<Option<u64>, String>>,
    /// Its threads that wait where no signal reaches them, if asked for.
    pub stuck: Vec<Thread>,
}

/// A thread in state D.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its number.
    pub tid: u32,
    /// How often it was switched out, ever: unchanged, it is the same wait.
    pub switches: u64,
}

/// Looks at all of them.
///
/// # Errors
/// When they are too many, or one that lives cannot be read.
pub fn all(members: &[u32], wants: Wants, at: Boottime) -> Result<Found, String> {
    let mut budget = TASKS_MAX;
    let mut processes = Vec::new();
    for pid in members {
        spend(&mut budget)?;
        let stat = stat_of(Path::new(PROC), *pid).map_err(|error| error.to_string())?;
        let Some(stat) = stat.filter(|stat| !stat.is_over()) else {
            continue;
        };
        let directory = Path::new(PROC).join(pid.to_string());
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let mut process = Process {
            pid: *pid,
            start_ticks: stat.start_ticks,
            rss_bytes: stat.rss_pages.saturating_mul(page),
            cpu_ms: stat.cpu_ticks.saturating_mul(1000) / ticks_per_second(),
            ..Process::default()
        };
        if wants.fds {
            process.fds = Some(open_files(&directory));
        }
        if wants.fd_limit {
            process.fd_limit = Some(fd_limit(&directory));
        }
        if wants.threads {
            process.stuck = stuck(&directory.join("task"), &mut budget)?;
        }
        // What became of it meanwhile is no news of this look.
        let after = stat_of(Path::new(PROC), *pid);
        if matches!(after, Ok(Some(after)) if after.start_ticks == stat.start_ticks) {
            processes.push(process);
        }
    }
    if processes.is_empty() {
        return Err("no process of it is left".to_owned());
    }
    Ok(Found { at, processes })
}

fn spend(budget: &mut usize) -> Result<(), String> {
    let left = budget.checked_sub(1);
    *budget = left.ok_or_else(|| format!("it has more than {TASKS_MAX} processes and threads"))?;
    Ok(())
}

fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second().max(1)
}

/// Since Linux 6.2 the length of the directory is their number, for everybody; before, they are
/// counted, for who may look into it.
fn open_files(directory: &Path) -> Result<u64, String> {
    let path = directory.join("fd");
    let fail = |error: std::io::Error| {
        let remedy = if error.kind() == ErrorKind::PermissionDenied {
            "; only root, or its own user, may count its open files before Linux 6.2"
        } else {
            ""
        };
        format!("cannot read {}: {error}{remedy}", path.display())
    };
    let length = std::fs::metadata(&path).map_err(fail)?.len();
    if length > 0 {
        return Ok(length);
    }
    let count = std::fs::read_dir(&path).map_err(fail)?.count();
    Ok(u64::try_from(count).unwrap_or(u64::MAX))
}

fn fd_limit(directory: &Path) -> Result<Option<u64>, String> {
    let path = directory.join("limits");
    let text = text_of(&path)?;
    parse_fd_limit(&text).ok_or_else(|| format!("{} names no limit of open files", path.display()))
}

/// The soft limit of open files in a `/proc/PID/limits`; absent inside when there is none.
pub fn parse_fd_limit(text: &str) -> Option<Option<u64>> {
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let bytes = read_capped(path, FILE_MAX_BYTES).map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or_else(|| format!("{} is gone", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The threads in state D. One that ends meanwhile is not stuck.
fn stuck(tasks: &Path, budget: &mut usize) -> Result<Vec<Thread>, String> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(tasks) else {
        return Ok(found);
    };
    for entry in entries.flatten() {
        spend(budget)?;
        let name = entry.file_name();
        let Some(tid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(Some(stat)) = stat_of(tasks, tid) else {
            continue;
        };
        if stat.state != b'D' {
            continue;
        }
        let status: PathBuf = tasks.join(tid.to_string()).join("status");
        if let Some(switches) = text_of(&status).ok().and_then(|text| parse_switches(&text)) {
            found.push(Thread { tid, switches });
        }
    }
    Ok(found)
}

/// Voluntary and other switches together, of a `/proc/PID/status`.
pub fn parse_switches(text: &str) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    number("voluntary_ctxt_switches:")?.checked_add(number("nonvoluntary_ctxt_switches:")?)
}
