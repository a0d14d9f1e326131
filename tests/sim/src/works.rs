//! The works and the service of a world, as many as suit its size.

use std::collections::BTreeMap;

use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::work::{Check, OnLeaseLoss, ProbeSpec, Run, Sharing, WorkSpec};
use nodemedic_protocol::{Millis, NodeId, ServiceName, WorkName};
use nodemedic_sim_agent_core::config::{Config, RestartPolicy, Service};

use crate::fact::Host;
use crate::knobs::Knobs;
use crate::world::own;

/// Restarts: few and in a short window, so that budgets are spent within a run.
pub const RESTARTS: RestartPolicy = RestartPolicy {
    max: 3,
    window: Millis::from_secs(120),
    backoff: Millis(500),
    backoff_max: Millis::from_secs(5),
    healthy_after: Millis::from_secs(20),
};

/// Exclusive, stopped when its lease ends: `db-0`, `db-1`, ...
pub const STOP: &str = "db";
/// Exclusive, kept when its lease ends.
pub const KEEP: &str = "store";
/// Replicated, with a probe.
pub const WEB: &str = "web";
/// Replicated, without one.
pub const CACHE: &str = "cache";

/// More exclusive works of a kind than this show nothing new.
const EXCLUSIVE_MAX: usize = 40;

/// What a host offers; seven or eight works fit on one.
pub const CAPACITY: Capacity = Capacity {
    cpu_milli: 4_000,
    memory_bytes: 8 << 30,
};

/// Whether the owner of a work chose that it stops without a lease.
#[must_use]
pub fn stops_on_lease_loss(work: &WorkName) -> bool {
    kind(work) == STOP
}

/// Whether a work is exclusive.
#[must_use]
pub fn is_exclusive(work: &WorkName) -> bool {
    matches!(kind(work), STOP | KEEP)
}

fn kind(work: &WorkName) -> &str {
    let name = work.as_str();
    name.split_once('-').map_or(name, |(kind, _)| kind)
}

fn spec(name: String, sharing: Sharing, probe: Option<ProbeSpec>) -> WorkSpec {
    let run = command(&name);
    let priority = i32::from(name.starts_with(STOP));
    WorkSpec {
        name: own(WorkName::new(name)),
        sharing,
        run,
        probes: probe.into_iter().collect(),
        priority,
        needs: Capacity {
            cpu_milli: 500,
            memory_bytes: 1 << 28,
        },
        node_labels: BTreeMap::new(),
        start_grace: Millis::from_secs(8),
        stop_grace: Millis::from_secs(4),
    }
}

fn command(name: &str) -> Run {
    Run::Command {
        start: vec![format!("/srv/{name}")],
        stop: Vec::new(),
        environment: BTreeMap::new(),
    }
}

fn probe() -> ProbeSpec {
    ProbeSpec {
        check: Check::Tcp {
            address: "127.0.0.1:80".into(),
        },
        interval: Millis::from_secs(2),
        timeout: Millis::from_secs(1),
        fail_for: Millis::from_secs(5),
        within: None,
    }
}

/// All works of a fleet of so many hosts: two on each, at the mean.
#[must_use]
pub fn specs(hosts: usize) -> Vec<WorkSpec> {
    let exclusive = |on_lease_loss| Sharing::Exclusive { on_lease_loss };
    let replicated = |replicas: usize| Sharing::Replicated {
        replicas: u16::try_from(replicas).unwrap_or(u16::MAX),
    };
    let mut all = Vec::new();
    for n in 0..(1 + hosts / 5).min(EXCLUSIVE_MAX) {
        let sharing = exclusive(OnLeaseLoss::Stop);
        all.push(spec(format!("{STOP}-{n}"), sharing, None));
    }
    for n in 0..(1 + hosts / 10).min(EXCLUSIVE_MAX) {
        let sharing = exclusive(OnLeaseLoss::Keep);
        all.push(spec(format!("{KEEP}-{n}"), sharing, Some(probe())));
    }
    all.push(spec(
        format!("{WEB}-0"),
        replicated(2 + hosts / 4),
        Some(probe()),
    ));
    all.push(spec(format!("{CACHE}-0"), replicated(1 + hosts / 3), None));
    all
}

/// How many holders a work wants.
#[must_use]
pub const fn wanted(spec: &WorkSpec) -> usize {
    match spec.sharing {
        Sharing::Exclusive { .. } => 1,
        Sharing::Replicated { replicas } => replicas as usize,
    }
}

/// The configuration of a host's agent.
#[must_use]
pub fn agent_config(host: Host, node: NodeId, knobs: &Knobs) -> Config {
    let mut config = Config::of_node(node);
    config.zone = knobs.zone_of(host);
    config.heartbeat_every = Millis(knobs.heartbeat_ms);
    config.sample_every = Millis::from_secs(5);
    config.report_every = Millis::from_secs(30);
    config.allow_command = true;
    config.work_restart = RESTARTS;
    config.spool_events_max = knobs.spool_max;
    config.mutation = knobs.mutant.of_agent();
    let service = Service {
        restart: RESTARTS,
        start_grace: Millis::from_secs(5),
        stop_grace: Millis::from_secs(3),
        ..Service::of_run(command("sshd"))
    };
    config.services.insert(sshd(), service);
    config
}

/// The service that every host has.
#[must_use]
pub fn sshd() -> ServiceName {
    own(ServiceName::new("sshd"))
}
