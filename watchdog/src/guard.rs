//! The loop's decisions: beats to answers, time to strikes, food and words. It is told the time and
//! given its hands (device, enforcer), so that tests run it in virtual time.

use crate::beat::{Answer, Beat, Status, Target};
use crate::device::Device;
use crate::enforce::Enforce;
use crate::log;
use crate::promise::{Action, Outcome, Table};

/// With a device: how long killing may take before the device is starved. SIGKILL takes effect in
/// microseconds; the rest is the kernel freeing the memory of a large process.
pub const VERIFY_MS: u64 = 3000;
/// One turn of the loop, late by as much as a loaded host makes it.
pub const SLACK_MS: u64 = 1000;
/// How often a broken promise is struck at until its target is seen gone.
const STRIKE_EVERY_MS: u64 = 20;
/// The same once it is overdue: looking at every process fifty times a second would starve others.
const STRIKE_LATE_MS: u64 = 500;
/// A target that cannot be struck at is said once in this time.
const ERROR_EVERY_MS: u64 = 1000;
/// The loop turns at least so often.
pub const TURN_MAX_MS: u64 = 1000;
/// A stop waits so long for a target that no signal ends; then it says so and fails.
const STOP_UNVERIFIED_MS: u64 = 10_000;
/// Refused beats are logged once in this time.
const REFUSED_EVERY_MS: u64 = 60_000;

fn due(now: u64, said: Option<u64>, every: u64) -> bool {
    said.is_none_or(|said| now.saturating_sub(said) >= every)
}

/// How the loop may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing was promised any more; the device is disarmed.
    Clean,
    /// Promises are live and the agent is well: the next watchdog takes over. An armed device stays
    /// armed.
    HandOver,
    /// A target could not be ended.
    Unverified,
}

/// Settings and standing of the running program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// Without a device: the time to make a promise good.
    pub timeout_ms: u64,
    /// One more uid that may send.
    pub agent_uid: Option<u32>,
    /// Disarm at a stop in any case.
    pub release_on_stop: bool,
    /// Our own uid.
    pub own_uid: u32,
    /// Bits 0 and 1 of an answer's flags.
    pub flags: u32,
}

/// The watchdog without its sockets.
pub struct Guard<D, E> {
    device: Option<D>,
    hands: E,
    standing: Standing,
    table: Table,
    fed_at: Option<u64>,
    starving: bool,
    silent: bool,
    stopping: bool,
    struck_at: u64,
    error_said: Option<u64>,
    refused: u64,
    refused_said: Option<u64>,
}

impl<D: Device, E: Enforce> Guard<D, E> {
    /// `earlier`: beats that the watchdog before this one left.
    pub fn new(
        now: u64,
        device: Option<D>,
        hands: E,
        standing: Standing,
        earlier: &[Beat],
    ) -> Self {
        let verify = if device.is_some() {
            VERIFY_MS
        } else {
            standing.timeout_ms
        };
        let mut table = Table::new(verify);
        for beat in earlier {
            table.take(now, beat);
        }
        Guard {
            device,
            hands,
            standing,
            table,
            fed_at: None,
            starving: false,
            silent: false,
            stopping: false,
            struck_at: 0,
            error_said: None,
            refused: 0,
            refused_said: None,
        }
    }

    /// One datagram of this uid; the bytes to answer with.
    pub fn receive(&mut self, now: u64, uid: Option<u32>, bytes: &[u8]) -> Answer {
        let known = [
            Some(0),
            Some(self.standing.own_uid),
            self.standing.agent_uid,
        ];
        let (session, sequence) = Beat::name(bytes);
        let status = if uid.is_none() || !known.contains(&uid) {
            self.refuse(
                now,
                Status::NotAllowed,
                "its sender may not promise here",
                uid,
            )
        } else {
            match Beat::decode(bytes) {
                Err(bad) => self.refuse(now, bad.status, bad.why, uid),
                Ok(beat) if beat.promises.iter().any(|p| self.hands.is_self(&p.target)) => {
                    self.refuse(now, Status::Malformed, "it names the watchdog itself", uid)
                }
                Ok(beat) => self.take(now, &beat, uid),
            }
        };
        let named = !matches!(status, Status::Malformed | Status::NotAllowed);
        let (held, broken) = self.table.count();
        let count = |n| u32::try_from(n).unwrap_or(u32::MAX);
        let device = self.device.as_ref();
        Answer {
            status,
            hardware: device.is_some(),
            session: if named { session } else { 0 },
            sequence: if named { sequence } else { 0 },
            timeout: device.map_or(self.standing.timeout_ms, |d| {
                d.timeout_ms() + VERIFY_MS + SLACK_MS
            }),
            now,
            live: count(held),
            broken: count(broken),
            flags: self.standing.flags | if self.stopping { 4 } else { 0 },
            boot_status: device.map_or(0, Device::boot_status),
        }
    }

    fn take(&mut self, now: u64, beat: &Beat, uid: Option<u32>) -> Status {
        let before = self.table.last().map(|last| last.session);
        let status = self.table.take(now, beat);
        match status {
            Status::Taken if before != Some(beat.session) => {
                log::info(&format!("session {:016x} of the agent began", beat.session));
            }
            Status::Taken => {}
            Status::Stale => {
                self.refuse(now, status, "it is older than one already taken", uid);
            }
            _ => {
                self.refuse(
                    now,
                    status,
                    "there are too many promises over all sessions",
                    uid,
                );
            }
        }
        if status == Status::Taken && std::mem::take(&mut self.silent) {
            log::info("the agent beats again");
        }
        status
    }

    fn refuse(&mut self, now: u64, status: Status, why: &str, uid: Option<u32>) -> Status {
        self.refused += 1;
        if due(now, self.refused_said, REFUSED_EVERY_MS) {
            self.refused_said = Some(now);
            let who = uid.map_or(String::from("an unknown uid"), |uid| format!("uid {uid}"));
            log::warning(&format!(
                "beat of {who} refused: {why} ({} refused so far)",
                self.refused
            ));
        }
        status
    }

    /// Does what is due at this time.
    pub fn turn(&mut self, now: u64) {
        if now >= self.struck_at.saturating_add(self.strike_every(now)) {
            self.struck_at = now;
            for action in self.table.due(now) {
                self.act(now, action);
            }
        }
        if self.stopping {
            self.forget_gone();
        }
        self.listen(now);
        self.feed(now);
    }

    fn act(&mut self, now: u64, action: Action) {
        match action {
            Action::Warn(target, left) => {
                // It may be over without a word from a dead agent.
                if self.hands.look(&target) != Ok(0) {
                    log::warning(&format!(
                        "{target} is past its deadline and will be killed in {left} ms"
                    ));
                }
            }
            Action::Overdue(target, late) => log::alert(&format!(
                "{target} still runs {late} ms after it was promised to be gone: {}",
                match self.device {
                    Some(_) => "the device is starved and will reset this host",
                    None => "no device stands behind this; reset this host by hand",
                }
            )),
            Action::Strike(target) => self.strike(now, &target),
        }
    }

    fn strike(&mut self, now: u64, target: &Target) {
        let left = self.hands.strike(target);
        match self.table.seen(now, target, left.as_ref().ok().copied()) {
            Outcome::Kept => log::info(&format!("{target} is over: its promise was kept")),
            Outcome::MadeGood(late) => {
                log::alert(&format!(
                    "{target} was killed; seen gone {late} ms after its grace"
                ));
            }
            Outcome::Left => {
                if let Err(error) = left
                    && due(now, self.error_said, ERROR_EVERY_MS)
                {
                    self.error_said = Some(now);
                    log::alert(&format!("{target}: {error}"));
                }
            }
        }
    }

    fn strike_every(&self, now: u64) -> u64 {
        match self.table.overdue(now) {
            Some(_) => STRIKE_LATE_MS,
            None => STRIKE_EVERY_MS,
        }
    }

    /// At a stop nobody else will look, so what is over is let go at once.
    fn forget_gone(&mut self) {
        let gone = |t: &&Target| self.hands.look(t) == Ok(0);
        let over: Vec<Target> = self.table.live().filter(gone).cloned().collect();
        for target in over {
            self.table.forget(&target);
        }
    }

    /// A silent agent is reported and nothing else: only promises are enforced.
    fn listen(&mut self, now: u64) {
        let Some(last) = self.table.last() else {
            return;
        };
        let late_at = last
            .next
            .saturating_add(last.next.saturating_sub(last.taken));
        if self.silent || last.leaving || now < late_at {
            return;
        }
        self.silent = true;
        let text = format!(
            "no beat of the agent for {} ms",
            now.saturating_sub(last.taken)
        );
        match self.table.count().0 {
            0 => log::warning(&format!("{text}; nothing is promised, so nothing is done")),
            held => log::warning(&format!("{text}; {held} promises are enforced as they end")),
        }
    }

    fn feed(&mut self, now: u64) {
        let overdue = self.table.overdue(now).is_some();
        let Some(device) = self.device.as_mut() else {
            return;
        };
        if overdue != self.starving {
            self.starving = overdue;
            log::alert(if overdue {
                "a promise cannot be kept: the device is not fed any more"
            } else {
                "the promise is made good after all: the device is fed again"
            });
        }
        let gap = self.fed_at.map(|fed| now.saturating_sub(fed));
        // Half of the timeout leaves one whole try for a late turn.
        if overdue || gap.is_some_and(|gap| gap < device.timeout_ms() / 2) {
            return;
        }
        if let Some(gap) = gap.filter(|gap| *gap > device.timeout_ms() / 5 * 3) {
            let limit = device.timeout_ms();
            log::warning(&format!(
                "the device was fed after {gap} ms, it allows {limit} ms"
            ));
        }
        match device.ping() {
            Ok(()) => self.fed_at = Some(now),
            Err(error) => log::alert(&format!("cannot feed the device: {error}")),
        }
    }

    /// When [`Guard::turn`] wants to be called next, in milliseconds from now.
    #[must_use]
    pub fn wait_ms(&self, now: u64) -> u64 {
        let promise = match self.table.next() {
            Some(at) => at.saturating_sub(now).max(self.strike_every(now)),
            None => TURN_MAX_MS,
        };
        let food = self.device.as_ref().map_or(TURN_MAX_MS, |device| {
            let due = self.fed_at.map_or(0, |fed| fed + device.timeout_ms() / 2);
            due.saturating_sub(now).max(STRIKE_EVERY_MS)
        });
        let stop = if self.stopping { 100 } else { TURN_MAX_MS };
        promise.min(food).min(stop).min(TURN_MAX_MS)
    }

    /// Somebody wants this program to end.
    pub fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopping, true) {
            log::info(&format!(
                "asked to stop with {} promises live",
                self.table.count().0
            ));
        }
    }

    /// Whether it may end now, after [`Guard::stop`]. With live promises of an agent that beats,
    /// the next watchdog takes over; of one that does not, they are enforced to their end first.
    pub fn end(&mut self, now: u64) -> Option<End> {
        if !self.stopping {
            return None;
        }
        let (held, broken) = self.table.count();
        let fresh = self
            .table
            .last()
            .is_some_and(|last| !last.leaving && now < last.next + SLACK_MS);
        let end = if held == 0 || self.standing.release_on_stop {
            End::Clean
        } else if broken == 0 && fresh {
            End::HandOver
        } else if self
            .table
            .overdue(now)
            .is_some_and(|late| late >= STOP_UNVERIFIED_MS)
        {
            End::Unverified
        } else {
            return None;
        };
        match (&mut self.device, end) {
            (Some(device), End::Clean) => match device.disarm() {
                Ok(()) => log::info("the device is disarmed"),
                Err(error) => log::alert(&format!("cannot disarm the device: {error}")),
            },
            (Some(device), _) => log::alert(&format!(
                "the device stays armed: without a watchdog in {} ms it resets this host",
                device.timeout_ms()
            )),
            (None, End::HandOver) => log::alert(
                "promises are live and nobody enforces them until the watchdog runs again",
            ),
            (None, _) => {}
        }
        Some(end)
    }

    /// What the next watchdog needs.
    #[must_use]
    pub fn beats(&self) -> Vec<Beat> {
        self.table.beats()
    }
}
