//! What people are shown. Times of the coordinator's boot clock become wall times here.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::api::{
    AlertState, AlertView, BrakeView, BudgetView, DrainView, HolderView, NodeView, OutView,
    ReleaseView, Scheduling, SilentView, StatusView, WorkView,
};
use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::work::WorkSpec;
use nodemedic_protocol::{Boottime, NodeId, Now, WallTime, WorkName};

use crate::alert_rules::wanted;
use crate::brake::number;
use crate::coordinator::Coordinator;
use crate::grants::Grant;
use crate::lease::LeaseEnd;
use crate::node::{Node, worst_first};
use crate::plan::{Serving, Waiting};
use crate::stored::DrainRecord;

fn wall(now: Now, at: Boottime) -> WallTime {
    WallTime(now.wall.0.saturating_sub(now.boot.since(at).0))
}

impl Coordinator {
    /// For `GET /api/v1/status`.
    #[must_use]
    pub fn status_view(&self, now: Now) -> StatusView {
        let mut nodes = BTreeMap::new();
        for node in self.nodes.values() {
            *nodes.entry(node.life.kind()).or_default() += 1;
        }
        StatusView {
            site: self.settings.site.clone(),
            version: self.settings.version.clone(),
            epoch: self.epoch,
            started: self.started.wall,
            resume_grace_left: self.ears.grace_until.since(now.boot),
            superseded_by: self.superseded,
            nodes,
            alerts_open: u32::try_from(self.alerts.firing().len()).unwrap_or(u32::MAX),
            budget: self.budget_view(),
            brake: self.brake_view(now),
        }
    }

    /// For `GET /api/v1/nodes`, by name.
    #[must_use]
    pub fn nodes_view(&self, now: Now) -> Vec<NodeView> {
        let nodes = self.nodes.values();
        nodes.map(|node| self.view_of(now, node, false)).collect()
    }

    /// For `GET /api/v1/nodes/{node}`; absent when there is no such node.
    #[must_use]
    pub fn node_view(&self, now: Now, node: &NodeId) -> Option<NodeView> {
        let node = self.nodes.get(node)?;
        Some(self.view_of(now, node, true))
    }

    /// For `GET /api/v1/work`, by name.
    #[must_use]
    pub fn works_view(&self, now: Now) -> Vec<WorkView> {
        let works = self.works.values();
        works.map(|spec| self.view_of_work(now, spec)).collect()
    }

    /// For `GET /api/v1/work/{work}`; absent when there is no such work.
    #[must_use]
    pub fn work_view(&self, now: Now, work: &WorkName) -> Option<WorkView> {
        let spec = self.works.get(work)?;
        Some(self.view_of_work(now, spec))
    }

    /// For `GET /api/v1/alerts`: open ones first, the newest first among them.
    #[must_use]
    pub fn alerts_view(&self) -> Vec<AlertView> {
        let mut alerts: Vec<AlertView> = self.alerts.all().map(|r| self.alerts.view(r)).collect();
        alerts.sort_by(|a, b| (a.state, b.since, &a.key).cmp(&(b.state, a.since, &b.key)));
        alerts
    }

    fn budget_view(&self) -> BudgetView {
        let usage = self.usage();
        let out = usage.out().map(|(node, out)| OutView {
            node: node.clone(),
            why: out.to_string(),
        });
        let waiting = self.waiting_drains().into_iter();
        BudgetView {
            hosts: number(usage.hosts()),
            limit: number(self.settings.budget.limit(usage.hosts())),
            out: out.collect(),
            waiting: waiting.map(|(_, node)| node).collect(),
        }
    }

    fn brake_view(&self, now: Now) -> BrakeView {
        let silent = self.silent_hosts(now).map(|(node, silent_for)| SilentView {
            node: node.clone(),
            silent_for,
        });
        BrakeView {
            state: self.brake.state(),
            since: self.brake.since(),
            threshold: number(self.settings.brake.threshold(self.nodes.len())),
            hosts: number(self.nodes.len()),
            silent: silent.collect(),
            hold: self.settings.brake.hold,
            release: self.brake.released().map(|(record, until)| ReleaseView {
                until: WallTime(now.wall.0.saturating_add(until.since(now.boot).0)),
                reason: record.reason.clone(),
            }),
        }
    }

    fn view_of(&self, now: Now, node: &Node, whole: bool) -> NodeView {
        let birth = node.record.birth.as_ref();
        let grants = self.grants.on(node.name());
        let works: Vec<HolderView> = grants.map(|g| self.view_of_grant(now, g)).collect();
        let used = self
            .grants
            .on(node.name())
            .fold(Capacity::default(), |sum, g| sum.plus(g.record.spec.needs));
        NodeView {
            node: node.name().clone(),
            liveness: node.life.kind(),
            liveness_since: wall(now, node.life.since),
            heard_ago: node.life.standing.heard().map(|at| now.boot.since(at)),
            level: node.level(),
            conditions: worst_first(node.conditions()),
            scheduling: self.scheduling(node),
            out: node.out().map(|out| out.to_string()),
            fencing: self.fencing_view(now, node),
            reboot: self.reboot_view(now, node),
            zone: birth.and_then(|b| b.zone.clone()),
            labels: birth.map(|b| b.labels.clone()).unwrap_or_default(),
            capacity: birth.map(|b| b.capacity).unwrap_or_default(),
            used,
            enforcement: node.enforcement(),
            works,
            version: birth.map(|b| b.version.clone()),
            revision_wanted: node.record.revision,
            revision_taken: node.words.taken,
            inventory: birth.filter(|_| whole).map(|b| b.inventory.clone()),
            sample: node.words.sample.clone().filter(|_| whole),
        }
    }

    fn scheduling(&self, node: &Node) -> Scheduling {
        if let Some(drain) = &node.record.drain {
            let view = self.drain_view(node, drain);
            return if drain.waits {
                Scheduling::DrainWaits(view)
            } else if drain.done {
                Scheduling::Drained(view)
            } else {
                Scheduling::Draining(view)
            };
        }
        match &node.record.cordon {
            Some(cordon) => Scheduling::Cordoned {
                reason: cordon.reason.clone(),
            },
            None => Scheduling::Open,
        }
    }

    fn drain_view(&self, node: &Node, drain: &DrainRecord) -> DrainView {
        if let Some(why) = self.why_drain_waits(node.name()) {
            return DrainView {
                reason: drain.reason.clone(),
                by: drain.by,
                since: drain.since,
                deadline: None,
                waiting: why.reasons.iter().map(ToString::to_string).collect(),
            };
        }
        let waiting = self.grants.on(node.name()).map(|grant| {
            let key = &grant.record.key;
            let reasons = self.report.waiting.get(&key.work);
            let reasons: Vec<String> =
                reasons.map_or_else(Vec::new, |r| r.iter().map(ToString::to_string).collect());
            match reasons.is_empty() {
                true => format!(
                    "{} generation {} is being stopped",
                    key.work, key.generation
                ),
                false => format!("{}: {}", key.work, reasons.join("; ")),
            }
        });
        DrainView {
            reason: drain.reason.clone(),
            by: drain.by,
            since: drain.since,
            deadline: drain.within.map(|within| {
                let end = drain.since.0.saturating_add(within.0);
                WallTime(end)
            }),
            waiting: waiting.collect(),
        }
    }

    fn view_of_grant(&self, now: Now, grant: &Grant) -> HolderView {
        let key = &grant.record.key;
        let node = self.nodes.get(&grant.record.node);
        let status = node.and_then(|n| n.status(key));
        let detail = match (&grant.record.releasing, status) {
            (Some(why), _) => format!("being taken away: {why}"),
            (None, Some(status)) => status.detail.clone(),
            (None, None) => String::new(),
        };
        HolderView {
            work: key.work.clone(),
            node: grant.record.node.clone(),
            generation: key.generation,
            state: status.map(|s| s.state),
            since: wall(now, grant.since),
            releasing: grant.releasing(),
            detail,
        }
    }

    fn view_of_work(&self, now: Now, spec: &WorkSpec) -> WorkView {
        let grants = self.grants.of(&spec.name);
        let holders: Vec<HolderView> = grants.map(|g| self.view_of_grant(now, g)).collect();
        let serves = |grant: &Grant| {
            let node = self.nodes.get(&grant.record.node);
            node.is_some_and(|node| self.serving_of(grant, node) == Serving::Yes)
        };
        let grants = self.grants.of(&spec.name);
        let running = grants.filter(|g| !g.releasing() && serves(g)).count();
        let running = u32::try_from(running).unwrap_or(u32::MAX);
        let waiting = self.why_short(&spec.name);
        WorkView {
            spec: spec.clone(),
            holders,
            wanted: u32::try_from(wanted(spec)).unwrap_or(u32::MAX),
            running,
            waiting,
        }
    }

    /// What keeps a work from being as wanted, one sentence each.
    pub(crate) fn why_short(&self, work: &WorkName) -> Vec<String> {
        let reasons = self.report.waiting.get(work).map_or(&[][..], |all| all);
        let mut words: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let by_silence = |waiting: &Waiting| {
            matches!(
                waiting,
                Waiting::Lease {
                    until: LeaseEnd::At(_),
                    ..
                }
            )
        };
        if let Some(brake) = self.brake_obstacle()
            && reasons.iter().any(by_silence)
        {
            words.push(brake.to_string());
        }
        words
    }

    /// How many alerts fire.
    #[must_use]
    pub fn alerts_open(&self) -> usize {
        let all = self.alerts.all();
        all.filter(|a| a.state == AlertState::Firing).count()
    }
}
