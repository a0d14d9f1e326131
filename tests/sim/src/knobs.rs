//! What a world is like, drawn from its seed and printed first: a failing seed says at once which
//! weather it failed in.

use std::fmt;

use nodemedic_protocol::rng::Rng;
use nodemedic_sim_agent_core::mutation::{Mutation as OfAgent, Mutations as AgentMutations};
use nodemedic_sim_coordinator_core::mutation::{Mutation as OfBoss, Mutations as BossMutations};

use crate::clock::True;
use crate::faults::Fault;
use crate::watchdog::Kind;

/// The weather of one world. Chances are per thousand, times in milliseconds.
#[derive(Clone, Debug)]
pub struct Knobs {
    /// Everything else is drawn from this.
    pub seed: u64,
    /// How many hosts.
    pub hosts: usize,
    /// How long faults last.
    pub fault_ms: u64,
    /// A deliberate fault, to prove that the checkers bite.
    pub mutant: Mutant,
    /// Which kinds of faults there are.
    pub plot: Plot,
    /// What every host has as its watchdog; drawn when absent.
    pub watchdogs: Option<Kind>,
    /// How many failure domains; none at zero.
    pub zones: usize,
    /// Hosts with fence devices.
    pub fenced: u64,
    /// Fence devices may read OFF and lie, and persons may err when they confirm a host down.
    pub misled: bool,
    /// Between two heartbeats.
    pub heartbeat_ms: u64,
    /// Of a lease.
    pub term_ms: u64,
    /// Of a safe time.
    pub margin_ms: u64,
    /// A node that is silent for so long is lost.
    pub lost_ms: u64,
    /// Machines' clocks run wrong by at most so many hundred-thousandths.
    pub drift: u64,
    /// They run apart as far as the settings allow: the hosts' are the slowest, the coordinator's
    /// is the fastest.
    pub apart: bool,
    /// Messages that get lost on their way, where the protocol allows it.
    pub loss: u64,
    /// Messages that arrive twice.
    pub duplicate: u64,
    /// Messages that may overtake others.
    pub reorder: u64,
    /// Longest ordinary delay; at 0 everything arrives at once.
    pub delay_ms: u64,
    /// Messages that the broker sends to a node before it waits for an answer; twenty times as many
    /// to the coordinator.
    pub receive_max: usize,
    /// Messages that the broker keeps for one client.
    pub queue_max: usize,
    /// What of a full queue goes: the oldest, or the newcomer.
    pub queue_drops_oldest: bool,
    /// So long the broker keeps the session of a client that is gone.
    pub session_ms: u64,
    /// So long the broker holds a will back.
    pub will_delay_ms: u64,
    /// Mean time between two faults.
    pub fault_every_ms: u64,
    /// Starts that fail.
    pub start_fails: u64,
    /// Actions that never answer by themselves.
    pub action_hangs: u64,
    /// Looks at a unit that see nothing.
    pub blind: u64,
    /// Most events in an agent's spool.
    pub spool_max: usize,
    /// Effects of the coordinator after which it dies, at the mean; zero for never.
    pub crash_every_effects: u64,
}

/// Which kinds of faults there are.
#[derive(Clone, Debug)]
pub enum Plot {
    /// All of them, drawn.
    Everything,
    /// Exactly these, at these moments.
    Script(Vec<(True, Fault)>),
}

/// A deliberate fault in what is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// None.
    None,
    /// In the agent's core.
    Agent(OfAgent),
    /// In the coordinator's core.
    Boss(OfBoss),
    /// In the watchdog.
    Watchdog(WatchdogFault),
}

/// A deliberate fault in how the watchdog's process is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchdogFault {
    /// It answers and does nothing.
    Sleeps,
    /// It feeds the device whatever it found.
    FeedsAlways,
    /// It forgets its promises at a restart.
    Forgets,
}

impl Mutant {
    /// The agent's part of it.
    #[must_use]
    pub const fn of_agent(self) -> AgentMutations {
        match self {
            Mutant::Agent(fault) => AgentMutations::only(fault),
            _ => AgentMutations::NONE,
        }
    }

    /// The coordinator's part of it.
    #[must_use]
    pub const fn of_boss(self) -> BossMutations {
        match self {
            Mutant::Boss(fault) => BossMutations::only(fault),
            _ => BossMutations::NONE,
        }
    }

    /// The watchdog's part of it.
    #[must_use]
    pub fn is(self, fault: WatchdogFault) -> bool {
        self == Mutant::Watchdog(fault)
    }
}

impl Knobs {
    /// Draws the knobs of a seed: 5 to 50 hosts.
    #[must_use]
    pub fn draw(seed: u64) -> Knobs {
        let mut rng = Rng::new(seed ^ 0x5eed);
        // What goes wrong goes wrong among few hosts too, and small worlds are cheap: most are
        // small.
        let most = match rng.below(20) {
            0 => 50,
            1..=3 => 15,
            _ => 8,
        };
        let hosts = 5 + usize::try_from(rng.below(most - 4)).unwrap_or(0);
        let one_in = |rng: &mut Rng, n: u64| rng.below(n) == 0;
        let delay_ms = 5 + rng.below(3) * rng.below(300);
        let mut knobs = Knobs {
            seed,
            hosts,
            fault_ms: 60_000 * (1 + rng.below(5)),
            mutant: Mutant::None,
            plot: Plot::Everything,
            watchdogs: None,
            zones: usize::try_from(rng.below(4)).unwrap_or(0),
            fenced: rng.below(3) * 350,
            heartbeat_ms: 2_000 + rng.below(3) * 1_000,
            term_ms: 10_000 + rng.below(11) * 1_000,
            margin_ms: 1_000,
            lost_ms: 10_000 + rng.below(21) * 1_000,
            drift: rng.below(5) * 122,
            apart: false,
            loss: rng.below(4) * 30,
            duplicate: rng.below(4) * 30,
            reorder: rng.below(4) * 30,
            delay_ms,
            receive_max: [1, 20, 3_000][usize::try_from(rng.below(3)).unwrap_or(0)],
            queue_max: if one_in(&mut rng, 4) { 8 } else { 1_000 },
            queue_drops_oldest: one_in(&mut rng, 2),
            session_ms: if one_in(&mut rng, 3) {
                10_000
            } else {
                3_600_000
            },
            will_delay_ms: if one_in(&mut rng, 3) { 5_000 } else { 0 },
            fault_every_ms: (6_000 + rng.below(30_000)) * 5 / u64::try_from(hosts).unwrap_or(5),
            start_fails: rng.below(4) * 60,
            action_hangs: rng.below(3) * 15,
            blind: rng.below(4) * 40,
            spool_max: if one_in(&mut rng, 3) { 16 } else { 600 },
            crash_every_effects: if one_in(&mut rng, 2) {
                200 + rng.below(800)
            } else {
                0
            },
            // Drawn last, and by a lot that no kept seed has: those worlds are what they were.
            misled: rng.below(8) == 5,
        };
        if knobs.misled {
            knobs.mislead();
        }
        knobs
    }

    /// Devices lie and persons err; each host has a device that may.
    pub const fn mislead(&mut self) {
        self.misled = true;
        self.fenced = 1_000;
    }

    /// The failure domain of a host, where there are any.
    #[must_use]
    pub fn zone_of(&self, host: usize) -> Option<String> {
        (self.zones > 0).then(|| format!("rack-{}", host % self.zones))
    }

    /// Another number of hosts; faults stay as rare for each of them.
    pub fn set_hosts(&mut self, hosts: usize) {
        let hosts = hosts.max(1);
        let of = |hosts: usize| u64::try_from(hosts).unwrap_or(1);
        self.fault_every_ms = (self.fault_every_ms * of(self.hosts) / of(hosts)).max(1);
        self.hosts = hosts;
    }

    /// A world of so many hosts in which nothing goes wrong by itself, for stories.
    #[must_use]
    pub fn calm(seed: u64, hosts: usize) -> Knobs {
        Knobs {
            hosts,
            fenced: 0,
            misled: false,
            heartbeat_ms: 5_000,
            term_ms: 20_000,
            margin_ms: 2_000,
            lost_ms: 30_000,
            drift: 0,
            loss: 0,
            duplicate: 0,
            reorder: 0,
            delay_ms: 5,
            receive_max: 20,
            queue_max: 1_000,
            queue_drops_oldest: false,
            session_ms: 3_600_000,
            will_delay_ms: 0,
            start_fails: 0,
            action_hangs: 0,
            blind: 0,
            spool_max: 600,
            crash_every_effects: 0,
            plot: Plot::Script(Vec::new()),
            ..Knobs::draw(seed)
        }
    }
}

impl fmt::Display for Knobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} | {self:?}", self.seed)
    }
}
