//! Each mistake in tests/fixtures/config/coordinator, and the exact words that its author reads.

use super::*;
use nodemedic_coordinator_core::brake::BrakeSettings;
use nodemedic_coordinator_core::budget::BudgetSettings;
use nodemedic_protocol::Millis;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/config/coordinator")
}

fn fixture(name: &str) -> Result<Config, String> {
    let directory = fixtures();
    Config::read(&directory.join(name)).map_err(|error| {
        // What a person reads, without where this copy of the repository lies.
        error
            .to_string()
            .replace(&format!("{}/", directory.display()), "")
    })
}

#[test]
fn every_mistake_is_explained_in_these_words() {
    let mut mistakes: Vec<String> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("bad-") && name.ends_with(".toml"))
        .collect();
    mistakes.sort();
    assert!(mistakes.len() > 30, "fixtures are missing: {mistakes:?}");
    let mut wrong = Vec::new();
    for name in mistakes {
        let expected = fixtures().join(&name).with_extension("txt");
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        let said = fixture(&name).expect_err(&name);
        if said.trim_end() != expected.trim_end() {
            wrong.push(format!("{name} said:\n{said}\ninstead of:\n{expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn no_error_repeats_the_secret_part_of_a_url() {
    let said = fixture("bad-webhook-url.toml").unwrap_err();
    assert!(!said.contains("hush"), "{said}");
}

#[test]
fn an_empty_file_is_a_coordinator_for_this_machine() {
    let config = fixture("good-empty.toml").unwrap();
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:7780");
    let BrokerConfig::Embedded { listen, tls: None } = config.broker else {
        panic!("{:?}", config.broker)
    };
    assert_eq!(listen.to_string(), "127.0.0.1:1883");
    assert!(config.works.is_empty() && config.webhooks.is_empty());
    assert_eq!(
        config.settings,
        Settings::new(config.site, env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn every_key_reaches_its_place() {
    let config = fixture("good-full.toml").unwrap();
    assert_eq!(config.site.as_str(), "plant-7");
    assert_eq!(config.api.listen.to_string(), "0.0.0.0:7790");
    assert_eq!(
        config.api.token.as_deref(),
        Some("0123456789abcdef0123456789abcdef")
    );
    let BrokerConfig::Embedded {
        listen,
        tls: Some(tls),
    } = &config.broker
    else {
        panic!("{:?}", config.broker)
    };
    assert_eq!(listen.to_string(), "0.0.0.0:8883");
    assert_eq!(tls.ca, fixtures().join("pki/ca.crt"));
    assert_eq!(config.directory, Path::new("/srv/nodemedic"));
    let settings = &config.settings;
    assert_eq!(settings.lease.term, Millis::from_secs(30));
    assert_eq!(settings.lease.drift_per_mille, 20);
    assert_eq!(settings.lease.margin, Millis::from_secs(3));
    assert_eq!(settings.lease.safe_time_min, Millis::from_secs(90));
    assert_eq!(settings.liveness.heartbeat, Millis::from_secs(4));
    assert_eq!(settings.liveness.reconnect_within, Millis::from_secs(45));
    assert_eq!(settings.liveness.suspect_after, Millis::from_secs(20));
    assert_eq!(settings.liveness.lost_after, Millis::from_secs(40));
    assert_eq!(settings.liveness.returning_for, Millis::from_secs(25));
    assert_eq!(settings.liveness.resume_grace_min, Millis::from_secs(120));
    assert_eq!(
        settings.placement.fenced_hold_off,
        Some(Millis::from_secs(6 * 3600))
    );
    let budget = BudgetSettings {
        max_out: Some(7),
        percent: 15,
        zone_max_out: Some(3),
        zone_percent: 25,
    };
    assert_eq!(settings.budget, budget);
    let brake = BrakeSettings {
        min: 3,
        percent: 30,
        hold: Millis::from_secs(90),
        apart: Millis::from_secs(1200),
    };
    assert_eq!(settings.brake, brake);
    assert_eq!(settings.reboot.back_within, Millis::from_secs(1800));
    assert_eq!(settings.reboot.leave_within, Millis::from_secs(120));
    assert_eq!(settings.placement.refused_hold_off, Millis::from_secs(120));
    assert_eq!(settings.alerts.unplaced_for, Millis::from_secs(90));
    assert_eq!(settings.alerts.retry_first, Millis::from_secs(2));
    assert_eq!(settings.alerts.retry_max, Millis::from_secs(600));
    assert_eq!(settings.alerts.keep_resolved, Millis::from_secs(48 * 3600));
    assert_eq!(settings.alerts.receivers, ["on-call"]);
    assert!(config.webhooks["on-call"].token.is_some());
    let works: Vec<_> = config.works.iter().map(|work| work.name.as_str()).collect();
    assert_eq!(works, ["database", "scheduler", "web"]);
}

#[test]
fn every_key_of_fencing_reaches_its_place() {
    use nodemedic_protocol::api::FenceThen;
    use nodemedic_protocol::{DeviceName, NodeId};
    let config = fixture("good-full.toml").unwrap();
    let device = |name: &str| DeviceName::new(name).unwrap();
    let node = |name: &str| NodeId::new(name).unwrap();
    let bmc = &config.fences[&device("bmc")];
    let options: Vec<_> = bmc
        .options
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(
        options,
        ["ip=10.0.9.1", "ipport=623", "lanplus=1", "power_wait=4"]
    );
    assert_eq!(bmc.secrets["password"], "0123456789abcdef0123456789abcdef");
    assert_eq!(bmc.plugs[&node("node-1")], "");
    let pdu = &config.fences[&device("pdu")];
    assert_eq!(pdu.plugs[&node("node-2")], "8");
    assert!(pdu.secrets.contains_key("snmp_priv_passwd"));
    let fencing = &config.settings.fencing;
    let timeouts = fencing.devices[&device("bmc")];
    assert_eq!(timeouts.off, Millis::from_secs(40));
    assert_eq!(timeouts.status, Millis::from_secs(20));
    assert_eq!(fencing.devices[&device("pdu")].off, Millis::from_secs(60));
    let first = &fencing.nodes[&node("node-1")];
    assert_eq!(first.levels, [[device("bmc")], [device("pdu")]]);
    assert!(!first.automatic);
    assert_eq!(first.then, FenceThen::StayOff);
    let second = &fencing.nodes[&node("node-2")];
    assert_eq!(second.levels, [[device("pdu")]]);
    assert!(second.automatic);
    assert_eq!(fencing.retry_first, Millis::from_secs(5));
    assert_eq!(fencing.retry_max, Millis::from_secs(60));
    assert_eq!(fencing.monitor_every, Millis::from_secs(300));
}

#[test]
fn secrets_are_not_in_the_debug_text() {
    let text = format!("{:?}", fixture("good-full.toml").unwrap());
    assert!(
        !text.contains("0123456789abcdef") && !text.contains("team=ops"),
        "{text}"
    );
}
