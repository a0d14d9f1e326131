//! Fence devices for real: agents of the ClusterLabs contract as Debian packages them, and a host
//! that is lost with work that is kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use nodemedic_protocol::api::{
    Accepted, AlertState, AlertView, Decision, FenceAnswer, FenceDeviceView, FenceRequest,
    FenceStep, FenceVerb, FenceView, FencesView, JournalWhat, Liveness, NodeView, Proof,
};
use nodemedic_protocol::{DeviceName, NodeId};
use nodemedic_system_tests::config::sample_works;
use nodemedic_system_tests::fleet::{Fleet, Plan};
use nodemedic_system_tests::wait::{stays, wait_for};

const BOUND: Duration = Duration::from_secs(60);

/// From the package fence-agents.
const DUMMY: &str = "/usr/sbin/fence_dummy";
const IPMILAN: &str = "/usr/sbin/fence_ipmilan";

fn stand_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/fence/fence_stand_in")
}

fn decisions(fleet: &Fleet) -> Vec<(Option<NodeId>, Decision)> {
    let journal = fleet.journal().expect("the journal");
    let decided = journal.into_iter().filter_map(|entry| match entry.what {
        JournalWhat::Coordinator(decision) => Some((entry.node, decision)),
        JournalWhat::Node(_) => None,
    });
    decided.collect()
}

fn keep(works: &str) -> String {
    let kept = works.replace("on_lease_loss = \"stop\"", "on_lease_loss = \"keep\"");
    assert_ne!(kept, works);
    kept
}

/// Every node on a switch of its own, which kills what runs on the node.
fn switches(root: &Path) -> String {
    let mut text = String::from("[fencing]\nretry_first = \"500ms\"\nretry_max = \"1s\"\n");
    for node in ["node-1", "node-2", "node-3"] {
        let state = root.join(format!("switch-{node}"));
        std::fs::create_dir_all(&state).expect("folder");
        std::fs::write(state.join("manner"), "half").expect("manner");
        text += &format!(
            "[fence.switch-{node}]\nagent = \"{}\"\ntimeout = \"10s\"\n\
             options = {{ state = \"{}\" }}\nnodes = {{ \"{node}\" = \"\" }}\n",
            stand_in().display(),
            state.display(),
        );
    }
    text
}

#[test]
fn kept_work_of_a_frozen_host_moves_when_its_switch_has_read_off_and_not_before() {
    let root = tempfile::tempdir().expect("folder");
    let plan = Plan {
        coordinator_toml: format!("{}{}", keep(&sample_works()), switches(root.path())),
        ..Plan::default()
    };
    let fleet = Fleet::start(&plan);
    fleet.wait_placed();
    let victim = fleet.answering("ledger").into_keys().next().expect("one");
    let state = root.path().join(format!("switch-{victim}"));
    // Which processes a host is, the test knows only now.
    std::fs::write(
        state.join("dir"),
        fleet.node_dir(&victim).to_str().expect("utf-8"),
    )
    .expect("dir");
    fleet.agent(&victim).signal(Signal::SIGSTOP);
    let failed = format!("fence/{victim}/failed");
    wait_for("a person hears that the switch half-works", BOUND, || {
        let alerts: Vec<AlertView> = fleet.api.get("/api/v1/alerts")?;
        let fires = |a: &&AlertView| a.key == failed && a.state == AlertState::Firing;
        let found = alerts.iter().find(fires).cloned();
        found.ok_or_else(|| format!("{alerts:?}"))
    });
    stays(
        "the frozen host serves, and nobody else",
        Duration::from_secs(4),
        || match fleet.answering("ledger").into_keys().collect::<Vec<_>>() {
            one if one == [victim.clone()] => Ok(()),
            other => Err(format!("{other:?}")),
        },
    );
    std::fs::write(state.join("manner"), "honest").expect("manner");
    wait_for("ledger answers elsewhere", BOUND, || {
        let answers: Vec<String> = fleet.answering("ledger").into_keys().collect();
        match &answers[..] {
            [one] if *one != victim => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    proved(&fleet, &victim);
    let node: NodeView = fleet
        .api
        .get(&format!("/api/v1/nodes/{victim}"))
        .expect("node");
    assert_eq!(node.liveness, Liveness::Fenced);
    let asked = std::fs::read_to_string(state.join("asked")).expect("asked");
    let last: Vec<&str> = asked
        .lines()
        .filter(|l| !l.starts_with("monitor"))
        .collect();
    let tail = &last[last.len() - 3..];
    let line = |verb: &str| format!("{verb}  {victim}");
    assert_eq!(tail, [line("off"), line("status"), line("on")]);
}

/// In the journal: ON was read and nothing ended; then OFF was read, then the grant ended by it.
fn proved(fleet: &Fleet, victim: &str) {
    let decided = decisions(fleet);
    let about = |node: &Option<NodeId>| node.as_ref().is_some_and(|n| n.as_str() == victim);
    let said = |answer: FenceAnswer| {
        decided.iter().position(|(node, decision)| match decision {
            Decision::Fence(FenceStep::Said(word)) => {
                about(node) && word.verb == FenceVerb::Status && word.answer == answer
            }
            _ => false,
        })
    };
    let ended = decided.iter().position(|(node, decision)| match decision {
        Decision::Ended { work, proof, .. } if work.as_str() == "ledger" => {
            assert!(matches!(proof, Proof::Fenced { .. }), "{proof:?}");
            about(node)
        }
        _ => false,
    });
    let (on, off) = (said(FenceAnswer::PowerOn), said(FenceAnswer::PowerOff));
    assert!(
        on.is_some() && on < off && off < ended,
        "{on:?} {off:?} {ended:?}"
    );
}

#[test]
fn the_agents_of_the_distribution_are_spoken_to_in_their_language() {
    let root = tempfile::tempdir().expect("folder");
    let status = root.path().join("status");
    std::fs::write(&status, "smoke").expect("status");
    let secret = root.path().join("secret");
    std::fs::write(&secret, "hush\n").expect("secret");
    let toml = format!(
        "[fencing]\nretry_first = \"500ms\"\nretry_max = \"1s\"\n\
         [fence.bmc]\nagent = \"{IPMILAN}\"\npassword_file = \"{}\"\ntimeout = \"5s\"\n\
         options = {{ ip = \"127.0.0.1\", ipport = 9, username = \"medic\", lanplus = true, \
         power_timeout = 1, shell_timeout = 1, login_timeout = 1 }}\n\
         nodes = {{ \"node-1\" = \"\" }}\n\
         [fence.dummy]\nagent = \"{DUMMY}\"\ntimeout = \"20s\"\n\
         options = {{ status_file = \"{}\" }}\nnodes = {{ \"node-1\" = \"1\" }}\n\
         [fence_node.node-1]\nlevels = [[\"bmc\"], [\"dummy\"]]\n",
        secret.display(),
        status.display(),
    );
    let plan = Plan {
        coordinator_toml: toml,
        ..Plan::default()
    };
    let fleet = Fleet::start(&plan);
    let wish = FenceRequest {
        reason: "a test".into(),
        by: "test".into(),
        override_budget: true,
        then: None,
    };
    let _: Accepted = fleet
        .api
        .send("POST", "/api/v1/nodes/node-1/fence", &wish)
        .expect("the wish is taken");
    // No controller answers there, and the dummy reads neither on nor off: both fail, with words.
    let fences = || fleet.api.get::<FencesView>("/api/v1/fences");
    wait_for("both have failed", BOUND, || {
        let view = fences()?;
        let failed = |fence: &&FenceView| fence.attempts > 0;
        let found = view.fences.iter().find(failed).cloned();
        found.ok_or_else(|| format!("{view:?}"))
    });
    let journal = fleet.journal().expect("journal");
    let text = format!("{journal:?}");
    assert!(!text.contains("hush"), "a secret in the journal");
    std::fs::write(&status, "on").expect("status");
    wait_for("confirmed, and on again", BOUND, || {
        let confirmed = decisions(&fleet).iter().any(|(_, decision)| {
            let dummy = DeviceName::new("dummy").expect("a name");
            matches!(decision, Decision::Fence(FenceStep::Confirmed { devices })
                if *devices == [dummy])
        });
        let power = std::fs::read_to_string(&status).unwrap_or_default();
        match (confirmed, power.as_str()) {
            (true, "on") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let view = fences().expect("fences");
    let dummy = |d: &&FenceDeviceView| d.device.as_str() == "dummy";
    let dummy = view.devices.iter().find(dummy).expect("it is listed");
    assert_eq!(dummy.nodes, [NodeId::new("node-1").expect("a name")]);
    caught(&fleet);
}

/// The dummy switches nothing: the host still speaks, so the device is found out.
fn caught(fleet: &Fleet) {
    wait_for("the device is not believed any more", BOUND, || {
        let alerts: Vec<AlertView> = fleet.api.get("/api/v1/alerts")?;
        let fires =
            |a: &&AlertView| a.key == "fence-device/dummy/lied" && a.state == AlertState::Firing;
        let found = alerts.iter().find(fires).map(|_| ());
        found.ok_or_else(|| format!("{alerts:?}"))
    });
    fleet.wait_all_alive();
}
