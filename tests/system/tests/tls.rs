//! Over TLS a node is who its certificate says, and may say nothing in another's name.

use std::time::Duration;

use nodemedic_edge::mqtt::LinkEvent;
use nodemedic_system_tests::certs::Authority;
use nodemedic_system_tests::config::sample_works;
use nodemedic_system_tests::fleet::{Carrier, Fleet, Plan, START_BOUND};
use nodemedic_system_tests::mqtt::{Fate, connect_tls, publish_tls};
use nodemedic_system_tests::wait::wait_for;

#[test]
fn a_fleet_with_certificates_works_and_strangers_stay_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(dir.path(), "fleet");
    let ca = authority.ca.clone();
    let (intruder_crt, intruder_key) = authority.issue("intruder");
    let rogue = Authority::new(dir.path(), "rogue");
    let (rogue_crt, rogue_key) = rogue.issue("node-1");
    let fleet = Fleet::start(&Plan {
        nodes: 2,
        carrier: Carrier::EmbeddedTls(Box::new(authority)),
        coordinator_toml: sample_works(),
        ..Plan::default()
    });
    wait_for("ledger answers on one node", START_BOUND, || {
        let ledger = fleet.answering("ledger");
        if ledger.len() == 1 {
            Ok(())
        } else {
            Err(format!("{:?}", ledger.keys()))
        }
    });
    let port = fleet.broker_port;
    for (who, pair) in [
        ("nobody", None),
        ("node-1", Some((rogue_crt.as_path(), rogue_key.as_path()))),
        // A good certificate, but another's name.
        (
            "coordinator",
            Some((intruder_crt.as_path(), intruder_key.as_path())),
        ),
        (
            "node-1",
            Some((intruder_crt.as_path(), intruder_key.as_path())),
        ),
    ] {
        let event = connect_tls(who, port, &ca, pair);
        assert!(
            matches!(event, LinkEvent::Down { .. }),
            "{who} came in: {event:?}"
        );
    }
    let intruder = (intruder_crt.as_path(), intruder_key.as_path());
    for topic in [
        "nodemedic/v1/test/node/node-1/presence",
        "nodemedic/v1/test/node/node-1/command",
        "nodemedic/v1/test/node/intruder/command",
        "nodemedic/v1/test/coordinator/state",
    ] {
        let fate = publish_tls("intruder", port, &ca, intruder, topic, b"{}");
        assert!(matches!(fate, Fate::Refused(_)), "{topic}: {fate:?}");
    }
    let own = "nodemedic/v1/test/node/intruder/ack";
    assert_eq!(
        publish_tls("intruder", port, &ca, intruder, own, b"{}"),
        Fate::Taken
    );
    wait_for("the fleet goes on", Duration::from_secs(5), || {
        fleet.api_alive(2)
    });
}
