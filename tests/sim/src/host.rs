//! A host: its boot, its durable files, its agent, its watchdog, and what happens to all of them.

use std::collections::{BTreeMap, BTreeSet};

use nodemedic_protocol::message::Session;
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::work::Enforcement;
use nodemedic_protocol::{BootId, Epoch, NodeId, Now, Revision, Seq, SessionId, StreamId};
use nodemedic_sim_agent_core::{
    Agent, DownCause, Effect, LeaseMemory, Memory, Promise, Spooled, UnitKey,
};

use crate::checks::holders::WAKE_MS;
use crate::clock::{Clock, RIGHT, True};
use crate::fact::{Cut, Fact, Host};
use crate::knobs::Knobs;
use crate::manager::{Pending, Process, Watched};
use crate::watchdog::{Dog, Kind};
use crate::wire::Link;
use crate::world::{Event, World, own};

/// One host.
pub struct HostState {
    /// Its name in the fleet.
    pub name: NodeId,
    /// True while it has power.
    pub up: bool,
    /// Counts boots.
    pub boot: u64,
    /// Its clocks.
    pub clock: Clock,
    /// Nothing runs before this moment.
    pub suspended_until: True,
    /// Its agent, while one runs.
    pub agent: Option<Agent>,
    /// Counts runs of the agent.
    pub run: u64,
    /// The agent does nothing before this moment.
    pub frozen_until: True,
    /// Effects until the agent freezes, and for how long.
    pub freeze_in: Option<(u64, u64)>,
    /// Effects until the agent dies.
    pub crash_in: Option<u64>,
    /// On disk.
    pub disk: Disk,
    /// On a tmpfs.
    pub leases: Option<LeaseMemory>,
    /// The same: a copy of what the agent remembers.
    pub copy: Option<Memory>,
    /// What runs.
    pub processes: BTreeMap<UnitKey, Process>,
    /// How what ran on this boot ended.
    pub ended: BTreeMap<UnitKey, DownCause>,
    /// What is being done.
    pub pending: BTreeMap<UnitKey, Pending>,
    /// What the agent watches.
    pub watched: BTreeMap<UnitKey, Watched>,
    /// Starts fail until then.
    pub cursed_until: True,
    /// Nothing can be killed until then: the kernel waits for a device.
    pub unkillable_until: True,
    /// The service manager is systemd: what it was asked for goes on without the agent.
    pub systemd: bool,
    /// What the core has promised.
    pub promises: Vec<Promise>,
    /// The watchdog.
    pub dog: Dog,
    /// What the watchdog last answered.
    pub enforcement: Enforcement,
    /// Its connection.
    pub link: Link,
    /// Of the newest command that the agent of this run obeyed.
    pub obeyed: (Epoch, Revision),
    pub(crate) serial: u64,
    pub(crate) wake: Option<True>,
}

/// What a host keeps over reboots.
pub struct Disk {
    /// What the agent remembers.
    pub memory: Memory,
    /// What it remembered once before.
    pub backup: Option<Memory>,
    /// Events that wait to be stored.
    pub spool: Spooled,
    /// Counts lives of the spool.
    pub streams: u64,
    /// Nothing can be written before this moment.
    pub full_until: True,
    /// What the agent wants written and is not.
    pub unsaved: Option<Memory>,
    /// What it wants done to the spool and is not.
    pub unspooled: Vec<Effect>,
    /// It will try again.
    pub retries: bool,
    /// The memory was set back, from so many writes.
    pub set_back_from: Option<u64>,
}

impl HostState {
    pub(crate) fn new(n: Host, knobs: &Knobs, rng: &mut Rng) -> HostState {
        let drawn = Clock::draw(knobs.drift, rng);
        let rate = if knobs.apart { RIGHT } else { drawn.rate };
        let clock = Clock { rate, ..drawn };
        let kind = Kind::draw(knobs, rng);
        HostState {
            name: own(NodeId::new(format!("host-{n}"))),
            up: false,
            boot: 0,
            clock,
            suspended_until: 0,
            agent: None,
            run: 0,
            frozen_until: 0,
            freeze_in: None,
            crash_in: None,
            disk: Disk {
                memory: Memory::default(),
                backup: None,
                spool: fresh_spool(n, 1),
                streams: 1,
                full_until: 0,
                unsaved: None,
                unspooled: Vec::new(),
                retries: false,
                set_back_from: None,
            },
            leases: None,
            copy: None,
            processes: BTreeMap::new(),
            ended: BTreeMap::new(),
            pending: BTreeMap::new(),
            watched: BTreeMap::new(),
            cursed_until: 0,
            unkillable_until: 0,
            systemd: rng.chance(500),
            promises: Vec::new(),
            dog: Dog::new(kind),
            enforcement: Enforcement::None,
            link: Link::default(),
            obeyed: (Epoch(0), Revision(0)),
            serial: 0,
            wake: None,
        }
    }

    /// What its clocks say.
    #[must_use]
    pub const fn now(&self, at: True) -> Now {
        self.clock.now(at)
    }

    /// Boot and run of its agent.
    #[must_use]
    pub fn session(&self) -> Session {
        Session {
            boot_id: own(BootId::new(format!("{}-boot-{}", self.name, self.boot))),
            session_id: own(SessionId::new(format!("{}-run-{}", self.name, self.run))),
        }
    }

    /// Until when its agent does nothing.
    #[must_use]
    pub fn still_until(&self) -> True {
        self.frozen_until.max(self.suspended_until)
    }
}

fn fresh_spool(host: Host, life: u64) -> Spooled {
    Spooled {
        stream: own(StreamId::new(format!("host-{host}-stream-{life}"))),
        trimmed: Seq(0),
        events: Vec::new(),
    }
}

impl World {
    pub(crate) fn boot(&mut self, h: Host) {
        let now = self.now;
        let host = &mut self.hosts[h];
        if host.up {
            return;
        }
        host.up = true;
        host.boot += 1;
        host.clock.origin = now;
        let boot = host.boot;
        self.fact(Fact::Booted { host: h });
        self.dog_starts(h, boot);
        let delay = self.between(100, 1_500);
        self.at(delay, Event::AgentStart(h, boot));
    }

    /// Power is gone: what ran runs no more, and a tmpfs is empty.
    pub(crate) fn power_off(&mut self, h: Host, by: Cut) {
        if !self.hosts[h].up {
            return;
        }
        self.agent_dies(h);
        let running: Vec<UnitKey> = self.hosts[h].processes.keys().cloned().collect();
        for unit in running {
            self.process_ends(h, &unit, DownCause::Gone, "power off");
        }
        let host = &mut self.hosts[h];
        host.up = false;
        host.suspended_until = 0;
        host.unkillable_until = 0;
        host.ended.clear();
        host.pending.clear();
        host.leases = None;
        host.copy = None;
        host.dog.power_off();
        self.fact(Fact::PoweredOff { host: h, by });
    }

    /// Power is gone for so long.
    pub(crate) fn power_cycle(&mut self, h: Host, by: Cut, off_ms: u64) {
        self.power_off(h, by);
        self.at(off_ms, Event::Boot(h));
    }

    pub(crate) fn suspend(&mut self, h: Host, span: u64) {
        let until = self.now + span;
        let host = &mut self.hosts[h];
        if !host.up || host.suspended_until > self.now {
            return;
        }
        host.suspended_until = until;
        // A device does not count while its machine is suspended.
        host.dog.pause_device(span);
        host.dog.still_until = until;
        self.fact(Fact::Suspended { host: h });
        let boot = self.hosts[h].boot;
        self.at(span, Event::Resume(h, boot));
    }

    pub(crate) fn resume(&mut self, h: Host, boot: u64) {
        let host = &self.hosts[h];
        if !host.up || host.boot != boot {
            return;
        }
        // An agent that was frozen before, or is as it wakes, ends nothing. Its device then resets
        // the host.
        let freezes = self.now < host.frozen_until || host.freeze_in.is_some();
        let frozen = host.agent.is_some() && freezes;
        let wakes_within = match host.dog.kind {
            Kind::Hardware(timeout) if frozen => WAKE_MS + timeout,
            _ => WAKE_MS,
        };
        self.fact(Fact::Resumed {
            host: h,
            wakes_within,
        });
    }

    /// The agent is gone, by a crash or after its farewell; what it looked after runs on.
    pub(crate) fn agent_dies(&mut self, h: Host) {
        if self.hosts[h].agent.take().is_none() {
            return;
        }
        let orphans: BTreeSet<UnitKey> = self.hosts[h].pending.keys().cloned().collect();
        for unit in orphans {
            // systemd carries on with what it was asked; a process that waits for its gate ends.
            if !self.hosts[h].systemd || self.waits_at_gate(h, &unit) {
                self.hosts[h].pending.remove(&unit);
            }
        }
        let units: Vec<UnitKey> = self.hosts[h].processes.keys().cloned().collect();
        for unit in units {
            self.leave_gate(h, &unit);
        }
        let host = &mut self.hosts[h];
        host.watched.clear();
        host.crash_in = None;
        host.freeze_in = None;
        host.frozen_until = 0;
        host.promises.clear();
        host.disk.unsaved = None;
        host.disk.unspooled.clear();
        host.disk.retries = false;
        host.link.agent_up = false;
        let conn = host.link.conn;
        self.fact(Fact::AgentEnded { host: h });
        let delay = self.between(0, 300);
        self.at(delay, Event::DeadForBroker(h, conn, false));
    }

    /// The spool is lost with what was in it; the agent is dead at that moment.
    pub(crate) fn lose_spool(&mut self, h: Host) {
        let disk = &mut self.hosts[h].disk;
        disk.streams += 1;
        disk.spool = fresh_spool(h, disk.streams);
        self.fact(Fact::SpoolLost { host: h });
    }

    /// What the agent remembers is as it was once before; the agent is dead at that moment.
    pub(crate) fn roll_memory_back(&mut self, h: Host) {
        let disk = &mut self.hosts[h].disk;
        if let Some(backup) = disk.backup.clone() {
            disk.set_back_from = disk.set_back_from.max(Some(disk.memory.writes));
            disk.memory = backup;
            self.fact(Fact::MemoryRolledBack { host: h });
        }
    }
}
