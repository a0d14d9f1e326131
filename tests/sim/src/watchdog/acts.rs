//! What a watchdog does to its host: it ends processes, feeds the device, or has the host reset.

use nodemedic_protocol::work::Enforcement;
use nodemedic_protocol::{Boottime, Millis};
use nodemedic_sim_agent_core::{DownCause, UnitKey};

use super::{Answered, Kind, Named, RAN_MS};
use crate::fact::{Cut, Fact, Host};
use crate::hands::Order;
use crate::world::{Event, World};

impl World {
    pub(super) fn obey_dog(&mut self, h: Host, order: Order) {
        match order {
            Order::Ask(unit) => {
                let host = &self.hosts[h];
                let process = host.processes.get(&unit);
                if let Some(process) = process.filter(|process| !process.stubborn) {
                    let (pid, boot) = (process.pid, host.boot);
                    let delay = self.between(10, 800);
                    self.at(delay, Event::Termed(h, boot, unit, pid));
                }
            }
            Order::Kill(unit) => {
                self.process_ends(h, &unit, DownCause::Killed(9), "watchdog");
                self.show_all(h, &unit);
            }
            Order::KillAgent => {
                self.fact(Fact::Fault(format!(
                    "the watchdog kills the agent of host-{h}"
                )));
                self.agent_dies(h);
                let boot = self.hosts[h].boot;
                let delay = self.between(100, 2_000);
                self.at(delay, Event::AgentStart(h, boot));
            }
            Order::Feed => {
                if let Kind::Hardware(timeout) = self.hosts[h].dog.kind {
                    self.feed_device(h, timeout);
                }
            }
            Order::Reboot => {
                self.note_reset(h);
                self.power_cycle(h, Cut::Watchdog, 8_000);
            }
            Order::Keep(table) => self.hosts[h].dog.table = table,
            Order::Say(text) => self.fact(Fact::Said { host: h, text }),
        }
    }

    fn note_reset(&mut self, h: Host) {
        let host = &self.hosts[h];
        let held = host
            .processes
            .iter()
            .filter_map(|(unit, process)| match unit {
                UnitKey::Work(work) => Some((work.clone(), process.generation?)),
                UnitKey::Service(_) => None,
            });
        let fact = Fact::Resets {
            host: h,
            held: held.collect(),
            runs: host.dog.lives() && self.now > host.dog.still_until + RAN_MS,
        };
        self.fact(fact);
    }

    fn feed_device(&mut self, h: Host, timeout: u64) {
        self.show(&Fact::Fed { host: h });
        let dog = &mut self.hosts[h].dog;
        dog.fed_at = Some(self.now);
        if dog.device_due.is_none() {
            let due = self.now + timeout;
            dog.device_due = Some(due);
            let boot = self.hosts[h].boot;
            self.at_moment(due, Event::Device(h, boot));
        }
    }

    /// The device looks when it was fed.
    pub(crate) fn device_looks(&mut self, h: Host, boot: u64) {
        let host = &mut self.hosts[h];
        let (Some(fed), Kind::Hardware(timeout)) = (host.dog.fed_at, host.dog.kind) else {
            return;
        };
        if !host.up || host.boot != boot {
            return;
        }
        if fed + timeout > self.now {
            host.dog.device_due = Some(fed + timeout);
            self.at_moment(fed + timeout, Event::Device(h, boot));
            return;
        }
        self.note_reset(h);
        let off = self.between(5_000, 20_000);
        self.power_cycle(h, Cut::Watchdog, off);
    }

    /// A process that was asked to end has ended.
    pub(crate) fn termed(&mut self, h: Host, boot: u64, unit: &UnitKey, pid: u32) {
        let host = &self.hosts[h];
        let same = host.processes.get(unit).is_some_and(|p| p.pid == pid);
        if host.up && host.boot == boot && same && self.now >= host.unkillable_until {
            self.process_ends(h, unit, DownCause::Killed(15), "watchdog");
            self.show_all(h, unit);
        }
    }

    /// The watchdog that uses all of its time: nothing is seen of it before.
    pub(super) fn worst_answer(&mut self, h: Host, promises: &[Named], timeout: u64) -> Answered {
        let (boot, clock) = (self.hosts[h].boot, self.hosts[h].clock);
        for promise in promises {
            let end = promise.deadline + promise.grace + Millis(timeout);
            self.at_moment(clock.when(end), Event::Worst(h, boot, end));
        }
        let timeout = Millis(timeout);
        Answered {
            taken: true,
            broken: 0,
            enforcement: Enforcement::Hardware { timeout },
        }
    }

    /// The last millisecond of a promise: what still runs under it ends by a reset.
    pub(crate) fn worst_ends(&mut self, h: Host, boot: u64, end: Boottime) {
        let host = &self.hosts[h];
        let Kind::Worst(timeout) = host.dog.kind else {
            return;
        };
        let over = host.promises.iter().any(|p| {
            let runs = host.processes.contains_key(&UnitKey::Work(p.work.clone()));
            runs && p.deadline + p.grace + Millis(timeout) <= end
        });
        if host.up && host.boot == boot && over {
            self.note_reset(h);
            self.power_cycle(h, Cut::Watchdog, 10_000);
        }
    }
}
