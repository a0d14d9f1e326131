//! The record of a sample service: one line of fixed size for each instance, which the instance
//! rewrites in place while it runs, so the file grows with starts and not with time.
//!
//! Beside the record lies a lock that each instance holds for its whole life and the kernel lets go
//! at its death. An instance that finds it held says `met`: this shows two at once without any gap
//! between two ticks.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nodemedic_edge::files;
use nodemedic_protocol::{BootId, Boottime};
use serde::{Deserialize, Serialize};

/// Bytes of one line, its end included. Names are at most 63 bytes, so nothing is ever cut; and it
/// divides the page size, so no line straddles two pages.
const LINE_BYTES: usize = 512;

/// Most lines of one record: 10 MiB. A service that was started so often has another problem.
const LINES_MAX: u64 = 20_480;

/// One run of one sample service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Which work, as the agent told it.
    pub work: Option<String>,
    /// On which node.
    pub node: Option<String>,
    /// Under which grant.
    pub generation: Option<u64>,
    /// Its process ...
    pub pid: u32,
    /// ... and when the kernel started that, so that a reused number is not mistaken.
    pub start_ticks: u64,
    /// In which boot the times below count.
    pub boot_id: BootId,
    /// When it began, before it took its port.
    pub started: Boottime,
    /// When it last said that it lives.
    pub last: Boottime,
    /// It said that it ends; without this it was killed, or lives.
    pub ended: bool,
    /// It saw another instance of the same record alive.
    pub met: bool,
}

/// The writer's side.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    at: u64,
    lock: File,
    holds: bool,
    instance: Instance,
}

impl Recorder {
    /// Adds the instance to the record.
    pub fn open(path: &Path, instance: Instance) -> Result<Recorder, String> {
        let failed =
            |error: io::Error| format!("cannot write the record {}: {error}", path.display());
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(lock_path(path))
            .map_err(failed)?;
        let mut append = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(failed)?;
        let lines = append.metadata().map_err(failed)?.len() / LINE_BYTES as u64;
        if lines >= LINES_MAX {
            return Err(format!(
                "the record {} is full ({LINES_MAX} starts): move it away",
                path.display()
            ));
        }
        // Through an appending handle Linux would append positioned writes too (pwrite(2), BUGS).
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        let mut recorder = Recorder {
            file,
            at: 0,
            lock,
            holds: false,
            instance,
        };
        recorder.look_for_others();
        append
            .write_all(&line(&recorder.instance)?)
            .map_err(failed)?;
        let end = append.stream_position().map_err(failed)?;
        recorder.at = end.saturating_sub(LINE_BYTES as u64);
        Ok(recorder)
    }

    /// Says that the instance lives.
    pub fn tick(&mut self, now: Boottime) -> Result<(), String> {
        self.look_for_others();
        self.instance.last = now;
        self.write()
    }

    /// Says that the instance ends.
    pub fn stop(&mut self, now: Boottime) -> Result<(), String> {
        self.instance.last = now;
        self.instance.ended = true;
        self.write()
    }

    fn look_for_others(&mut self) {
        if self.holds {
            return;
        }
        match self.lock.try_lock() {
            Ok(()) => self.holds = true,
            Err(TryLockError::WouldBlock) => self.instance.met = true,
            // A filesystem without locks proves nothing either way; the ticks still do.
            Err(TryLockError::Error(_)) => {}
        }
    }

    fn write(&mut self) -> Result<(), String> {
        let bytes = line(&self.instance)?;
        self.file
            .write_all_at(&bytes, self.at)
            .map_err(|e| format!("cannot write the record: {e}"))
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".holder");
    PathBuf::from(name)
}

fn line(instance: &Instance) -> Result<Vec<u8>, String> {
    let mut bytes = serde_json::to_vec(instance).map_err(|error| error.to_string())?;
    if bytes.len() >= LINE_BYTES {
        return Err(format!(
            "a line of the record has {LINE_BYTES} bytes, this one needs more"
        ));
    }
    bytes.resize(LINE_BYTES - 1, b' ');
    bytes.push(b'\n');
    Ok(bytes)
}

/// All instances of a record, in the order of their starts; none where there is no record.
pub fn read(path: &Path) -> Result<Vec<Instance>, String> {
    let max = LINE_BYTES * usize::try_from(LINES_MAX).unwrap_or(usize::MAX / LINE_BYTES);
    let bytes = files::read_capped(path, max).map_err(|error| error.to_string())?;
    bytes
        .unwrap_or_default()
        .chunks(LINE_BYTES)
        .enumerate()
        .map(|(i, chunk)| {
            serde_json::from_slice(chunk).map_err(|error| {
                format!(
                    "line {} of the record {} cannot be read: {error}",
                    i + 1,
                    path.display()
                )
            })
        })
        .collect()
}

/// When the kernel started a process, in clock ticks since boot; `None` when there is no such
/// process or it has ended. Field 22 of proc_pid_stat(5), and field 3 for the state.
pub fn start_ticks(pid: u32) -> Option<u64> {
    const STAT_MAX_BYTES: usize = 4096;
    let path = PathBuf::from(format!("/proc/{pid}/stat"));
    let bytes = files::read_capped(&path, STAT_MAX_BYTES).ok()??;
    let text = String::from_utf8_lossy(&bytes);
    // The name in parentheses may hold anything, also parentheses and spaces.
    let rest = &text[text.rfind(')')? + 1..];
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A made-up instance.
    pub fn instance(node: &str, generation: u64, started: u64, last: u64) -> Instance {
        Instance {
            work: Some("ledger".into()),
            node: Some(node.into()),
            generation: Some(generation),
            pid: u32::try_from(started).unwrap(),
            start_ticks: started,
            boot_id: BootId::new("boot").unwrap(),
            started: Boottime(started),
            last: Boottime(last),
            ended: true,
            met: false,
        }
    }

    #[test]
    fn a_record_holds_each_start_once_and_does_not_grow_with_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let mut first = Recorder::open(&path, instance("node-1", 1, 100, 100)).unwrap();
        for t in 101..300 {
            first.tick(Boottime(t)).unwrap();
        }
        first.stop(Boottime(300)).unwrap();
        drop(first);
        let mut second = Recorder::open(&path, instance("node-2", 2, 400, 400)).unwrap();
        second.tick(Boottime(420)).unwrap();
        let seen = read(&path).unwrap();
        assert_eq!(seen.len(), 2);
        assert_eq!(
            (seen[0].started, seen[0].last, seen[0].ended),
            (Boottime(100), Boottime(300), true)
        );
        assert_eq!((seen[1].last, seen[1].met), (Boottime(420), false));
        assert_eq!(
            std::fs::metadata(&path).unwrap().len(),
            2 * LINE_BYTES as u64
        );
    }

    #[test]
    fn an_instance_that_finds_another_alive_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let first = Recorder::open(&path, instance("node-1", 1, 100, 100)).unwrap();
        let mut second = Recorder::open(&path, instance("node-2", 2, 200, 200)).unwrap();
        drop(first);
        second.tick(Boottime(220)).unwrap();
        let seen = read(&path).unwrap();
        assert!(!seen[0].met && seen[1].met, "{seen:?}");
    }

    #[test]
    fn start_ticks_tell_a_live_process_from_none() {
        let own = start_ticks(std::process::id()).unwrap();
        assert!(own > 0);
        assert_eq!(start_ticks(u32::MAX), None);
    }

    #[test]
    fn a_record_that_is_not_one_is_an_error_that_names_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        assert_eq!(read(&path), Ok(Vec::new()));
        files::write_atomic(&path, b"nonsense", 0o600).unwrap();
        assert!(read(&path).unwrap_err().contains("line 1"));
    }
}
