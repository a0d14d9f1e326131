//! The bytes of docs/reference/watchdog-beat.md: beats in, answers out.

use std::fmt;

/// The version of all datagrams.
pub const VERSION: u8 = 1;
/// Length of a header and of an answer.
pub const HEADER: usize = 64;
/// Length of one promise.
pub const RECORD: usize = 512;
/// Promises in one beat: a host with more exclusive works than this should be two hosts.
pub const PROMISES_MAX: usize = 32;
/// Longest beat.
pub const BEAT_MAX: usize = HEADER + RECORD * PROMISES_MAX;
const PATH_MAX: usize = 480;
const NEXT_MAX_MS: u64 = 3_600_000;
const MAGIC: &[u8; 4] = b"NMWD";

/// What has to be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every process of a session.
    Session {
        /// The leader's pid, which is the session's id.
        leader: u32,
        /// The leader's start time in clock ticks.
        start: u64,
    },
    /// Every process of a cgroup and of those below it, by its path below the cgroup root.
    Cgroup(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Session { leader, .. } => write!(f, "session {leader}"),
            Target::Cgroup(path) => write!(f, "cgroup {path}"),
        }
    }
}

/// By `deadline` + `grace` nothing of the target runs any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// When the agent itself ends the target; milliseconds of boottime.
    pub deadline: u64,
    /// How much later the watchdog does.
    pub grace: u64,
    /// Of what.
    pub target: Target,
}

impl Promise {
    /// When it is broken.
    #[must_use]
    pub const fn broken_at(&self) -> u64 {
        self.deadline.saturating_add(self.grace)
    }
}

/// One beat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Which run of the agent.
    pub session: u64,
    /// Rises with each beat of the session.
    pub sequence: u64,
    /// When it was made.
    pub sent: u64,
    /// The next one comes within so many milliseconds.
    pub next: u64,
    /// The agent ends on request.
    pub leaving: bool,
    /// All that this session promises.
    pub promises: Vec<Promise>,
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
    /// The sender's uid may not promise here.
    NotAllowed = 3,
    /// Older than one already taken.
    Stale = 4,
    /// Too many promises over all sessions.
    Full = 5,
}

/// Why bytes are no beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What the sender is told.
    pub status: Status,
    /// What the log is told.
    pub why: &'static str,
}

const fn malformed(why: &'static str) -> Refused {
    Refused {
        status: Status::Malformed,
        why,
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    // A short slice reads as zeros; every caller has checked the length before.
    if let Some(part) = bytes.get(at..at + N) {
        out.copy_from_slice(part);
    }
    out
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(number(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(number(bytes, at))
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes(number(bytes, at)))
}

fn zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0)
}

impl Beat {
    /// Reads one datagram.
    ///
    /// # Errors
    /// When it is not exactly a beat of this version.
    pub fn decode(bytes: &[u8]) -> Result<Beat, Refused> {
        if bytes.len() < HEADER || &bytes[..4] != MAGIC {
            return Err(malformed("no header"));
        }
        if bytes[4] != VERSION {
            return Err(Refused {
                status: Status::OtherVersion,
                why: "of another version",
            });
        }
        let count = u16_at(bytes, 6);
        if bytes[5] != 1 || count > PROMISES_MAX || bytes.len() != HEADER + RECORD * count {
            return Err(malformed("kind, count and length do not agree"));
        }
        let flags = u32_at(bytes, 40);
        if flags > 1 || !zero(&bytes[44..HEADER]) {
            return Err(malformed("unknown flags, or reserved bytes are used"));
        }
        let beat = Beat {
            session: u64_at(bytes, 8),
            sequence: u64_at(bytes, 16),
            sent: u64_at(bytes, 24),
            next: u64_at(bytes, 32),
            leaving: flags == 1,
            promises: bytes[HEADER..]
                .chunks_exact(RECORD)
                .map(promise)
                .collect::<Result<_, _>>()?,
        };
        if beat.session == 0 || beat.sequence == 0 || !(1..=NEXT_MAX_MS).contains(&beat.next) {
            return Err(malformed("session, sequence or next is out of range"));
        }
        for (i, one) in beat.promises.iter().enumerate() {
            if beat.promises[..i]
                .iter()
                .any(|other| other.target == one.target)
            {
                return Err(malformed("a target is named twice"));
            }
        }
        Ok(beat)
    }

    /// Session and sequence of bytes that are perhaps no beat, for the answer to them.
    #[must_use]
    pub fn name(bytes: &[u8]) -> (u64, u64) {
        match bytes.get(..HEADER) {
            Some(header) if header.starts_with(MAGIC) => (u64_at(header, 8), u64_at(header, 16)),
            _ => (0, 0),
        }
    }

    /// As bytes; for the hand-over to the next watchdog.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + RECORD * self.promises.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[VERSION, 1]);
        let count = u16::try_from(self.promises.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&count.to_le_bytes());
        for value in [self.session, self.sequence, self.sent, self.next] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&u32::from(self.leaving).to_le_bytes());
        out.resize(HEADER, 0);
        for (i, promise) in self.promises.iter().enumerate() {
            let (kind, leader, start, path) = match &promise.target {
                Target::Session { leader, start } => (1, *leader, *start, ""),
                Target::Cgroup(path) => (2, 0, 0, path.as_str()),
            };
            let length = u16::try_from(path.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&promise.deadline.to_le_bytes());
            out.extend_from_slice(&promise.grace.to_le_bytes());
            out.extend_from_slice(&[kind, 0]);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&leader.to_le_bytes());
            out.extend_from_slice(&start.to_le_bytes());
            out.extend_from_slice(path.as_bytes());
            out.resize(HEADER + RECORD * (i + 1), 0);
        }
        out
    }
}

fn promise(record: &[u8]) -> Result<Promise, Refused> {
    let (length, leader, start) = (u16_at(record, 18), u32_at(record, 20), u64_at(record, 24));
    if record[17] != 0 || length > PATH_MAX || !zero(&record[32 + length..]) {
        return Err(malformed("reserved bytes of a promise are used"));
    }
    let target = match record[16] {
        // 0 and 1 are the kernel and init: whoever promises to end those has lost its way.
        1 if leader > 1 && start > 0 && length == 0 => Target::Session { leader, start },
        2 if leader == 0 && start == 0 => Target::Cgroup(path(&record[32..32 + length])?),
        _ => return Err(malformed("a target is neither a session nor a cgroup")),
    };
    Ok(Promise {
        deadline: u64_at(record, 0),
        grace: u64_at(record, 8),
        target,
    })
}

/// A cgroup below the root; parts that climb or repeat could name what was not promised.
fn path(bytes: &[u8]) -> Result<String, Refused> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("a path is not UTF-8"))?;
    let below = text
        .strip_prefix('/')
        .ok_or(malformed("a path does not begin with /"))?;
    let bad = |part: &str| matches!(part, "" | "." | "..") || part.contains('\0');
    if below.split('/').any(bad) {
        return Err(malformed("a path has an empty part, . or .."));
    }
    Ok(text.to_string())
}

/// The answer to one beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How it was received.
    pub status: Status,
    /// A device stands behind the promises.
    pub hardware: bool,
    /// Of the beat.
    pub session: u64,
    /// Of the beat.
    pub sequence: u64,
    /// Within so long after a promise is broken it is made good.
    pub timeout: u64,
    /// When this was made.
    pub now: u64,
    /// Promises held.
    pub live: u32,
    /// Of these, broken.
    pub broken: u32,
    /// Bits as in the format.
    pub flags: u32,
    /// What the device said about the last boot.
    pub boot_status: u32,
}

impl Answer {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..4].copy_from_slice(MAGIC);
        out[4..8].copy_from_slice(&[
            VERSION,
            2,
            self.status as u8,
            if self.hardware { 1 } else { 2 },
        ]);
        let wide = [self.session, self.sequence, self.timeout, self.now];
        for (value, place) in wide.iter().zip(out[8..40].chunks_exact_mut(8)) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        let narrow = [self.live, self.broken, self.flags, self.boot_status];
        for (value, place) in narrow.iter().zip(out[40..56].chunks_exact_mut(4)) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        out
    }
}
