//! Faults of the coordinator, of the broker, and of the network between them and the hosts.

use super::{Broken, Fault};
use crate::broker::Recalls;
use crate::fact::Host;
use crate::world::{Event, World};

impl World {
    pub(super) fn strike_boss(&mut self, fault: Fault) {
        match fault {
            Fault::Boss { back, reboots } => {
                self.boss_dies(back);
                if reboots {
                    self.boss.clock.origin = self.now;
                }
            }
            Fault::BossPauses { effects, span } => self.boss.freeze_in = Some((effects, span)),
            Fault::BossDiskFull { span } => self.boss.disk_full_until = self.now + span,
            Fault::BossCut { span } => {
                self.boss.cut = true;
                self.boss_link_down();
                self.at(span, Event::Heal(Broken::BossCut));
            }
            Fault::BossMute { span } => {
                self.boss.mute = true;
                self.at(span, Event::Heal(Broken::BossMute));
                let patience = self.between(3_000, 15_000);
                if span > patience {
                    self.at(patience, Event::BossDead(self.boss.conn));
                }
            }
            Fault::BossAndHost { host, back, span } => {
                self.boss_dies(back);
                self.cut(vec![host], true, true, span);
            }
            Fault::Silence { span } => {
                self.boss.away_until = self.now + span;
                self.boss_dies(1_000);
                self.broker_down(Recalls::Nothing);
                self.at(span, Event::BrokerUp);
            }
            Fault::Repaired => self.trust_devices(),
            Fault::Person(request) => self.ask(*request),
            _ => {}
        }
    }

    pub(super) fn strike_network(&mut self, fault: Fault) {
        match fault {
            Fault::Broker { off, recalls } => {
                self.broker_down(recalls);
                self.at(off, Event::BrokerUp);
            }
            Fault::Cut {
                hosts,
                up,
                down,
                span,
            } => self.cut(hosts, up, down, span),
            Fault::Flap { host, times, span } => {
                for n in 0..times {
                    let fault = Fault::Cut {
                        hosts: vec![host],
                        up: true,
                        down: true,
                        span,
                    };
                    self.at(2 * n * span, Event::Fault(Box::new(fault)));
                }
            }
            Fault::Slow { host, by, span } => {
                let link = &mut self.hosts[host].link;
                link.slow_by = by;
                link.slow_until = self.now + span;
            }
            Fault::Drop { host } => {
                let conn = self.hosts[host].link.conn;
                self.at(0, Event::DeadForBroker(host, conn, false));
                self.at(10, Event::DeadForAgent(host, conn, false));
            }
            Fault::Replay { host, times } => {
                for _ in 0..times {
                    self.replay(host);
                }
            }
            _ => {}
        }
    }

    fn cut(&mut self, hosts: Vec<Host>, up: bool, down: bool, span: u64) {
        for h in &hosts {
            let link = &mut self.hosts[*h].link;
            link.cut_up |= up;
            link.cut_down |= down;
            let conn = link.conn;
            let (a, b) = (self.between(3_000, 15_000), self.between(3_000, 15_000));
            self.at(a, Event::DeadForAgent(*h, conn, true));
            self.at(b, Event::DeadForBroker(*h, conn, true));
        }
        self.at(span, Event::Heal(Broken::Cut(hosts)));
    }

    pub(crate) fn heal(&mut self, broken: Broken) {
        match broken {
            Broken::Cut(hosts) => {
                for h in hosts {
                    self.hosts[h].link.cut_up = false;
                    self.hosts[h].link.cut_down = false;
                }
            }
            Broken::BossCut => self.boss.cut = false,
            Broken::BossMute => self.boss.mute = false,
        }
    }
}
