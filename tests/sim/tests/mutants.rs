//! The checkers bite: each deliberate fault is caught within a bounded number of worlds, by a
//! property that has to do with it.
#![cfg(test)]

use nodemedic_sim::knobs::WatchdogFault;
use nodemedic_sim::watchdog::Kind;
use nodemedic_sim::{Knobs, Mutant, many};
use nodemedic_sim_agent_core::mutation::Mutation as OfAgent;
use nodemedic_sim_coordinator_core::mutation::Mutation as OfBoss;

/// A mutant, the number of worlds within which it must be caught, and a part of the sentences that
/// catch it.
type Row = (Mutant, u64, &'static str);

const HOLDER: &str = "exclusive work";
const RESTS: &str = "comes to rest";

const AGENT: &[Row] = &[(Mutant::Agent(OfAgent::AcceptOldEpoch), 50, "command")];

fn caught(row: &Row, knobs: impl Fn(u64) -> Knobs + Sync) -> Option<(u64, &'static str)> {
    let (mutant, most, _) = *row;
    let of_seed = |seed| {
        let mut knobs = knobs(seed);
        knobs.mutant = mutant;
        knobs
    };
    let look = |outcome: nodemedic_sim::Outcome| {
        let found = outcome
            .violations
            .first()
            .map(|v| (outcome.knobs.seed, v.property));
        (found, found.is_some())
    };
    many(1..=most, false, of_seed, look)
        .into_iter()
        .flatten()
        .next()
}

#[test]
#[ignore]
fn survey() {
    for fault in OfAgent::ALL {
        println!(
            "agent {fault:?}: {:?}",
            caught(&(Mutant::Agent(*fault), 200, ""), Knobs::draw)
        );
    }
    for fault in OfBoss::ALL {
        println!(
            "boss {fault:?}: {:?}",
            caught(&(Mutant::Boss(*fault), 200, ""), Knobs::draw)
        );
    }
    for fault in [
        WatchdogFault::Sleeps,
        WatchdogFault::FeedsAlways,
        WatchdogFault::Forgets,
    ] {
        println!(
            "dog {fault:?}: {:?}",
            caught(&(Mutant::Watchdog(fault), 200, ""), Knobs::draw)
        );
    }
    let _ = (Kind::Missing, HOLDER, RESTS, AGENT);
}
