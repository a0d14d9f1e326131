//! The coordinator's process: the core, its store, its receiver of alerts, and its deaths.

use nodemedic_coordinator_core::settings::{AlertSettings, LeaseSettings};
use nodemedic_coordinator_core::{Coordinator, Effect, Input, Request, RequestId, Settings};
use nodemedic_coordinator_core::{NotifyFailure, Stored, Write};
use nodemedic_protocol::message::Message;
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::{Millis, SiteId};

use crate::clock::{Clock, RIGHT, True};
use crate::fact::{Fact, Host};
use crate::knobs::Knobs;
use crate::world::{Event, World, own};

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
    /// It may not start before this moment.
    pub away_until: True,
    /// Its machine's boot clock.
    pub clock: Clock,
    pub(crate) last_in: u64,
    open: Vec<Write>,
    crash_in: Option<u64>,
    conns: u64,
    wake: Option<True>,
    asked: u64,
    answered: Option<u64>,
    settings: Settings,
}

impl Boss {
    pub(crate) fn new(knobs: &Knobs, rng: &mut Rng) -> Boss {
        let mut settings = Settings::new(own(SiteId::new("sim")), "sim");
        settings.lease = LeaseSettings {
            term: Millis(knobs.term_ms),
            drift_per_mille: 10,
            margin: Millis(1_000),
            safe_time_min: Millis::ZERO,
        };
        settings.alerts = AlertSettings {
            receivers: vec!["page".into()],
            ..AlertSettings::default()
        };
        settings.liveness.lost_after = Millis(knobs.lost_ms);
        settings.liveness.suspect_after = Millis(knobs.lost_ms / 2);
        settings.mutation = knobs.mutation;
        Boss {
            core: None,
            run: 0,
            store: Stored::default(),
            conn: 0,
            cut: false,
            away_until: 0,
            clock: Clock {
                origin: 0,
                rate: RIGHT - knobs.drift + rng.below(2 * knobs.drift + 1),
            },
            last_in: 0,
            open: Vec::new(),
            crash_in: None,
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
        if self.now < self.boss.away_until {
            let until = self.boss.away_until;
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
        self.boss_input(Input::LinkUp);
        self.subscribe_boss();
    }

    pub(crate) fn boss_link_down(&mut self) {
        if self.boss.conn == 0 {
            return;
        }
        self.boss.conn = 0;
        self.boss_input(Input::LinkDown);
        let run = self.boss.run;
        let delay = self.between(100, 1_500);
        self.at(delay, Event::BossConnect(run));
    }

    pub(crate) fn boss_wake(&mut self, run: u64) {
        if self.boss.run != run {
            return;
        }
        self.boss.wake = None;
        let now = self.boss.clock.now(self.now).boot;
        let due = self.boss.core.as_ref().and_then(Coordinator::poll_timeout);
        if due.is_some_and(|(at, _)| at <= now) {
            self.boss_input(Input::Timer);
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
        if self.boss.run == run {
            self.boss_input(input);
        }
    }

    pub(crate) fn at_boss(&mut self, conn: u64, h: Host, message: Box<Message>, retained: bool) {
        if self.boss.conn != conn || conn == 0 {
            return;
        }
        let node = self.hosts[h].name.clone();
        self.boss_input(Input::Message {
            node,
            message,
            retained,
        });
    }

    fn boss_input(&mut self, input: Input) {
        let now = self.boss.clock.now(self.now);
        if let Some(core) = &mut self.boss.core {
            core.handle(now, input);
            self.do_boss_effects();
        }
    }

    /// A person asks, and asks again until there is an answer.
    pub(crate) fn ask(&mut self, request: Request) {
        self.boss.asked += 1;
        let number = self.boss.asked;
        let id = RequestId(number);
        self.boss_input(Input::Request {
            id,
            request: request.clone(),
        });
        if self.boss.answered != Some(number) {
            self.at(2_000, Event::Ask(Box::new(request)));
        }
    }

    fn do_boss_effects(&mut self) {
        while let Some(effect) = self.boss.core.as_mut().and_then(Coordinator::poll_effect) {
            match &mut self.boss.crash_in {
                Some(0) if !self.calm => {
                    let text = format!("the coordinator dies before {effect:.60?}");
                    self.fact(Fact::Fault(text));
                    let back = self.between(300, 20_000);
                    self.boss_dies(back);
                    return;
                }
                Some(left) => *left = left.saturating_sub(1),
                None => {}
            }
            if let Effect::Store(write) = effect {
                self.boss.open.push(*write);
            } else {
                self.commit();
                self.do_boss_effect(effect);
            }
        }
        self.commit();
        self.wake_boss_later();
    }

    fn commit(&mut self) {
        for write in std::mem::take(&mut self.boss.open) {
            self.boss.store.apply(write.clone());
            self.fact(Fact::Committed(Box::new(write)));
        }
    }

    fn do_boss_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Store(_) | Effect::Log { .. } => {}
            Effect::Send { node, message } => {
                let host = self.hosts.iter().position(|h| h.name == node);
                if let (Some(h), true) = (host, self.boss.conn != 0) {
                    let delay = self.between(1, 20);
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
            Effect::Answer { id, .. } => self.boss.answered = Some(id.0),
        }
    }
}
