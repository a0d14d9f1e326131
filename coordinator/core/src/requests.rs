//! What people ask for: checked against the fleet as it is, taken or refused with a reason.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use nodemedic_protocol::api::{Accepted, BrakeChange, Decision, DrainBy, Liveness, Proof};
use nodemedic_protocol::work::{PROBES_MAX, ProbeSpec, Run, WorkSpec};
use nodemedic_protocol::{Millis, NodeId, Now, WorkName};

use crate::coordinator::Coordinator;
use crate::drains::DrainWish;
use crate::effect::Refused;
use crate::input::Request;
use crate::node::Node;
use crate::stored::{CordonRecord, GrantKey, KnownDown, ReleaseRecord, Write};

/// More works than this are not taken; a site of thousands of hosts stays far below.
pub const WORKS_MAX: usize = 10_000;

/// A release of the storm brake lasts at most a day: by then a host that is gone is forgotten.
const RELEASE_MAX: Millis = Millis::from_secs(24 * 3600);

type Answer = Result<Accepted, Refused>;

fn accepted(message: String) -> Answer {
    Ok(Accepted { message })
}

impl Coordinator {
    pub(crate) fn request(&mut self, now: Now, request: Request) -> Answer {
        if let Some(by) = self.superseded {
            return Err(Refused::Superseded(by));
        }
        match request {
            Request::Drain {
                node,
                reason,
                deadline,
                override_budget,
            } => self.drain(now, &node, &reason, deadline, override_budget),
            Request::ReleaseBrake { span, reason } => self.release_brake(now, span, reason),
            Request::Undrain { node } => self.undrain(now, &node),
            Request::Cordon { node, reason } => self.cordon(now, &node, &reason),
            Request::Uncordon { node } => self.uncordon(now, &node),
            Request::Forget { node, reason } => self.forget(now, &node, reason),
            Request::PutWork { works } => self.put_work(now, works),
            Request::RemoveWork { work } => self.remove_work(now, &work),
            Request::Fence(wish) => self.fence(now, wish),
            Request::CancelFence { node, reason, by } => {
                self.cancel_fence(now, &node, &reason, &by)
            }
            Request::TrustDevice { device, reason, by } => {
                self.trust_device(now, device, reason, by)
            }
            Request::ConfirmDown { node, reason, by } => self.confirm_down(now, &node, reason, by),
        }
    }

    fn known(&mut self, name: &NodeId) -> Result<&mut Node, Refused> {
        let node = self.nodes.get_mut(name);
        node.ok_or_else(|| Refused::NoSuchNode(name.clone()))
    }

    fn drain(
        &mut self,
        now: Now,
        name: &NodeId,
        reason: &str,
        deadline: Option<Millis>,
        overriding: bool,
    ) -> Answer {
        needs_text("reason", reason)?;
        self.known(name)?;
        let wish = DrainWish {
            reason: reason.to_string(),
            by: DrainBy::Person,
            within: deadline,
        };
        self.ask_drain(now, name, wish, overriding);
        if let Some(why) = self.why_drain_waits(name) {
            return accepted(format!(
                "{name} waits to be drained: {why}. It begins by itself when there is room, and \
                takes work until then; to begin at once: --override-budget"
            ));
        }
        let held = self.grants.on(name).count();
        accepted(match deadline {
            _ if held == 0 => format!("{name} holds no work and takes none from now on"),
            Some(within) => format!(
                "{held} works leave {name} as soon as each has another place, at the latest in \
                {within}"
            ),
            None => format!("{held} works leave {name} as soon as each has another place"),
        })
    }

    fn undrain(&mut self, now: Now, name: &NodeId) -> Answer {
        let node = self.known(name)?;
        let by = node.record.drain.as_ref().map(|d| d.by);
        let wanted = node.words.drain_wanted.is_some() || by == Some(DrainBy::Agent);
        let barred = node.record.barred.len();
        node.record.wish_overruled = wanted;
        node.record.barred.clear();
        node.barred_until.clear();
        let record = node.record.clone();
        self.out.store(Write::Node(record));
        self.dirty = true;
        if by.is_some() {
            self.end_drain(now, name, "a person took the drain back");
        }
        let open = match by {
            Some(_) => format!("{name} takes work again"),
            None => format!("{name} was not drained"),
        };
        accepted(match barred {
            0 => open,
            many => format!("{open}; {many} works that failed there may come back"),
        })
    }

    fn cordon(&mut self, now: Now, name: &NodeId, reason: &str) -> Answer {
        needs_text("reason", reason)?;
        let node = self.known(name)?;
        node.record.cordon = Some(CordonRecord {
            reason: reason.to_string(),
        });
        let record = node.record.clone();
        self.out.store(Write::Node(record));
        self.say_scheduling(now, name, "cordoned", reason.to_string());
        accepted(format!("{name} takes no new work; what runs there stays"))
    }

    fn uncordon(&mut self, now: Now, name: &NodeId) -> Answer {
        let node = self.known(name)?;
        if node.record.cordon.take().is_none() {
            return accepted(format!("{name} was not cordoned"));
        }
        let to = if node.record.drain.is_some() {
            "draining"
        } else {
            "open"
        };
        let record = node.record.clone();
        self.out.store(Write::Node(record));
        let because = String::from("a person took the cordon back");
        self.say_scheduling(now, name, to, because);
        accepted(format!("the cordon of {name} is taken back; it is {to}"))
    }

    fn put_work(&mut self, now: Now, works: Vec<WorkSpec>) -> Answer {
        let mut names = BTreeSet::new();
        for spec in &works {
            if !names.insert(spec.name.clone()) {
                let text = format!(
                    "{} is declared twice in one request: name it once",
                    spec.name
                );
                return Err(Refused::Bad(text));
            }
            check_spec(spec)?;
        }
        let new = names
            .iter()
            .filter(|n| !self.works.contains_key(*n))
            .count();
        if self.works.len() + new > WORKS_MAX {
            let text = format!("there would be more than {WORKS_MAX} works: remove some first");
            return Err(Refused::Bad(text));
        }
        let changed: Vec<WorkSpec> = works
            .into_iter()
            .filter(|spec| self.works.get(&spec.name) != Some(spec))
            .collect();
        if changed.is_empty() {
            return accepted(String::from("all of it is declared like this already"));
        }
        let names: Vec<WorkName> = changed.iter().map(|s| s.name.clone()).collect();
        for spec in changed {
            self.out.store(Write::Work(spec.clone()));
            Arc::make_mut(&mut self.works).insert(spec.name.clone(), spec);
        }
        let text = format!("{} works are declared", names.len());
        self.say_works(now, names, "declared");
        accepted(text)
    }

    fn remove_work(&mut self, now: Now, work: &WorkName) -> Answer {
        if Arc::make_mut(&mut self.works).remove(work).is_none() {
            return Err(Refused::NoSuchWork(work.clone()));
        }
        self.out.store(Write::RemoveWork(work.clone()));
        self.say_works(now, alloc::vec![work.clone()], "removed");
        let held = self.grants.of(work).count();
        accepted(format!(
            "{work} is removed and is being stopped on {held} nodes"
        ))
    }

    fn say_works(&mut self, now: Now, works: Vec<WorkName>, how: &str) {
        self.dirty = true;
        let how = how.to_string();
        self.out
            .decide(now, None, Decision::WorkChanged { works, how });
    }

    fn confirm_down(&mut self, now: Now, name: &NodeId, reason: String, by: String) -> Answer {
        needs_text("reason", &reason)?;
        needs_text("by", &by)?;
        let node = self.known(name)?;
        let liveness = node.life.kind();
        if matches!(liveness, Liveness::Alive | Liveness::Returning) {
            return Err(Refused::Conflict(format!(
                "{name} is {liveness}: it was heard a moment ago, so it is not down; drain it \
                instead"
            )));
        }
        node.record.known_down = Some(KnownDown::PersonsWord { by: by.clone() });
        let record = node.record.clone();
        self.out.store(Write::Node(record));
        let held: Vec<GrantKey> = self.grants.on(name).map(|g| g.record.key.clone()).collect();
        for key in &held {
            let proof = Proof::PersonsWord {
                by: by.clone(),
                reason: reason.clone(),
            };
            self.grants.end(&mut self.out, now, key, proof);
        }
        self.dirty = true;
        accepted(format!(
            "on the word of {by}, {} works of {name} may run elsewhere",
            held.len()
        ))
    }

    fn release_brake(&mut self, now: Now, span: Millis, reason: String) -> Answer {
        needs_text("reason", &reason)?;
        if span == Millis::ZERO || span > RELEASE_MAX {
            return Err(Refused::Bad(format!(
                "a release of {span} makes no sense: say for how long silence shall count, at most \
                {RELEASE_MAX}"
            )));
        }
        let record = ReleaseRecord {
            since: now.wall,
            span,
            reason: reason.clone(),
        };
        self.judge_brake(now);
        if !self.brake.release(now, record) {
            return Err(Refused::Conflict(String::from(
                "the storm brake is off: there is nothing to release",
            )));
        }
        self.store_brake();
        let change = BrakeChange::Released { span, reason };
        self.out.decide(now, None, Decision::Brake(change));
        self.dirty = true;
        accepted(format!(
            "for {span}, or until the storm is over, silence counts again: work of silent hosts \
            moves once the end of its lease is proved"
        ))
    }

    /// Only what can neither run nor claim anything is forgotten: a node that is silent for as long
    /// as it takes to be lost, or that was not heard at all, and that no grant names.
    fn forget(&mut self, now: Now, name: &NodeId, reason: String) -> Answer {
        needs_text("reason", &reason)?;
        let liveness = self.known(name)?.life.kind();
        if !matches!(
            liveness,
            Liveness::Lost | Liveness::Fenced | Liveness::Unheard
        ) {
            return Err(Refused::Conflict(format!(
                "{name} is {liveness}, and only a node that is gone is forgotten: drain it, stop \
                 its agent for good, and ask again when it is lost"
            )));
        }
        let held: Vec<String> = self
            .grants
            .on(name)
            .map(|g| String::from(g.record.key.clone()))
            .collect();
        if !held.is_empty() {
            return Err(Refused::Conflict(format!(
                "{name} may still run {}: when you know that it is down, say so with nodemedic \
                 confirm-down {name}; otherwise bring it back and drain it; then ask again",
                held.join(", ")
            )));
        }
        self.nodes.remove(name);
        self.marks.remove(name);
        self.out.store(Write::RemoveNode(name.clone()));
        self.say_scheduling(now, name, "forgotten", reason);
        accepted(format!(
            "{name} is forgotten and its alerts end; if it reports again, it is a new node"
        ))
    }
}

pub(crate) fn needs_text(what: &str, text: &str) -> Result<(), Refused> {
    if text.trim().is_empty() {
        let error = format!("{what} is empty: say it, because people will ask");
        return Err(Refused::Bad(error));
    }
    Ok(())
}

fn check_spec(spec: &WorkSpec) -> Result<(), Refused> {
    let bad = |text: String| Err(Refused::Bad(format!("work {}: {text}", spec.name)));
    match &spec.run {
        Run::Command { start, .. } if start.first().is_none_or(String::is_empty) => {
            return bad(String::from("its start command is empty: name a program"));
        }
        Run::Systemd { unit } if unit.is_empty() => {
            return bad(String::from(
                "its unit is empty: name a template such as web@.service",
            ));
        }
        Run::Command { .. } | Run::Systemd { .. } => {}
    }
    let useless = |p: &ProbeSpec| p.interval == Millis::ZERO || p.timeout == Millis::ZERO;
    if spec.probes.iter().any(useless) {
        return bad(String::from(
            "its probe needs an interval and a timeout above zero",
        ));
    }
    if spec.probes.len() > PROBES_MAX {
        return bad(format!(
            "it has {} probes; at most {PROBES_MAX} are asked",
            spec.probes.len()
        ));
    }
    if spec.start_grace == Millis::ZERO {
        return bad(String::from(
            "its start_grace is zero: no start could ever succeed",
        ));
    }
    Ok(())
}
