//! Never more hosts taken out at once than the budget, whatever arrives together.
//!
//! Counted from what is stored of each node and from the liveness that the journal says, never from
//! the core's own count.

use std::collections::{BTreeMap, BTreeSet};

use nodemedic_protocol::NodeId;
use nodemedic_protocol::api::{Decision, FenceStep, FenceVerb, JournalWhat, Liveness};
use nodemedic_sim_coordinator_core::Write;
use nodemedic_sim_coordinator_core::budget::BudgetSettings;
use nodemedic_sim_coordinator_core::stored::NodeRecord;

use super::Checker;
use crate::clock::True;
use crate::fact::Fact;

/// What one node looks like from outside of the budget.
#[derive(Default)]
struct Seen {
    alive: bool,
    /// It is being emptied or empty, or switched off, by choice.
    taken: bool,
    zone: Option<String>,
    /// A person had it taken out whatever the budget says.
    waived: bool,
    /// A device was asked to switch it off, and that is not over.
    asked_off: bool,
}

/// See the file.
#[derive(Default)]
pub struct BlastRadius {
    nodes: BTreeMap<NodeId, Seen>,
    /// Taken in this transaction; judged when it is complete.
    fresh: BTreeSet<NodeId>,
}

fn is_drained(record: &NodeRecord) -> bool {
    record.drain.as_ref().is_some_and(|drain| !drain.waits)
}

impl BlastRadius {
    fn node(&mut self, record: &NodeRecord) {
        let seen = self.nodes.entry(record.node.clone()).or_default();
        let fenced = record.fence.is_some() || record.fenced.is_some();
        seen.asked_off &= fenced;
        let taken = is_drained(record) || seen.asked_off;
        if taken && !seen.taken {
            self.fresh.insert(record.node.clone());
        }
        if !taken {
            self.fresh.remove(&record.node);
        }
        if seen.taken && !taken {
            seen.waived = false;
        }
        seen.taken = taken;
        seen.zone = record.birth.as_ref().and_then(|birth| birth.zone.clone());
    }

    fn decided(&mut self, node: Option<&NodeId>, decision: &Decision) {
        match (decision, node) {
            // A new coordinator has heard nobody yet.
            (Decision::Started { .. }, _) => {
                for seen in self.nodes.values_mut() {
                    seen.alive = false;
                }
            }
            (Decision::Liveness { to, .. }, Some(node)) => {
                let seen = self.nodes.entry(node.clone()).or_default();
                seen.alive = *to == Liveness::Alive;
            }
            (Decision::Reserved { overridden, .. }, Some(node)) if !overridden.is_empty() => {
                let seen = self.nodes.entry(node.clone()).or_default();
                seen.waived = true;
            }
            (
                Decision::Fence(FenceStep::Asked {
                    verb: FenceVerb::Off,
                    ..
                }),
                Some(node),
            ) => {
                let seen = self.nodes.entry(node.clone()).or_default();
                seen.asked_off = true;
                if !std::mem::replace(&mut seen.taken, true) {
                    self.fresh.insert(node.clone());
                }
            }
            _ => {}
        }
    }

    /// Judges what was taken out, now that its moment is over.
    fn judge(&mut self) -> Option<String> {
        let settings = BudgetSettings::default();
        let fresh = std::mem::take(&mut self.fresh);
        for name in &fresh {
            let Some(seen) = self.nodes.get(name).filter(|seen| !seen.waived) else {
                continue;
            };
            let count = |of_zone: bool| {
                let of = |other: &&Seen| !of_zone || other.zone == seen.zone;
                let hosts = self.nodes.values().filter(of).count();
                // What a person has taken out beyond the budget in the same moment came after it.
                let later = |other: &NodeId, s: &Seen| s.waived && fresh.contains(other);
                let out = |(other, s): &(&NodeId, &Seen)| {
                    *other != name && !later(other, s) && (s.taken || !s.alive)
                };
                let others = self.nodes.iter().filter(|(_, s)| of(s));
                (hosts, others.filter(out).count())
            };
            let (hosts, out) = count(false);
            if out + 1 > settings.limit(hosts) {
                return Some(format!(
                    "{name} is taken out while {out} of {hosts} hosts are out, the budget is {}",
                    settings.limit(hosts)
                ));
            }
            let (hosts, out) = count(true);
            if seen.zone.is_some() && out + 1 > settings.zone_limit(hosts) {
                return Some(format!(
                    "{name} is taken out while {out} of {hosts} hosts of its zone are out, \
                     the budget is {}",
                    settings.zone_limit(hosts)
                ));
            }
        }
        None
    }
}

impl Checker for BlastRadius {
    fn property(&self) -> &'static str {
        "never more hosts are taken out at once than the budget"
    }

    fn see(&mut self, _at: True, fact: &Fact) -> Option<String> {
        if matches!(fact, Fact::Transaction) && !self.fresh.is_empty() {
            return self.judge();
        }
        if let Fact::Committed(write) = fact {
            match &**write {
                Write::Node(record) => self.node(record),
                Write::Journal(entry) => {
                    if let JournalWhat::Coordinator(decision) = &entry.what {
                        self.decided(entry.node.as_ref(), decision);
                    }
                }
                _ => {}
            }
        }
        None
    }
}
