//! Draws what breaks next. What a fault may not be drawn with is said here, because each such line
//! is a limit of the promise that docs/safety.md must name.

use nodemedic_protocol::Millis;
use nodemedic_sim_agent_core::UnitKey;
use nodemedic_sim_coordinator_core::Request;
use nodemedic_sim_coordinator_core::fencing::requests::FenceWish;

use crate::broker::Recalls;
use crate::fact::Host;
use crate::faults::{Fault, Ill};
use crate::fence::Manner;
use crate::world::{Event, World};

/// A year, by which wall clocks jump.
const YEAR_MS: i64 = 365 * 24 * 3_600_000;

impl World {
    pub(crate) fn next_draw(&mut self) {
        let mean = self.knobs.fault_every_ms;
        let delay = self.between(100, 2 * mean);
        self.at(delay, Event::Draw);
    }

    /// Something breaks.
    pub(crate) fn draw(&mut self) {
        if self.calm {
            return;
        }
        self.next_draw();
        let h = self.any_host();
        if self.knobs.misled && self.rng.chance(150) {
            self.draw_word(h);
            return;
        }
        let fault = match self.rng.below(40) {
            0..=11 => self.draw_program(h),
            12..=20 => self.draw_host(h),
            21..=26 => self.draw_boss(h),
            27..=36 => self.draw_network(h),
            _ => Some(self.draw_person(h)),
        };
        if let Some(fault) = fault {
            self.strike(fault);
        }
    }

    /// Somebody says of a host that it is down: wrongly, or as it is. A word counts only where it
    /// is asked for, so each of these has its occasion: a host that is cut off, or a fence.
    fn draw_word(&mut self, host: Host) {
        let span = self.knobs.lost_ms * 2 + self.between(5_000, 60_000);
        let silent = self.knobs.lost_ms / 2 + self.between(2_000, 20_000);
        let cut = Fault::Cut {
            hosts: vec![host],
            up: true,
            down: true,
            span,
        };
        let manner = if self.rng.chance(500) {
            Manner::Lies
        } else {
            Manner::OtherPlug
        };
        let devices = Fault::Devices { host, manner, span };
        let (first, later, fault) = match self.rng.below(8) {
            0..=2 => (devices, 0, cut),
            3 | 4 => (devices, silent, self.fence(host)),
            5 => (cut, silent, Fault::ConfirmWrong { host }),
            6 => {
                let off = span;
                let gone = Fault::Power { host, off };
                (gone, silent, Fault::ConfirmDown { host })
            }
            _ => (Fault::Repaired, 0, Fault::Drop { host }),
        };
        // No fault begins after the faults are over.
        if self.now + later < self.knobs.fault_ms {
            self.strike(first);
            self.at(later, Event::Fault(Box::new(fault)));
        }
    }

    /// A person wants a host switched off.
    fn fence(&mut self, host: Host) -> Fault {
        Fault::Person(Box::new(Request::Fence(FenceWish {
            node: self.hosts[host].name.clone(),
            reason: "it smells".into(),
            by: "operator".into(),
            override_budget: self.rng.chance(300),
            then: None,
        })))
    }

    fn any_host(&mut self) -> Host {
        usize::try_from(self.rng.below(self.hosts.len() as u64)).unwrap_or(0)
    }

    fn draw_program(&mut self, h: Host) -> Option<Fault> {
        let host = h;
        let back = self.between(200, 20_000);
        let span = self.between(1_000, 60_000);
        // Without a device nothing stands behind a watchdog that does not run: it is gone or still
        // only while its agent is well, and the agent falls ill only while its watchdog is well.
        let device = self.hosts[h].dog.kind.outlasts_a_hung_kernel();
        let dog_well = self.hosts[h].dog.lives() && self.now >= self.hosts[h].dog.frozen_until;
        let agent_well = self.hosts[h].agent.is_some()
            && self.now >= self.hosts[h].still_until()
            && self.hosts[h].crash_in.is_none()
            && self.hosts[h].freeze_in.is_none();
        let choice = self.rng.below(12);
        if choice < 8 && !device && self.hosts[h].dog.kind.is_enforcing() && !dog_well {
            return None;
        }
        Some(match choice {
            0 | 1 => Fault::AgentDies {
                host,
                back,
                // Without a watchdog a lost file looks like one that is gone: see docs/safety.md.
                leases_lost: self.hosts[h].dog.kind.is_enforcing() && self.rng.chance(200),
            },
            2 => Fault::AgentCrash {
                host,
                effects: self.rng.below(30),
            },
            3 | 4 => Fault::AgentFreezes { host, span },
            5 | 6 => Fault::AgentPauses {
                host,
                effects: self.rng.below(30),
                span,
            },
            7 => Fault::Upgrade { host, back },
            8 => Fault::WatchdogDies {
                host,
                // systemd starts it again at once: a device outlives that.
                back: self.between(100, 1_500),
                agent_too: true,
            },
            9 => Fault::WatchdogDies {
                host,
                back: self.between(100, 1_500),
                agent_too: false,
            },
            _ if device => Fault::WatchdogFreezes {
                host,
                span,
                agent_too: self.rng.chance(500),
            },
            _ if agent_well => Fault::WatchdogFreezes {
                host,
                span,
                agent_too: false,
            },
            _ => return None,
        })
    }

    fn draw_host(&mut self, h: Host) -> Option<Fault> {
        let host = h;
        let span = self.between(5_000, 90_000);
        let back = self.between(200, 20_000);
        Some(match self.rng.below(18) {
            0 | 1 => Fault::Power {
                host,
                off: self.between(4_000, 60_000),
            },
            2 => Fault::Suspend {
                host,
                span: self.between(1_000, 120_000),
            },
            3 | 4 => Fault::WallClock {
                host: self.rng.chance(700).then_some(h),
                error_ms: self.draw_error(),
            },
            5 => Fault::DiskFull { host, span },
            6 => Fault::RollBack {
                host,
                back,
                reboots: self.rng.chance(500),
            },
            7 if self.rng.chance(300) => Fault::SpoolLost { host, back },
            8 if self.hosts[h].dog.kind.outlasts_a_hung_kernel() => Fault::Unkillable {
                host,
                span: self.between(1_000, 30_000),
            },
            9 => Fault::StartsFail { host, span },
            10 => Fault::KillAll { host },
            11 => Fault::Devices {
                host,
                manner: [Manner::Hangs, Manner::Fails, Manner::HalfWorks]
                    [usize::try_from(self.rng.below(3)).unwrap_or(0)],
                span,
            },
            12 => Fault::ConfirmDown { host },
            _ => return self.draw_process(h),
        })
    }

    fn draw_error(&mut self) -> i64 {
        let years = self.rng.below(20).cast_signed() - 10;
        let some = self.rng.below(7_200_000).cast_signed() - 3_600_000;
        years * YEAR_MS + some
    }

    fn draw_process(&mut self, host: Host) -> Option<Fault> {
        let units: Vec<UnitKey> = self.hosts[host].processes.keys().cloned().collect();
        let n = usize::try_from(self.rng.below(units.len() as u64)).unwrap_or(0);
        let unit = units.get(n)?.clone();
        let how = match self.rng.below(5) {
            0 => Ill::Sick,
            1 => Ill::Stubborn,
            2 => Ill::Lies(self.between(1_000, 40_000)),
            _ => Ill::Dies,
        };
        Some(Fault::Process { host, unit, how })
    }

    fn draw_boss(&mut self, h: Host) -> Option<Fault> {
        let span = self.between(1_000, 100_000);
        Some(match self.rng.below(8) {
            0 | 1 => Fault::Boss {
                back: self.between(300, 50_000),
                reboots: self.rng.chance(300),
            },
            2 => Fault::BossPauses {
                effects: self.rng.below(60),
                span: self.between(500, 60_000),
            },
            3 => Fault::BossDiskFull {
                span: self.between(1_000, 30_000),
            },
            4 => Fault::BossCut { span },
            5 => Fault::BossMute { span },
            _ => {
                let holders = (0..self.hosts.len()).filter(|h| self.holds_stop_work(*h));
                let holders: Vec<Host> = holders.collect();
                let n = usize::try_from(self.rng.below(holders.len() as u64)).unwrap_or(0);
                Fault::BossAndHost {
                    host: holders.get(n).copied().unwrap_or(h),
                    back: self.between(100, 1_000),
                    span,
                }
            }
        })
    }

    fn draw_network(&mut self, h: Host) -> Option<Fault> {
        let span = self.between(1_000, 100_000);
        let host = h;
        Some(match self.rng.below(16) {
            0 | 1 => Fault::Broker {
                off: self.between(500, 20_000),
                recalls: [Recalls::All, Recalls::Nothing, Recalls::Copy]
                    [usize::try_from(self.rng.below(3)).unwrap_or(0)],
            },
            2..=6 => {
                let (up, down) = match self.rng.below(4) {
                    0 => (true, false),
                    1 => (false, true),
                    _ => (true, true),
                };
                if self.rng.chance(400) {
                    // Much happens while nobody can be told.
                    self.hosts[h].cursed_until = self.now + span / 2;
                    self.kill_all(h);
                }
                let hosts = vec![h];
                Fault::Cut {
                    hosts,
                    up,
                    down,
                    span,
                }
            }
            7 | 8 => {
                // A switch, or a row of racks.
                let many = self.rng.below(self.hosts.len() as u64);
                let first = self.any_host();
                let n = self.hosts.len();
                let hosts = (0..=usize::try_from(many).unwrap_or(0)).map(|i| (first + i) % n);
                Fault::Cut {
                    hosts: hosts.collect(),
                    up: true,
                    down: self.rng.chance(800),
                    span,
                }
            }
            9 | 10 => Fault::Flap {
                host,
                times: self.between(2, 8),
                span: self.between(500, 6_000),
            },
            11 | 12 => Fault::Slow {
                host,
                by: self.between(200, 9_000),
                span,
            },
            13 => Fault::Drop { host },
            _ => Fault::Replay { host, times: 20 },
        })
    }

    /// A person at work.
    fn draw_person(&mut self, h: Host) -> Fault {
        let node = self.hosts[h].name.clone();
        Fault::Person(Box::new(match self.rng.below(8) {
            6 => return self.fence(h),
            7 => Request::ReleaseBrake {
                span: Millis(self.between(5_000, 60_000)),
                reason: "the rack has burnt down".into(),
            },
            0 | 1 => Request::Drain {
                node,
                reason: "new memory".into(),
                deadline: self.rng.chance(500).then_some(Millis::from_secs(40)),
                override_budget: self.rng.chance(200),
            },
            2 => Request::Undrain { node },
            3 => Request::Cordon {
                node,
                reason: "look at it".into(),
            },
            4 => Request::Uncordon { node },
            _ => {
                let mut works = self.works.clone();
                for spec in &mut works {
                    spec.stop_grace = spec.stop_grace + Millis(self.rng.below(2_000));
                }
                let n = usize::try_from(self.rng.below(works.len() as u64)).unwrap_or(0);
                let works = works.into_iter().skip(n).take(1).collect();
                Request::PutWork { works }
            }
        }))
    }
}
