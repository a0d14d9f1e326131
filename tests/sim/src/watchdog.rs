//! The watchdog of a host, a process of its own: it holds the host to its promises when the agent
//! is dead or frozen.

use nodemedic_agent_core::{DownCause, Promise, UnitKey};
use nodemedic_protocol::work::Enforcement;

use crate::fact::{Fact, Host};
use crate::world::{Event, World};

/// So long a watchdog takes at most after a broken promise.
pub(crate) const WATCHDOG_MS: u64 = 3_000;

impl World {
    pub(crate) fn promise(&mut self, h: Host, promises: Vec<Promise>) {
        let host = &mut self.hosts[h];
        if host.enforcement == Enforcement::None {
            return;
        }
        let (boot, clock) = (host.boot, host.clock);
        host.promises.clone_from(&promises);
        for promise in promises {
            let end = clock.when(promise.deadline + promise.grace);
            let moment = end + self.rng.below(WATCHDOG_MS - 100);
            self.at_moment(moment, Event::Watchdog(h, boot));
        }
    }

    /// The watchdog ends what runs beyond its promise.
    pub(crate) fn watchdog(&mut self, h: Host, boot: u64) {
        let host = &self.hosts[h];
        if !host.up || host.boot != boot || self.knobs.watchdogs_sleep {
            return;
        }
        let now = host.now(self.now).boot;
        let broken: Vec<UnitKey> = host
            .promises
            .iter()
            .filter(|p| p.deadline + p.grace <= now)
            .filter_map(|p| {
                let unit = UnitKey::Work(p.work.clone());
                let process = host.processes.get(&unit)?;
                (process.generation <= Some(p.generation)).then_some(unit)
            })
            .collect();
        for unit in broken {
            if matches!(self.hosts[h].enforcement, Enforcement::Hardware { .. }) {
                self.fact(Fact::Fault(format!(
                    "the watchdog resets host-{h} for {unit}"
                )));
                self.power_off(h);
                let delay = self.between(5_000, 20_000);
                self.at(delay, Event::Boot(h));
                return;
            }
            self.hosts[h].pending.remove(&unit);
            self.process_ends(h, &unit, DownCause::Killed(9), "watchdog");
            self.show_all(h, &unit);
        }
    }
}
