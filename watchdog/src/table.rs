//! Which promises stand and which are broken: all that the watchdog remembers, of a fixed size, and
//! its bytes for the watchdog after this one. Pure.

use std::array;

use crate::beat::{self, HEADER, PROMISES_MAX, Promise, RECORD, Refused, SESSION, Status, u64_at};

/// Promises over all sessions: one full beat, and as many left by an agent that died.
pub const HELD_MAX: usize = 2 * PROMISES_MAX;
/// Of one promise in a saved table: session, stage, record.
const SAVED: usize = 16 + RECORD;
/// Longest saved table.
pub const SAVED_MAX: usize = HEADER + SAVED * HELD_MAX;
/// Where the agent's pid and start time are in the header of the newest beat, which has no use for
/// these bytes.
pub(crate) const PID: usize = 48;
pub(crate) const START: usize = 56;

/// How it stands with a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not overdue.
    Live = 0,
    /// Overdue, and its target is not yet seen gone: no beat changes that.
    Broken = 1,
    /// Its target was seen gone. Whatever reappears is struck.
    Ended = 2,
}

/// A promise that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whose it is.
    pub session: u64,
    /// What was promised.
    pub promise: Promise,
    /// How it stands.
    pub stage: Stage,
    /// Since when; of a live one: when its deadline was heard of.
    pub since: u64,
    /// When its target is looked at next.
    pub look_at: u64,
    /// Three fifths of its time are over, and that was said.
    pub warned: bool,
    /// Of a live one: its target was asked to end. Of a broken one: something was there to kill.
    pub acted: bool,
    /// The agent did not keep it: the session that gave it cannot withdraw it.
    pub ours: bool,
    /// A frozen agent may start its target again at any moment: no time to see it gone.
    pub frozen: bool,
}

impl Held {
    fn new(now: u64, session: u64, promise: Promise) -> Held {
        let (warned, acted, ours, frozen) = (false, false, false, false);
        let (stage, since, look_at) = (Stage::Live, now, now);
        Held { session, promise, stage, since, look_at, warned, acted, ours, frozen }
    }

    /// The same promise as a new beat names it.
    fn renewed(self, now: u64, session: u64, promise: Promise) -> Held {
        let ours = self.ours && self.session == session;
        match self.stage {
            Stage::Broken => self,
            // Said again, or overdue when it was said: what was known of it stays.
            _ if self.promise == promise || promise.due() <= now => {
                Held { session, promise, ours, ..self }
            }
            _ => Held::new(now, session, promise),
        }
    }
}

/// All promises.
#[derive(Clone, Debug)]
pub struct Table {
    /// What is held.
    pub held: [Option<Held>; HELD_MAX],
    /// The header of the newest beat, and in it the agent's process.
    pub last: [u8; HEADER],
}

impl Table {
    /// Nothing is promised.
    pub const EMPTY: Table = Table { held: [None; HELD_MAX], last: [0; HEADER] };

    /// Takes a beat that was checked, of this process, or says why not; then nothing has changed.
    ///
    /// # Errors
    /// When there is no room.
    pub fn take(&mut self, now: u64, pid: u32, start: u64, beat: &[u8]) -> Result<(), Refused> {
        let session = u64_at(beat, SESSION);
        let held = self.held.iter().flatten();
        let renewed = beat::promises(beat).map(|promise| {
            let known = held.clone().find(|h| h.promise.is_about(&promise));
            known.map_or(Held::new(now, session, promise), |h| h.renewed(now, session, promise))
        });
        let kept = |h: &&Held| {
            let named = beat::promises(beat).any(|p| p.is_about(&h.promise));
            !named && (h.session != session || h.stage == Stage::Broken || h.ours)
        };
        let (ended, open) =
            (|h: &&Held| h.stage == Stage::Ended, |h: &&Held| h.stage != Stage::Ended);
        // What has ended gives way when there is no room: it is watched for as long as it can be.
        let others = held.clone().filter(kept);
        let mut all =
            renewed.chain(others.clone().filter(open).chain(others.filter(ended)).copied());
        let next = array::from_fn(|_| all.next());
        if all.any(|h| open(&&h)) {
            return Err((Status::Full, "there are too many promises of all sessions"));
        }
        self.held = next;
        self.last.copy_from_slice(&beat[..HEADER]);
        self.last[PID..START].copy_from_slice(&u64::from(pid).to_le_bytes());
        self.last[START..].copy_from_slice(&start.to_le_bytes());
        Ok(())
    }

    /// Promises whose targets are not yet seen gone, and how many of these are broken.
    #[must_use]
    pub fn count(&self) -> (u32, u32) {
        let held = self.held.iter().flatten();
        let count = |stage| held.clone().fold(0, |n, h| n + u32::from(h.stage == stage));
        (count(Stage::Live) + count(Stage::Broken), count(Stage::Broken))
    }

    /// Writes everything; says how long that is.
    pub fn save(&self, out: &mut [u8; SAVED_MAX]) -> usize {
        let (last, rest) = out.split_at_mut(HEADER);
        last.copy_from_slice(&self.last);
        let places = rest.chunks_exact_mut(SAVED);
        self.held.iter().flatten().zip(places).fold(HEADER, |length, (h, place)| {
            place[..8].copy_from_slice(&h.session.to_le_bytes());
            place[8..10].copy_from_slice(&[h.stage as u8, u8::from(h.ours)]);
            place[16..].copy_from_slice(&h.promise.0);
            length + SAVED
        })
    }

    /// Reads what [`Table::save`] wrote; `None` when it is anything else.
    #[must_use]
    pub fn restore(now: u64, bytes: &[u8]) -> Option<Table> {
        let mut table = Table { last: bytes.get(..HEADER)?.try_into().ok()?, ..Table::EMPTY };
        for (saved, slot) in bytes[HEADER..].chunks_exact(SAVED).zip(&mut table.held) {
            let mut held = Held::new(now, u64_at(saved, 0), Promise::parse(&saved[16..])?);
            held.stage = [Stage::Live, Stage::Broken, Stage::Ended][usize::from(saved[8].min(2))];
            held.ours = saved[9] == 1;
            *slot = Some(held);
        }
        Some(table)
    }
}
