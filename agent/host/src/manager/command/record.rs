//! What was started, kept in a file so that the next agent finds it.
//!
//! A record is written before the program starts and completed after. The new process itself writes
//! its number in between, so an agent that is killed at any point leaves nothing unknown behind.
//! Records of another boot mean nothing: no process survives one. So they lie on a tmpfs, in a
//! directory of their boot. They need not survive a crash of the host: writing one waits for no
//! disk, and a restart is that much quicker. And nobody who sets the state's disk back takes them.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nodemedic_agent_core::UnitKey;
use nodemedic_edge::files;
use nodemedic_protocol::{BootId, Boottime, Generation};
use serde::{Deserialize, Serialize};

use super::{Members, Places};

/// A record is a few hundred bytes.
const RECORD_MAX_BYTES: usize = 16 << 10;

/// Mode of a record: it holds no secret, and only the agent may change it.
const RECORD_MODE: u32 = 0o644;

/// A process whose start time was not written down started at most so long after its record was:
/// between the two the agent only forks. Later ones merely have its number.
const START_WITHIN_TICKS: u64 = 60 * 100;

/// One start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// On which boot.
    pub boot_id: BootId,
    /// Under which grant.
    pub generation: Option<Generation>,
    /// Names this start; every process of it has it in its environment.
    pub mark: String,
    /// When the start began, in ticks since boot.
    pub prepared_ticks: u64,
    /// Main process and number of its session; absent while it is not known.
    pub pid: Option<u32>,
    /// When the main process started, in ticks since boot.
    pub start_ticks: Option<u64>,
    /// True until its gate was opened: then nothing of the unit has run.
    #[serde(default)]
    pub gated: bool,
}

impl Record {
    /// The newest start on this boot.
    pub fn load(unit: &UnitKey, places: &Places) -> Result<Option<Record>, String> {
        let path = path(unit, places, "json");
        let bytes = files::read_capped(&path, RECORD_MAX_BYTES).map_err(|e| e.to_string())?;
        let Some(bytes) = bytes else { return Ok(None) };
        let mut record: Record = serde_json::from_slice(&bytes).map_err(|error| {
            format!(
                "cannot read {}: {error}; see which of its processes run, end them, then remove it",
                path.display()
            )
        })?;
        if record.boot_id != places.boot_id {
            return Ok(None);
        }
        if record.pid.is_none() {
            record.pid = written_by_child(unit, places)?;
        }
        Ok(Some(record))
    }

    /// Writes it so that the end of the agent at any moment leaves the old one or the new one.
    pub fn save(&self, unit: &UnitKey, places: &Places) -> Result<(), String> {
        let bytes = serde_json::to_vec(self).map_err(|e| e.to_string())?;
        let path = path(unit, places, "json");
        let temporary = path.with_extension("json.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        options
            .mode(RECORD_MODE)
            .open(&temporary)
            .and_then(|mut file| file.write_all(&bytes))
            .and_then(|()| std::fs::rename(&temporary, &path))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    /// Removes it: nothing of this start runs any more.
    pub fn remove(unit: &UnitKey, places: &Places) -> Result<(), String> {
        // The record goes last: as long as it is there, the other file belongs to it.
        for kind in ["pid", "json"] {
            let path = path(unit, places, kind);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(format!("cannot remove {}: {error}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// When the start began. A tick is rounded up: what is said to be older than something is.
    pub fn prepared_at(&self) -> Option<Boottime> {
        let per_second = rustix::param::clock_ticks_per_second();
        let ms = self.prepared_ticks.checked_add(1)?.checked_mul(1000)?;
        Some(Boottime(ms.div_ceil(per_second.max(1))))
    }

    /// Whether a process that started then can be the main process.
    pub fn may_be(&self, start_ticks: u64) -> bool {
        match self.start_ticks {
            Some(recorded) => recorded == start_ticks,
            None => {
                let latest = self.prepared_ticks.saturating_add(START_WITHIN_TICKS);
                (self.prepared_ticks..=latest).contains(&start_ticks)
            }
        }
    }

    /// Everything that belongs to this start.
    pub fn members(&self) -> Members {
        Members {
            session: self.pid,
            leader_start_ticks: self.start_ticks,
            mark: self.mark.clone(),
            since_ticks: self.prepared_ticks,
        }
    }
}

/// The file that the new process writes its number into.
pub fn pid_path(unit: &UnitKey, places: &Places) -> PathBuf {
    path(unit, places, "pid")
}

fn written_by_child(unit: &UnitKey, places: &Places) -> Result<Option<u32>, String> {
    let bytes = files::read_capped(&pid_path(unit, places), RECORD_MAX_BYTES);
    let bytes = bytes.map_err(|e| e.to_string())?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).trim().parse().ok())
}

fn path(unit: &UnitKey, places: &Places, kind: &str) -> PathBuf {
    places.records.join(format!("{}.{kind}", file_stem(unit)))
}

/// A file name for a unit: names are checked when they are made, so none can leave its directory.
pub fn file_stem(unit: &UnitKey) -> String {
    match unit {
        UnitKey::Service(name) => format!("service.{name}"),
        UnitKey::Work(name) => format!("work.{name}"),
    }
}
