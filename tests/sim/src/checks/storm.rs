//! Mass loss means "it is me or the network": nothing is taken out on silence while as many hosts
//! are silent as engage the storm brake. Who is silent is counted from what really arrived.

use std::collections::{BTreeMap, BTreeSet};

use nodemedic_protocol::api::{
    BrakeChange, Decision, FenceBy, FenceStep, FenceVerb, JournalWhat, Liveness, Proof,
};
use nodemedic_protocol::{BootId, NodeId};
use nodemedic_sim_coordinator_core::Write;
use nodemedic_sim_coordinator_core::brake::BrakeSettings;

use super::Checker;
use crate::boss::host_of;
use crate::clock::True;
use crate::fact::{Fact, Host};

/// When silence counts, in true time: a little later than by any clock within the drift.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Silent for so long: counted by the brake.
    pub suspect_ms: u64,
    /// Silent for less: never lost.
    pub proof_ms: u64,
}

/// See the file.
pub struct NothingInAStorm {
    patience: Patience,
    hosts: BTreeSet<Host>,
    /// When a heartbeat of a host last reached the coordinator, or the answer by which another boot
    /// of it proved itself.
    heard: BTreeMap<Host, True>,
    /// The boot that each host has proved.
    boots: BTreeMap<Host, BootId>,
    /// Since when the coordinator can hear.
    listens: True,
    /// When it decided what it does now, if that was long ago.
    decided: Option<True>,
    /// Hosts whose silence says nothing: away, or known to be off.
    excused: BTreeSet<Host>,
    /// The same: drained.
    drained: BTreeSet<Host>,
    /// Whom the coordinator wants to fence by itself, and has not begun to.
    wanted: BTreeSet<Host>,
    /// A person has released the brake.
    released: bool,
}

impl NothingInAStorm {
    pub(super) const fn new(patience: Patience) -> NothingInAStorm {
        NothingInAStorm {
            patience,
            hosts: BTreeSet::new(),
            heard: BTreeMap::new(),
            boots: BTreeMap::new(),
            listens: 0,
            decided: None,
            excused: BTreeSet::new(),
            drained: BTreeSet::new(),
            wanted: BTreeSet::new(),
            released: false,
        }
    }

    fn silent_for(&self, at: True, host: Host) -> u64 {
        let heard = self.heard.get(&host).copied().unwrap_or_default();
        at.saturating_sub(heard.max(self.listens))
    }

    fn storm(&self, at: True) -> Option<String> {
        let silent = |host: &&Host| {
            let planned = self.excused.contains(host) || self.drained.contains(host);
            !planned && self.silent_for(at, **host) > self.patience.suspect_ms
        };
        let (silent, hosts) = (self.hosts.iter().filter(silent).count(), self.hosts.len());
        let threshold = BrakeSettings::default().threshold(hosts);
        (silent >= threshold && !self.released)
            .then(|| format!("{silent} of {hosts} hosts are silent, {threshold} engage the brake"))
    }

    fn decided(&mut self, at: True, node: Option<&NodeId>, decision: &Decision) -> Option<String> {
        let host = node.and_then(host_of);
        match (decision, host) {
            (
                Decision::Liveness {
                    to: Liveness::Away, ..
                },
                Some(host),
            ) => {
                self.excused.insert(host);
            }
            (Decision::Brake(change), _) => {
                self.released = matches!(change, BrakeChange::Released { .. });
            }
            (
                Decision::Ended {
                    work,
                    generation,
                    proof: Proof::LeaseEnded,
                },
                Some(host),
            ) => {
                let silent = self.silent_for(at, host);
                if silent < self.patience.proof_ms && !self.excused.contains(&host) {
                    return Some(format!(
                        "{work} {generation} is called ended for silence, and host-{host} was \
                         heard {silent} ms ago"
                    ));
                }
                let storm = self.storm(at)?;
                return Some(format!("{work} {generation} is called ended while {storm}"));
            }
            (Decision::Fence(FenceStep::Wanted { by, .. }), Some(host)) => {
                if *by == FenceBy::Coordinator {
                    self.wanted.insert(host);
                } else {
                    self.wanted.remove(&host);
                }
            }
            (
                Decision::Fence(FenceStep::Asked {
                    verb: FenceVerb::Off,
                    ..
                }),
                Some(host),
            ) if self.wanted.remove(&host) => {
                let storm = self.storm(at)?;
                return Some(format!("host-{host} is fenced while {storm}"));
            }
            _ => {}
        }
        None
    }
}

impl Checker for NothingInAStorm {
    fn property(&self) -> &'static str {
        "nothing is taken out on silence while many are silent"
    }

    fn see(&mut self, at: True, fact: &Fact) -> Option<String> {
        let at = self.decided.unwrap_or(at);
        match fact {
            Fact::Heard { host } => {
                self.heard.insert(*host, at);
                self.excused.remove(host);
                None
            }
            Fact::Listens => {
                self.listens = at;
                None
            }
            Fact::Decided(at) => {
                self.decided = *at;
                None
            }
            Fact::Committed(write) => match &**write {
                Write::Node(record) => {
                    let host = host_of(&record.node)?;
                    self.hosts.insert(host);
                    let boot = record.session.boot_id.clone();
                    let before = self.boots.insert(host, boot);
                    if before.is_some_and(|before| before != record.session.boot_id) {
                        self.heard.insert(host, at);
                    }
                    let drained = record.drain.as_ref().is_some_and(|drain| drain.done);
                    if drained {
                        self.drained.insert(host);
                    } else {
                        self.drained.remove(&host);
                    }
                    if record.known_down.is_some() {
                        self.excused.insert(host);
                    }
                    None
                }
                Write::Journal(entry) => match &entry.what {
                    JournalWhat::Coordinator(decision) => {
                        self.decided(at, entry.node.as_ref(), decision)
                    }
                    JournalWhat::Node(_) => None,
                },
                _ => None,
            },
            _ => None,
        }
    }
}
