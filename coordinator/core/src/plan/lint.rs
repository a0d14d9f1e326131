//! A second pair of eyes: what no plan may ever do, checked from the picture and the plan alone.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::work::{Sharing, WorkSpec};
use nodemedic_protocol::{NodeId, WorkName};

use super::picture::{Evict, Holder, PlanInput, Presence, Serving};
use super::report::{Plan, Release};
use crate::stored::{GrantKey, ReleaseWhy};

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lint {
    /// Exclusive work is granted while a grant of it has not ended, or twice.
    TwoHolders(WorkName),
    /// A work is granted that nobody declared.
    Undeclared(WorkName),
    /// A grant goes to a node that takes none.
    NodeClosed(WorkName, NodeId),
    /// A grant goes to where this work must not come back.
    NodeBarred(WorkName, NodeId),
    /// A grant goes to a node without the labels.
    Labels(WorkName, NodeId),
    /// A node would hold the same work twice.
    SameNode(WorkName, NodeId),
    /// A node gets more than it has room for.
    NoRoom(NodeId),
    /// A release names nothing that could be released.
    NothingToRelease(GrantKey),
    /// A release has a reason that is not true.
    FalseReason(GrantKey, ReleaseWhy),
    /// Fewer would serve than wanted, without need.
    Gap(WorkName),
    /// More would be granted than wanted.
    TooMany(WorkName),
}

/// Checks a plan; an empty answer means that nothing is wrong.
#[must_use]
pub fn lint(input: &PlanInput, plan: &Plan) -> Vec<Lint> {
    let mut found = Vec::new();
    check_grants(input, plan, &mut found);
    check_room(input, plan, &mut found);
    check_releases(input, plan, &mut found);
    for spec in input.works.values() {
        check_numbers(input, plan, spec, &mut found);
    }
    found
}

fn check_grants(input: &PlanInput, plan: &Plan, found: &mut Vec<Lint>) {
    let mut places = BTreeSet::new();
    let mut exclusive = BTreeSet::new();
    for grant in &plan.grants {
        let (work, node_id) = (grant.work.clone(), grant.node.clone());
        let Some(spec) = input.works.get(&work) else {
            found.push(Lint::Undeclared(work));
            continue;
        };
        let unended: Vec<&Holder> = input.holders.iter().filter(|h| h.work == work).collect();
        if matches!(spec.sharing, Sharing::Exclusive { .. }) {
            if !unended.is_empty() || !exclusive.insert(work.clone()) {
                found.push(Lint::TwoHolders(work.clone()));
            }
        } else if unended.iter().any(|h| h.exclusive) {
            found.push(Lint::TwoHolders(work.clone()));
        }
        let doubled = !places.insert((work.clone(), node_id.clone()));
        if doubled || unended.iter().any(|h| h.node == node_id) {
            found.push(Lint::SameNode(work.clone(), node_id.clone()));
        }
        let Some(node) = input.nodes.get(&node_id) else {
            found.push(Lint::NodeClosed(work, node_id));
            continue;
        };
        if node.closed.is_some() || node.evict != Evict::No || node.presence == Presence::Gone {
            found.push(Lint::NodeClosed(work.clone(), node_id.clone()));
        }
        if node.barred.contains(&work) {
            found.push(Lint::NodeBarred(work.clone(), node_id.clone()));
        }
        for (key, value) in &spec.node_labels {
            if node.labels.get(key) != Some(value) {
                found.push(Lint::Labels(work.clone(), node_id.clone()));
            }
        }
    }
}

/// What nodes hold already may exceed them (a capacity can shrink), but then they get nothing.
fn check_room(input: &PlanInput, plan: &Plan, found: &mut Vec<Lint>) {
    let mut more: BTreeMap<&NodeId, Capacity> = BTreeMap::new();
    for grant in &plan.grants {
        if let Some(spec) = input.works.get(&grant.work) {
            let entry = more.entry(&grant.node).or_default();
            *entry = entry.plus(spec.needs);
        }
    }
    for (id, more) in more {
        let held = input.holders.iter().filter(|h| h.node == *id);
        let held = held.fold(Capacity::default(), |sum, h| sum.plus(h.needs));
        let offered = input.nodes.get(id).map(|n| n.capacity).unwrap_or_default();
        if !offered.minus(held).covers(more) {
            found.push(Lint::NoRoom(id.clone()));
        }
    }
}

fn check_releases(input: &PlanInput, plan: &Plan, found: &mut Vec<Lint>) {
    let mut seen = BTreeSet::new();
    for release in &plan.releases {
        let holder = input
            .holders
            .iter()
            .find(|h| h.work == release.key.work && h.generation == release.key.generation);
        let fresh = seen.insert(release.key.clone());
        match holder {
            Some(holder) if fresh && !holder.releasing && holder.node == release.node => {
                if !reason_holds(input, holder, release) {
                    found.push(Lint::FalseReason(release.key.clone(), release.why));
                }
            }
            _ => found.push(Lint::NothingToRelease(release.key.clone())),
        }
    }
}

fn reason_holds(input: &PlanInput, holder: &Holder, release: &Release) -> bool {
    let node = input.nodes.get(&holder.node);
    let spec = input.works.get(&holder.work);
    let exclusive_now = spec.is_some_and(|s| matches!(s.sharing, Sharing::Exclusive { .. }));
    match release.why {
        ReleaseWhy::WorkRemoved => spec.is_none(),
        ReleaseWhy::WorkChanged => holder.outdated || holder.exclusive != exclusive_now,
        ReleaseWhy::Drain => node.is_some_and(|n| n.evict != Evict::No),
        ReleaseWhy::DrainDeadline => node.is_some_and(|n| n.evict == Evict::Force),
        // A lost node hears nothing: exclusive work there ends by proof alone.
        ReleaseWhy::NodeLost => {
            !exclusive_now && node.is_some_and(|n| n.presence == Presence::Gone)
        }
        ReleaseWhy::Labels => match (spec, node) {
            (Some(spec), Some(node)) => {
                let mut labels = spec.node_labels.iter();
                labels.any(|(key, value)| node.labels.get(key) != Some(value))
            }
            _ => false,
        },
        ReleaseWhy::Preempted => {
            let mut works = input.works.values();
            !holder.exclusive && works.any(|s| s.priority > holder.priority)
        }
        ReleaseWhy::Surplus => {
            let wanted = spec.map_or(0, wanted);
            let held = input
                .holders
                .iter()
                .filter(|h| h.work == holder.work && !h.releasing);
            held.count() > wanted
        }
    }
}

fn wanted(spec: &WorkSpec) -> usize {
    match spec.sharing {
        Sharing::Exclusive { .. } => 1,
        Sharing::Replicated { replicas } => usize::from(replicas),
    }
}

/// Nothing is broken before enough others serve, unless somebody said that it must be.
fn check_numbers(input: &PlanInput, plan: &Plan, spec: &WorkSpec, found: &mut Vec<Lint>) {
    let Sharing::Replicated { replicas } = spec.sharing else {
        return;
    };
    let wanted = usize::from(replicas);
    let released: BTreeMap<&GrantKey, ReleaseWhy> =
        plan.releases.iter().map(|r| (&r.key, r.why)).collect();
    let key = |h: &Holder| GrantKey {
        work: h.work.clone(),
        generation: h.generation,
    };
    let gone = |h: &Holder| {
        let node = input.nodes.get(&h.node);
        node.is_some_and(|n| n.presence == Presence::Gone)
    };
    let active: Vec<&Holder> = input
        .holders
        .iter()
        .filter(|h| h.work == spec.name && !h.releasing)
        .collect();
    let (mut before, mut after, mut in_place) = (0, 0, 0);
    for holder in active
        .iter()
        .filter(|h| h.serving == Serving::Yes && !gone(h))
    {
        before += 1;
        match released.get(&key(holder)) {
            None => after += 1,
            Some(ReleaseWhy::DrainDeadline | ReleaseWhy::Preempted) => before -= 1,
            Some(ReleaseWhy::WorkChanged) if !holder.exclusive => in_place += 1,
            // An exclusive holder of work that is replicated now must end first.
            Some(ReleaseWhy::WorkChanged) => before -= 1,
            Some(_) => {}
        }
    }
    if after + in_place.min(1) < before.min(wanted) {
        found.push(Lint::Gap(spec.name.clone()));
    }
    let grants = plan.grants.iter().filter(|g| g.work == spec.name).count();
    if grants > wanted {
        found.push(Lint::TooMany(spec.name.clone()));
    }
}
