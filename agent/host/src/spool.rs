//! The event spool: events wait on disk until the coordinator has stored them.
//!
//! One append-only file of lines, each `CRC JSON`, each line one operation; reading them in order
//! gives the events back. When most of the file is history it is written anew. A kill or a power
//! cut can tear the last line only; it is cut off, and nothing that it said was ever sent, because
//! an operation is durable when it returns. What to drop when the spool is full is the core's
//! decision ([`Spool::replace`]).
//!
//! All calls may wait for the disk: make them away from the event loop.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nodemedic_agent_core::Spooled;
use nodemedic_edge::files;
use nodemedic_protocol::event::{Event, EventKind};
use nodemedic_protocol::{Seq, StreamId};
use serde::{Deserialize, Serialize};

use crate::boot;

/// The file. The core bounds the number of events; this bounds what a defect could do to a disk.
pub const SPOOL_MAX_BYTES: u64 = 64 << 20;

/// What trims may add to a full file: each is some sixty bytes, and one of the next makes the file
/// short again.
const TRIM_ROOM_BYTES: u64 = 256 << 10;

/// A file with less history than this is not worth writing anew.
const HISTORY_MIN_BYTES: u64 = 1 << 20;

/// One event; a message of evidence is a few hundred bytes.
const LINE_MAX_BYTES: usize = 256 << 10;

/// Events may name what is nobody's business.
const FILE_MODE: u32 = 0o640;

/// Why the spool could not do it.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk refused.
    #[error(
        "cannot {action} the event spool {}: {cause}; see that its disk has space and is writable",
        path.display()
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        cause: io::Error,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// Beyond [`SPOOL_MAX_BYTES`].
    #[error("the event spool is full: {bytes} bytes")]
    Full {
        /// How large it would be.
        bytes: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Begin { stream: StreamId, trimmed: Seq },
    Append(Event),
    Trim { through: Seq },
    Replace { first: Seq, last: Seq, with: Event },
}

/// The open spool.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// What a file written anew would hold.
    live_bytes: u64,
    /// Of each event that waits, in order: its number and the length of its line.
    waiting: Vec<(Seq, u64)>,
    /// The highest number that the file knows of.
    through: Seq,
    /// Half a line may stand behind `bytes`.
    torn: bool,
}

impl Spool {
    /// Opens the spool in a directory, or begins one. The text is for the log: what was wrong with
    /// the file that was found, and where it is now.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(directory: &Path) -> Result<(Spool, Spooled, Option<String>), SpoolError> {
        files::ensure_dir(directory, 0o750)?;
        let path = directory.join("events");
        let cap = usize::try_from(SPOOL_MAX_BYTES + TRIM_ROOM_BYTES).unwrap_or(usize::MAX);
        let (found, mut complaint) = match files::read_capped(&path, cap) {
            Ok(bytes) => (bytes.unwrap_or_default(), None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let replayed = replay(&found);
        let damaged = replayed.after_damage
            || (complaint.is_some() || !found.is_empty()) && replayed.spooled.is_none();
        if damaged {
            let aside = path.with_extension("damaged");
            std::fs::rename(&path, &aside).map_err(|cause| io_error("set aside", &path, cause))?;
            let why = complaint.unwrap_or_else(|| "it is damaged before its end".to_owned());
            complaint = Some(format!(
                "the event spool {} cannot be read: {why}; it is now {}, a new one begins with \
                 what could be read",
                path.display(),
                aside.display()
            ));
        }
        let spooled = match replayed.spooled {
            // What came after the damage may have been sent: its numbers must not come again.
            Some(spooled) if damaged => Spooled {
                stream: new_stream()?,
                ..spooled
            },
            Some(spooled) => spooled,
            None => Spooled {
                stream: new_stream()?,
                trimmed: Seq(0),
                events: Vec::new(),
            },
        };
        // Written anew: this cuts off a torn end, and history with it.
        let (file, bytes, waiting) = write_anew(&path, &spooled)?;
        let newest = waiting.last().map_or(Seq(0), |(seq, _)| *seq);
        let spool = Spool {
            path,
            file,
            bytes,
            live_bytes: bytes,
            through: spooled.trimmed.max(newest),
            waiting,
            torn: false,
        };
        Ok((spool, spooled, complaint))
    }

    /// Adds one event. One that is too long for any spool leaves its number here and no more.
    ///
    /// # Errors
    /// When the disk refuses or the spool is full.
    pub fn append(&mut self, event: &Event) -> Result<(), SpoolError> {
        let mut line = Line::Append(event.clone());
        if encode(&line, &self.path)?.len() > LINE_MAX_BYTES {
            let (first, last) = (event.seq, event.seq);
            line = Line::Append(Event {
                kind: EventKind::Dropped { first, last },
                ..event.clone()
            });
        }
        let length = self.write(&line, true)?;
        self.waiting.push((event.seq, length));
        self.through = self.through.max(event.seq);
        self.live_bytes += length;
        Ok(())
    }

    /// Puts one event in the place of those from `first` to `last`, both included.
    ///
    /// # Errors
    /// When the disk refuses or the spool is full.
    pub fn replace(&mut self, first: Seq, last: Seq, with: &Event) -> Result<(), SpoolError> {
        let line = Line::Replace {
            first,
            last,
            with: with.clone(),
        };
        let length = self.write(&line, true)?;
        self.forget(|seq| (first..=last).contains(&seq));
        let at = self.waiting.partition_point(|(seq, _)| *seq < with.seq);
        self.waiting.insert(at, (with.seq, length));
        self.through = self.through.max(with.seq);
        self.live_bytes += length;
        // It is durable; what could not be made shorter is tried again with the next line.
        let _later = self.shorten();
        Ok(())
    }

    /// Forgets all events up to this one. Need not survive a power cut: a second trim is harmless.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn trim(&mut self, through: Seq) -> Result<(), SpoolError> {
        self.write(&Line::Trim { through }, false)?;
        self.forget(|seq| seq <= through);
        self.shorten()
    }

    /// The highest number that is durable here: a number above it would be given again after a
    /// crash.
    #[must_use]
    pub const fn through(&self) -> Seq {
        self.through
    }

    /// Events that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True when none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Size of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn forget(&mut self, goes: impl Fn(Seq) -> bool) {
        let live_bytes = &mut self.live_bytes;
        self.waiting.retain(|(seq, length)| {
            let stays = !goes(*seq);
            if !stays {
                *live_bytes = live_bytes.saturating_sub(*length);
            }
            stays
        });
    }

    fn write(&mut self, line: &Line, durably: bool) -> Result<u64, SpoolError> {
        let bytes = encode(line, &self.path)?;
        let length = bytes.len() as u64;
        let after = self.bytes + length;
        // A trim makes room, so it must find some.
        let max = SPOOL_MAX_BYTES + if durably { 0 } else { TRIM_ROOM_BYTES };
        if after > max || bytes.len() > LINE_MAX_BYTES {
            return Err(SpoolError::Full { bytes: after });
        }
        if self.torn {
            let cut = self.file.set_len(self.bytes);
            cut.map_err(|cause| io_error("cut", &self.path, cause))?;
            self.torn = false;
        }
        let written = self.file.write_all(&bytes).and_then(|()| {
            if durably {
                self.file.sync_data()
            } else {
                Ok(())
            }
        });
        if let Err(cause) = written {
            // Half a line must not stand before the next one.
            self.torn = self.file.set_len(self.bytes).is_err();
            return Err(io_error("append to", &self.path, cause));
        }
        self.bytes = after;
        Ok(length)
    }

    /// Writes the file anew when most of it is history.
    fn shorten(&mut self) -> Result<(), SpoolError> {
        let history = self.bytes.saturating_sub(self.live_bytes);
        if history < HISTORY_MIN_BYTES || history < self.live_bytes {
            return Ok(());
        }
        let cap = usize::try_from(SPOOL_MAX_BYTES + TRIM_ROOM_BYTES).unwrap_or(usize::MAX);
        let found = files::read_capped(&self.path, cap)?.unwrap_or_default();
        let Some(spooled) = replay(&found).spooled else {
            let cause = io::Error::other("it was changed by somebody else");
            return Err(io_error("read back", &self.path, cause));
        };
        let (file, bytes, waiting) = write_anew(&self.path, &spooled)?;
        self.file = file;
        self.bytes = bytes;
        self.live_bytes = bytes;
        self.waiting = waiting;
        Ok(())
    }
}

type Fresh = (File, u64, Vec<(Seq, u64)>);

fn write_anew(path: &Path, spooled: &Spooled) -> Result<Fresh, SpoolError> {
    let begin = Line::Begin {
        stream: spooled.stream.clone(),
        trimmed: spooled.trimmed,
    };
    let mut bytes = encode(&begin, path)?;
    let mut waiting = Vec::with_capacity(spooled.events.len());
    for event in &spooled.events {
        let line = encode(&Line::Append(event.clone()), path)?;
        waiting.push((event.seq, line.len() as u64));
        bytes.extend_from_slice(&line);
    }
    files::write_atomic(path, &bytes, FILE_MODE)?;
    let file = OpenOptions::new()
        .append(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(|cause| io_error("open", path, cause))?;
    Ok((file, bytes.len() as u64, waiting))
}

struct Replayed {
    spooled: Option<Spooled>,
    /// Whole lines follow a broken one: that is damage, not a torn end.
    after_damage: bool,
}

/// Reads as far as it is whole.
fn replay(bytes: &[u8]) -> Replayed {
    let mut spooled: Option<Spooled> = None;
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    for line in lines.by_ref() {
        match (decode(line), &mut spooled) {
            (Some(Line::Begin { stream, trimmed }), None) => {
                spooled = Some(Spooled {
                    stream,
                    trimmed,
                    events: Vec::new(),
                });
            }
            (Some(Line::Append(event)), Some(state)) => state.events.push(event),
            (Some(Line::Trim { through }), Some(state)) => {
                state.trimmed = state.trimmed.max(through);
                state.events.retain(|event| event.seq > through);
            }
            (Some(Line::Replace { first, last, with }), Some(state)) => {
                state
                    .events
                    .retain(|event| !(first..=last).contains(&event.seq));
                let at = state.events.partition_point(|event| event.seq < with.seq);
                state.events.insert(at, with);
            }
            _ => break,
        }
    }
    Replayed {
        spooled,
        after_damage: lines.any(|line| decode(line).is_some()),
    }
}

fn encode(line: &Line, path: &Path) -> Result<Vec<u8>, SpoolError> {
    let json = serde_json::to_vec(line)
        .map_err(|error| io_error("encode for", path, io::Error::other(error.to_string())))?;
    let mut bytes = format!("{:08x} ", crc32(&json)).into_bytes();
    bytes.extend_from_slice(&json);
    bytes.push(b'\n');
    Ok(bytes)
}

fn decode(line: &[u8]) -> Option<Line> {
    let line = line.strip_suffix(b"\n")?;
    let (crc, json) = line.split_at_checked(9)?;
    let crc = std::str::from_utf8(crc).ok()?.strip_suffix(' ')?;
    if u32::from_str_radix(crc, 16).ok()? != crc32(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// CRC-32 of IEEE 802.3, bit by bit: an event is a few hundred bytes.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn new_stream() -> Result<StreamId, SpoolError> {
    boot::random_name()
        .and_then(|name| StreamId::new(name).map_err(io::Error::other))
        .map_err(|cause| io_error("name", Path::new("/dev/urandom"), cause))
}

fn io_error(action: &'static str, path: &Path, cause: io::Error) -> SpoolError {
    SpoolError::Io {
        action,
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests;
