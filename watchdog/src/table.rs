//! Which promises stand and which are broken: all that the watchdog remembers, of a fixed size, and
//! its bytes for the watchdog after this one. Pure.

use crate::beat::{self, HEADER, Header, PROMISES_MAX, Promise, RECORD, SESSION, Status, u64_at};

/// Promises over all sessions: one full beat, and as many left by an agent that died.
pub const HELD_MAX: usize = 2 * PROMISES_MAX;
/// Of one promise in a saved table: session, stage, whether something was done, record.
const SAVED: usize = 16 + RECORD;
/// Longest saved table.
const SAVED_MAX: usize = HEADER + SAVED * HELD_MAX;
/// Where the agent's pid and start time are in the header of the newest beat, which has no use for
/// these bytes.
pub(crate) const PID: usize = 6;
pub(crate) const START: usize = 7;

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
    /// Of a live one: its target was asked to end. Else: something was there to kill, so that the
    /// session that gave it, and did not keep it, cannot withdraw it.
    pub acted: bool,
    /// Of a broken one: since when its target is to be gone.
    pub since: u64,
    /// When its target is looked at next; of a live one: when it is warned of.
    pub look_at: u64,
}

impl Held {
    /// As sbd does with its own timeout, it is warned of at three fifths, so that a term that is
    /// too short is known before it kills.
    fn new(now: u64, session: u64, promise: Promise) -> Held {
        let look_at = now + promise.due().saturating_sub(now) / 5 * 3;
        Held { session, promise, stage: Stage::Live, acted: false, since: now, look_at }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.stage != Stage::Ended
    }
}

/// All promises.
#[derive(Clone, Debug)]
pub struct Table {
    /// What is held.
    pub held: Vec<Held>,
    /// The header of the newest beat, and in it the agent's process.
    pub(crate) last: Header,
    saved: Vec<u8>,
}

impl Table {
    /// Takes a beat that was checked, or says why not; then nothing has changed.
    pub(crate) fn take(&mut self, now: u64, header: Header, beat: &[u8]) -> Result<(), Status> {
        let session = header[SESSION];
        let named = |h: &Held| beat::promises(beat).any(|promise| promise.is_about(&h.promise));
        let lasts =
            |h: &Held| h.session != session || h.stage == Stage::Broken || h.acted && !h.is_open();
        let others = self.held.iter().filter(|h| h.is_open() && lasts(h) && !named(h));
        if others.count() + beat::promises(beat).count() > HELD_MAX {
            return Err(Status::Full);
        }
        self.held.retain(|h| named(h) || lasts(h));
        for promise in beat::promises(beat) {
            let new = Held::new(now, session, promise);
            match self.held.iter_mut().find(|h| h.promise.is_about(&promise)) {
                None => self.held.push(new),
                Some(held) if held.stage == Stage::Broken => {}
                // Said again, or overdue when it was said: what was known of it stays.
                Some(held) if held.promise == promise || promise.due() <= now => {
                    let acted = held.acted && held.session == session;
                    *held = Held { session, promise, acted, ..*held };
                }
                Some(held) => *held = new,
            }
        }
        // What has ended gives way when there is no room: it is watched for as long as it can be.
        self.held.sort_unstable_by_key(|held| !held.is_open());
        self.held.truncate(HELD_MAX);
        self.last = header;
        Ok(())
    }

    /// Promises whose targets are not yet seen gone, and how many of these are broken.
    pub fn count(&self) -> (u32, u32) {
        let of = |h: &Held| (u32::from(h.is_open()), u32::from(h.stage == Stage::Broken));
        self.held.iter().map(of).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Writes everything.
    pub(crate) fn save(&mut self) -> &[u8] {
        let out = &mut self.saved;
        out.clear();
        out.extend_from_slice(self.last.map(u64::to_le_bytes).as_flattened());
        for held in &self.held {
            let numbers = [held.session, held.stage as u64 | u64::from(held.acted) << 8];
            out.extend_from_slice(numbers.map(u64::to_le_bytes).as_flattened());
            out.extend_from_slice(&held.promise.0);
        }
        out
    }

    /// Reads what [`Table::save`] wrote; of anything else, what is whole.
    pub(crate) fn restore(now: u64, bytes: &[u8]) -> Table {
        let mut held = Vec::with_capacity(HELD_MAX + PROMISES_MAX);
        let saved = bytes.get(HEADER..).unwrap_or_default().chunks_exact(SAVED);
        held.extend(saved.take(HELD_MAX).filter_map(|saved| {
            let stage = [Stage::Live, Stage::Broken, Stage::Ended][usize::from(saved[8].min(2))];
            let held = Held::new(now, u64_at(saved, 0), Promise::parse(&saved[16..])?);
            Some(Held { stage, acted: saved[9] == 1, ..held })
        }));
        Table { held, last: beat::header(bytes), saved: Vec::with_capacity(SAVED_MAX) }
    }
}
