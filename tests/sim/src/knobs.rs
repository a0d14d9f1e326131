//! What a world is like, drawn from its seed and printed first: a failing seed says at once which
//! weather it failed in.

use std::fmt;

use nodemedic_coordinator_core::settings::Mutation;
use nodemedic_protocol::rng::Rng;

/// The weather of one world. Chances are per thousand, times in milliseconds.
#[derive(Clone, Debug)]
pub struct Knobs {
    /// Everything else is drawn from this.
    pub seed: u64,
    /// How many hosts.
    pub hosts: usize,
    /// How long faults last.
    pub fault_ms: u64,
    /// A deliberate fault of the coordinator, to prove that the checkers bite.
    pub mutation: Option<Mutation>,
    /// Watchdogs promise and do nothing: to prove that the checkers bite.
    pub watchdogs_sleep: bool,
    /// Which kinds of faults there are.
    pub plot: Plot,
    /// Between two heartbeats.
    pub heartbeat_ms: u64,
    /// Of a lease.
    pub term_ms: u64,
    /// A node that is silent for so long is lost.
    pub lost_ms: u64,
    /// Machines' clocks run apart by at most so many hundred-thousandths.
    pub drift: u64,
    /// Messages that get lost on their way, where the protocol allows it.
    pub loss: u64,
    /// Messages that arrive twice.
    pub duplicate: u64,
    /// Messages that may overtake others.
    pub reorder: u64,
    /// Longest ordinary delay.
    pub delay_ms: u64,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plot {
    /// All of them.
    Everything,
    /// None but the loss of the coordinator and its broker for the whole of the fault time.
    Silence,
    /// None at all.
    Peace,
}

impl Knobs {
    /// Draws the knobs of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Knobs {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let one_in = |rng: &mut Rng, n: u64| rng.below(n) == 0;
        Knobs {
            seed,
            hosts: 3 + usize::try_from(rng.below(3)).unwrap_or(0),
            fault_ms: 300_000,
            mutation: None,
            watchdogs_sleep: false,
            plot: Plot::Everything,
            heartbeat_ms: 2_000 + rng.below(3) * 1_000,
            term_ms: 10_000 + rng.below(11) * 1_000,
            lost_ms: 10_000 + rng.below(21) * 1_000,
            drift: rng.below(6) * 100,
            loss: rng.below(4) * 30,
            duplicate: rng.below(4) * 30,
            reorder: rng.below(4) * 30,
            delay_ms: 5 + rng.below(3) * rng.below(300),
            fault_every_ms: 6_000 + rng.below(30_000),
            start_fails: rng.below(4) * 60,
            action_hangs: rng.below(3) * 15,
            blind: rng.below(4) * 40,
            spool_max: if one_in(&mut rng, 3) { 16 } else { 600 },
            crash_every_effects: if one_in(&mut rng, 2) {
                200 + rng.below(800)
            } else {
                0
            },
        }
    }
}

impl fmt::Display for Knobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {} | {} hosts, {:?}, faults for {} s, one in {} s | heartbeat {} ms, \
             term {} ms, lost {} ms, drift {} in 100000 | loss {}, duplicate {}, \
             reorder {} per mille, \
             delay to {} ms | \
             starts fail {}, actions hang {}, blind {} per mille | spool {} | \
             crash each {} effects \
             | mutation {:?}",
            self.seed,
            self.hosts,
            self.plot,
            self.fault_ms / 1000,
            self.fault_every_ms / 1000,
            self.heartbeat_ms,
            self.term_ms,
            self.lost_ms,
            self.drift,
            self.loss,
            self.duplicate,
            self.reorder,
            self.delay_ms,
            self.start_fails,
            self.action_hangs,
            self.blind,
            self.spool_max,
            self.crash_every_effects,
            self.mutation
        )
    }
}
