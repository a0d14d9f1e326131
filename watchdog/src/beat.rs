//! The bytes of docs/reference/watchdog-beat.md: beats in, answers out. Nothing here allocates.

use std::{array, fmt};

/// The version of all datagrams.
pub const VERSION: u8 = 2;
/// Length of a header and of an answer.
pub const HEADER: usize = 64;
/// Length of one promise.
pub const RECORD: usize = 512;
/// Promises in one beat: a host with more exclusive works than this should be two hosts.
pub const PROMISES_MAX: usize = 32;
/// Longest beat.
pub const BEAT_MAX: usize = HEADER + RECORD * PROMISES_MAX;
const NEXT_MAX_MS: u64 = 3_600_000;
const MAGIC: &[u8; 4] = b"NMWD";

/// The header of a beat as numbers of eight bytes: these.
pub(crate) type Header = [u64; 8];
pub(crate) const SESSION: usize = 1;
pub(crate) const SEQUENCE: usize = 2;
pub(crate) const SENT: usize = 3;
pub(crate) const NEXT: usize = 4;
pub(crate) const LEAVING: usize = 5;

/// By `deadline` + `grace` nothing of the target runs any more. A record of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise(pub(crate) [u8; RECORD]);

// Places in a promise.
const TARGET: usize = 16;
const LENGTH: usize = 18;
const LEADER: usize = 20;
const START: usize = 24;
const PATH: usize = 32;

impl Promise {
    /// Reads one record. `None` for a path that could name another cgroup (parts that climb or
    /// repeat, and letters that no log can show), and for any byte that is not as we would write
    /// it.
    pub fn parse(record: &[u8]) -> Option<Promise> {
        let promise = Promise(record.try_into().ok()?);
        let bad = |part: &str| matches!(part, "" | "." | "..") || part.contains(char::is_control);
        let (path, (leader, start)) = (promise.path().unwrap_or(""), promise.leader());
        let known = match record[TARGET] {
            // 0 and 1 are the kernel and init: whoever promises to end those has lost its way.
            1 => leader > 1 && start > 0 && record[LENGTH..LEADER] == [0; 2],
            2 => leader == 0 && start == 0 && !path.strip_prefix('/')?.split('/').any(bad),
            _ => false,
        };
        let mut unused = record[PATH + path.len()..].iter().chain([&record[TARGET + 1]]);
        (known && unused.all(|byte| *byte == 0)).then_some(promise)
    }

    /// When the agent itself ends the target; milliseconds of boottime.
    pub fn deadline(&self) -> u64 {
        u64_at(&self.0, 0)
    }

    /// When it is broken.
    pub fn due(&self) -> u64 {
        self.deadline().saturating_add(u64_at(&self.0, 8))
    }

    /// Of a session: its leader's pid, and the start time of that in clock ticks; zeros for a
    /// cgroup.
    pub fn leader(&self) -> (u32, u64) {
        (u32::from_le_bytes(at(&self.0, LEADER)), u64_at(&self.0, START))
    }

    /// The path of a cgroup; `None` for a session.
    pub fn path(&self) -> Option<&str> {
        let length = usize::from(u16::from_le_bytes(at(&self.0, LENGTH)));
        str::from_utf8(self.0.get(PATH..PATH + length)?).ok().filter(|path| !path.is_empty())
    }

    /// True when both are about the same target.
    pub fn is_about(&self, other: &Promise) -> bool {
        self.0[TARGET..] == other.0[TARGET..]
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path() {
            None => write!(f, "session {}", self.leader().0),
            Some(path) => write!(f, "cgroup {path}"),
        }
    }
}

/// How a beat was received; the numbers are those of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// In force.
    Taken = 0,
    /// Not a beat.
    Malformed = 1,
    /// Of a version that this program does not know.
    OtherVersion = 2,
    /// The sender may not promise here.
    NotAllowed = 3,
    /// Older than one already taken, or of a second agent.
    Stale = 4,
    /// Too many promises over all sessions.
    Full = 5,
}

/// Bytes at a place; zeros beyond the end.
fn at<const N: usize>(bytes: &[u8], place: usize) -> [u8; N] {
    let part = bytes.get(place..place + N).and_then(|part| part.try_into().ok());
    part.unwrap_or([0; N])
}

pub(crate) fn u64_at(bytes: &[u8], place: usize) -> u64 {
    u64::from_le_bytes(at(bytes, place))
}

/// The numbers of a header.
pub(crate) fn header(beat: &[u8]) -> Header {
    array::from_fn(|i| u64_at(beat, 8 * i))
}

/// All promises of a beat that was checked.
pub(crate) fn promises(beat: &[u8]) -> impl Iterator<Item = Promise> + Clone {
    beat.get(HEADER..).unwrap_or_default().chunks_exact(RECORD).filter_map(Promise::parse)
}

/// Sees that a datagram is exactly a beat of this version.
///
/// # Errors
/// When it is not.
pub fn check(beat: &[u8]) -> Result<(), Status> {
    if beat.len() < HEADER || !beat.starts_with(MAGIC) {
        return Err(Status::Malformed);
    }
    if beat[4] != VERSION {
        return Err(Status::OtherVersion);
    }
    let [_, session, sequence, _, next, leaving, reserved @ ..] = header(beat);
    let count = usize::from(u16::from_le_bytes(at(beat, 6)));
    let twice = |(i, p): (usize, Promise)| promises(beat).take(i).any(|other| other.is_about(&p));
    let well_formed = beat[5] == 1
        && count <= PROMISES_MAX
        && beat.len() == HEADER + RECORD * count
        && session > 0
        && sequence > 0
        && (1..=NEXT_MAX_MS).contains(&next)
        && leaving <= 1
        && reserved == [0; 2]
        && promises(beat).count() == count
        && !promises(beat).enumerate().any(twice);
    if well_formed { Ok(()) } else { Err(Status::Malformed) }
}

/// An answer: enforcement is 1 (hardware), 2 (software) or 3 (none); then session, sequence,
/// timeout and now; then live, broken, flags and boot status.
pub fn answer(status: Status, enforcement: u8, wide: [u64; 4], narrow: [u32; 4]) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..4].copy_from_slice(MAGIC);
    out[4..8].copy_from_slice(&[VERSION, 2, status as u8, enforcement]);
    out[8..40].copy_from_slice(wide.map(u64::to_le_bytes).as_flattened());
    out[40..56].copy_from_slice(narrow.map(u32::to_le_bytes).as_flattened());
    out
}
