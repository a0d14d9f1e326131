//! The coordinator's process: the core, its store, its receiver of alerts, its deaths and pauses.

use std::collections::BTreeMap;

use nodemedic_protocol::message::Message;
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::{BootId, Boottime, Millis, NodeId, SiteId};
use nodemedic_sim_coordinator_core::fencing::settings::FencingSettings;
use nodemedic_sim_coordinator_core::settings::{AlertSettings, LeaseSettings};
use nodemedic_sim_coordinator_core::{Coordinator, Effect, Input, Request, RequestId, Settings};
use nodemedic_sim_coordinator_core::{NotifyFailure, Stored, Write};

use crate::clock::{Clock, RIGHT, True};
use crate::fact::{Fact, Host};
use crate::knobs::Knobs;
use crate::world::{Event, World, own};

/// The drift that the coordinator reckons with.
const DRIFT_PER_MILLE: u32 = 10;

/// As much faster than one that is right may the coordinator's clock be.
const FASTEST: u64 = RIGHT + RIGHT / 1000 * DRIFT_PER_MILLE as u64;

/// The coordinator.
pub struct Boss {
    /// The process, while it lives.
    pub core: Option<Coordinator>,
    /// Counts its lives.
    pub run: u64,
    /// What is committed.
    pub store: Stored,
    /// Number of its connection to the broker; zero for none.
    pub conn: u64,
    /// It cannot reach the broker.
    pub cut: bool,
    /// What it says does not reach the broker, and neither end has noticed.
    pub mute: bool,
    /// It does nothing before this moment.
    pub frozen_until: True,
    /// Nothing can be written to its disk before this moment.
    pub disk_full_until: True,
    /// What was committed once before.
    pub backup: Option<Stored>,
    /// It may not start before this moment.
    pub away_until: True,
    /// Its machine's boot clock.
    pub clock: Clock,
    pub(crate) last_in: u64,
    /// When its core last decided anything.
    decided: True,
    /// The newest heartbeat of each boot that this life of it has heard.
    pub(crate) beats: BTreeMap<Host, (BootId, Boottime)>,
    open: Vec<Write>,
    pub(crate) crash_in: Option<u64>,
    pub(crate) freeze_in: Option<(u64, u64)>,
    conns: u64,
    wake: Option<True>,
    asked: u64,
    answered: Option<u64>,
    settings: Settings,
}

impl Boss {
    pub(crate) fn new(knobs: &Knobs, fencing: FencingSettings, rng: &mut Rng) -> Boss {
        let mut settings = Settings::new(own(SiteId::new("sim")), "sim");
        settings.lease = LeaseSettings {
            term: Millis(knobs.term_ms),
            drift_per_mille: DRIFT_PER_MILLE,
            margin: Millis(knobs.margin_ms),
            safe_time_min: Millis::ZERO,
        };
        settings.alerts = AlertSettings {
            receivers: vec!["page".into()],
            ..AlertSettings::default()
        };
        settings.liveness.lost_after = Millis(knobs.lost_ms);
        settings.liveness.suspect_after = Millis(knobs.lost_ms / 2);
        settings.liveness.heartbeat = Millis(knobs.heartbeat_ms);
        // Agents of the simulation try again within this.
        settings.liveness.reconnect_within = Millis(2_000);
        settings.fencing = fencing;
        settings.fencing.monitor_every = Millis::from_secs(30);
        settings.mutation = knobs.mutant.of_boss();
        let drawn = Clock::draw(knobs.drift, rng);
        let rate = if knobs.apart { FASTEST } else { drawn.rate };
        Boss {
            core: None,
            run: 0,
            store: Stored::default(),
            conn: 0,
            cut: false,
            mute: false,
            frozen_until: 0,
            disk_full_until: 0,
            backup: None,
            away_until: 0,
            clock: Clock { rate, ..drawn },
            last_in: 0,
            decided: 0,
            beats: BTreeMap::new(),
            open: Vec::new(),
            crash_in: None,
            freeze_in: None,
            conns: 0,
            wake: None,
            asked: 0,
            answered: None,
            settings,
        }
    }
}

impl World {
    pub(crate) fn boss_start(&mut self) {
        if self.boss.core.is_some() {
            return;
        }
        // It commits its new epoch before it begins.
        let until = self.boss.away_until.max(self.boss.disk_full_until);
        if self.now < until {
            self.at_moment(until, Event::BossStart);
            return;
        }
        let seed = self.rng.next_u64();
        let mean = self.knobs.crash_every_effects;
        let crash_in = (mean > 0 && !self.calm).then(|| self.rng.below(2 * mean));
        let boss = &mut self.boss;
        boss.run += 1;
        boss.store.epoch = boss.store.epoch.next();
        boss.crash_in = crash_in;
        boss.freeze_in = None;
        boss.beats.clear();
        boss.frozen_until = 0;
        boss.wake = None;
        let now = boss.clock.now(self.now);
        let core = Coordinator::new(boss.settings.clone(), boss.store.clone(), now, seed);
        boss.core = Some(core);
        let run = boss.run;
        self.do_boss_effects();
        let delay = self.between(20, 500);
        self.at(delay, Event::BossConnect(run));
    }

    /// It dies: what was not committed is gone.
    pub(crate) fn boss_dies(&mut self, back_after: u64) {
        if self.boss.core.take().is_none() {
            return;
        }
        self.boss.open.clear();
        self.boss.conn = 0;
        self.boss_session_waits();
        self.at(back_after, Event::BossStart);
    }

    pub(crate) fn boss_connect(&mut self, run: u64) {
        if self.boss.run != run || self.boss.core.is_none() || self.boss.conn != 0 {
            return;
        }
        if !self.broker.up || self.boss.cut {
            let delay = self.between(200, 1_500);
            self.at(delay, Event::BossConnect(run));
            return;
        }
        self.boss.conns += 1;
        self.boss.conn = self.boss.conns;
        self.tell_boss(run, Input::LinkUp);
        self.subscribe_boss();
    }

    pub(crate) fn boss_link_down(&mut self) {
        if self.boss.conn == 0 {
            return;
        }
        self.boss.conn = 0;
        self.boss_session_waits();
        let run = self.boss.run;
        self.tell_boss(run, Input::LinkDown);
        let delay = self.between(100, 1_500);
        self.at(delay, Event::BossConnect(run));
    }

    pub(crate) fn boss_wake(&mut self, run: u64) {
        if self.boss.run != run {
            return;
        }
        if self.now < self.boss.frozen_until {
            let until = self.boss.frozen_until;
            self.at_moment(until, Event::BossWake(run));
            return;
        }
        self.boss.wake = None;
        let now = self.boss.clock.now(self.now).boot;
        let due = self.boss.core.as_ref().and_then(Coordinator::poll_timeout);
        if due.is_some_and(|(at, _)| at <= now) {
            self.tell_boss(run, Input::Timer);
        } else {
            self.wake_boss_later();
        }
    }

    fn wake_boss_later(&mut self) {
        let due = self.boss.core.as_ref().and_then(Coordinator::poll_timeout);
        let Some((boot, _)) = due else { return };
        let moment = self.boss.clock.when(boot).max(self.now);
        if self.boss.wake.is_none_or(|at| moment < at) {
            self.boss.wake = Some(moment);
            let run = self.boss.run;
            self.at_moment(moment, Event::BossWake(run));
        }
    }

    pub(crate) fn tell_boss(&mut self, run: u64, input: Input) {
        if self.boss.run != run {
            return;
        }
        if self.now < self.boss.frozen_until {
            let until = self.boss.frozen_until;
            self.at_moment(until, Event::ToBoss(run, Box::new(input)));
            return;
        }
        let now = self.boss.clock.now(self.now);
        match &input {
            Input::LinkUp => self.show(&Fact::Listens),
            Input::Message { node, message, .. } => {
                if let (Message::Heartbeat(beat), Some(host)) = (&**message, host_of(node))
                    && self.boss.is_news(host, node, beat)
                {
                    self.show(&Fact::Heard { host });
                }
            }
            _ => {}
        }
        if let Some(core) = &mut self.boss.core {
            self.boss.decided = self.now;
            core.handle(now, input);
            self.do_boss_effects();
        }
    }

    /// The coordinator's process does nothing for so long, and then goes on where it was.
    pub(crate) fn freeze_boss(&mut self, span: u64) {
        if self.boss.core.is_none() {
            return;
        }
        self.fact(Fact::Fault(format!(
            "the coordinator freezes for {span} ms"
        )));
        self.boss.frozen_until = self.boss.frozen_until.max(self.now + span);
        let run = self.boss.run;
        self.at(span, Event::BossThaw(run));
        if span > 8_000 && self.boss.conn != 0 {
            self.at(8_000, Event::BossDead(self.boss.conn));
        }
    }

    pub(crate) fn boss_thaws(&mut self, run: u64) {
        if self.boss.run == run && self.boss.core.is_some() && self.now >= self.boss.frozen_until {
            self.show(&Fact::Decided(Some(self.boss.decided)));
            self.do_boss_effects();
            self.show(&Fact::Decided(None));
        }
    }

    /// The broker finds its connection dead.
    pub(crate) fn boss_dead(&mut self, conn: u64) {
        if self.boss.conn == conn {
            self.boss_link_down();
        }
    }

    /// A person asks, and asks again until there is an answer.
    pub(crate) fn ask(&mut self, request: Request) {
        if !self.ask_once(request.clone()) {
            self.at(2_000, Event::Ask(Box::new(request)));
        }
    }

    /// A person asks. False when nobody answers.
    pub(crate) fn ask_once(&mut self, request: Request) -> bool {
        if self.now < self.boss.frozen_until {
            return false;
        }
        self.boss.asked += 1;
        let number = self.boss.asked;
        let id = RequestId(number);
        let run = self.boss.run;
        self.tell_boss(run, Input::Request { id, request });
        self.boss.answered == Some(number)
    }

    /// It dies or freezes just before its next effect, if that is its fate.
    fn boss_ends_here(&mut self) -> bool {
        match &mut self.boss.freeze_in {
            Some((0, span)) => {
                let span = *span;
                self.boss.freeze_in = None;
                self.freeze_boss(span);
                return true;
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        match &mut self.boss.crash_in {
            Some(0) if !self.calm => {
                self.fact(Fact::Fault(
                    "the coordinator dies between two effects".into(),
                ));
                let back = self.between(300, 20_000);
                self.boss_dies(back);
                return true;
            }
            Some(left) => *left = left.saturating_sub(1),
            None => {}
        }
        false
    }

    fn do_boss_effects(&mut self) {
        while self.now >= self.boss.frozen_until {
            if self.boss.core.is_none() || self.boss_ends_here() {
                return;
            }
            let Some(effect) = self.boss.core.as_mut().and_then(Coordinator::poll_effect) else {
                break;
            };
            if let Effect::Store(write) = effect {
                self.boss.open.push(*write);
            } else if self.commit() {
                self.do_boss_effect(effect);
            }
        }
        if self.now >= self.boss.frozen_until {
            self.commit();
            self.wake_boss_later();
        }
    }

    /// One transaction. False when it cannot be written: then the process ends, because what was
    /// decided and not written must not be acted on.
    fn commit(&mut self) -> bool {
        if !self.boss.open.is_empty() && self.now < self.boss.disk_full_until {
            self.fact(Fact::Fault(
                "the coordinator's disk is full: it ends".into(),
            ));
            self.boss_dies(1_000);
            return false;
        }
        if self.boss.open.is_empty() {
            return true;
        }
        for write in std::mem::take(&mut self.boss.open) {
            self.boss.store.apply(write.clone());
            self.fact(Fact::Committed(Box::new(write)));
        }
        self.show(&Fact::Transaction);
        true
    }

    fn do_boss_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Store(_) | Effect::Log { .. } => {}
            Effect::Send { node, message } => {
                if let (Some(h), true) = (host_of(&node), self.boss.conn != 0) {
                    let delay = self.latency();
                    self.at(delay, Event::AtBrokerDown(h, message));
                }
            }
            Effect::Notify { id, .. } => {
                let result = if self.bad_luck(200) {
                    Err(NotifyFailure {
                        permanent: false,
                        text: "status 503".into(),
                    })
                } else {
                    Ok(())
                };
                let run = self.boss.run;
                let delay = self.between(20, 1_500);
                let input = Box::new(Input::Notified { id, result });
                self.at(delay, Event::ToBoss(run, input));
            }
            Effect::Fence(call) => self.ask_device(&call),
            Effect::Answer { id, .. } => self.boss.answered = Some(id.0),
        }
    }
}

/// Which host has this name.
#[must_use]
pub fn host_of(node: &NodeId) -> Option<Host> {
    node.as_str().strip_prefix("host-")?.parse().ok()
}
