//! What deserves an alert now. The rules see the fleet as it is; the book ([`crate::alerts`]) keeps
//! what was said.
//!
//! What cannot be seen neither raises nor resolves: an alert about a node that has not been heard
//! since this coordinator began stays as it was.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::api::{AlertState, BrakeState, DrainBy, Liveness};
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::work::{Sharing, StopCause, WorkSpec};
use nodemedic_protocol::{Component, Condition, NodeId, Now, Severity};

use crate::alerts::Firing;
use crate::coordinator::Coordinator;
use crate::node::Node;
use crate::plan::Serving;

/// The one about ourselves.
const SUPERSEDED: &str = "coordinator/superseded";

/// The one instead of one for each silent host.
const MASS_LOSS: &str = "fleet/mass-loss";

/// At most so many hosts are named in one alert.
const NAMED_MAX: usize = 10;

/// What a rule says about one alert.
pub(crate) enum Verdict {
    Fires(Firing),
    /// It stays as it is.
    Unseen,
}

pub(crate) type Verdicts = BTreeMap<String, Verdict>;

impl Coordinator {
    pub(crate) fn judge_alerts(&mut self, now: Now) {
        let mut verdicts = Verdicts::new();
        if let Some(by) = self.superseded {
            let firing = Firing {
                severity: Severity::Critical,
                node: None,
                work: None,
                summary: format!("agents obey a coordinator of epoch {by}, newer than this one"),
                detail: format!(
                    "This one has epoch {} and decides nothing any more. Stop it or, if it is the \
                     right one, start it until its epoch is higher.",
                    self.epoch
                ),
            };
            verdicts.insert(SUPERSEDED.to_string(), Verdict::Fires(firing));
        }
        if self.brake.state() != BrakeState::Off {
            let firing = self.mass_loss(now);
            verdicts.insert(MASS_LOSS.to_string(), Verdict::Fires(firing));
        }
        for node in self.nodes.values() {
            self.judge_node(now, node, &mut verdicts);
        }
        self.judge_fence_devices(&mut verdicts);
        let mut short = core::mem::take(&mut self.short_since);
        short.retain(|work, _| self.works.contains_key(work));
        for spec in self.works.values() {
            self.judge_work(now, spec, &mut short, &mut verdicts);
        }
        self.short_since = short;
        for key in self.alerts.firing() {
            // A superseded coordinator sees no more than that it is one.
            let blind = self.superseded.is_some() && key != SUPERSEDED;
            if !blind && !verdicts.contains_key(&key) {
                self.alerts.resolve(&mut self.out, now, &key);
            }
        }
        for (key, verdict) in verdicts {
            if let Verdict::Fires(firing) = verdict
                && (self.superseded.is_none() || key == SUPERSEDED)
            {
                self.alerts.raise(&mut self.out, now, &key, firing);
            }
        }
    }

    fn judge_node(&self, now: Now, node: &Node, verdicts: &mut Verdicts) {
        let name = node.name();
        let lost = || format!("node/{name}/lost");
        match node.life.kind() {
            // One that was told before the storm stays; one of the storm is told when that is over.
            Liveness::Lost if self.brake.state() != BrakeState::Off => {
                verdicts.insert(lost(), Verdict::Unseen);
            }
            Liveness::Lost => {
                let firing = self.lost(node);
                verdicts.insert(lost(), Verdict::Fires(firing));
            }
            // It came back, but may go again at once: not over yet.
            Liveness::Unheard | Liveness::Returning => {
                verdicts.insert(lost(), Verdict::Unseen);
            }
            Liveness::Fenced => {
                if let Some(firing) = self.off(node) {
                    verdicts.insert(lost(), Verdict::Fires(firing));
                }
            }
            Liveness::Alive | Liveness::Suspect | Liveness::Away => {}
        }
        self.judge_fence(node, verdicts);
        self.judge_reboot(now, node, verdicts);
        if node.words.health.is_some() {
            for condition in node.conditions() {
                judge_condition(node, condition, verdicts);
            }
        } else {
            let about = format!("node/{name}/condition/");
            for key in self.alerts.firing() {
                if key.starts_with(&about) {
                    verdicts.insert(key, Verdict::Unseen);
                }
            }
        }
        for (work, barred) in &node.record.barred {
            if barred.cause != StopCause::Fenced {
                continue;
            }
            let firing = Firing {
                severity: Severity::Critical,
                node: Some(name.clone()),
                work: Some(work.clone()),
                summary: format!("{work} could not be healed on {name} and is fenced there"),
                detail: format!(
                    "The agent's restarts are spent ({}). It is proved stopped there and placed \
                    \
                     elsewhere if anything fits. When {name} is repaired: nodemedic undrain \
                     {name}.",
                    barred.detail
                ),
            };
            let key = format!("work/{work}/fenced/{name}");
            verdicts.insert(key, Verdict::Fires(firing));
        }
        self.judge_drain(now, node, verdicts);
        self.judge_waiting_drain(now, node, verdicts);
    }

    fn lost(&self, node: &Node) -> Firing {
        let name = node.name();
        let held: Vec<String> = self
            .grants
            .on(name)
            .map(|g| {
                format!(
                    "{} generation {}",
                    g.record.key.work, g.record.key.generation
                )
            })
            .collect();
        let (held, next) = if held.is_empty() {
            let next = format!("When it is gone for good: nodemedic forget {name}.");
            (String::from("It holds no work."), next)
        } else {
            let held = format!(
                "It holds {}; replicated work is replaced now, exclusive work once its end is \
                proved.",
                held.join(", ")
            );
            let next = format!("When you know that it is down: nodemedic confirm-down {name}.");
            (held, next)
        };
        Firing {
            severity: Severity::Critical,
            node: Some(name.clone()),
            work: None,
            summary: format!("{name} is lost: nothing is heard from it"),
            detail: format!("{held} Look at its power and network. {next}"),
        }
    }

    fn mass_loss(&self, now: Now) -> Firing {
        let silent: Vec<&NodeId> = self.silent_hosts(now).map(|(name, _)| name).collect();
        let named: Vec<String> = silent
            .iter()
            .take(NAMED_MAX)
            .map(|n| n.to_string())
            .collect();
        let more = match silent.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let hosts = self.nodes.len();
        let threshold = self.settings.brake.threshold(hosts);
        let next = match self.brake.state() {
            BrakeState::Released => "A person has released the brake: silence counts for now.",
            BrakeState::Engaged | BrakeState::Off => {
                "That is more likely this coordinator or the network than the hosts, so the storm \
                 brake holds: exclusive work of silent hosts does not move, nothing is fenced, and \
                 no host is drained that asks for it itself. It lifts by itself once fewer are \
                 silent. When you know that hosts are down: nodemedic confirm-down NODE for each, \
                 or nodemedic brake release --for 30m --reason TEXT for all."
            }
        };
        Firing {
            severity: Severity::Critical,
            node: None,
            work: None,
            summary: String::from("many hosts fell silent at once"),
            detail: format!(
                "{} of {hosts} hosts are silent now, {threshold} engage the brake: {}{more}. \
                 {next}",
                silent.len(),
                named.join(", ")
            ),
        }
    }

    fn judge_waiting_drain(&self, now: Now, node: &Node, verdicts: &mut Verdicts) {
        let name = node.name();
        let Some(drain) = node.record.drain.as_ref() else {
            return;
        };
        let Some(why) = self.why_drain_waits(name) else {
            return;
        };
        // A person sees the wait in the answer; and who was not heard yet after a start of this
        // coordinator may be well.
        if drain.by == DrainBy::Person || now.boot < self.ears.grace_until {
            return;
        }
        let firing = Firing {
            severity: Severity::Warning,
            node: Some(name.clone()),
            work: None,
            summary: format!("{name} asks to be emptied, and there is no room for it to be out"),
            detail: format!(
                "It asks because of: {}. It waits: {why}. Bring one of them back, or let it go all \
                 the same: nodemedic drain {name} --override-budget --reason TEXT.",
                drain.reason
            ),
        };
        let key = format!("node/{name}/drain-waits");
        verdicts.insert(key, Verdict::Fires(firing));
    }

    fn judge_drain(&self, now: Now, node: &Node, verdicts: &mut Verdicts) {
        let overdue = node.drain_deadline.is_some_and(|at| at <= now.boot);
        let Some(drain) = node.record.drain.as_ref().filter(|d| overdue && !d.done) else {
            return;
        };
        let name = node.name();
        let left: Vec<String> = self
            .grants
            .on(name)
            .map(|g| g.record.key.work.to_string())
            .collect();
        let firing = Firing {
            severity: Severity::Warning,
            node: Some(name.clone()),
            work: None,
            summary: format!("the drain of {name} is over its deadline"),
            detail: format!(
                "Asked for: {}. Not yet proved stopped there: {}.",
                drain.reason,
                left.join(", ")
            ),
        };
        let key = format!("node/{name}/drain-overdue");
        verdicts.insert(key, Verdict::Fires(firing));
    }

    fn judge_work(
        &self,
        now: Now,
        spec: &WorkSpec,
        short: &mut BTreeMap<nodemedic_protocol::WorkName, nodemedic_protocol::Boottime>,
        verdicts: &mut Verdicts,
    ) {
        let wanted = wanted(spec);
        let (mut serving, mut unknown) = (0, 0);
        for grant in self.grants.of(&spec.name).filter(|g| !g.releasing()) {
            let node = self.nodes.get(&grant.record.node);
            match node.map(|node| self.serving_of(grant, node)) {
                Some(Serving::Yes) => serving += 1,
                Some(Serving::Unknown) => unknown += 1,
                Some(Serving::No) | None => {}
            }
        }
        let key = format!("work/{}/short", spec.name);
        if serving >= wanted {
            short.remove(&spec.name);
            return;
        }
        if serving + unknown >= wanted || now.boot < self.ears.grace_until {
            verdicts.insert(key, Verdict::Unseen);
            return;
        }
        let since = *short.entry(spec.name.clone()).or_insert(now.boot);
        let open = self.alerts.get(&key);
        let open = open.is_some_and(|a| a.state == AlertState::Firing);
        if !open && now.boot.since(since) < self.settings.alerts.unplaced_for {
            return;
        }
        let reasons = self.why_short(&spec.name);
        let firing = Firing {
            severity: if serving == 0 {
                Severity::Critical
            } else {
                Severity::Warning
            },
            node: None,
            work: Some(spec.name.clone()),
            summary: match wanted {
                1 => format!("{} does not run anywhere", spec.name),
                _ => format!("{} runs {serving} of {wanted} times", spec.name),
            },
            detail: reasons.join(". "),
        };
        verdicts.insert(key, Verdict::Fires(firing));
    }
}

pub(crate) fn wanted(spec: &WorkSpec) -> usize {
    match spec.sharing {
        Sharing::Exclusive { .. } => 1,
        Sharing::Replicated { replicas } => usize::from(replicas),
    }
}

fn judge_condition(node: &Node, condition: &Condition, verdicts: &mut Verdicts) {
    // Fenced work has its own alert, which knows more.
    let fenced_work =
        matches!(condition.component, Component::Work(_)) && condition.reason == Reason::Fenced;
    if condition.severity < Severity::Warning || fenced_work {
        return;
    }
    let name = node.name();
    let work = match &condition.component {
        Component::Work(work) => Some(work.clone()),
        _ => None,
    };
    let evidence: Vec<String> = condition
        .evidence
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let firing = Firing {
        severity: condition.severity,
        node: Some(name.clone()),
        work,
        summary: format!("{name}: {}: {}", condition.component, condition.reason),
        detail: if evidence.is_empty() {
            condition.message.clone()
        } else {
            format!("{} ({})", condition.message, evidence.join(", "))
        },
    };
    let key = format!(
        "node/{name}/condition/{}/{}",
        condition.component, condition.reason
    );
    verdicts.insert(key, Verdict::Fires(firing));
}
