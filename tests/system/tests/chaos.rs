//! kill -9 of everything in any order: nothing is lost, and nothing runs twice.

use std::time::Duration;

use nodemedic_protocol::rng::Rng;
use nodemedic_system_tests::config::sample_works;
use nodemedic_system_tests::fleet::{Carrier, Fleet, Plan};
use nodemedic_system_tests::process::kill9_answering;
use nodemedic_system_tests::record;
use nodemedic_system_tests::wait::{stays, wait_for};

fn start() -> Fleet {
    let fleet = Fleet::start(&Plan {
        carrier: Carrier::Embedded,
        coordinator_toml: sample_works(),
        ..Plan::default()
    });
    fleet.wait_placed();
    fleet
}

/// Kills the named part, lets the world go on for a moment, and starts it again.
fn strike(fleet: &mut Fleet, part: u64, rng: &mut Rng) {
    let pause = Duration::from_millis(rng.below(2500));
    let look = |fleet: &Fleet| {
        stays("never two holders", pause, || {
            let ledger = fleet.answering("ledger");
            if ledger.len() > 1 {
                Err(format!("{ledger:?}"))
            } else {
                Ok(())
            }
        });
    };
    let names = fleet.node_names();
    let node = names[usize::try_from(rng.below(names.len() as u64)).expect("small")].clone();
    match part {
        0 => {
            fleet.kill9_coordinator();
            look(fleet);
            fleet.start_coordinator();
        }
        1 => {
            fleet.kill9_agent(&node);
            look(fleet);
            fleet.start_agent(&node);
        }
        2 => {
            fleet.kill9_watchdog(&node);
            look(fleet);
            fleet.start_watchdog(&node);
        }
        3 => {
            // The work itself: events to report, while others are away.
            for work in ["ledger", "web"] {
                if let Some(answer) = fleet.answering(work).values().next() {
                    kill9_answering(answer);
                }
            }
        }
        _ => {
            fleet.kill9_coordinator();
            for node in &names {
                fleet.kill9_agent(node);
            }
            look(fleet);
            for node in &names {
                fleet.start_agent(node);
            }
            fleet.start_coordinator();
        }
    }
}

#[test]
fn kill_nine_in_any_order_loses_no_event_and_doubles_no_exclusive_work() {
    let mut rng = Rng::new(nodemedic_system_tests::seed(20));
    let mut fleet = start();
    for _ in 0..12 {
        let part = rng.below(5);
        strike(&mut fleet, part, &mut rng);
    }
    fleet.wait_all_alive();
    fleet.wait_placed();
    record::no_two_holders(&fleet, "ledger");
    record::journal_is_complete(&fleet);
}

#[test]
fn a_restarted_agent_takes_its_works_back_without_touching_them() {
    let mut fleet = start();
    let (node, before) = fleet
        .answering("web")
        .into_iter()
        .next()
        .expect("web answers");
    fleet.kill9_agent(&node);
    fleet.start_agent(&node);
    fleet.wait_all_alive();
    stays("the same process goes on", Duration::from_secs(3), || {
        let now = fleet.ask(&node, "web")?;
        if now["pid"] == before["pid"] {
            Ok(())
        } else {
            Err(format!("{now}"))
        }
    });
}

#[test]
fn work_goes_on_while_the_coordinator_and_its_broker_are_away() {
    let mut fleet = start();
    let web = fleet.answering("web");
    fleet.kill9_coordinator();
    // Three times the lease term: replicated work must not care.
    stays("web goes on", Duration::from_secs(9), || {
        let now = fleet.answering("web");
        if now.keys().eq(web.keys()) {
            Ok(())
        } else {
            Err(format!("{:?}", now.keys()))
        }
    });
    // The agent still heals while nobody listens.
    let (node, before) = web.into_iter().next().expect("web answers");
    kill9_answering(&before);
    wait_for(
        "web is healed without a coordinator",
        Duration::from_secs(10),
        || {
            let now = fleet.ask(&node, "web")?;
            if now["pid"] == before["pid"] {
                Err("still the old one".to_owned())
            } else {
                Ok(())
            }
        },
    );
    fleet.start_coordinator();
    fleet.wait_all_alive();
    fleet.wait_placed();
    record::no_two_holders(&fleet, "ledger");
    record::journal_is_complete(&fleet);
}
