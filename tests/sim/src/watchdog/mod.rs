//! The watchdog of a host: the real verdict (`nodemedic_watchdog::verdict`) on virtual time, the
//! process around it, which is frozen, killed and started again, and the device that it feeds.

mod acts;
mod bytes;

use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::work::Enforcement;
use nodemedic_protocol::{Boottime, Millis};
use nodemedic_sim_agent_core::UnitKey;
use nodemedic_watchdog::beat::{PROMISES_MAX, Promise, RECORD};
use nodemedic_watchdog::verdict::{Guard, LAST_RESORT, Settings};

use self::bytes::{datagram, read, record};
use crate::clock::True;
use crate::fact::Host;
use crate::hands::{Hands, Order, Runs};
use crate::knobs::{Knobs, WatchdogFault};
use crate::world::{Event, World};

/// The next beat is announced for so long ahead, as the agent's client does.
const NEXT_MS: u64 = 3_000;

/// A watchdog that was still for a while may be reset for that, until so long after.
const RAN_MS: u64 = 12_000;

/// What stands behind the promises of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No watchdog is installed.
    Missing,
    /// One that only says what it would do.
    DryRun,
    /// One that kills, and says so loudly when it cannot.
    Software(u64),
    /// One that kills, and reboots the host when it cannot.
    Reboots(u64),
    /// One with a device that resets the host when it is not fed for so long.
    Hardware(u64),
    /// The worst that an answer allows: what is promised ends in the last millisecond of it. Only
    /// for worlds that look at single milliseconds.
    Worst(u64),
}

/// The watchdog of a host, over all its lives.
pub struct Dog {
    /// What it is.
    pub kind: Kind,
    /// It does nothing before this moment.
    pub frozen_until: True,
    /// It was frozen, dead or without power until then, lately.
    pub still_until: True,
    /// Beats without an answer.
    pub misses: u32,
    /// Number of the last beat of this run of the agent.
    pub sequence: u64,
    /// What the agent's core was told of it.
    pub told: Option<Enforcement>,
    /// In a box, because it is large and moves often.
    guard: Option<Box<Guard<Hands>>>,
    /// Counts lives of its process.
    life: u64,
    /// The file beside its socket.
    table: Vec<u8>,
    fed_at: Option<True>,
    device_due: Option<True>,
    wake: Option<True>,
}

/// A promise with its target.
#[derive(Clone, Debug)]
pub struct Named {
    /// When the agent ends it.
    pub deadline: Boottime,
    /// How much later the watchdog does.
    pub grace: Millis,
    /// What it is about.
    pub unit: UnitKey,
    /// Its process, if there is one.
    pub leader: Option<u32>,
}

/// What a watchdog answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// The beat is in force.
    pub taken: bool,
    /// Promises that are broken.
    pub broken: u64,
    /// What the answer means for the coordinator.
    pub enforcement: Enforcement,
}

impl Kind {
    /// Most hosts have something; some have nothing.
    pub(crate) fn draw(knobs: &Knobs, rng: &mut Rng) -> Kind {
        let timeout = [4_000, 6_000, 10_000][usize::try_from(rng.below(3)).unwrap_or(0)];
        let draw = rng.below(20);
        match knobs.watchdogs {
            Some(kind) => kind,
            None => match draw {
                0 | 1 => Kind::Missing,
                2 => Kind::DryRun,
                3..=9 => Kind::Software(timeout),
                10..=12 => Kind::Reboots(timeout),
                _ => Kind::Hardware(timeout),
            },
        }
    }

    const fn settings(self) -> Option<Settings> {
        let base = Settings {
            hardware: false,
            timeout_ms: 4_000,
            dry_run: false,
            uids: [0, 0],
            flags: 0,
            boot_status: 0,
        };
        match self {
            Kind::Missing | Kind::Worst(_) => None,
            Kind::DryRun => Some(Settings {
                dry_run: true,
                ..base
            }),
            Kind::Software(timeout_ms) => Some(Settings { timeout_ms, ..base }),
            Kind::Reboots(timeout_ms) => Some(Settings {
                timeout_ms,
                flags: LAST_RESORT,
                ..base
            }),
            Kind::Hardware(timeout_ms) => Some(Settings {
                timeout_ms,
                hardware: true,
                ..base
            }),
        }
    }

    /// True when the coordinator may reckon with it.
    #[must_use]
    pub const fn is_enforcing(self) -> bool {
        !matches!(self, Kind::Missing | Kind::DryRun)
    }

    /// True when a kernel that cannot kill does not break its promise.
    #[must_use]
    pub const fn outlasts_a_hung_kernel(self) -> bool {
        matches!(self, Kind::Hardware(_))
    }
}

impl Dog {
    pub(crate) const fn new(kind: Kind) -> Dog {
        Dog {
            kind,
            frozen_until: 0,
            still_until: 0,
            misses: 0,
            sequence: 0,
            told: None,
            guard: None,
            life: 0,
            table: Vec::new(),
            fed_at: None,
            device_due: None,
            wake: None,
        }
    }

    /// Its process, its table on the tmpfs and the device's count are gone with the power.
    pub(crate) fn power_off(&mut self) {
        let life = self.life;
        *self = Dog::new(self.kind);
        self.life = life;
    }

    pub(crate) fn pause_device(&mut self, span: u64) {
        self.fed_at = self.fed_at.map(|at| at + span);
    }

    /// True while its process lives.
    #[must_use]
    pub const fn lives(&self) -> bool {
        self.guard.is_some()
    }
}

impl World {
    /// The process starts, with what the one before it kept.
    pub(crate) fn dog_starts(&mut self, h: Host, boot: u64) {
        let forgets = self.knobs.mutant.is(WatchdogFault::Forgets);
        let hands = self.hands(h);
        let now = self.hosts[h].now(self.now).boot.0;
        let host = &mut self.hosts[h];
        let Some(settings) = host.dog.kind.settings() else {
            return;
        };
        if !host.up || host.boot != boot || host.dog.guard.is_some() {
            return;
        }
        if forgets {
            host.dog.table.clear();
        }
        let guard = Guard::new(now, hands, settings, &host.dog.table);
        host.dog.guard = Some(Box::new(guard));
        host.dog.life += 1;
        host.dog.still_until = self.now;
        host.dog.wake = None;
        self.dog_turns(h);
    }

    /// The process is killed; the device, if there is one, goes on counting.
    pub(crate) fn dog_dies(&mut self, h: Host, back_after: u64) {
        let host = &mut self.hosts[h];
        if host.dog.guard.take().is_some() {
            host.dog.frozen_until = 0;
            let boot = host.boot;
            self.at(back_after, Event::DogStart(h, boot));
        }
    }

    /// What the watchdog would see of its host now.
    fn hands(&self, h: Host) -> Hands {
        let host = &self.hosts[h];
        let runs = host.processes.iter();
        let runs = runs.filter_map(|(unit, process)| {
            let (unit, leader) = (unit.clone(), Some(process.pid));
            let (deadline, grace) = (Boottime(0), Millis(0));
            let named = Named {
                deadline,
                grace,
                unit: unit.clone(),
                leader,
            };
            let target = Promise::parse(&record(host.systemd, &named)?)?;
            Some(Runs { target, unit })
        });
        Hands {
            runs: runs.collect(),
            unkillable: self.now < host.unkillable_until,
            agent: host.agent.as_ref().map(|_| host.run),
            held: None,
            orders: Vec::new(),
        }
    }

    /// Lets the guard do something with fresh eyes, and does what it ordered.
    fn with_guard<R>(
        &mut self,
        h: Host,
        step: impl FnOnce(&mut Guard<Hands>, u64) -> R,
    ) -> Option<R> {
        let now = self.hosts[h].now(self.now).boot.0;
        let eyes = self.hands(h);
        let mut guard = self.hosts[h].dog.guard.take()?;
        guard.host.look(eyes);
        let result = step(&mut guard, now);
        let orders = std::mem::take(&mut guard.host.orders);
        let wait = guard.wait_ms(now);
        self.hosts[h].dog.guard = Some(guard);
        self.dog_wakes_after(h, now, wait);
        for order in orders {
            self.obey_dog(h, order);
        }
        Some(result)
    }

    fn dog_wakes_after(&mut self, h: Host, now: u64, wait: u64) {
        let host = &mut self.hosts[h];
        let moment = host.clock.when(Boottime(now + wait)).max(self.now + 1);
        if host.dog.wake.is_none_or(|at| moment < at || at <= self.now) {
            host.dog.wake = Some(moment);
            let life = host.dog.life;
            self.at_moment(moment, Event::Dog(h, life));
        }
    }

    /// Its timer.
    pub(crate) fn dog_wakes(&mut self, h: Host, life: u64) {
        let dog = &mut self.hosts[h].dog;
        if dog.life != life || dog.guard.is_none() {
            return;
        }
        if self.now < dog.frozen_until {
            let until = dog.frozen_until;
            self.at_moment(until, Event::Dog(h, life));
            return;
        }
        if dog.wake.is_some_and(|at| at <= self.now) {
            dog.wake = None;
            self.dog_turns(h);
        }
    }

    fn dog_turns(&mut self, h: Host) {
        if self.knobs.mutant.is(WatchdogFault::Sleeps) {
            self.obey_dog(h, Order::Feed);
            return;
        }
        self.with_guard(h, Guard::turn);
        if self.knobs.mutant.is(WatchdogFault::FeedsAlways) {
            self.obey_dog(h, Order::Feed);
        }
    }

    /// One beat of the agent; no answer when no watchdog runs.
    pub(crate) fn beat_watchdog(&mut self, h: Host, promises: &[Named]) -> Option<Answered> {
        let host = &mut self.hosts[h];
        host.dog.sequence += 1;
        let (now, run) = (host.now(self.now).boot.0, host.run);
        if let Kind::Worst(timeout) = host.dog.kind {
            return Some(self.worst_answer(h, promises, timeout));
        }
        if self.now < host.dog.frozen_until {
            return None;
        }
        let (sequence, systemd) = (host.dog.sequence, host.systemd);
        let records: Vec<[u8; RECORD]> = promises
            .iter()
            .filter_map(|p| record(systemd, p))
            .take(PROMISES_MAX)
            .collect();
        let pid = u32::try_from(run).unwrap_or(u32::MAX);
        let bytes = datagram([run, sequence, now, NEXT_MS], &records);
        let answer = self.with_guard(h, |guard, now| guard.receive(now, pid, 0, &bytes))?;
        Some(read(&answer))
    }
}
