//! What stories begin with.

use super::*;
use crate::config::Service;

pub(super) fn service(name: &str) -> UnitKey {
    UnitKey::Service(ServiceName::new(name).unwrap())
}

pub(super) fn work(name: &str) -> UnitKey {
    UnitKey::Work(WorkName::new(name).unwrap())
}

pub(super) fn command(program: &str) -> Run {
    Run::Command {
        start: vec![program.to_string()],
        stop: Vec::new(),
        environment: BTreeMap::new(),
    }
}

pub(super) fn http() -> ProbeSpec {
    ProbeSpec {
        check: Check::Http {
            url: "http://127.0.0.1/".to_string(),
            ca: None,
            address: None,
        },
        interval: Millis::from_secs(1),
        timeout: Millis::from_secs(1),
        fail_for: Millis::from_secs(5),
        within: None,
    }
}

pub(super) fn config() -> Config {
    let mut config = Config::of_node(NodeId::new("node-1").unwrap());
    config.allow_command = true;
    config
        .services
        .insert(ServiceName::new("web").unwrap(), service_of("/usr/bin/web"));
    config
}

pub(super) fn service_of(program: &str) -> Service {
    Service {
        start_grace: Millis::from_secs(10),
        stop_grace: Millis::from_secs(5),
        ..Service::of_run(command(program))
    }
}

pub(super) fn spec(name: &str, sharing: Sharing) -> WorkSpec {
    WorkSpec {
        name: WorkName::new(name).unwrap(),
        sharing,
        run: command("/usr/bin/work"),
        probes: Vec::new(),
        priority: 0,
        needs: Capacity::default(),
        node_labels: BTreeMap::new(),
        start_grace: Millis::from_secs(10),
        stop_grace: Millis::from_secs(5),
    }
}

pub(super) fn exclusive(on_lease_loss: OnLeaseLoss) -> Sharing {
    Sharing::Exclusive { on_lease_loss }
}

pub(super) fn run(name: &str, sharing: Sharing, generation: u64) -> Assigned {
    Assigned {
        spec: spec(name, sharing),
        generation: Generation(generation),
        desired: Desired::Run,
    }
}
