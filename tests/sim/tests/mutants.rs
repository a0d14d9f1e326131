//! The checkers bite: each deliberate fault is caught within a bounded number of worlds, by a
//! property that has to do with it, in a world that is well without it.
//!
//! What random weather seldom meets has a world of its own that drives at it. The line in front of
//! such a world says what happens in it.
#![cfg(test)]

mod worlds_at_the_fault;

use std::fmt::Write as _;

use nodemedic_sim::knobs::WatchdogFault;
use nodemedic_sim::{Knobs, Mutant, run};
use nodemedic_sim_agent_core::mutation::Mutation as OfAgent;
use nodemedic_sim_coordinator_core::mutation::Mutation as OfBoss;
use worlds_at_the_fault as at;

const HOLDERS: &str = "never two live holders of one exclusive work";
const PROOF: &str = "a grant of exclusive work is ended only on a proof that holds";
const RISING: &str =
    "generations rise strictly with every grant, and no older one begins after a newer one";
const PROLONGED: &str = "a lease that has ended is never prolonged";
const VOID: &str = "a replayed, retained, foreign or expired command does nothing";
const BUDGET: &str = "a restart budget is never exceeded";
const EVIDENCE: &str = "what cannot be seen is never on its own a reason to restart or fence";
const OBEDIENCE: &str =
    "nothing is stopped without a word, except exclusive work whose owner chose stop";
const STORM: &str = "nothing is taken out on silence while many are silent";
const BLAST: &str = "never more hosts are taken out at once than the budget";
const LIARS: &str =
    "a device that read OFF for a host that runs on is found out, and is believed no more";
const FED: &str = "the device is fed only by a turn that has just found no promise overdue";
const REST: &str = "once faults stop, the world comes to rest";

/// Where a mutant must be caught.
struct Row {
    mutant: Mutant,
    /// Within so many worlds, of the seeds 1, 2, 3 ...
    within: u64,
    /// What the worlds are like.
    world: fn(u64) -> Knobs,
    /// By the first of the broken properties, which must be one of these.
    by: &'static [&'static str],
}

/// One row for each mutant: a mutant without a row does not compile.
macro_rules! table {
    ($of:ident, $faults:ty, $($fault:ident: $within:literal, $world:expr, $by:expr;)*) => {{
        const fn every_fault_has_a_row(fault: $faults) {
            match fault {
                $(<$faults>::$fault => {})*
            }
        }
        let _ = every_fault_has_a_row;
        [$(Row {
            mutant: Mutant::$of(<$faults>::$fault),
            within: $within,
            world: $world,
            by: &$by,
        }),*]
    }};
}

#[test]
fn the_faults_of_the_agents_core_are_caught() {
    all_are_caught(&table! { Agent, OfAgent,
        AcceptOldEpoch: 5, at::replays, [VOID];
        AcceptOldRevision: 5, at::replays, [VOID];
        ReviveEnded: 10, at::crossing_words, [REST];
        LeaseFromAck: 6, at::late_answers, [PROOF, HOLDERS];
        AckRenewsAll: 5, at::silence_while_a_stop_hangs, [PROOF, HOLDERS];
        RenewAfterEnd: 5, at::very_late_answers, [PROLONGED];
        StartWithoutLease: 10, at::a_new_coordinator, [PROOF, HOLDERS];
        StopUnproved: 5, at::a_stop_that_hangs, [PROOF, HOLDERS];
        ForgetUses: 5, at::crashes_at_restarts, [BUDGET];
        KillIsFree: 5, at::crashes_at_restarts, [BUDGET];
        ActBeforeRemember: 20, at::crashes_at_restarts, [BUDGET];
        ObeyRetained: 5, at::replays, [VOID];
        ObeyExpired: 5, at::replays_of_a_boot, [VOID];
        ObeyForeign: 5, at::replays, [VOID];
        UnknownIsDown: 5, at::any, [EVIDENCE];
        KeepIsStop: 5, at::a_frozen_agent, [OBEDIENCE];
    });
}

#[test]
fn the_faults_of_the_coordinators_core_are_caught() {
    all_are_caught(&table! { Boss, OfBoss,
        SafeTimeOneTickShort: 5, at::the_last_tick, [PROOF, HOLDERS];
        SafeTimeNoDrift: 5, at::the_last_tick, [PROOF, HOLDERS];
        SafeTimeNoTimeout: 5, at::the_last_tick, [PROOF, HOLDERS];
        StartBeforeStop: 5, at::a_stop_that_hangs, [HOLDERS];
        SkipResumeGrace: 5, at::a_new_coordinator, [PROOF, HOLDERS];
        ForgetGenerations: 5, at::a_new_coordinator, [RISING];
        TrustWill: 5, at::a_lost_connection, [PROOF, HOLDERS];
        RenewUnnoted: 5, at::the_last_tick, [PROOF, HOLDERS];
        IgnoreGeneration: 5, at::nowhere_else, [PROOF];
        FenceBelieved: 5, at::half_a_fence, [PROOF, HOLDERS];
        DropReservation: 5, at::too_much_at_once, [BLAST];
        ReserveEarly: 10, at::a_busy_device, [BLAST];
        IgnoreBrake: 5, at::many_fall_silent, [STORM];
        LostNotCounted: 5, at::too_much_at_once, [BLAST];
        BelieveLiar: 5, at::a_device_that_lies, [LIARS];
        TrustBirth: 10, at::replays_of_a_boot, [PROOF, HOLDERS];
        SendBeforeCommit: 10, at::crashes_at_grants, [REST];
    });
}

#[test]
fn the_faults_of_a_watchdog_are_caught() {
    all_are_caught(&table! { Watchdog, WatchdogFault,
        Sleeps: 5, at::a_frozen_agent, [PROOF, HOLDERS];
        FeedsAlways: 5, at::a_frozen_agent_and_a_device, [FED];
        Forgets: 5, at::everything_dies_at_once, [PROOF, HOLDERS];
    });
}

fn all_are_caught(rows: &[Row]) {
    let mut wrong = String::new();
    for row in rows {
        match caught(row) {
            Ok((seed, property)) => {
                println!(
                    "{:?}: seed {seed} of {}, {property}",
                    row.mutant, row.within
                );
            }
            Err(why) => writeln!(wrong, "{:?} {why}", row.mutant).unwrap(),
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The first seed that catches a mutant, and by which property.
fn caught(row: &Row) -> Result<(u64, &'static str), String> {
    for seed in 1..=row.within {
        let mut knobs = (row.world)(seed);
        knobs.mutant = row.mutant;
        let outcome = run(knobs, false);
        let Some(violation) = outcome.violations.first() else {
            continue;
        };
        if !row.by.contains(&violation.property) {
            let (property, what) = (violation.property, &violation.what);
            return Err(format!(
                "is caught at seed {seed} by the wrong property, {property:?}: {what}"
            ));
        }
        let well = run((row.world)(seed), false);
        if let Some(other) = well.violations.first() {
            let (property, what) = (other.property, &other.what);
            return Err(format!(
                "is not what broke seed {seed}: {property:?}: {what}"
            ));
        }
        return Ok((seed, violation.property));
    }
    Err(format!("survives {} worlds", row.within))
}

/// One millisecond is seen: over a grid of phases of both clocks the worst case is well, and with a
/// safe time that is one millisecond shorter nearly all of them are broken.
#[test]
fn the_safe_time_is_exact_to_the_millisecond() {
    let broken = |mutant| {
        let seeds = 1..=40;
        let broken = seeds.filter(|seed| {
            let mut knobs = at::the_last_tick(*seed);
            knobs.mutant = mutant;
            !run(knobs, false).violations.is_empty()
        });
        broken.count()
    };
    assert_eq!(broken(Mutant::None), 0);
    assert!(broken(Mutant::Boss(OfBoss::SafeTimeOneTickShort)) > 30);
}
