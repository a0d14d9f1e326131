//! How grants end: by the node's proof of a stop, by the provable end of a lease, or because none
//! is needed.

use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::api::{Liveness, Proof};
use nodemedic_protocol::work::{Sharing, StopCause, WorkState};
use nodemedic_protocol::{Boottime, Millis, Now, WorkName};

use crate::coordinator::Coordinator;
use crate::grants::Grant;
use crate::lease::LeaseEnd;
use crate::mutation::{Mutation, Mutations};
use crate::node::Node;
use crate::settings::PlacementSettings;
use crate::stored::{Barred, GrantKey, Write};

impl Coordinator {
    /// Ends every grant whose end is proved. True when one ended.
    pub(crate) fn end_proved(&mut self, now: Now) -> bool {
        let mut ends: Vec<(GrantKey, Proof, Option<Barred>)> = Vec::new();
        for grant in self.grants.all() {
            let Some(node) = self.nodes.get(&grant.record.node) else {
                continue;
            };
            if let Some((barred, cause)) = stopped(node, grant, now, self.settings.mutation) {
                let bars = matches!(cause, StopCause::Fenced | StopCause::Refused);
                let key = grant.record.key.clone();
                ends.push((key, Proof::StopConfirmed, bars.then_some(barred)));
            } else if let Some(proof) = self.proved_by_time(grant, node, now.boot) {
                ends.push((grant.record.key.clone(), proof, None));
            }
        }
        let by_silence = |proof: &Proof| *proof == Proof::LeaseEnded;
        if ends.iter().any(|(_, proof, _)| by_silence(proof)) && self.held(now).is_some() {
            ends.retain(|(_, proof, _)| !by_silence(proof));
        }
        let any = !ends.is_empty();
        for (key, proof, barred) in ends {
            if let Some(barred) = barred {
                self.bar(now, &key, barred);
            }
            self.grants.end(&mut self.out, now, &key, proof);
        }
        any
    }

    fn proved_by_time(&self, grant: &Grant, node: &Node, now: Boottime) -> Option<Proof> {
        let liveness = node.life.kind();
        let work = self.works.get(&grant.record.key.work);
        let exclusive_now =
            work.is_some_and(|spec| matches!(spec.sharing, Sharing::Exclusive { .. }));
        if !grant.is_exclusive() && !exclusive_now {
            let lost = liveness == Liveness::Lost && grant.releasing();
            return lost.then_some(Proof::NotNeeded);
        }
        // A node that is heard can say itself how the work stands, and its word counts more.
        let silent = matches!(liveness, Liveness::Lost | Liveness::Away);
        if !silent || !self.link_is_up() || now < self.ears.grace_until {
            return None;
        }
        if self.believed_from(node).is_none_or(|from| now < from) {
            return None;
        }
        match self.lease_end_of(grant, node) {
            LeaseEnd::At(end) if end <= now => Some(Proof::LeaseEnded),
            _ => None,
        }
    }

    /// Until when the promise of a grant may hold.
    pub(crate) fn lease_end_of(&self, grant: &Grant, node: &Node) -> LeaseEnd {
        if !grant.is_exclusive() {
            return LeaseEnd::Never(crate::lease::WhyNever::Kept);
        }
        let settings = &self.settings;
        grant.lease_end(node.enforcement(), &settings.lease, settings.mutation)
    }

    /// When promises of silent nodes end.
    pub(crate) fn lease_ends(&self) -> impl Iterator<Item = Boottime> {
        self.grants.all().filter_map(|grant| {
            let node = self.nodes.get(&grant.record.node)?;
            let silent = matches!(node.life.kind(), Liveness::Lost | Liveness::Away);
            match self.lease_end_of(grant, node) {
                LeaseEnd::At(end) if silent => Some(self.believed_from(node)?.max(end)),
                _ => None,
            }
        })
    }

    fn bar(&mut self, now: Now, key: &GrantKey, barred: Barred) {
        let Some(grant) = self.grants.get(key) else {
            return;
        };
        let Some(node) = self.nodes.get_mut(&grant.record.node) else {
            return;
        };
        let hold_off = hold_off(barred.cause, &self.settings.placement);
        let until = hold_off.map(|span| now.boot + span);
        node.barred_until.insert(key.work.clone(), until);
        node.record.barred.insert(key.work.clone(), barred);
        self.out.store(Write::Node(node.record.clone()));
    }

    /// Lets work back to where it failed, once its hold-off is over.
    pub(crate) fn unbar_due(&mut self, now: Now) {
        for node in self.nodes.values_mut() {
            let over = |until: &Option<Boottime>| until.is_some_and(|at| at <= now.boot);
            let due: Vec<WorkName> = node
                .barred_until
                .iter()
                .filter(|(_, until)| over(until))
                .map(|(work, _)| work.clone())
                .collect();
            for work in &due {
                node.barred_until.remove(work);
                node.record.barred.remove(work);
            }
            if !due.is_empty() {
                self.out.store(Write::Node(node.record.clone()));
            }
        }
    }
}

fn hold_off(cause: StopCause, settings: &PlacementSettings) -> Option<Millis> {
    match cause {
        StopCause::Fenced => settings.fenced_hold_off,
        StopCause::Refused | StopCause::Asked | StopCause::LeaseLost => {
            Some(settings.refused_hold_off)
        }
    }
}

/// What the node proved about a grant, if it is stopped.
fn stopped(
    node: &Node,
    grant: &Grant,
    now: Now,
    mutation: Mutations,
) -> Option<(Barred, StopCause)> {
    let any = || {
        let statuses = node.words.works.as_ref()?.iter();
        let mut of_work = statuses.filter(|(key, _)| key.work == grant.record.key.work);
        of_work.find(|(_, s)| s.state.is_stopped()).map(|(_, s)| s)
    };
    let status = if mutation.has(Mutation::IgnoreGeneration) {
        any()?
    } else {
        node.status(&grant.record.key)?
    };
    let WorkState::Stopped(cause) = status.state else {
        return None;
    };
    // Its words are those of its current boot; another boot's grants ended with that boot.
    if grant.record.boot_id != node.record.session.boot_id {
        return None;
    }
    let detail: String = status.detail.clone();
    let barred = Barred {
        cause,
        generation: grant.record.key.generation,
        since: now.wall,
        detail,
    };
    Some((barred, cause))
}

impl Node {
    /// After a start of the coordinator, waits go on. The boot clock may be another one than
    /// before, so what is left is reckoned by the wall clock, and never more than the whole.
    pub(crate) fn resume_waits(&mut self, now: Now, settings: &PlacementSettings) {
        let left = |since: nodemedic_protocol::WallTime, whole: Millis| {
            let gone = Millis(now.wall.0.saturating_sub(since.0));
            now.boot + (whole - gone)
        };
        for (work, barred) in &self.record.barred {
            let until = hold_off(barred.cause, settings).map(|whole| left(barred.since, whole));
            self.barred_until.insert(work.clone(), until);
        }
        if let Some(drain) = &self.record.drain
            && !drain.done
            && !drain.waits
        {
            self.drain_deadline = drain.within.map(|whole| left(drain.since, whole));
        }
    }
}
