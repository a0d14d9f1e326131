//! Which promises stand, which are broken, and what to do about it. Pure: told the time, touches
//! nothing.

use crate::beat::{Beat, PROMISES_MAX, Promise, Status, Target};

/// Promises over all sessions: one full beat, and as many left by an agent that died.
pub const HELD_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    session: u64,
    promise: Promise,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live {
        warned: bool,
    },
    /// Final: no later beat changes it. `struck` when something was there to kill.
    Broken {
        struck: bool,
        said_at: u64,
    },
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say that this target still runs and will be killed in so many milliseconds.
    Warn(Target, u64),
    /// Kill what is left of the target, look, and tell [`Table::seen`].
    Strike(Target),
    /// Say loudly that the target is not gone, so many milliseconds after it was promised to be.
    Overdue(Target, u64),
}

/// How a broken promise came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was there: the agent had kept it.
    Kept,
    /// Killed and verified, so many milliseconds after the promise was broken.
    MadeGood(u64),
    /// Something is left.
    Left,
}

/// The newest beat taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Its session.
    pub session: u64,
    /// Its sequence.
    pub sequence: u64,
    /// When it was made.
    pub sent: u64,
    /// When it was taken.
    pub taken: u64,
    /// When the next one was promised.
    pub next: u64,
    /// The agent said that it ends.
    pub leaving: bool,
}

/// All promises.
#[derive(Debug)]
pub struct Table {
    held: Vec<Held>,
    last: Option<Last>,
    verify: u64,
}

impl Table {
    /// `verify`: how long after a promise is broken its target may take to be seen gone.
    #[must_use]
    pub fn new(verify: u64) -> Table {
        Table {
            held: Vec::with_capacity(HELD_MAX),
            last: None,
            verify,
        }
    }

    /// Takes a beat, or says why not; then nothing has changed.
    pub fn take(&mut self, now: u64, beat: &Beat) -> Status {
        if let Some(last) = self.last {
            let older = if last.session == beat.session {
                beat.sequence <= last.sequence
            } else {
                beat.sent < last.sent
            };
            if older {
                return Status::Stale;
            }
        }
        let broken = |h: &Held| matches!(h.state, State::Broken { .. });
        let named = |h: &Held| beat.promises.iter().any(|p| p.target == h.promise.target);
        let stays = |h: &Held| broken(h) || (h.session != beat.session && !named(h));
        let is_broken = |p: &&Promise| {
            !self
                .held
                .iter()
                .any(|h| broken(h) && h.promise.target == p.target)
        };
        let new: Vec<Held> = (beat.promises.iter().filter(is_broken))
            .map(|p| Held {
                session: beat.session,
                promise: p.clone(),
                state: State::Live { warned: false },
            })
            .collect();
        if self.held.iter().filter(|h| stays(h)).count() + new.len() > HELD_MAX {
            return Status::Full;
        }
        self.held.retain(stays);
        self.held.extend(new);
        self.last = Some(Last {
            session: beat.session,
            sequence: beat.sequence,
            sent: beat.sent,
            taken: now,
            next: now.saturating_add(beat.next),
            leaving: beat.leaving,
        });
        Status::Taken
    }

    /// What is due. A strike is due at each call as long as its target is not seen gone.
    pub fn due(&mut self, now: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        for held in &mut self.held {
            let broken_at = held.promise.broken_at();
            let target = || held.promise.target.clone();
            if now >= broken_at && matches!(held.state, State::Live { .. }) {
                held.state = State::Broken {
                    struck: false,
                    said_at: broken_at,
                };
            }
            match &mut held.state {
                State::Live { warned } => {
                    // As sbd does with its own timeout: loud at three fifths, so that a grace which
                    // is too short is known before it kills.
                    let warn_at = held
                        .promise
                        .deadline
                        .saturating_add(held.promise.grace / 5 * 3);
                    if now >= warn_at && !*warned {
                        *warned = true;
                        actions.push(Action::Warn(target(), broken_at - now));
                    }
                }
                State::Broken { said_at, .. } => {
                    let late = now.saturating_sub(broken_at);
                    if late >= self.verify && now.saturating_sub(*said_at) >= 1000 {
                        *said_at = now;
                        actions.push(Action::Overdue(target(), late));
                    }
                    actions.push(Action::Strike(target()));
                }
            }
        }
        actions
    }

    /// What a strike saw: how many processes of the target were there, `None` when that could not
    /// be seen.
    pub fn seen(&mut self, now: u64, target: &Target, left: Option<usize>) -> Outcome {
        let Some(at) = self.held.iter().position(|h| h.promise.target == *target) else {
            return Outcome::Kept;
        };
        let State::Broken { struck, .. } = &mut self.held[at].state else {
            return Outcome::Left;
        };
        if left != Some(0) {
            *struck = true;
            return Outcome::Left;
        }
        let struck = *struck;
        let held = self.held.remove(at);
        if struck {
            Outcome::MadeGood(now.saturating_sub(held.promise.broken_at()))
        } else {
            Outcome::Kept
        }
    }

    /// Takes away a promise whose target is seen gone before its time.
    pub fn forget(&mut self, target: &Target) {
        self.held.retain(|h| h.promise.target != *target);
    }

    /// For how long a promise has been broken beyond the time to make it good; `None` if none is.
    #[must_use]
    pub fn overdue(&self, now: u64) -> Option<u64> {
        let limit = |h: &Held| h.promise.broken_at().saturating_add(self.verify);
        self.held
            .iter()
            .map(limit)
            .filter(|at| now >= *at)
            .min()
            .map(|at| now - at)
    }

    /// When something falls due next; `None` when nothing does.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        let next = |h: &Held| match h.state {
            State::Live { warned: false } => {
                h.promise.deadline.saturating_add(h.promise.grace / 5 * 3)
            }
            State::Live { warned: true } => h.promise.broken_at(),
            State::Broken { .. } => 0,
        };
        self.held.iter().map(next).min()
    }

    /// Promises held, and how many of these are broken.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let broken = |h: &&Held| matches!(h.state, State::Broken { .. });
        (self.held.len(), self.held.iter().filter(broken).count())
    }

    /// The newest beat taken.
    #[must_use]
    pub const fn last(&self) -> Option<Last> {
        self.last
    }

    /// The targets of promises that are not broken.
    pub fn live(&self) -> impl Iterator<Item = &Target> {
        let live = |h: &&Held| matches!(h.state, State::Live { .. });
        self.held.iter().filter(live).map(|h| &h.promise.target)
    }

    /// Everything as beats, the newest session last: what the next watchdog needs to go on. What
    /// the newest session cannot withdraw goes under session names of its own.
    #[must_use]
    pub fn beats(&self) -> Vec<Beat> {
        let Some(last) = self.last else {
            return Vec::new();
        };
        let beat = |session: u64, held: &[&Held]| Beat {
            session,
            sequence: if session == last.session {
                last.sequence
            } else {
                1
            },
            sent: last.sent,
            next: last.next.saturating_sub(last.taken).max(1),
            leaving: last.leaving,
            promises: held.iter().map(|h| h.promise.clone()).collect(),
        };
        let (own, other): (Vec<&Held>, Vec<&Held>) = (self.held.iter())
            .partition(|h| h.session == last.session && matches!(h.state, State::Live { .. }));
        let mut beats: Vec<Beat> = (other.chunks(PROMISES_MAX).zip(1..))
            .map(|(part, i): (&[&Held], u64)| beat(u64::MAX - i, part))
            .collect();
        beats.push(beat(last.session, &own));
        beats
    }
}
