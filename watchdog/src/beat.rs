//! The bytes of docs/reference/watchdog-beat.md: beats in, answers out. Nothing here allocates.

use std::{fmt, str};

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
// Places in the header of a beat.
pub(crate) const SESSION: usize = 8;
pub(crate) const SEQUENCE: usize = 16;
pub(crate) const SENT: usize = 24;
pub(crate) const NEXT: usize = 32;
pub(crate) const LEAVING: usize = 40;
// Places in a promise.
const TARGET: usize = 16;
const LEADER: usize = 20;
const START: usize = 24;
const PATH: usize = 32;

/// By `deadline` + `grace` nothing of the target runs any more. A record of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise(pub(crate) [u8; RECORD]);

impl Promise {
    fn new(deadline: u64, grace: u64, kind: u8) -> Promise {
        let mut bytes = [0; RECORD];
        bytes[..8].copy_from_slice(&deadline.to_le_bytes());
        bytes[8..TARGET].copy_from_slice(&grace.to_le_bytes());
        bytes[TARGET] = kind;
        Promise(bytes)
    }

    /// About every process of a session: its leader's pid, and the start time of that in clock
    /// ticks.
    #[must_use]
    pub fn session(deadline: u64, grace: u64, leader: u32, start: u64) -> Promise {
        let mut promise = Promise::new(deadline, grace, 1);
        promise.0[LEADER..START].copy_from_slice(&leader.to_le_bytes());
        promise.0[START..PATH].copy_from_slice(&start.to_le_bytes());
        promise
    }

    /// About a cgroup and all below it; `None` for a path that could name another one: parts that
    /// climb or repeat, and letters that no log can show.
    #[must_use]
    pub fn cgroup(deadline: u64, grace: u64, path: &str) -> Option<Promise> {
        let bad = |part: &str| matches!(part, "" | "." | "..") || part.contains(char::is_control);
        let mut promise = Promise::new(deadline, grace, 2);
        let length = u16::try_from(path.len()).ok()?;
        promise.0[TARGET + 2..LEADER].copy_from_slice(&length.to_le_bytes());
        promise.0.get_mut(PATH..PATH + path.len())?.copy_from_slice(path.as_bytes());
        (!path.strip_prefix('/')?.split('/').any(bad)).then_some(promise)
    }

    /// Reads one record: what is not byte for byte what we would write is none.
    pub(crate) fn parse(record: &[u8]) -> Option<Promise> {
        let raw = Promise(record.try_into().ok()?);
        let (deadline, grace) = (raw.deadline(), raw.due().wrapping_sub(raw.deadline()));
        let (leader, start) = raw.leader();
        let same = match raw.path() {
            Some(path) => Promise::cgroup(deadline, grace, path),
            // 0 and 1 are the kernel and init: whoever promises to end those has lost its way.
            None if leader < 2 || start == 0 => None,
            None => Some(Promise::session(deadline, grace, leader, start)),
        };
        same.filter(|same| same.0[TARGET..] == raw.0[TARGET..]).and(Some(raw))
    }

    /// When the agent itself ends the target; milliseconds of boottime.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        u64_at(&self.0, 0)
    }

    /// When it is broken.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.deadline().saturating_add(u64_at(&self.0, 8))
    }

    /// Leader and start time of a session; zeros for a cgroup.
    #[must_use]
    pub fn leader(&self) -> (u32, u64) {
        (u32::from_le_bytes(at(&self.0, LEADER)), u64_at(&self.0, START))
    }

    /// The path of a cgroup; `None` for a session.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        let length = usize::from(u16::from_le_bytes(at(&self.0, TARGET + 2)));
        let path = self.0.get(PATH..PATH + length).filter(|path| !path.is_empty());
        path.and_then(|path| str::from_utf8(path).ok())
    }

    /// True when both are about the same target.
    #[must_use]
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

/// Bytes at a place; zeros beyond the end, which every caller has checked before.
fn at<const N: usize>(bytes: &[u8], place: usize) -> [u8; N] {
    let part = bytes.get(place..place + N).and_then(|part| part.try_into().ok());
    part.unwrap_or([0; N])
}

pub(crate) fn u64_at(bytes: &[u8], place: usize) -> u64 {
    u64::from_le_bytes(at(bytes, place))
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
    let count = usize::from(u16::from_le_bytes(at(beat, 6)));
    let numbers = [SESSION, SEQUENCE, NEXT].map(|place| u64_at(beat, place));
    let twice = |(i, p): (usize, Promise)| promises(beat).take(i).any(|other| other.is_about(&p));
    let well_formed = beat[5] == 1
        && count <= PROMISES_MAX
        && beat.len() == HEADER + RECORD * count
        && beat[LEAVING] <= 1
        && beat[LEAVING + 1..HEADER].iter().all(|reserved| *reserved == 0)
        && !numbers.contains(&0)
        && numbers[2] <= NEXT_MAX_MS
        && promises(beat).count() == count
        && !promises(beat).enumerate().any(twice);
    if well_formed { Ok(()) } else { Err(Status::Malformed) }
}

/// An answer: enforcement is 1 (hardware), 2 (software) or 3 (none); then session, sequence,
/// timeout and now; then live, broken, flags and boot status.
#[must_use]
pub fn answer(status: Status, enforcement: u8, wide: [u64; 4], narrow: [u32; 4]) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..4].copy_from_slice(MAGIC);
    out[4..8].copy_from_slice(&[VERSION, 2, status as u8, enforcement]);
    for (value, place) in wide.iter().zip(out[8..40].chunks_exact_mut(8)) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    for (value, place) in narrow.iter().zip(out[40..56].chunks_exact_mut(4)) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    out
}
