//! The watchdog of a host: the real verdict (`nodemedic_watchdog::verdict`) on virtual time, the
//! process around it, which is frozen, killed and started again, and the device that it feeds.

use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::work::Enforcement;
use nodemedic_protocol::{Boottime, Millis};
use nodemedic_sim_agent_core::{DownCause, UnitKey};
use nodemedic_watchdog::beat::{HEADER, PROMISES_MAX, Promise, RECORD, Status, VERSION};
use nodemedic_watchdog::verdict::{Guard, Settings};

use crate::clock::True;
use crate::fact::{Cut, Fact, Host};
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
    guard: Option<Guard<Hands>>,
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
            reboot: false,
            release_on_stop: false,
            agent_uid: None,
            own_uid: 0,
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
                reboot: true,
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
        host.dog.guard = Some(guard);
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
            let target = target(host.systemd, unit, Some(process.pid), (0, 0))?;
            let unit = unit.clone();
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

    /// The watchdog that uses all of its time: nothing is seen of it before.
    fn worst_answer(&mut self, h: Host, promises: &[Named], timeout: u64) -> Answered {
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

    fn obey_dog(&mut self, h: Host, order: Order) {
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
}

/// What has to be gone with a unit, its cgroup or the session of its process; with a deadline and a
/// grace.
fn target(
    systemd: bool,
    unit: &UnitKey,
    leader: Option<u32>,
    (deadline, grace): (u64, u64),
) -> Option<Promise> {
    if systemd {
        Promise::cgroup(deadline, grace, &cgroup(unit))
    } else {
        leader.map(|pid| Promise::session(deadline, grace, pid, u64::from(pid)))
    }
}

fn cgroup(unit: &UnitKey) -> String {
    format!("/system.slice/{unit}.service").replace(' ', "-")
}

/// One promise as docs/reference/watchdog-beat.md writes it.
fn record(systemd: bool, named: &Named) -> Option<[u8; RECORD]> {
    let mut bytes = [0; RECORD];
    bytes[..8].copy_from_slice(&named.deadline.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&named.grace.0.to_le_bytes());
    if systemd {
        let path = cgroup(&named.unit);
        bytes[16] = 2;
        bytes[18..20].copy_from_slice(&u16::try_from(path.len()).ok()?.to_le_bytes());
        bytes
            .get_mut(32..32 + path.len())?
            .copy_from_slice(path.as_bytes());
    } else {
        let pid = named.leader?;
        bytes[16] = 1;
        bytes[20..24].copy_from_slice(&pid.to_le_bytes());
        bytes[24..32].copy_from_slice(&u64::from(pid).to_le_bytes());
    }
    Some(bytes)
}

/// A beat; the numbers are session, sequence, sent and next.
fn datagram(numbers: [u64; 4], records: &[[u8; RECORD]]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..4].copy_from_slice(b"NMWD");
    bytes[4..6].copy_from_slice(&[VERSION, 1]);
    let count = u16::try_from(records.len()).unwrap_or(u16::MAX);
    bytes[6..8].copy_from_slice(&count.to_le_bytes());
    for (value, place) in numbers.iter().zip(bytes[8..40].chunks_exact_mut(8)) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    bytes.extend(records.iter().flatten());
    bytes
}

/// A number of an answer, of so many bytes.
fn number(answer: &[u8; HEADER], place: usize, bytes: usize) -> u64 {
    let part = answer[place..place + bytes].iter().rev();
    part.fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn read(answer: &[u8; HEADER]) -> Answered {
    let taken = answer[6] == Status::Taken as u8;
    let timeout = Millis(number(answer, 24, 8));
    Answered {
        taken,
        broken: number(answer, 44, 4),
        enforcement: match (taken, answer[7]) {
            (true, 1) => Enforcement::Hardware { timeout },
            (true, 2) => Enforcement::Software { timeout },
            _ => Enforcement::None,
        },
    }
}
