//! Filter and score: which node is best for one more holder of a work.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::work::WorkSpec;
use nodemedic_protocol::{Level, NodeId, WorkName};

use super::picture::{Holder, PlanInput, PlanNode};
use super::report::{Because, NewGrant, NodeRefusal, Plan, PlanReport, Release, Waiting};
use crate::stored::{GrantKey, ReleaseWhy};

/// A plan while it is being made, with what it leaves of each node.
pub(super) struct Board<'a> {
    pub(super) input: &'a PlanInput,
    pub(super) plan: Plan,
    report: PlanReport,
    used: BTreeMap<&'a NodeId, Capacity>,
    held: BTreeMap<&'a NodeId, usize>,
    /// What is being released now or was before: room that comes.
    coming: BTreeMap<&'a NodeId, Capacity>,
    reserved: Vec<(WorkName, &'a NodeId)>,
}

/// Lower is better; the name makes ties deterministic.
type Score<'a> = (bool, usize, Level, u64, usize, &'a NodeId);

impl<'a> Board<'a> {
    pub(super) fn new(input: &'a PlanInput) -> Board<'a> {
        let mut board = Board {
            input,
            plan: Plan::default(),
            report: PlanReport::default(),
            used: BTreeMap::new(),
            held: BTreeMap::new(),
            coming: BTreeMap::new(),
            reserved: Vec::new(),
        };
        for holder in &input.holders {
            board.use_room(&holder.node, holder.needs);
            if holder.releasing {
                let coming = board.coming.entry(&holder.node).or_default();
                *coming = coming.plus(holder.needs);
            }
        }
        board
    }

    pub(super) fn finish(self) -> (Plan, PlanReport) {
        (self.plan, self.report)
    }

    fn use_room(&mut self, node: &'a NodeId, needs: Capacity) {
        let used = self.used.entry(node).or_default();
        *used = used.plus(needs);
        *self.held.entry(node).or_default() += 1;
    }

    /// Keeps room on a node for a work that waits for it there.
    pub(super) fn reserve(&mut self, spec: &WorkSpec, node: &'a NodeId) {
        self.use_room(node, spec.needs);
        self.reserved.push((spec.name.clone(), node));
    }

    pub(super) fn left(&self, id: &NodeId, node: &PlanNode) -> Capacity {
        node.capacity
            .minus(self.used.get(id).copied().unwrap_or_default())
    }

    /// What will be left once everything that is being released is gone.
    pub(super) fn left_soon(&self, id: &NodeId, node: &PlanNode) -> Capacity {
        let used = self.used.get(id).copied().unwrap_or_default();
        let coming = self.coming.get(id).copied().unwrap_or_default();
        node.capacity.minus(used.minus(coming))
    }

    pub(super) fn release(&mut self, holder: &'a Holder, why: ReleaseWhy) {
        self.plan.releases.push(Release {
            key: GrantKey {
                work: holder.work.clone(),
                generation: holder.generation,
            },
            node: holder.node.clone(),
            why,
        });
        let coming = self.coming.entry(&holder.node).or_default();
        *coming = coming.plus(holder.needs);
    }

    /// True when this plan takes the holder away, or an earlier one did.
    pub(super) fn is_going(&self, holder: &Holder) -> bool {
        holder.releasing
            || self
                .plan
                .releases
                .iter()
                .any(|r| r.key.work == holder.work && r.key.generation == holder.generation)
    }

    pub(super) fn grant(&mut self, spec: &WorkSpec, node: &'a NodeId, because: Because) {
        self.use_room(node, spec.needs);
        self.plan.grants.push(NewGrant {
            work: spec.name.clone(),
            node: node.clone(),
            because,
        });
    }

    pub(super) fn wait(&mut self, work: &WorkName, waiting: Waiting) {
        self.report
            .waiting
            .entry(work.clone())
            .or_default()
            .push(waiting);
    }

    /// Why a node cannot take one more holder of the work, room aside.
    pub(super) fn refuses(
        &self,
        spec: &WorkSpec,
        id: &NodeId,
        node: &PlanNode,
    ) -> Option<NodeRefusal> {
        if let Some(closed) = node.closed {
            return Some(NodeRefusal::Closed(closed));
        }
        let mut grants = self.plan.grants.iter();
        let granted = grants.any(|g| g.work == spec.name && g.node == *id);
        let mut reserved = self.reserved.iter();
        let reserved = reserved.any(|(work, node)| *work == spec.name && *node == id);
        if granted || reserved || self.input.holders_of(&spec.name).any(|h| h.node == *id) {
            return Some(NodeRefusal::HoldsIt);
        }
        if node.barred.contains(&spec.name) {
            return Some(NodeRefusal::Barred);
        }
        missing_label(spec, node)
    }

    /// The best node for one more holder.
    ///
    /// # Errors
    /// Each node with its reason when none fits.
    pub(super) fn best(
        &self,
        spec: &WorkSpec,
    ) -> Result<(&'a NodeId, Because), Vec<(NodeId, NodeRefusal)>> {
        let mut refusals = Vec::new();
        let mut best: Option<Score<'a>> = None;
        let mut many = 0;
        for (id, node) in &self.input.nodes {
            let left = self.left(id, node);
            let refusal = self.refuses(spec, id, node).or_else(|| {
                let needs = spec.needs;
                (!left.covers(needs)).then_some(NodeRefusal::NoRoom { left, needs })
            });
            if let Some(refusal) = refusal {
                refusals.push((id.clone(), refusal));
                continue;
            }
            many += 1;
            let score = self.score(spec, id, node, left);
            if best.is_none_or(|b| score < b) {
                best = Some(score);
            }
        }
        let because = if many == 1 {
            Because::OnlyOne
        } else {
            Because::BestOf(many)
        };
        best.map(|score| (score.5, because)).ok_or(refusals)
    }

    fn score(&self, spec: &WorkSpec, id: &'a NodeId, node: &PlanNode, left: Capacity) -> Score<'a> {
        (
            // A host that fails comes last, wherever it stands.
            node.level == Level::Failed,
            self.in_zone(&spec.name, node),
            node.level,
            load_per_mille(node.capacity, left.minus(spec.needs)),
            self.held.get(id).copied().unwrap_or_default(),
            id,
        )
    }

    /// How many holders of the work the zone of this node has or gets.
    fn in_zone(&self, work: &WorkName, node: &PlanNode) -> usize {
        let same = |id: &NodeId| {
            self.input
                .nodes
                .get(id)
                .is_some_and(|n| n.zone == node.zone)
        };
        let holders = self.input.holders_of(work);
        let old = holders
            .filter(|h| !self.is_going(h) && same(&h.node))
            .count();
        let grants = self.plan.grants.iter();
        old + grants.filter(|g| g.work == *work && same(&g.node)).count()
    }
}

/// The label that a node lacks for a work, if any.
pub(super) fn missing_label(spec: &WorkSpec, node: &PlanNode) -> Option<NodeRefusal> {
    spec.node_labels
        .iter()
        .find(|(key, value)| node.labels.get(*key) != Some(*value))
        .map(|(key, value)| NodeRefusal::LacksLabel {
            key: key.clone(),
            value: value.clone(),
        })
}

/// How full the fuller of the two resources is.
fn load_per_mille(capacity: Capacity, left: Capacity) -> u64 {
    let share = |all: u64, left: u64| {
        let used = u128::from(all.saturating_sub(left)) * 1000;
        u64::try_from(used / u128::from(all.max(1))).unwrap_or(u64::MAX)
    };
    share(capacity.cpu_milli, left.cpu_milli).max(share(capacity.memory_bytes, left.memory_bytes))
}
