//! Which promises stand and which are broken: all that the watchdog remembers, of a fixed size, and
//! its bytes for the watchdog after this one. Pure.

use std::array;

use crate::beat::{self, HEADER, PROMISES_MAX, Promise, RECORD, SESSION, Status, u64_at};

/// Promises over all sessions: one full beat, and as many left by an agent that died.
pub const HELD_MAX: usize = 2 * PROMISES_MAX;
/// Of one promise in a saved table: session, stage, whether something was done, record.
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
    /// Of a live one: its target was asked to end. Else: something was there to kill, so that the
    /// session that gave it, and did not keep it, cannot withdraw it.
    pub acted: bool,
    /// A frozen agent may start its target again at any moment: no time to see it gone.
    pub frozen: bool,
}

impl Held {
    fn new(now: u64, session: u64, promise: Promise, stage: Stage) -> Held {
        let (warned, acted, frozen) = (false, false, false);
        Held { session, promise, stage, since: now, look_at: now, warned, acted, frozen }
    }

    /// The same promise as a new beat names it.
    fn renewed(self, now: u64, session: u64, promise: Promise) -> Held {
        let acted = self.acted && self.session == session;
        match self.stage {
            Stage::Broken => self,
            // Said again, or overdue when it was said: what was known of it stays.
            _ if self.promise == promise || promise.due() <= now => {
                Held { session, promise, acted, ..self }
            }
            _ => Held::new(now, session, promise, Stage::Live),
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
    /// Takes a beat that was checked, of this process, or says why not; then nothing has changed.
    ///
    /// # Errors
    /// When there is no room.
    pub fn take(&mut self, now: u64, pid: u32, start: u64, beat: &[u8]) -> Result<(), Status> {
        let (session, mut idle) = (u64_at(beat, SESSION), beat::promises(beat).next().is_none());
        let held = self.held.iter().flatten().copied();
        idle &= held.clone().next().is_none();
        let named = beat::promises(beat).map(|promise| {
            let known = held.clone().find(|h| h.promise.is_about(&promise));
            let new = Held::new(now, session, promise, Stage::Live);
            known.map_or(new, |known| known.renewed(now, session, promise))
        });
        let stays = |h: &Held| {
            let lasting = h.stage == Stage::Broken || h.stage == Stage::Ended && h.acted;
            let is_named = beat::promises(beat).any(|promise| promise.is_about(&h.promise));
            !is_named && (lasting || h.session != session)
        };
        let is_open = |h: &Held| h.stage != Stage::Ended;
        // What has ended gives way when there is no room: it is watched for as long as it can be.
        let (others, ended) = (held.clone().filter(stays), |h: &Held| !is_open(h));
        let mut all = named.chain(others.clone().filter(is_open)).chain(others.filter(ended));
        if !idle {
            let next = array::from_fn(|_| all.next());
            if all.any(|h| is_open(&h)) {
                return Err(Status::Full);
            }
            self.held = next;
        }
        self.last.copy_from_slice(&beat[..HEADER]);
        self.last[PID..START].copy_from_slice(&u64::from(pid).to_le_bytes());
        self.last[START..].copy_from_slice(&start.to_le_bytes());
        Ok(())
    }

    /// Promises whose targets are not yet seen gone, and how many of these are broken.
    #[must_use]
    pub fn count(&self) -> (u32, u32) {
        self.held.iter().flatten().fold((0, 0), |(open, broken), h| match h.stage {
            Stage::Live => (open + 1, broken),
            Stage::Broken => (open + 1, broken + 1),
            Stage::Ended => (open, broken),
        })
    }

    /// Writes everything; says how long that is.
    pub fn save(&self, out: &mut [u8; SAVED_MAX]) -> usize {
        let (last, rest) = out.split_at_mut(HEADER);
        last.copy_from_slice(&self.last);
        let places = rest.chunks_exact_mut(SAVED);
        self.held.iter().flatten().zip(places).fold(HEADER, |length, (h, place)| {
            place[..8].copy_from_slice(&h.session.to_le_bytes());
            place[8..10].copy_from_slice(&[h.stage as u8, u8::from(h.acted)]);
            place[16..].copy_from_slice(&h.promise.0);
            length + SAVED
        })
    }

    /// Reads what [`Table::save`] wrote; of anything else, what is whole.
    #[must_use]
    pub fn restore(now: u64, bytes: &[u8]) -> Table {
        let (last, rest) = bytes.split_first_chunk().unwrap_or((&[0; HEADER], &[]));
        let mut all = rest.chunks_exact(SAVED).filter_map(|saved| {
            let stage = [Stage::Live, Stage::Broken, Stage::Ended][usize::from(saved[8].min(2))];
            let held = Held::new(now, u64_at(saved, 0), Promise::parse(&saved[16..])?, stage);
            Some(Held { acted: saved[9] == 1, ..held })
        });
        Table { held: array::from_fn(|_| all.next()), last: *last }
    }
}
