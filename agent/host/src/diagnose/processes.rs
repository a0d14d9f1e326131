//! The processes of the unit: state, threads, memory, and where in the kernel each waits.

use std::fmt::Write as _;
use std::path::Path;

use super::{Found, Look};
use crate::manager::process::PROC;
use crate::sampler::pid_stat::stat_of;

/// Processes that are listed; a unit with more tells nothing more by them.
pub const LISTED_MAX: usize = 200;

/// One name or place of the kernel.
const WORD_MAX_BYTES: usize = 4096;

/// Every process of the unit.
pub fn members(look: &Look) -> Result<Vec<u32>, String> {
    let target = look.subject.target.as_ref();
    target.map_or(Ok(Vec::new()), |target| target.members(&look.cgroup_root))
}

/// A small file of a process or task; nothing when it is gone or may not be read.
pub fn word(task: &Path, file: &str) -> Option<String> {
    let bytes = nodemedic_edge::files::read_capped(&task.join(file), WORD_MAX_BYTES).ok()??;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Reads them.
pub fn read(look: &Look) -> Result<Found, String> {
    let pids = members(look)?;
    if pids.is_empty() {
        return Ok(Found::from("no process of it is left\n".to_owned()));
    }
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let mut text = format!(
        "{:>8} {:5} {:>7} {:>12} {:>11}  {:16} WAITS IN\n",
        "PID", "STATE", "THREADS", "RSS", "CPU TICKS", "NAME"
    );
    for pid in pids.iter().take(LISTED_MAX) {
        let Ok(Some(stat)) = stat_of(Path::new(PROC), *pid) else {
            continue;
        };
        let task = Path::new(PROC).join(pid.to_string());
        let name = word(&task, "comm").unwrap_or_default();
        let wchan = word(&task, "wchan").filter(|place| place != "0");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{pid:>8} {:5} {:>7} {:>8} KiB {:>11}  {name:16} {}",
            char::from(stat.state),
            stat.threads,
            stat.rss_pages.saturating_mul(page) / 1024,
            stat.cpu_ticks,
            wchan.unwrap_or_else(|| "-".to_owned()),
        );
    }
    let missing =
        (pids.len() > LISTED_MAX).then(|| format!("only {LISTED_MAX} of {} processes", pids.len()));
    Ok(Found { text, missing })
}
