//! Whether a node is there: one state machine per node, on the coordinator's own clock.
//!
//! A last will makes a node Suspect at most. Silence makes it Lost, and only while the coordinator
//! itself could have heard: [`Ears`] says since when it listens.

use alloc::format;
use alloc::string::String;

use nodemedic_protocol::api::{Decision, Liveness};
use nodemedic_protocol::message::{GoingDown, Session};
use nodemedic_protocol::{Boottime, Millis};

use crate::settings::LivenessSettings;

/// A node may say that it is away for at most a day: a longer absence deserves a person's eye.
const AWAY_MAX: Millis = Millis::from_secs(24 * 3600);

/// How one node stands; what belongs to a state lives in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Unheard,
    Alive {
        heard: Boottime,
    },
    Suspect {
        heard: Boottime,
    },
    Lost {
        heard: Option<Boottime>,
    },
    Fenced {
        heard: Option<Boottime>,
    },
    Returning {
        heard: Boottime,
        since: Boottime,
    },
    Away {
        heard: Boottime,
        until: Boottime,
        session: Session,
    },
}

/// Since when the coordinator can hear, and from when on silence counts against a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ears {
    /// Absent while the link is down.
    pub(crate) listening: Option<Boottime>,
    /// End of the resume grace.
    pub(crate) grace_until: Boottime,
}

/// A standing and since when it is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) standing: Standing,
    pub(crate) since: Boottime,
}

/// A change of standing, for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) from: Liveness,
    pub(crate) to: Liveness,
    pub(crate) because: String,
}

impl Change {
    pub(crate) fn decision(self) -> Decision {
        Decision::Liveness {
            from: self.from,
            to: self.to,
            because: self.because,
        }
    }
}

impl Standing {
    pub(crate) const fn kind(&self) -> Liveness {
        match self {
            Standing::Unheard => Liveness::Unheard,
            Standing::Alive { .. } => Liveness::Alive,
            Standing::Suspect { .. } => Liveness::Suspect,
            Standing::Lost { .. } => Liveness::Lost,
            Standing::Fenced { .. } => Liveness::Fenced,
            Standing::Returning { .. } => Liveness::Returning,
            Standing::Away { .. } => Liveness::Away,
        }
    }

    pub(crate) const fn heard(&self) -> Option<Boottime> {
        match self {
            Standing::Unheard => None,
            Standing::Lost { heard } | Standing::Fenced { heard } => *heard,
            Standing::Alive { heard }
            | Standing::Suspect { heard }
            | Standing::Returning { heard, .. }
            | Standing::Away { heard, .. } => Some(*heard),
        }
    }

    fn set_heard(&mut self, now: Boottime) {
        match self {
            Standing::Alive { heard }
            | Standing::Suspect { heard }
            | Standing::Returning { heard, .. }
            | Standing::Away { heard, .. } => *heard = now,
            Standing::Unheard => {}
            Standing::Lost { heard } | Standing::Fenced { heard } => *heard = Some(now),
        }
    }
}

impl Life {
    pub(crate) const fn unheard(now: Boottime) -> Life {
        Life {
            standing: Standing::Unheard,
            since: now,
        }
    }

    /// As one that was confirmed off before this coordinator began.
    pub(crate) const fn fenced(now: Boottime) -> Life {
        Life {
            standing: Standing::Fenced { heard: None },
            since: now,
        }
    }

    pub(crate) const fn kind(&self) -> Liveness {
        self.standing.kind()
    }

    fn go(&mut self, now: Boottime, to: Standing, because: String) -> Option<Change> {
        let (from, kind) = (self.kind(), to.kind());
        self.standing = to;
        if from == kind {
            return None;
        }
        self.since = now;
        Some(Change {
            from,
            to: kind,
            because,
        })
    }

    /// A birth or heartbeat of this session arrived.
    pub(crate) fn hear(&mut self, now: Boottime, session: &Session) -> Option<Change> {
        let heard = now;
        match &self.standing {
            // What was under way when it said that it goes tells nothing about after.
            Standing::Away { session: gone, .. } if gone == session => None,
            Standing::Lost { .. } | Standing::Fenced { .. } => self.go(
                now,
                Standing::Returning { heard, since: now },
                String::from("heard again"),
            ),
            Standing::Alive { .. } | Standing::Returning { .. } => {
                self.standing.set_heard(now);
                None
            }
            Standing::Unheard | Standing::Suspect { .. } | Standing::Away { .. } => {
                self.go(now, Standing::Alive { heard }, String::from("heard"))
            }
        }
    }

    /// Its last will of the current session arrived: a hint.
    pub(crate) fn hint_gone(&mut self, now: Boottime) -> Option<Change> {
        match self.standing {
            Standing::Alive { heard } => self.go(
                now,
                Standing::Suspect { heard },
                String::from("its connection broke (last will)"),
            ),
            _ => None,
        }
    }

    /// Its fence devices confirm that it is off.
    pub(crate) fn fence(&mut self, now: Boottime, because: String) -> Option<Change> {
        let heard = self.standing.heard();
        self.go(now, Standing::Fenced { heard }, because)
    }

    /// It said that it goes.
    pub(crate) fn goes(
        &mut self,
        now: Boottime,
        session: &Session,
        going: &GoingDown,
    ) -> Option<Change> {
        // A retained farewell that is read again must not prolong itself.
        if matches!(&self.standing, Standing::Away { session: gone, .. } if gone == session)
            || matches!(
                self.standing,
                Standing::Lost { .. } | Standing::Fenced { .. }
            )
        {
            return None;
        }
        let within = going.back_within.min(AWAY_MAX);
        let to = Standing::Away {
            heard: now,
            until: now + within,
            session: session.clone(),
        };
        let because = format!("it said so: {}, back within {within}", going.reason);
        self.go(now, to, because)
    }

    /// What the time alone changes; call again until it changes nothing.
    pub(crate) fn tick(
        &mut self,
        now: Boottime,
        ears: Ears,
        settings: &LivenessSettings,
    ) -> Option<Change> {
        let listening = ears.listening?;
        let from = self.standing.heard().unwrap_or(listening).max(listening);
        let silent = now.since(from);
        let lost = silent >= settings.lost_after && now >= ears.grace_until;
        match &self.standing {
            Standing::Unheard if lost => self.go(
                now,
                Standing::Lost { heard: None },
                format!("not heard for {silent} since this coordinator began"),
            ),
            Standing::Alive { heard } if silent >= settings.suspect_after => {
                let to = Standing::Suspect { heard: *heard };
                self.go(now, to, format!("silent for {silent}"))
            }
            Standing::Suspect { heard } if lost => {
                let to = Standing::Lost {
                    heard: Some(*heard),
                };
                self.go(now, to, format!("silent for {silent}"))
            }
            Standing::Returning { heard, .. } if silent >= settings.suspect_after => {
                let to = Standing::Lost {
                    heard: Some(*heard),
                };
                self.go(now, to, format!("silent again for {silent}"))
            }
            Standing::Returning { heard, since } if now.since(*since) >= settings.returning_for => {
                let to = Standing::Alive { heard: *heard };
                self.go(now, to, format!("heard for {}", settings.returning_for))
            }
            Standing::Away { heard, until, .. } if now >= *until => {
                let to = Standing::Suspect { heard: *heard };
                self.go(now, to, String::from("it is not back when it said"))
            }
            _ => None,
        }
    }

    /// When `tick` may next change something.
    pub(crate) fn next(&self, ears: Ears, settings: &LivenessSettings) -> Option<Boottime> {
        let listening = ears.listening?;
        let from = self.standing.heard().unwrap_or(listening).max(listening);
        match &self.standing {
            Standing::Unheard | Standing::Suspect { .. } => {
                Some((from + settings.lost_after).max(ears.grace_until))
            }
            Standing::Alive { .. } => Some(from + settings.suspect_after),
            Standing::Lost { .. } | Standing::Fenced { .. } => None,
            Standing::Returning { since, .. } => {
                Some((from + settings.suspect_after).min(*since + settings.returning_for))
            }
            Standing::Away { until, .. } => Some(*until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::{BootId, SessionId};

    fn session(n: u32) -> Session {
        Session {
            boot_id: BootId::new("b").unwrap(),
            session_id: SessionId::new(format!("s{n}")).unwrap(),
        }
    }

    fn ears(listening: u64, grace: u64) -> Ears {
        Ears {
            listening: Some(Boottime(listening)),
            grace_until: Boottime(grace),
        }
    }

    const S: u64 = 1000;

    fn settings() -> LivenessSettings {
        LivenessSettings::default()
    }

    #[test]
    fn a_will_makes_suspect_and_only_silence_makes_lost() {
        let mut life = Life::unheard(Boottime(0));
        life.hear(Boottime(0), &session(1));
        let change = life.hint_gone(Boottime(S)).unwrap();
        assert_eq!(change.to, Liveness::Suspect);
        assert!(
            life.tick(Boottime(29 * S), ears(0, 0), &settings())
                .is_none()
        );
        let change = life
            .tick(Boottime(30 * S), ears(0, 0), &settings())
            .unwrap();
        assert_eq!(change.to, Liveness::Lost);
    }

    #[test]
    fn a_lost_node_must_stay_heard_for_a_while_before_it_is_alive() {
        let mut life = Life {
            standing: Standing::Lost { heard: None },
            since: Boottime(0),
        };
        life.hear(Boottime(100 * S), &session(1));
        assert_eq!(life.kind(), Liveness::Returning);
        life.hear(Boottime(105 * S), &session(1));
        assert!(
            life.tick(Boottime(114 * S), ears(0, 0), &settings())
                .is_none()
        );
        life.hear(Boottime(110 * S), &session(1));
        life.tick(Boottime(115 * S), ears(0, 0), &settings());
        assert_eq!(life.kind(), Liveness::Alive);
    }

    #[test]
    fn a_deaf_coordinator_loses_nobody() {
        let mut life = Life::unheard(Boottime(0));
        life.hear(Boottime(0), &session(1));
        let deaf = Ears {
            listening: None,
            grace_until: Boottime(0),
        };
        assert!(life.tick(Boottime(500 * S), deaf, &settings()).is_none());
        // It hears again: the silence before that was its own fault.
        assert!(
            life.tick(Boottime(510 * S), ears(500 * S, 0), &settings())
                .is_none()
        );
        assert!(
            life.tick(Boottime(515 * S), ears(500 * S, 0), &settings())
                .is_some()
        );
    }

    #[test]
    fn a_farewell_holds_until_its_time_and_old_messages_do_not_break_it() {
        let mut life = Life::unheard(Boottime(0));
        life.hear(Boottime(0), &session(1));
        let going = GoingDown {
            reason: String::from("agent upgrade"),
            back_within: Millis::from_secs(120),
        };
        life.goes(Boottime(S), &session(1), &going);
        assert!(life.hear(Boottime(2 * S), &session(1)).is_none());
        assert!(
            life.tick(Boottime(119 * S), ears(0, 0), &settings())
                .is_none()
        );
        assert_eq!(life.kind(), Liveness::Away);
        life.hear(Boottime(120 * S), &session(2));
        assert_eq!(life.kind(), Liveness::Alive);
    }

    #[test]
    fn nobody_is_lost_before_the_resume_grace_is_over() {
        let mut life = Life::unheard(Boottime(0));
        let ears = ears(0, 90 * S);
        assert!(life.tick(Boottime(89 * S), ears, &settings()).is_none());
        assert_eq!(life.next(ears, &settings()), Some(Boottime(90 * S)));
        assert!(life.tick(Boottime(90 * S), ears, &settings()).is_some());
    }
}
