//! Between the state machine and the planner: draws the picture, carries the plan out.

use alloc::format;

use nodemedic_protocol::Now;
use nodemedic_protocol::api::Liveness;
use nodemedic_protocol::reboot::RebootWord;
use nodemedic_protocol::work::{Sharing, WorkSpec};

use crate::coordinator::Coordinator;
use crate::grants::Grant;
use crate::node::Node;
use crate::plan::{Evict, Holder, NoNewWork, PlanInput, PlanNode, Presence, Serving, plan};
use crate::reboot::{RebootRecord, Stage};

impl Coordinator {
    /// Plans and does it. True when something changed.
    pub(crate) fn act_on_plan(&mut self, now: Now) -> bool {
        self.unbar_due(now);
        let input = self.picture(now);
        let (plan, report) = plan(&input);
        self.report = report;
        let changed = !plan.releases.is_empty() || !plan.grants.is_empty();
        for release in &plan.releases {
            self.grants
                .release(&mut self.out, now, &release.key, release.why);
        }
        for grant in &plan.grants {
            let (Some(spec), Some(node)) =
                (self.works.get(&grant.work), self.nodes.get(&grant.node))
            else {
                continue;
            };
            let boot = node.record.session.boot_id.clone();
            let because = format!("{}", grant.because);
            self.grants
                .grant(&mut self.out, now, spec, &grant.node, &boot, &because);
        }
        changed
    }

    /// The fleet as the planner sees it.
    pub(crate) fn picture(&self, now: Now) -> PlanInput {
        let nodes = self.nodes.iter();
        let gathering = self.gather_until.is_none_or(|at| now.boot < at);
        let holders = self.grants.all().filter_map(|grant| {
            let node = self.nodes.get(&grant.record.node)?;
            Some(self.holder(grant, node))
        });
        PlanInput {
            works: self.works.clone(),
            nodes: nodes
                .map(|(name, node)| (name.clone(), plan_node(node, now, gathering)))
                .collect(),
            holders: holders.collect(),
            mutation: self.settings.mutation,
        }
    }

    fn holder(&self, grant: &Grant, node: &Node) -> Holder {
        let record = &grant.record;
        let spec = self.works.get(&record.key.work);
        Holder {
            work: record.key.work.clone(),
            generation: record.key.generation,
            node: record.node.clone(),
            exclusive: grant.is_exclusive(),
            needs: record.spec.needs,
            priority: spec.unwrap_or(&record.spec).priority,
            serving: self.serving_of(grant, node),
            releasing: grant.releasing(),
            outdated: spec.is_some_and(|spec| is_outdated(&record.spec, spec)),
            lease: self.lease_end_of(grant, node),
        }
    }

    /// Whether a grant serves; what a lost node said last counts for nothing.
    pub(crate) fn serving_of(&self, grant: &Grant, node: &Node) -> Serving {
        if matches!(node.life.kind(), Liveness::Lost | Liveness::Fenced) {
            Serving::No
        } else {
            node.serving(&grant.record.key)
        }
    }
}

/// True when a node that holds `old` would have to be told something else for `new`.
fn is_outdated(old: &WorkSpec, new: &WorkSpec) -> bool {
    let kind = |spec: &WorkSpec| match spec.sharing {
        Sharing::Exclusive { on_lease_loss } => Some(on_lease_loss),
        Sharing::Replicated { .. } => None,
    };
    old.run != new.run
        || old.probes != new.probes
        || old.start_grace != new.start_grace
        || old.stop_grace != new.stop_grace
        || kind(old) != kind(new)
}

fn plan_node(node: &Node, now: Now, gathering: bool) -> PlanNode {
    let birth = node.record.birth.as_ref();
    let liveness = node.life.kind();
    // One that waits for room changes nothing: a host that takes no new work is half out already.
    let drain = node.record.drain.as_ref().filter(|drain| !drain.waits);
    let closed = if liveness != Liveness::Alive {
        Some(NoNewWork::Liveness(liveness))
    } else if node.record.fence.is_some() {
        Some(NoNewWork::BeingFenced)
    } else if let Some(reboot) = closed_by_reboot(node) {
        Some(reboot)
    } else if let Some(drain) = drain {
        Some(if drain.done {
            NoNewWork::Drained
        } else {
            NoNewWork::Draining
        })
    } else if node.record.cordon.is_some() {
        Some(NoNewWork::Cordoned)
    } else if gathering {
        Some(NoNewWork::Gathering)
    } else if birth.is_none() {
        Some(NoNewWork::Undescribed)
    } else {
        None
    };
    let overdue = node.drain_deadline.is_some_and(|at| at <= now.boot);
    PlanNode {
        closed,
        evict: match drain {
            None if node
                .record
                .reboot
                .as_ref()
                .is_some_and(RebootRecord::empties) =>
            {
                Evict::Move
            }
            None => Evict::No,
            Some(_) if overdue => Evict::Force,
            Some(_) => Evict::Move,
        },
        presence: if matches!(liveness, Liveness::Lost | Liveness::Fenced) {
            Presence::Gone
        } else {
            Presence::Here
        },
        zone: birth.and_then(|b| b.zone.clone()),
        labels: birth.map(|b| b.labels.clone()).unwrap_or_default(),
        capacity: birth.map(|b| b.capacity).unwrap_or_default(),
        level: node.level(),
        barred: node.record.barred.keys().cloned().collect(),
    }
}

/// Why a reboot keeps new work away from a node, if it does.
fn closed_by_reboot(node: &Node) -> Option<NoNewWork> {
    match node.record.reboot.as_ref().map(|reboot| &reboot.stage) {
        Some(Stage::Emptying | Stage::Permitted(_)) => Some(NoNewWork::ToBeRebooted),
        Some(Stage::Returning) => Some(NoNewWork::Rebooted),
        Some(Stage::Waits) | None => match node.words.reboot {
            // By its own policy, while it was cut off.
            Some(RebootWord::StaysOut { .. }) => Some(NoNewWork::Rebooted),
            Some(RebootWord::Going { .. }) => Some(NoNewWork::ToBeRebooted),
            Some(RebootWord::Wanted(_)) | None => None,
        },
    }
}
