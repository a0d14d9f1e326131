//! The works and the service that every world has, one of each kind.

use std::collections::BTreeMap;

use nodemedic_agent_core::config::{Config, RestartPolicy, Service, WhenSpent};
use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::work::{Check, OnLeaseLoss, ProbeSpec, Run, Sharing, WorkSpec};
use nodemedic_protocol::{Millis, NodeId, ServiceName, WorkName};

use crate::knobs::Knobs;

/// Restarts: few and in a short window, so that budgets are spent within a run.
pub const RESTARTS: RestartPolicy = RestartPolicy {
    max: 3,
    window: Millis::from_secs(120),
    backoff: Millis(500),
    backoff_max: Millis::from_secs(5),
    healthy_after: Millis::from_secs(20),
};

/// Exclusive, stopped when its lease ends.
pub const STOP: &str = "db";
/// Exclusive, kept when its lease ends.
pub const KEEP: &str = "store";
/// Replicated, with a probe.
pub const WEB: &str = "web";
/// Replicated, without one.
pub const CACHE: &str = "cache";

/// Whether the owner of a work chose that it stops without a lease.
#[must_use]
pub fn stops_on_lease_loss(work: &WorkName) -> bool {
    work.as_str() == STOP
}

/// The names of the exclusive works.
#[must_use]
pub fn exclusive() -> Vec<WorkName> {
    [STOP, KEEP]
        .iter()
        .filter_map(|n| WorkName::new(*n).ok())
        .collect()
}

fn spec(name: &str, sharing: Sharing, probe: Option<ProbeSpec>) -> Option<WorkSpec> {
    Some(WorkSpec {
        name: WorkName::new(name).ok()?,
        sharing,
        run: command(name),
        probe,
        priority: i32::from(name == STOP),
        needs: Capacity {
            cpu_milli: 500,
            memory_bytes: 1 << 28,
        },
        node_labels: BTreeMap::new(),
        start_grace: Millis::from_secs(8),
        stop_grace: Millis::from_secs(4),
    })
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
    }
}

/// All works.
#[must_use]
pub fn specs() -> Vec<WorkSpec> {
    let exclusive = |on_lease_loss| Sharing::Exclusive { on_lease_loss };
    let replicated = |replicas| Sharing::Replicated { replicas };
    [
        spec(STOP, exclusive(OnLeaseLoss::Stop), None),
        spec(KEEP, exclusive(OnLeaseLoss::Keep), Some(probe())),
        spec(WEB, replicated(2), Some(probe())),
        spec(CACHE, replicated(1), None),
    ]
    .into_iter()
    .flatten()
    .collect()
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
pub fn agent_config(node: NodeId, knobs: &Knobs) -> Config {
    let mut config = Config::of_node(node);
    config.heartbeat_every = Millis(knobs.heartbeat_ms);
    config.sample_every = Millis::from_secs(5);
    config.allow_command = true;
    config.work_restart = RESTARTS;
    config.spool_events_max = knobs.spool_max;
    let service = Service {
        run: command("sshd"),
        probe: None,
        restart: RESTARTS,
        when_spent: WhenSpent::FenceAndDrain,
        start_grace: Millis::from_secs(5),
        stop_grace: Millis::from_secs(3),
    };
    if let Ok(name) = ServiceName::new("sshd") {
        config.services.insert(name, service);
    }
    config
}
