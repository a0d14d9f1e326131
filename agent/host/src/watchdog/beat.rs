//! The bytes of a beat and of its answer: docs/reference/watchdog-beat.md. The watchdog shares this
//! page and the golden bytes in tests/fixtures/watchdog with us, and no code.

use std::fmt;

use nodemedic_protocol::Millis;
use nodemedic_protocol::work::Enforcement;

use crate::manager::target::Target;

const MAGIC: [u8; 4] = *b"NMWD";
const VERSION: u8 = 2;
const KIND_BEAT: u8 = 1;
const KIND_ANSWER: u8 = 2;
const HEADER_BYTES: usize = 64;
const PROMISE_BYTES: usize = 512;
const PATH_MAX_BYTES: usize = 480;

/// Promises of one beat.
pub const PROMISES_MAX: usize = 32;

/// One beat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Of this run of the agent; never 0.
    pub session: u64,
    /// Rises with each beat; begins at 1.
    pub sequence: u64,
    /// When it was made, in milliseconds of CLOCK_BOOTTIME.
    pub sent_ms: u64,
    /// The next one comes within so many milliseconds.
    pub next_ms: u64,
    /// The agent ends on request; its promises stay.
    pub leaving: bool,
    /// All that is promised.
    pub promises: Vec<Promised>,
}

/// One promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promised {
    /// When the agent itself has to end it.
    pub deadline_ms: u64,
    /// How long after that the watchdog does.
    pub grace_ms: u64,
    /// What.
    pub target: Target,
}

impl Beat {
    /// The datagram; `None` when a promise cannot be written: too many, or a path that is too long.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let count = u16::try_from(self.promises.len()).ok()?;
        if self.promises.len() > PROMISES_MAX {
            return None;
        }
        let mut bytes = Vec::with_capacity(HEADER_BYTES + PROMISE_BYTES * self.promises.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, KIND_BEAT]);
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&self.session.to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.sent_ms.to_le_bytes());
        bytes.extend_from_slice(&self.next_ms.to_le_bytes());
        bytes.extend_from_slice(&u32::from(self.leaving).to_le_bytes());
        bytes.resize(HEADER_BYTES, 0);
        for promised in &self.promises {
            promised.put(&mut bytes)?;
        }
        Some(bytes)
    }
}

impl Promised {
    /// Whether its target has room in a beat.
    #[must_use]
    pub fn can_be_written(&self) -> bool {
        self.put(&mut Vec::new()).is_some()
    }

    fn put(&self, bytes: &mut Vec<u8>) -> Option<()> {
        let end = bytes.len() + PROMISE_BYTES;
        bytes.extend_from_slice(&self.deadline_ms.to_le_bytes());
        bytes.extend_from_slice(&self.grace_ms.to_le_bytes());
        match &self.target {
            Target::Session {
                leader,
                start_ticks,
            } => {
                bytes.extend_from_slice(&[1, 0, 0, 0]);
                bytes.extend_from_slice(&leader.to_le_bytes());
                bytes.extend_from_slice(&start_ticks.to_le_bytes());
            }
            Target::Cgroup { path } => {
                let length = u16::try_from(path.len()).ok()?;
                if path.len() > PATH_MAX_BYTES {
                    return None;
                }
                bytes.extend_from_slice(&[2, 0]);
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(&[0; 12]);
                bytes.extend_from_slice(path.as_bytes());
            }
        }
        bytes.resize(end, 0);
        Some(())
    }
}

/// What the watchdog answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Taken, or why not.
    pub status: Status,
    /// Who keeps promises.
    pub keeper: Keeper,
    /// Of the beat.
    pub session: u64,
    /// Of the beat.
    pub sequence: u64,
    /// Within so long after deadline and grace a target is gone.
    pub timeout: Millis,
    /// Promises held now, of all sessions.
    pub live: u32,
    /// Of these, broken and not yet made good.
    pub broken: u32,
    /// It is about to end.
    pub ending: bool,
    /// The device cannot be disarmed: an end of the watchdog resets the host.
    pub nowayout: bool,
    /// Without a device, what cannot be ended is answered by a reboot.
    pub reboots: bool,
    /// What the device said about the last boot.
    pub boot_status: u32,
}

/// Who keeps promises when the agent cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// The watchdog, and a device behind it.
    Hardware,
    /// The watchdog alone.
    Software,
    /// Nobody: it only says what it would do.
    DryRun,
}

/// `WDIOF_CARDRESET` of linux/watchdog.h: the card has reset the processor.
const CARD_RESET: u32 = 0x20;

/// What became of a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Taken.
    Taken,
    /// Malformed: a defect of one of the two.
    Malformed,
    /// The watchdog is of another version.
    OtherVersion,
    /// It takes no beats from this user.
    NotAllowed,
    /// A later beat was taken already.
    Stale,
    /// It holds too many promises.
    NoRoom,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Taken => "taken",
            Status::Malformed => "it calls our beat malformed: report a defect of nodemedic",
            Status::OtherVersion => "it is of another version: upgrade the older one",
            Status::NotAllowed => "it takes no beats from this user: see its --agent-uid",
            Status::Stale => "it has taken a later beat: does a second agent run here?",
            Status::NoRoom => "it has no room for so many promises",
        })
    }
}

impl Answer {
    /// Reads a datagram.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Answer, &'static str> {
        let bytes: &[u8; HEADER_BYTES] = bytes.try_into().map_err(|_| "not 64 bytes long")?;
        if bytes[..4] != MAGIC || bytes[5] != KIND_ANSWER {
            return Err("not an answer");
        }
        if bytes[4] != VERSION {
            return Ok(Answer::of_other_version());
        }
        if bytes[56..].iter().any(|byte| *byte != 0) {
            return Err("reserved bytes are not zero");
        }
        let status = match bytes[6] {
            0 => Status::Taken,
            1 => Status::Malformed,
            2 => Status::OtherVersion,
            3 => Status::NotAllowed,
            4 => Status::Stale,
            5 => Status::NoRoom,
            _ => return Err("unknown status"),
        };
        let keeper = match bytes[7] {
            1 => Keeper::Hardware,
            2 => Keeper::Software,
            3 => Keeper::DryRun,
            _ => return Err("unknown enforcement"),
        };
        let long = |at: usize| {
            let mut value = [0; 8];
            value.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(value)
        };
        let short = |at: usize| {
            let mut value = [0; 4];
            value.copy_from_slice(&bytes[at..at + 4]);
            u32::from_le_bytes(value)
        };
        Ok(Answer {
            status,
            keeper,
            session: long(8),
            sequence: long(16),
            timeout: Millis(long(24)),
            live: short(40),
            broken: short(44),
            ending: short(48) & 4 != 0,
            nowayout: short(48) & 8 != 0,
            reboots: short(48) & 16 != 0,
            boot_status: short(52),
        })
    }

    /// Whatever else is in it: only the first eight bytes mean the same in all versions.
    const fn of_other_version() -> Answer {
        Answer {
            status: Status::OtherVersion,
            keeper: Keeper::DryRun,
            session: 0,
            sequence: 0,
            timeout: Millis::ZERO,
            live: 0,
            broken: 0,
            ending: false,
            nowayout: false,
            reboots: false,
            boot_status: 0,
        }
    }

    /// Whether the device says that this boot follows a reset by it.
    #[must_use]
    pub const fn device_reset(&self) -> bool {
        self.boot_status & CARD_RESET != 0
    }

    /// What it means for the promises of this agent.
    #[must_use]
    pub fn enforcement(&self) -> Enforcement {
        match (self.status, self.keeper) {
            (Status::Taken, Keeper::Hardware) => Enforcement::Hardware {
                timeout: self.timeout,
            },
            (Status::Taken, Keeper::Software) => Enforcement::Software {
                timeout: self.timeout,
            },
            _ => Enforcement::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SESSION: u64 = 0x1122_3344_5566_7788;

    fn golden(name: &str) -> Vec<u8> {
        let root = env!("CARGO_MANIFEST_DIR");
        let path = format!("{root}/../../tests/fixtures/watchdog/{name}.hex");
        let text = std::fs::read_to_string(path).unwrap();
        let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
        (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect()
    }

    fn beat(sequence: u64, sent_ms: u64) -> Beat {
        Beat {
            session: SESSION,
            sequence,
            sent_ms,
            next_ms: 5000,
            leaving: false,
            promises: Vec::new(),
        }
    }

    #[test]
    fn beats_are_the_golden_bytes() {
        assert_eq!(beat(1, 1000).to_bytes().unwrap(), golden("beat-empty"));
        let leaving = Beat {
            leaving: true,
            ..beat(9, 77_000)
        };
        assert_eq!(leaving.to_bytes().unwrap(), golden("beat-leaving"));
        let promises = vec![
            Promised {
                deadline_ms: 21_000,
                grace_ms: 10_000,
                target: Target::Session {
                    leader: 4242,
                    start_ticks: 987_654_321,
                },
            },
            Promised {
                deadline_ms: 36_000,
                grace_ms: 12_500,
                target: Target::Cgroup {
                    path: "/system.slice/system-web.slice/web@orders.service".into(),
                },
            },
        ];
        let both = Beat {
            promises,
            ..beat(2, 6000)
        };
        assert_eq!(both.to_bytes().unwrap(), golden("beat-session-and-cgroup"));
    }

    #[test]
    fn answers_are_read_from_the_golden_bytes() {
        let answer = Answer::parse(&golden("answer-hardware")).unwrap();
        assert_eq!(
            answer,
            Answer {
                status: Status::Taken,
                keeper: Keeper::Hardware,
                session: SESSION,
                sequence: 3,
                timeout: Millis(14_000),
                live: 2,
                broken: 1,
                ending: false,
                nowayout: false,
                reboots: false,
                boot_status: 0x20,
            }
        );
        let timeout = Millis(14_000);
        assert_eq!(answer.enforcement(), Enforcement::Hardware { timeout });
        let answer = Answer::parse(&golden("answer-software")).unwrap();
        let timeout = Millis(10_000);
        assert_eq!(answer.enforcement(), Enforcement::Software { timeout });
        for (name, status) in [
            ("answer-stale", Status::Stale),
            ("answer-malformed", Status::Malformed),
        ] {
            let answer = Answer::parse(&golden(name)).unwrap();
            assert_eq!(
                (answer.status, answer.enforcement()),
                (status, Enforcement::None)
            );
        }
    }

    #[test]
    fn a_dry_run_enforces_nothing_and_flags_are_told() {
        let answer = Answer::parse(&golden("answer-dry-run")).unwrap();
        assert_eq!(answer.status, Status::Taken);
        assert_eq!(answer.enforcement(), Enforcement::None);
        let answer = Answer::parse(&golden("answer-last-resort")).unwrap();
        assert_eq!((answer.reboots, answer.nowayout), (true, false));
        let answer = Answer::parse(&golden("answer-nowayout")).unwrap();
        assert_eq!((answer.reboots, answer.nowayout), (false, true));
    }

    #[test]
    fn an_answer_of_another_version_enforces_nothing_and_says_so() {
        let mut bytes = golden("answer-software");
        bytes[4] = 9;
        let answer = Answer::parse(&bytes).unwrap();
        assert_eq!(answer.status, Status::OtherVersion);
        assert_eq!(answer.enforcement(), Enforcement::None);
    }

    #[test]
    fn what_has_no_room_is_not_sent() {
        let cgroup = |bytes: usize| Promised {
            deadline_ms: 1,
            grace_ms: 1,
            target: Target::Cgroup {
                path: "/".repeat(bytes),
            },
        };
        let of = |promises| Beat {
            promises,
            ..beat(1, 1)
        };
        assert!(of(vec![cgroup(480)]).to_bytes().is_some());
        assert!(of(vec![cgroup(481)]).to_bytes().is_none());
        assert!(of(vec![cgroup(2); 32]).to_bytes().is_some());
        assert!(of(vec![cgroup(2); 33]).to_bytes().is_none());
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Answer::parse(&bytes);
        }
    }
}
