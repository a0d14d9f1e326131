//! The verdict: what is fed, asked to end, killed or reset, and when. Told the time and given its
//! host, so that tests and simulations drive exactly this in virtual time.
//! docs/adr/0011-watchdog-verdicts.md says why.

use std::mem::replace;

use nix::sys::signal::Signal;

use crate::beat::{self, HEADER, LEAVING, NEXT, Promise, SENT, SEQUENCE, SESSION, Status, u64_at};
pub use crate::host::{ALERT, Act, Fault, Host, INFO, SLACK_MS, Settings, VERIFY_MS, WARNING};
use crate::table::{HELD_MAX, Held, PID, SAVED_MAX, START, Stage, Table};

/// After a restart of this program a living agent has so long to speak before it is judged by what
/// it told the run before. It beats each second.
pub const HEAR_MS: u64 = 2000;
/// An agent is silent when its beat is late by so much.
pub const SILENT_MS: u64 = 1000;
/// The loop turns at least so often; and so often when somebody waits for its end.
pub const TURN_MAX_MS: u64 = 1000;
const STOPPING_MS: u64 = 100;
/// How soon a broken promise is struck at again until its target is seen gone; later ever more
/// rarely, because looking at every process fifty times a second would starve others.
const STRIKE_MS: u64 = 20;
const STRIKE_MAX_MS: u64 = 500;
/// How often a cgroup that was ended is looked at.
const ENDED_MS: u64 = 1000;
/// What goes on is said, and a last resort that failed is tried, again after so long.
const AGAIN_MS: u64 = 60_000;
/// A stop waits so long for a target that no signal ends; then it says so and fails.
const STOP_UNVERIFIED_MS: u64 = 10_000;
/// Of `/proc/PID/stat`: USER_HZ is 100 on all that this program is built for.
const TICK_MS: u64 = 10;

macro_rules! say {
    ($to:expr, $level:expr, $($line:tt)*) => { $to.host.say($level, format_args!($($line)*)) };
}

/// How the loop may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing is promised any more; the device is disarmed.
    Clean,
    /// Promises are live and the agent beats: the next watchdog takes over. A device stays armed.
    HandOver,
    /// A target could not be ended.
    Unverified,
}

const LATE: usize = 0;
const FAILED: usize = 1;
const REFUSED: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agent {
    Dead,
    Silent,
    Beats,
}

/// The watchdog without its sockets.
pub struct Guard<H> {
    /// What it acts on.
    pub host: H,
    settings: Settings,
    table: Table,
    heard_at: u64,
    fed_at: Option<u64>,
    /// When what is late, what failed and what was refused were said.
    said: [Option<u64>; 3],
    reported: bool,
    stopping: bool,
}

impl<H: Host> Guard<H> {
    /// `earlier`: the table that the watchdog before this one kept; empty when there was none.
    pub fn new(now: u64, mut host: H, settings: Settings, earlier: &[u8]) -> Guard<H> {
        let mut table = Table::restore(now, earlier);
        let pid = u32::try_from(u64_at(&table.last, PID)).unwrap_or(0);
        if host.hold(pid, u64_at(&table.last, START)).is_ok() {
            table.held.iter_mut().flatten().for_each(|held| held.look_at = now + HEAR_MS);
        }
        let said = [None; 3];
        let (heard_at, fed_at, reported, stopping) = (now, None, false, false);
        Guard { host, settings, table, heard_at, fed_at, said, reported, stopping }
    }

    /// All that is held.
    pub fn held(&self) -> impl Iterator<Item = &Held> {
        self.table.held.iter().flatten()
    }

    /// Promises whose targets are not yet seen gone, and how many of these are broken.
    #[must_use]
    pub fn count(&self) -> (u32, u32) {
        self.table.count()
    }

    /// One datagram of this process and user; the bytes to answer with.
    pub fn receive(&mut self, now: u64, pid: u32, uid: u32, bytes: &[u8]) -> [u8; HEADER] {
        let Settings { dry_run, hardware, flags, boot_status, .. } = self.settings;
        let known = [0, self.settings.own_uid, self.settings.agent_uid.unwrap_or(0)].contains(&uid);
        let taken = match known && pid > 0 {
            true => beat::check(bytes).and_then(|()| self.take(now, pid, bytes)),
            false => Err(Status::NotAllowed),
        };
        let status = taken.err().unwrap_or(Status::Taken);
        if taken.is_err() && again(now, &mut self.said[REFUSED]) {
            say!(self, WARNING, "beat of pid {pid}, uid {uid} refused: {status:?}");
        }
        let unread = matches!(status, Status::Malformed | Status::NotAllowed);
        let [session, sequence] =
            [SESSION, SEQUENCE].map(|place| if unread { 0 } else { u64_at(bytes, place) });
        let enforcement = if dry_run { 3 } else { 2 - u8::from(hardware) };
        let reboot = u32::from(self.settings.reboot && !hardware) << 4;
        let flags = flags | u32::from(self.stopping) << 2 | reboot;
        let wide = [session, sequence, self.settings.answered_ms(), now];
        let (live, broken) = self.count();
        beat::answer(status, enforcement, wide, [live, broken, flags, boot_status])
    }

    fn take(&mut self, now: u64, pid: u32, beat: &[u8]) -> Result<(), Status> {
        let (last, lives) = (self.table.last, self.host.agent_lives());
        let session = u64_at(beat, SESSION);
        let new = u64_at(&last, SESSION) != session;
        let same = lives && u64_at(&last, PID) == u64::from(pid);
        let older = |place| u64_at(beat, place).cmp(&u64_at(&last, place));
        if beat::promises(beat).any(|promise| self.host.is_self(&promise)) {
            return Err(Status::Malformed);
        }
        let second = lives && !same && self.count().0 > 0;
        if second || new && older(SENT).is_lt() || !new && older(SEQUENCE).is_le() {
            return Err(Status::Stale);
        }
        let start = match same {
            true => u64_at(&last, START),
            false => self.host.hold(pid, 0).map_err(|_| Status::NotAllowed)?,
        };
        if start > u64_at(beat, SENT) / TICK_MS {
            // The sender has ended, and its pid is another's by now.
            let _nobody_is_held = self.host.hold(0, 0);
            return Err(Status::NotAllowed);
        }
        self.table.take(now, pid, start, beat)?;
        self.heard_at = now;
        if replace(&mut self.reported, false) || new {
            say!(self, INFO, "session {session:016x} of the agent, pid {pid}, beats");
        }
        self.keep();
        Ok(())
    }

    fn keep(&mut self) {
        let mut bytes = [0; SAVED_MAX];
        let length = self.table.save(&mut bytes);
        self.host.keep(&bytes[..length]);
    }

    fn agent(&self, now: u64) -> Agent {
        match self.host.agent_lives() {
            false => Agent::Dead,
            true if now >= self.silent_at() => Agent::Silent,
            true => Agent::Beats,
        }
    }

    fn silent_at(&self) -> u64 {
        self.heard_at + SILENT_MS + u64_at(&self.table.last, NEXT)
    }

    /// Does what is due at this time.
    pub fn turn(&mut self, now: u64) {
        let agent = self.agent(now);
        let mut changed = false;
        for i in 0..HELD_MAX {
            let Some(held) = self.table.held[i] else { continue };
            let after = self.judge(now, agent, held);
            changed |= after.is_none_or(|after| after.stage != held.stage);
            self.table.held[i] = after;
        }
        if changed {
            self.keep();
        }
        self.listen(now, agent);
        let late = self.late(now);
        self.resort(now, late);
        self.feed(now, late.is_some());
    }

    /// What becomes of a promise.
    fn judge(&mut self, now: u64, agent: Agent, mut held: Held) -> Option<Held> {
        let target = held.promise;
        if held.stage == Stage::Live && now < target.due() {
            if now >= warn_at(&held) && !replace(&mut held.warned, true) {
                let left = target.due() - now;
                say!(self, WARNING, "{target}: {left} ms are left of the time to its promise");
            }
            if agent == Agent::Dead && now >= target.deadline() && !replace(&mut held.acted, true) {
                say!(self, WARNING, "{target} is asked to end: the agent is dead");
                self.strike(now, &target, Some(Signal::SIGTERM));
            }
            // Nobody will start it again, so at a stop nobody waits for what is over.
            let ends = self.stopping && agent == Agent::Dead;
            let is_over = ends && self.strike(now, &target, None) == Some(0);
            return Some(held).filter(|_| !is_over);
        }
        if now < held.look_at {
            return Some(held);
        }
        held.look_at = now + ENDED_MS;
        if held.stage == Stage::Ended && matches!(self.strike(now, &target, None), None | Some(0)) {
            return Some(held);
        }
        if held.stage != Stage::Broken {
            held = Held { stage: Stage::Broken, since: now, acted: false, ..held };
        }
        self.enforce(now, agent, held)
    }

    /// One strike at a broken promise.
    fn enforce(&mut self, now: u64, agent: Agent, mut held: Held) -> Option<Held> {
        let (target, Settings { dry_run, hardware, .. }) = (held.promise, self.settings);
        // An agent that keeps its promise beats at the deadline: of one that is frozen since before
        // that, the next beat is perhaps not even due.
        let mute = agent == Agent::Beats && self.heard_at < target.deadline();
        let silent = agent == Agent::Silent || mute;
        // What a frozen agent would start again is left to the reset.
        let leaves = silent && hardware;
        let found = self.strike(now, &target, Some(Signal::SIGKILL).filter(|_| !leaves));
        let is_gone = found == Some(0);
        held.frozen = leaves && !is_gone;
        if !is_gone && !leaves && !replace(&mut held.acted, true) {
            let would = if dry_run { "would be" } else { "is" };
            say!(self, ALERT, "{target} runs beyond its promise and {would} killed");
        }
        // Before its target is seen gone, so that it cannot start that again.
        let agent_first = silent && !held.frozen && !dry_run;
        if agent_first {
            let killed = self.host.act(Act::KillAgent);
            self.fault(now, killed);
        }
        if agent_first || !is_gone {
            held.look_at = now + (STRIKE_MS + (now - held.since) / 8).min(STRIKE_MAX_MS);
            return Some(held);
        }
        if held.acted && !dry_run {
            let took = now.saturating_sub(target.due());
            say!(self, ALERT, "{target} was killed; seen gone {took} ms after its promise");
            self.host.last_words(now, "killed", &target, "it ran beyond its promise");
        }
        held.stage = Stage::Ended;
        // The kernel gives no session away twice.
        target.path().map(|_| held)
    }

    /// How many processes were there; `None` when that could not be seen.
    fn strike(&mut self, now: u64, target: &Promise, signal: Option<Signal>) -> Option<usize> {
        let found = self.host.strike(target, signal.filter(|_| !self.settings.dry_run));
        self.fault(now, found)
    }

    fn fault<T>(&mut self, now: u64, result: Result<T, Fault>) -> Option<T> {
        if let Err(Fault(what, errno)) = &result
            && again(now, &mut self.said[FAILED])
        {
            say!(self, ALERT, "cannot {what}: {errno}");
        }
        result.ok()
    }

    /// A silent or dead agent is reported and nothing else: only promises are enforced.
    fn listen(&mut self, now: u64, agent: Agent) {
        let last = &self.table.last;
        let quiet = agent == Agent::Beats || u64_at(last, SESSION) == 0 || last[LEAVING] == 1;
        if !quiet && !replace(&mut self.reported, true) {
            let (silence, held) = (now.saturating_sub(self.heard_at), self.count().0);
            let how = if agent == Agent::Dead { "has ended" } else { "lives" };
            say!(
                self,
                WARNING,
                "no beat of the agent for {silence} ms, it {how}; promises: {held}"
            );
        }
    }

    /// A promise that is overdue beyond its time.
    fn late(&self, now: u64) -> Option<Held> {
        let verify = self.settings.verify_ms();
        let late = |h: &&Held| h.stage == Stage::Broken && (h.frozen || now >= h.since + verify);
        self.held().find(late).copied()
    }

    fn resort(&mut self, now: u64, late: Option<Held>) {
        let Some(Held { promise: target, frozen, .. }) = late else {
            if self.said[LATE].take().is_some() {
                say!(self, ALERT, "nothing is late any more: this host is spared");
            }
            return;
        };
        if !again(now, &mut self.said[LATE]) {
            return;
        }
        let why = match frozen {
            true => "the agent lives and is silent, and what it promised to end runs",
            false => "what was promised to end could not be seen gone in time",
        };
        let (verdict, what) = match self.settings {
            Settings { dry_run: true, .. } => ("would-reset", "would reset this host"),
            Settings { hardware: true, .. } => {
                ("reset", "the device is starved and resets this host")
            }
            Settings { reboot: true, .. } => ("reboot", "as a last resort this host is rebooted"),
            _ => ("", "nothing stands behind this: reset this host by hand"),
        };
        say!(self, ALERT, "{target}: {why}; {what}");
        if !verdict.is_empty() {
            self.host.last_words(now, verdict, &target, why);
        }
        if verdict == "reboot" {
            let done = self.host.act(Act::Reboot);
            self.fault(now, done);
        }
    }

    /// At a quarter of the timeout: what is late by less than that is not yet late by half of it.
    /// Only by a turn that has just found nothing late.
    fn feed(&mut self, now: u64, late: bool) {
        let Settings { hardware, timeout_ms: limit, dry_run, .. } = self.settings;
        let gap = self.fed_at.map(|fed| now.saturating_sub(fed));
        if !hardware || dry_run || late || gap.is_some_and(|gap| gap < limit / 4) {
            return;
        }
        if let Some(gap) = gap.filter(|gap| *gap > limit / 5 * 3) {
            say!(self, WARNING, "the device is fed after {gap} ms, it allows {limit} ms");
        }
        let fed = self.host.act(Act::Feed);
        self.fed_at = self.fault(now, fed).map(|()| now).or(self.fed_at);
    }

    /// When [`Guard::turn`] wants to be called next, in milliseconds from now.
    #[must_use]
    pub fn wait_ms(&self, now: u64) -> u64 {
        let times = |h: &Held| [warn_at(h), h.promise.deadline(), h.promise.due(), h.look_at];
        let food = self.fed_at.map(|fed| fed + self.settings.timeout_ms / 4);
        let all = self.held().flat_map(times).chain(food).chain([self.silent_at()]);
        let most = if self.stopping { STOPPING_MS } else { TURN_MAX_MS };
        all.filter(|at| *at > now).fold(most, |least, at| least.min(at - now))
    }

    /// Somebody wants this program to end.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether it may end now, after [`Guard::stop`]. With live promises of an agent that beats,
    /// the next watchdog takes over; of one that does not, they are enforced to their end first.
    pub fn end(&mut self, now: u64) -> Option<End> {
        let beats = self.agent(now) == Agent::Beats && self.table.last[LEAVING] == 0;
        let stuck = |h: &Held| now >= h.since + self.settings.verify_ms() + STOP_UNVERIFIED_MS;
        let end = match self.count() {
            _ if !self.stopping => None,
            (0, _) => Some(End::Clean),
            (_, 0) if beats => Some(End::HandOver),
            _ => self.late(now).filter(stuck).map(|_| End::Unverified),
        }?;
        let disarms = end == End::Clean && self.settings.hardware && !self.settings.dry_run;
        if disarms && let Err(Fault(what, errno)) = self.host.act(Act::Disarm) {
            say!(self, ALERT, "cannot {what}: {errno}; feed it, or it resets this host");
        } else if end != End::Clean {
            say!(self, ALERT, "nobody enforces promises until the next run; a device stays armed");
        }
        Some(end)
    }
}

/// As sbd does with its own timeout: loud at three fifths, so that a term that is too short is
/// known before it kills.
fn warn_at(held: &Held) -> u64 {
    held.since + held.promise.due().saturating_sub(held.since) / 5 * 3
}

/// True at first, and once in a while after that.
fn again(now: u64, said: &mut Option<u64>) -> bool {
    let due = said.is_none_or(|at| now.saturating_sub(at) >= AGAIN_MS);
    *said = if due { Some(now) } else { *said };
    due
}
