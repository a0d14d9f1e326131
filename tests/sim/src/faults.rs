//! What breaks, when, and how it is repaired.

use nodemedic_agent_core::{DownCause, Input, UnitKey};
use nodemedic_coordinator_core::Request;
use nodemedic_protocol::Millis;

use crate::fact::{Fact, Host};
use crate::knobs::Plot;
use crate::works;
use crate::world::{Event, World};

/// What a later event repairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The network of one host.
    Cut(Host),
    /// The way of the coordinator to the broker.
    BossCut,
}

impl World {
    pub(crate) fn plan_faults(&mut self) {
        match self.knobs.plot {
            Plot::Everything => self.next_fault(),
            Plot::Silence => self.at(60_000, Event::Fault),
            Plot::Peace => {}
        }
    }

    fn next_fault(&mut self) {
        let mean = self.knobs.fault_every_ms;
        let delay = self.between(100, 2 * mean);
        self.at(delay, Event::Fault);
    }

    pub(crate) fn fault(&mut self) {
        if self.calm {
            return;
        }
        if self.knobs.plot == Plot::Silence {
            self.fact(Fact::Fault("coordinator and broker are gone".into()));
            self.boss.away_until = self.knobs.fault_ms;
            self.boss_dies(1_000);
            self.broker_down(true);
            return;
        }
        self.next_fault();
        let h = usize::try_from(self.rng.below(self.hosts.len() as u64)).unwrap_or(0);
        match self.rng.below(26) {
            0 | 1 => self.fault_agent(h),
            2 | 3 => self.fault_power(h),
            4 | 5 => self.fault_boss(),
            6 => self.fault_broker(),
            7..=9 => self.fault_cut(h),
            10 => self.fault_boss_cut(),
            11 => {
                self.fact(Fact::Fault(format!("connection of host-{h} drops")));
                let conn = self.hosts[h].link.conn;
                self.at(0, Event::DeadForBroker(h, conn, false));
                self.at(10, Event::DeadForAgent(h, conn, false));
            }
            12..=14 => self.fault_process(h),
            15 => {
                let span = self.between(1_000, 60_000);
                self.fact(Fact::Fault(format!(
                    "agent of host-{h} freezes for {span} ms"
                )));
                self.hosts[h].frozen_until = self.now + span;
                let conn = self.hosts[h].link.conn;
                if span > 8_000 {
                    self.at(8_000, Event::DeadForBroker(h, conn, false));
                    self.at(span + 5, Event::DeadForAgent(h, conn, false));
                }
            }
            16 => {
                let effects = self.rng.below(30);
                self.hosts[h].crash_in = Some(effects);
            }
            17 => self.fault_farewell(h),
            18 => {
                let span = self.between(5_000, 90_000);
                self.fact(Fact::Fault(format!(
                    "starts fail on host-{h} for {span} ms"
                )));
                self.hosts[h].cursed_until = self.now + span;
                self.fault_process(h);
            }
            19 if self.rng.chance(300) => {
                self.fact(Fact::Fault(format!("host-{h} loses its spool")));
                self.fault_agent(h);
                self.lose_spool(h);
            }
            20 => self.fault_both(),
            21..=23 => {
                self.fact(Fact::Fault("old messages come again".into()));
                for _ in 0..20 {
                    self.replay(h);
                }
            }
            _ => self.person(h),
        }
    }

    /// The worst pair: the coordinator forgets what it heard, and the holder of exclusive work
    /// falls silent at the same moment.
    fn fault_both(&mut self) {
        let held = |host: &crate::host::HostState| {
            let mut units = host.processes.keys();
            units.any(|unit| matches!(unit, UnitKey::Work(w) if w.as_str() == works::STOP))
        };
        let Some(h) = self.hosts.iter().position(held) else {
            return;
        };
        self.fact(Fact::Fault("the coordinator restarts at once".into()));
        let span = self.between(100, 1_000);
        self.boss_dies(span);
        self.fault_cut(h);
    }

    fn fault_agent(&mut self, h: Host) {
        let boot = self.hosts[h].boot;
        let loses_leases = self.rng.chance(200);
        self.fact(Fact::Fault(format!(
            "agent of host-{h} dies, leases lost: {loses_leases}"
        )));
        self.agent_dies(h);
        if loses_leases {
            self.hosts[h].leases = None;
        }
        let delay = self.between(200, 20_000);
        self.at(delay, Event::AgentStart(h, boot));
    }

    fn fault_power(&mut self, h: Host) {
        self.fact(Fact::Fault(format!("host-{h} loses power")));
        self.power_off(h);
        let delay = self.between(4_000, 60_000);
        self.at(delay, Event::Boot(h));
    }

    fn fault_boss(&mut self) {
        let span = self.between(300, 50_000);
        let reboots = self.rng.chance(300);
        self.fact(Fact::Fault(format!(
            "the coordinator dies, its host too: {reboots}"
        )));
        self.boss_dies(span);
        if reboots {
            self.boss.clock.origin = self.now;
        }
    }

    fn fault_broker(&mut self) {
        let loses_state = self.rng.chance(500);
        let span = self.between(500, 20_000);
        self.fact(Fact::Fault(format!(
            "the broker restarts, state lost: {loses_state}"
        )));
        self.broker_down(loses_state);
        self.at(span, Event::BrokerUp);
    }

    fn fault_cut(&mut self, h: Host) {
        let (up, down) = match self.rng.below(4) {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        let span = self.between(1_000, 100_000);
        self.fact(Fact::Fault(format!(
            "host-{h} is cut, up {up} down {down}, {span} ms"
        )));
        let link = &mut self.hosts[h].link;
        link.cut_up |= up;
        link.cut_down |= down;
        let conn = link.conn;
        let (a, b) = (self.between(3_000, 15_000), self.between(3_000, 15_000));
        self.at(a, Event::DeadForAgent(h, conn, true));
        self.at(b, Event::DeadForBroker(h, conn, true));
        self.at(span, Event::Heal(Broken::Cut(h)));
        if self.rng.chance(400) {
            // Much happens while nobody can be told.
            self.hosts[h].cursed_until = self.now + span / 2;
            self.kill_all(h);
        }
    }

    fn kill_all(&mut self, h: Host) {
        let units: Vec<UnitKey> = self.hosts[h].processes.keys().cloned().collect();
        for unit in units {
            self.process_ends(h, &unit, DownCause::Killed(9), "killed");
            self.show_all(h, &unit);
        }
    }

    fn fault_boss_cut(&mut self) {
        let span = self.between(1_000, 100_000);
        self.fact(Fact::Fault(format!(
            "the coordinator cannot reach the broker, {span} ms"
        )));
        self.boss.cut = true;
        self.boss_link_down();
        self.at(span, Event::Heal(Broken::BossCut));
    }

    fn fault_process(&mut self, h: Host) {
        let units: Vec<UnitKey> = self.hosts[h].processes.keys().cloned().collect();
        if units.is_empty() {
            return;
        }
        let n = usize::try_from(self.rng.below(units.len() as u64)).unwrap_or(0);
        let unit = units[n].clone();
        match self.rng.below(4) {
            0 => {
                self.fact(Fact::Fault(format!("{unit} on host-{h} gets sick")));
                if let Some(process) = self.hosts[h].processes.get_mut(&unit) {
                    process.sick = true;
                }
            }
            1 => {
                self.fact(Fact::Fault(format!("{unit} on host-{h} gets stubborn")));
                if let Some(process) = self.hosts[h].processes.get_mut(&unit) {
                    process.stubborn = true;
                }
            }
            _ => {
                self.process_ends(h, &unit, DownCause::Killed(9), "killed");
                self.show_all(h, &unit);
            }
        }
    }

    /// The agent ends on purpose and is back soon.
    fn fault_farewell(&mut self, h: Host) {
        let run = self.hosts[h].run;
        let boot = self.hosts[h].boot;
        self.fact(Fact::Fault(format!("agent of host-{h} is upgraded")));
        let input = Input::GoingDown {
            reason: "agent upgrade".into(),
            back_within: Millis::from_secs(30),
        };
        self.tell_core(h, run, input);
        self.close_cleanly(h);
        self.agent_dies(h);
        let delay = self.between(500, 40_000);
        self.at(delay, Event::AgentStart(h, boot));
    }

    /// A person at work.
    fn person(&mut self, h: Host) {
        let node = self.hosts[h].name.clone();
        let request = match self.rng.below(6) {
            0 | 1 => Request::Drain {
                node,
                reason: "new memory".into(),
                deadline: self.rng.chance(500).then_some(Millis::from_secs(40)),
            },
            2 => Request::Undrain { node },
            3 => Request::Cordon {
                node,
                reason: "look at it".into(),
            },
            4 => Request::Uncordon { node },
            _ => {
                let mut works = works::specs();
                for spec in &mut works {
                    spec.stop_grace = spec.stop_grace + Millis(self.rng.below(2_000));
                }
                let n = usize::try_from(self.rng.below(works.len() as u64)).unwrap_or(0);
                let works = works.into_iter().skip(n).take(1).collect();
                Request::PutWork { works }
            }
        };
        self.fact(Fact::Fault(format!("a person asks: {request:.80?}")));
        self.ask(request);
    }

    pub(crate) fn heal(&mut self, broken: Broken) {
        match broken {
            Broken::Cut(h) => {
                self.hosts[h].link.cut_up = false;
                self.hosts[h].link.cut_down = false;
            }
            Broken::BossCut => self.boss.cut = false,
        }
    }
}
