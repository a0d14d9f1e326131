//! The main job over both brokers: place, restart, fence, reassign, drain, as seen by asking the
//! services.

use std::time::Duration;

use nodemedic_protocol::Millis;
use nodemedic_protocol::api::{
    Accepted, AlertState, AlertView, DrainRequest, JournalEntry, JournalWhat, NodeView, Scheduling,
};
use nodemedic_protocol::event::EventKind;
use nodemedic_protocol::health::Reason;
use nodemedic_system_tests::broker::Mosquitto;
use nodemedic_system_tests::config::sample_works;
use nodemedic_system_tests::fleet::{Carrier, Fleet, Plan, free_port};
use nodemedic_system_tests::process::kill9_answering;
use nodemedic_system_tests::record;
use nodemedic_system_tests::wait::wait_for;

fn plan(carrier: Carrier) -> Plan {
    Plan {
        carrier,
        coordinator_toml: sample_works(),
        ..Plan::default()
    }
}

fn the_one(fleet: &Fleet, work: &str) -> (String, serde_json::Value) {
    fleet
        .answering(work)
        .into_iter()
        .next()
        .unwrap_or_else(|| panic!("{work} answers nowhere"))
}

/// A killed service runs again on the same node, under the same generation, by the agent alone.
fn a_killed_service_runs_again(fleet: &Fleet) {
    let (node, before) = the_one(fleet, "ledger");
    kill9_answering(&before);
    let (after, _) = wait_for("ledger answers again", Duration::from_secs(10), || {
        let now = fleet.ask(&node, "ledger")?;
        if now["pid"] == before["pid"] {
            Err("still the old one".to_owned())
        } else {
            Ok(now)
        }
    });
    assert_eq!(
        after["generation"], before["generation"],
        "a restart in place is no new grant"
    );
}

/// A service that cannot start any more is fenced here, starts elsewhere, and a person hears of it.
fn a_broken_service_moves(fleet: &Fleet) {
    let (node, before) = the_one(fleet, "ledger");
    std::fs::write(fleet.node_dir(&node).join("ledger.break"), "").expect("break file");
    kill9_answering(&before);
    wait_for("ledger answers elsewhere", Duration::from_secs(60), || {
        let answers = fleet.answering("ledger");
        match answers.iter().find(|(other, _)| **other != node) {
            Some((_, now)) => {
                assert!(now["generation"].as_u64() > before["generation"].as_u64());
                Ok(())
            }
            None => Err(format!("answers on {:?}", answers.keys())),
        }
    });
    wait_for("an alert is open", Duration::from_secs(10), || {
        let alerts: Vec<AlertView> = fleet.api.get("/api/v1/alerts")?;
        alerts
            .iter()
            .any(|a| {
                a.state == AlertState::Firing && a.node.as_ref().is_some_and(|n| n.as_str() == node)
            })
            .then_some(())
            .ok_or_else(|| format!("{alerts:?}"))
    });
    wait_for(
        "the host reported the fence",
        Duration::from_secs(10),
        || {
            let journal = fleet.journal()?;
            let told = |entry: &JournalEntry| {
                let raised = match &entry.what {
                    JournalWhat::Node(event) => &event.kind,
                    JournalWhat::Coordinator(_) => return false,
                };
                matches!(
                    raised,
                    EventKind::ConditionRaised {
                        reason: Reason::Fenced,
                        ..
                    }
                ) && entry.node.as_ref().is_some_and(|n| n.as_str() == node)
            };
            let found = journal.iter().any(told);
            found
                .then_some(())
                .ok_or_else(|| "no such condition".to_owned())
        },
    );
    std::fs::remove_file(fleet.node_dir(&node).join("ledger.break")).expect("break file");
}

/// A drained node runs nothing, the work is elsewhere, and undrain opens it again.
fn a_drained_node_is_empty(fleet: &Fleet) {
    let (node, _) = the_one(fleet, "ledger");
    let drain = DrainRequest {
        reason: "a test".into(),
        deadline: Some(Millis::from_secs(60)),
        override_budget: false,
    };
    let _: Accepted = fleet
        .api
        .send("POST", &format!("/api/v1/nodes/{node}/drain"), &drain)
        .expect("the drain is taken");
    wait_for(
        "the node is empty and the work elsewhere",
        Duration::from_secs(30),
        || {
            let (ledger, web) = (fleet.answering("ledger"), fleet.answering("web"));
            if !ledger.contains_key(&node) && ledger.len() == 1 && !web.contains_key(&node) {
                return Ok(());
            }
            Err(format!(
                "ledger on {:?}, web on {:?}",
                ledger.keys(),
                web.keys()
            ))
        },
    );
    wait_for(
        "the coordinator says drained",
        Duration::from_secs(10),
        || {
            let view: NodeView = fleet.api.get(&format!("/api/v1/nodes/{node}"))?;
            match view.scheduling {
                Scheduling::Drained(_) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        },
    );
    let _: Accepted = fleet
        .api
        .send(
            "POST",
            &format!("/api/v1/nodes/{node}/undrain"),
            &serde_json::json!({}),
        )
        .expect("the undrain is taken");
    let view: NodeView = fleet
        .api
        .get(&format!("/api/v1/nodes/{node}"))
        .expect("the node");
    assert_eq!(view.scheduling, Scheduling::Open);
}

fn the_main_story(fleet: &Fleet) {
    fleet.wait_placed();
    a_killed_service_runs_again(fleet);
    a_broken_service_moves(fleet);
    a_drained_node_is_empty(fleet);
    record::no_two_holders(fleet, "ledger");
}

#[test]
fn the_main_story_over_the_embedded_broker() {
    the_main_story(&Fleet::start(&plan(Carrier::Embedded)));
}

#[test]
fn the_main_story_over_mosquitto_which_forgets_everything_in_between() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut broker = Mosquitto::start(dir.path(), free_port(), "");
    let fleet = Fleet::start(&plan(Carrier::External(broker.port)));
    fleet.wait_placed();
    broker.kill9();
    broker.forget();
    broker.restart();
    fleet.wait_all_alive();
    the_main_story(&fleet);
    record::journal_is_complete(&fleet);
}
