//! The verdict: what is fed, asked to end, killed or reset, and when. Told the time and given its
//! host, so that tests and simulations drive exactly this in virtual time.
//! docs/adr/0011-watchdog-verdicts.md says why.

use std::mem::{replace, take};

use nix::sys::signal::Signal;

use crate::beat::{self, HEADER, LEAVING, NEXT, Promise, SENT, SEQUENCE, SESSION, Status};
use crate::edge::{ALERT, INFO, WARNING};
pub use crate::host::{Act, Host, LAST_RESORT, NO_WAY_OUT, SLACK_MS, Settings, VERIFY_MS};
use crate::table::{Held, PID, START, Stage, Table};

/// After a restart of this program a living agent has so long to speak before it is judged by what
/// it told the run before. It beats each second.
pub const HEAR_MS: u64 = 2000;
/// An agent is silent when its beat is late by so much.
const SILENT_MS: u64 = 1000;
/// The loop turns at least so often.
pub const TURN_MAX_MS: u64 = 1000;
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
/// Since always: a frozen agent may start its target again at any moment, so there is no time to
/// see it gone.
const FROZEN: u64 = 0;

macro_rules! say {
    ($to:expr, $level:expr, $($line:tt)*) => { $to.host.say($level, format_args!($($line)*)) };
}

/// The watchdog without its sockets.
pub struct Guard<H> {
    /// What it acts on.
    pub host: H,
    /// What it remembers.
    pub table: Table,
    /// Somebody wants this program to end.
    pub stopping: bool,
    settings: Settings,
    since: Since,
}

/// Moments that a guard remembers.
#[derive(Default)]
struct Since {
    /// A promise is judged from then on.
    judge_at: u64,
    heard_at: u64,
    silent_at: u64,
    food_at: u64,
    /// Nobody has said that the agent is silent or dead.
    heard: bool,
    /// When it is said again that something is late, failed, was refused.
    late: u64,
    failed: u64,
    refused: u64,
}

impl<H: Host> Guard<H> {
    /// `earlier`: the table that the watchdog before this one kept; empty when there was none.
    pub fn new(now: u64, mut host: H, settings: Settings, earlier: &[u8]) -> Guard<H> {
        let mut table = Table::restore(now, earlier);
        let lives = host.hold(table.last[PID], [table.last[START]; 2]).is_ok();
        let judge_at = now + if lives { HEAR_MS } else { 0 };
        // A device that the run before starved goes on being starved; without one there must be
        // time to see a target gone.
        for held in &mut table.held {
            let starved = settings.hardware && held.stage == Stage::Broken;
            held.since = if starved { held.promise.due() } else { judge_at };
        }
        let silent_at = now + SILENT_MS + table.last[NEXT];
        let (heard_at, food_at, heard) = (now, now, table.last[SESSION] > 0);
        let since = Since { judge_at, heard_at, silent_at, food_at, heard, ..Since::default() };
        Guard { host, table, stopping: false, settings, since }
    }

    /// One datagram of this process and user; the bytes to answer with.
    pub fn receive(&mut self, now: u64, pid: u32, uid: u32, beat: &[u8]) -> [u8; HEADER] {
        let Settings { dry_run, hardware, boot_status, .. } = self.settings;
        let status = self.take(now, pid, uid, beat).err().unwrap_or(Status::Taken);
        if status != Status::Taken && again(now, &mut self.since.refused) {
            say!(self, WARNING, "beat of pid {pid}, uid {uid} refused: {status:?}");
        }
        let unread = matches!(status, Status::Malformed | Status::NotAllowed);
        let header = if unread { [0; 8] } else { beat::header(beat) };
        let wide = [header[SESSION], header[SEQUENCE], self.settings.answered_ms(), now];
        let (live, broken) = self.table.count();
        let flags = self.settings.flags | u32::from(self.stopping) << 2;
        let enforcement = if dry_run { 3 } else { 2 - u8::from(hardware) };
        beat::answer(status, enforcement, wide, [live, broken, flags, boot_status])
    }

    fn take(&mut self, now: u64, pid: u32, uid: u32, beat: &[u8]) -> Result<(), Status> {
        if pid == 0 || uid != 0 && !self.settings.uids.contains(&uid) {
            return Err(Status::NotAllowed);
        }
        beat::check(beat)?;
        if beat::promises(beat).any(|promise| self.host.is_self(&promise)) {
            return Err(Status::Malformed);
        }
        let (last, mut header) = (self.table.last, beat::header(beat));
        let (new, lives) = (header[SESSION] != last[SESSION], self.host.agent_lives());
        let same = lives && last[PID] == u64::from(pid);
        let second = lives && !same && self.table.count().0 > 0;
        let older = |place: usize| header[place].cmp(&last[place]);
        if second || new && older(SENT).is_lt() || !new && older(SEQUENCE).is_le() {
            return Err(Status::Stale);
        }
        header[PID] = u64::from(pid);
        // One that began later has the pid of a sender that has ended.
        let began = [0, header[SENT] / TICK_MS];
        let start = if same { Ok(last[START]) } else { self.host.hold(header[PID], began) };
        header[START] = start.map_err(|_| Status::NotAllowed)?;
        self.table.take(now, header, beat)?;
        (self.since.heard_at, self.since.silent_at) = (now, now + SILENT_MS + header[NEXT]);
        if !replace(&mut self.since.heard, true) || new {
            say!(self, INFO, "session {:016x} of the agent, pid {pid}, beats", header[SESSION]);
        }
        self.keep(now);
        Ok(())
    }

    fn keep(&mut self, now: u64) {
        let kept = self.host.keep(self.table.save());
        self.tried(now, "keep promises for the next run", kept);
    }

    fn beats(&self, now: u64) -> bool {
        self.host.agent_lives() && now < self.since.silent_at
    }

    /// Does what is due at this time.
    pub fn turn(&mut self, now: u64) {
        self.listen(now);
        let before = self.table.count();
        if now >= self.since.judge_at {
            let mut held = take(&mut self.table.held);
            held.retain_mut(|held| self.judge(now, held));
            self.table.held = held;
        }
        if self.table.count() != before {
            self.keep(now);
        }
        match self.overdue(now) {
            Some(held) => self.resort(now, &held),
            None => self.feed(now),
        }
    }

    /// What becomes of a promise; false when it is over.
    fn judge(&mut self, now: u64, held: &mut Held) -> bool {
        let target = held.promise;
        if held.stage == Stage::Live && now < target.due() {
            if now >= held.look_at {
                let left = target.due() - now;
                say!(self, WARNING, "{target}: {left} ms are left of the time to its promise");
                held.look_at = target.due();
            }
            let dead = !self.host.agent_lives();
            if dead && now >= target.deadline() && !replace(&mut held.acted, true) {
                say!(self, WARNING, "{target} is asked to end: the agent is dead");
                self.strike(now, &target, Some(Signal::SIGTERM));
            }
            // Nobody will start it again, so at a stop nobody waits for what is over.
            return !(dead && self.stopping && self.strike(now, &target, None) == Some(0));
        }
        if held.stage != Stage::Live && now < held.look_at {
            return true;
        }
        held.look_at = now + ENDED_MS;
        if held.stage == Stage::Ended && matches!(self.strike(now, &target, None), None | Some(0)) {
            return true;
        }
        if held.stage != Stage::Broken {
            (held.stage, held.since, held.acted) = (Stage::Broken, now, false);
        }
        let Settings { dry_run, hardware, .. } = self.settings;
        // An agent that keeps its promise beats at the deadline: of one that is frozen since before
        // that, the next beat is perhaps not even due.
        let on_time = self.beats(now) && self.since.heard_at >= target.deadline();
        let frozen = self.host.agent_lives() && !on_time;
        // What a frozen agent would start again is left to the reset.
        let leaves = frozen && hardware;
        let is_gone = self.strike(now, &target, (!leaves).then_some(Signal::SIGKILL)) == Some(0);
        let agent_first = frozen && !dry_run && (is_gone || !hardware);
        if leaves && !is_gone {
            held.since = FROZEN;
        } else if !is_gone && !replace(&mut held.acted, true) {
            let would = if dry_run { "would be" } else { "is" };
            say!(self, ALERT, "{target} runs beyond its promise and {would} killed");
        }
        // Before its target is seen gone, so that it cannot start that again.
        if agent_first {
            self.act(now, "kill the agent", Act::KillAgent);
        }
        if agent_first || !is_gone {
            held.look_at = now + (STRIKE_MS + (now - held.since) / 8).min(STRIKE_MAX_MS);
            return true;
        }
        if held.acted && !dry_run {
            let took = now.saturating_sub(target.due());
            say!(self, ALERT, "{target} was killed; seen gone {took} ms after its promise");
            self.host.last_words(now, "killed", &target, "it ran beyond its promise");
        }
        held.stage = Stage::Ended;
        // The kernel gives no session away twice.
        target.path().is_some()
    }

    /// How many processes were there; `None` when that could not be seen.
    fn strike(&mut self, now: u64, target: &Promise, signal: Option<Signal>) -> Option<usize> {
        let found = self.host.strike(target, signal.filter(|_| !self.settings.dry_run));
        self.tried(now, "see or signal a target", found)
    }

    fn act(&mut self, now: u64, what: &str, act: Act) -> Option<()> {
        let done = self.host.act(act);
        self.tried(now, what, done)
    }

    fn tried<T>(&mut self, now: u64, what: &str, result: nix::Result<T>) -> Option<T> {
        match &result {
            Err(errno) if again(now, &mut self.since.failed) => {
                say!(self, ALERT, "cannot {what}: {errno}")
            }
            _ => {}
        }
        result.ok()
    }

    /// A silent or dead agent is reported and nothing else: only promises are enforced.
    fn listen(&mut self, now: u64) {
        let quiet = self.table.last[LEAVING] == 0 && !self.beats(now);
        if quiet && replace(&mut self.since.heard, false) {
            let how = if self.host.agent_lives() { "lives" } else { "has ended" };
            let (ms, held) = (now - self.since.heard_at, self.table.count().0);
            say!(self, WARNING, "no beat of the agent for {ms} ms, it {how}; promises: {held}");
        }
    }

    /// A promise that is overdue beyond its time.
    fn overdue(&self, now: u64) -> Option<Held> {
        let from = now.checked_sub(self.settings.verify_ms());
        let mut broken = self.table.held.iter().filter(|h| h.stage == Stage::Broken);
        broken.find(|h| from.is_some_and(|from| h.since <= from)).copied()
    }

    fn resort(&mut self, now: u64, held: &Held) {
        if !again(now, &mut self.since.late) {
            return;
        }
        let why = match held.since {
            FROZEN => "the agent lives and is silent, and what it promised to end runs",
            _ => "what was promised to end could not be seen gone in time",
        };
        let Settings { dry_run, hardware, flags, .. } = self.settings;
        let (verdict, what) = match flags & LAST_RESORT {
            _ if dry_run => ("would-reset", "would reset this host"),
            _ if hardware => ("reset", "the device is starved and resets this host"),
            LAST_RESORT => ("reboot", "as a last resort this host is rebooted"),
            _ => ("would-reset", "nothing stands behind this: reset this host by hand"),
        };
        let target = &held.promise;
        say!(self, ALERT, "{target}: {why}; {what}");
        self.host.last_words(now, verdict, target, why);
        if verdict == "reboot" {
            self.act(now, "reboot this host", Act::Reboot);
        }
    }

    /// At a quarter of the timeout: what is late by less than that is not yet late by half of it.
    /// Only by a turn that has just found nothing late.
    fn feed(&mut self, now: u64) {
        let Settings { hardware, timeout_ms: limit, dry_run, .. } = self.settings;
        if replace(&mut self.since.late, 0) > 0 {
            say!(self, ALERT, "nothing is late any more: this host is spared");
        }
        if !hardware || dry_run || now < self.since.food_at {
            return;
        }
        let gap = now - self.since.food_at + limit / 4;
        if gap > limit / 5 * 3 {
            say!(self, WARNING, "the device is fed after {gap} ms, it allows {limit} ms");
        }
        if self.act(now, "feed the device", Act::Feed).is_some() {
            self.since.food_at = now + limit / 4;
        }
    }

    /// When [`Guard::turn`] wants to be called next, in milliseconds from now.
    pub fn wait_ms(&self, now: u64) -> u64 {
        let times = |h: &Held| [h.promise.deadline(), h.promise.due(), h.look_at];
        let all = self.table.held.iter().flat_map(times);
        let all = all.chain([self.since.food_at, self.since.judge_at, self.since.silent_at]);
        all.filter(|at| *at > now).fold(TURN_MAX_MS, |least, at| least.min(at - now))
    }

    /// Whether a program that is stopping may end now, and whether it ends well. With live promises
    /// of an agent that beats, the next watchdog takes over; of one that does not, they are
    /// enforced to their end first, unless no signal ends a target.
    pub fn end(&mut self, now: u64) -> Option<bool> {
        let beats = self.beats(now) && self.table.last[LEAVING] == 0;
        let (live, broken) = self.table.count();
        let is_well = live == 0 || broken == 0 && beats;
        let stuck = self.overdue(now.saturating_sub(STOP_UNVERIFIED_MS)).is_some();
        if !self.stopping || !is_well && !stuck {
            return None;
        }
        let Settings { hardware, dry_run, flags, .. } = self.settings;
        let is_armed = hardware && !dry_run;
        if live > 0 {
            say!(self, ALERT, "nobody enforces promises until the next run; a device stays armed");
        } else if is_armed && (flags & NO_WAY_OUT > 0 || self.host.act(Act::Disarm).is_err()) {
            say!(self, ALERT, "cannot disarm the device: feed it, or it resets this host");
        }
        Some(is_well)
    }
}

/// True at first, and once in a while after that.
fn again(now: u64, quiet_until: &mut u64) -> bool {
    let due = now >= *quiet_until;
    *quiet_until = if due { now + AGAIN_MS } else { *quiet_until };
    due
}
