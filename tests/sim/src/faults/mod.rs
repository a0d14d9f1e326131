//! What breaks, and how it is repaired. [`draw`] chooses; a story says itself what it wants.
//!
//! [`draw`]: crate::draw

mod network;

use nodemedic_protocol::Millis;
use nodemedic_sim_agent_core::{DownCause, Input, UnitKey};
use nodemedic_sim_coordinator_core::Request;

use crate::broker::Recalls;
use crate::clock::True;
use crate::fact::{Cut, Fact, Host, Liar};
use crate::fence::Manner;
use crate::knobs::Plot;
use crate::works;
use crate::world::{Event, World};

/// One thing that breaks. Spans are in milliseconds.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum Fault {
    /// An agent dies and starts again; its leases may be lost with it.
    AgentDies {
        host: Host,
        back: u64,
        leases_lost: bool,
    },
    /// An agent will die just before one of its next effects.
    AgentCrash { host: Host, effects: u64 },
    /// An agent is frozen and thawed.
    AgentFreezes { host: Host, span: u64 },
    /// An agent will be frozen just before one of its next effects.
    AgentPauses { host: Host, effects: u64, span: u64 },
    /// An agent ends on purpose and is back soon.
    Upgrade { host: Host, back: u64 },
    /// A watchdog's process dies and starts again; the agent may die at the same moment.
    WatchdogDies {
        host: Host,
        back: u64,
        agent_too: bool,
    },
    /// A watchdog's process is frozen and thawed; the agent may be at the same moment.
    WatchdogFreezes {
        host: Host,
        span: u64,
        agent_too: bool,
    },
    /// A host is suspended and resumed.
    Suspend { host: Host, span: u64 },
    /// A host loses power and gets it back.
    Power { host: Host, off: u64 },
    /// Somebody sets a wall clock wrong; of the coordinator's host when no host is named.
    WallClock { host: Option<Host>, error_ms: i64 },
    /// The disk of a host is full.
    DiskFull { host: Host, span: u64 },
    /// The agent dies, and what it remembers on disk is as it was once before; the host may have
    /// been off meanwhile.
    RollBack {
        host: Host,
        back: u64,
        reboots: bool,
    },
    /// The spool of an agent is lost.
    SpoolLost { host: Host, back: u64 },
    /// Nothing can be killed on a host.
    Unkillable { host: Host, span: u64 },
    /// Starts fail on a host.
    StartsFail { host: Host, span: u64 },
    /// A process dies, falls ill, or will not end.
    Process { host: Host, unit: UnitKey, how: Ill },
    /// Everything on a host dies.
    KillAll { host: Host },
    /// The coordinator dies, and its host too.
    Boss { back: u64, reboots: bool },
    /// The coordinator will be frozen just before one of its next effects.
    BossPauses { effects: u64, span: u64 },
    /// The disk of the coordinator is full.
    BossDiskFull { span: u64 },
    /// The coordinator cannot reach the broker.
    BossCut { span: u64 },
    /// What the coordinator says does not arrive.
    BossMute { span: u64 },
    /// The broker restarts.
    Broker { off: u64, recalls: Recalls },
    /// The network of some hosts is cut: nothing passes up, or down, or both.
    Cut {
        hosts: Vec<Host>,
        up: bool,
        down: bool,
        span: u64,
    },
    /// The network of a host comes and goes.
    Flap { host: Host, times: u64, span: u64 },
    /// The network of a host is slow.
    Slow { host: Host, by: u64, span: u64 },
    /// The fence devices of a host behave so.
    Devices {
        host: Host,
        manner: Manner,
        span: u64,
    },
    /// A person says that a host is down, and that is true at this moment.
    ConfirmDown { host: Host },
    /// A person says that a host is down, and it runs.
    ConfirmWrong { host: Host },
    /// A person trusts the fence devices again that were found out.
    Repaired,
    /// A connection drops.
    Drop { host: Host },
    /// Old messages come again.
    Replay { host: Host, times: u64 },
    /// The worst pair: the coordinator forgets what it heard, and a host falls silent at that
    /// moment.
    BossAndHost { host: Host, back: u64, span: u64 },
    /// Coordinator and broker are gone together.
    Silence { span: u64 },
    /// A person asks.
    Person(Box<Request>),
}

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ill {
    /// It is killed.
    Dies,
    /// Its probe fails.
    Sick,
    /// It ends only when it is killed.
    Stubborn,
    /// It is dead for all who need it, and its probe passes; or it runs, and its status says no.
    Lies(u64),
}

/// What a later event repairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The network of some hosts.
    Cut(Vec<Host>),
    /// The way of the coordinator to the broker.
    BossCut,
    /// The same, in one direction.
    BossMute,
}

impl World {
    pub(crate) fn plan_faults(&mut self) {
        match self.knobs.plot.clone() {
            Plot::Everything => {
                self.next_draw();
                self.at(20_000, Event::Backup);
            }
            Plot::Script(script) => {
                for (at, fault) in script {
                    self.at(at, Event::Fault(Box::new(fault)));
                }
            }
        }
    }

    /// Breaks something.
    pub(crate) fn strike(&mut self, fault: Fault) {
        let what: String = format!("{fault:?}").chars().take(160).collect();
        self.fact(Fact::Fault(what));
        match fault {
            Fault::AgentDies { .. }
            | Fault::AgentCrash { .. }
            | Fault::AgentFreezes { .. }
            | Fault::AgentPauses { .. }
            | Fault::Upgrade { .. }
            | Fault::WatchdogDies { .. }
            | Fault::WatchdogFreezes { .. } => self.strike_program(fault),
            Fault::Boss { .. }
            | Fault::BossPauses { .. }
            | Fault::BossDiskFull { .. }
            | Fault::BossCut { .. }
            | Fault::BossMute { .. }
            | Fault::BossAndHost { .. }
            | Fault::Silence { .. }
            | Fault::Repaired
            | Fault::Person(_) => self.strike_boss(fault),
            Fault::Broker { .. }
            | Fault::Cut { .. }
            | Fault::Flap { .. }
            | Fault::Slow { .. }
            | Fault::Drop { .. }
            | Fault::Replay { .. } => self.strike_network(fault),
            _ => self.strike_host(fault),
        }
    }

    fn strike_program(&mut self, fault: Fault) {
        match fault {
            Fault::AgentDies {
                host,
                back,
                leases_lost,
            } => {
                self.agent_dies(host);
                if leases_lost {
                    self.hosts[host].leases = None;
                }
                self.agent_starts_after(host, back);
            }
            Fault::AgentCrash { host, effects } => self.hosts[host].crash_in = Some(effects),
            Fault::AgentFreezes { host, span } => self.freeze_agent(host, span),
            Fault::AgentPauses {
                host,
                effects,
                span,
            } => {
                self.hosts[host].freeze_in = Some((effects, span));
            }
            Fault::Upgrade { host, back } => {
                let run = self.hosts[host].run;
                let reason = "agent upgrade".into();
                let back_within = Millis::from_secs(30);
                if self.now >= self.hosts[host].still_until() {
                    self.tell_core(
                        host,
                        run,
                        Input::GoingDown {
                            reason,
                            back_within,
                        },
                    );
                    self.close_cleanly(host);
                }
                self.agent_dies(host);
                self.agent_starts_after(host, back);
            }
            Fault::WatchdogDies {
                host,
                back,
                agent_too,
            } => {
                self.dog_dies(host, back);
                if agent_too {
                    self.agent_dies(host);
                    self.agent_starts_after(host, back);
                }
            }
            Fault::WatchdogFreezes {
                host,
                span,
                agent_too,
            } => {
                self.hosts[host].dog.frozen_until = self.now + span;
                self.hosts[host].dog.still_until = self.now + span;
                if agent_too {
                    self.freeze_agent(host, span);
                }
            }
            _ => {}
        }
    }

    fn agent_starts_after(&mut self, h: Host, back: u64) {
        let boot = self.hosts[h].boot;
        self.at(back, Event::AgentStart(h, boot));
    }

    fn strike_host(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Suspend { host, span } => self.suspend(host, span),
            Fault::Power { host, off } => self.power_cycle(host, Cut::Failure, off),
            Fault::WallClock { host, error_ms } => match host {
                Some(host) => self.hosts[host].clock.wall_error = error_ms,
                None => self.boss.clock.wall_error = error_ms,
            },
            Fault::DiskFull { host, span } => self.hosts[host].disk.full_until = now + span,
            Fault::RollBack {
                host,
                back,
                reboots,
            } => {
                self.agent_dies(host);
                self.roll_memory_back(host);
                if reboots {
                    self.power_cycle(host, Cut::Failure, back);
                } else {
                    self.agent_starts_after(host, back);
                }
            }
            Fault::SpoolLost { host, back } => {
                self.agent_dies(host);
                self.lose_spool(host);
                self.agent_starts_after(host, back);
            }
            Fault::Devices { host, manner, span } => {
                self.devices.behave(host, manner, now + span);
            }
            Fault::ConfirmDown { host } => self.confirm_down(host, false),
            Fault::ConfirmWrong { host } => self.confirm_down(host, true),
            Fault::Unkillable { host, span } => self.hosts[host].unkillable_until = now + span,
            Fault::StartsFail { host, span } => self.hosts[host].cursed_until = now + span,
            Fault::Process { host, unit, how } => self.strike_process(host, &unit, how),
            Fault::KillAll { host } => self.kill_all(host),
            _ => {}
        }
    }

    fn strike_process(&mut self, h: Host, unit: &UnitKey, how: Ill) {
        let now = self.now;
        if how == Ill::Dies {
            self.process_ends(h, unit, DownCause::Killed(9), "killed");
        } else if let Some(process) = self.hosts[h].processes.get_mut(unit) {
            match how {
                Ill::Dies => {}
                Ill::Sick => process.sick = true,
                Ill::Stubborn => process.stubborn = true,
                Ill::Lies(span) => {
                    process.sick = true;
                    process.lies_until = now + span;
                }
            }
        }
        self.show_all(h, unit);
    }

    pub(crate) fn kill_all(&mut self, h: Host) {
        let units: Vec<UnitKey> = self.hosts[h].processes.keys().cloned().collect();
        for unit in units {
            self.process_ends(h, &unit, DownCause::Killed(9), "killed");
            self.show_all(h, &unit);
        }
    }

    /// Said once, and not again when it may have become wrong.
    fn confirm_down(&mut self, h: Host, wrongly: bool) {
        if self.hosts[h].up != wrongly || self.now < self.boss.frozen_until {
            return;
        }
        if wrongly {
            let by = Liar::Person;
            self.fact(Fact::Misled { host: h, by });
        }
        let request = Request::ConfirmDown {
            node: self.hosts[h].name.clone(),
            reason: "its lights are off".into(),
            by: "operator".into(),
        };
        self.ask_once(request);
    }

    /// Copies of what is on disks, so that a later fault can bring them back.
    pub(crate) fn backup(&mut self) {
        for host in &mut self.hosts {
            host.disk.backup = Some(host.disk.memory.clone());
        }
        self.boss.backup = Some(self.boss.store.clone());
        if !self.calm {
            let next: True = self.between(20_000, 80_000);
            self.at(next, Event::Backup);
        }
    }

    /// Whether somebody holds exclusive work that ends with its lease.
    pub(crate) fn holds_stop_work(&self, h: Host) -> bool {
        let is_stop = |unit: &UnitKey| match unit {
            UnitKey::Work(work) => works::stops_on_lease_loss(work),
            UnitKey::Service(_) => false,
        };
        self.hosts[h].processes.keys().any(is_stop)
    }
}
