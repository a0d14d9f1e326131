//! Drives every reboot one step on: what a host wishes, when it finds a place, when it is empty
//! enough to be permitted, and when it takes work again.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::api::{Decision, Liveness, Purpose, RebootStep};
use nodemedic_protocol::message::CommandBody;
use nodemedic_protocol::reboot::{RebootWanted, RebootWord};
use nodemedic_protocol::{BootId, Boottime, Level, Millis, NodeId, Now};

use super::{Permit, RebootRecord, RebootWaits, Stage};
use crate::coordinator::{Coordinator, Wake};
use crate::node::Node;
use crate::stored::Write;

/// What is to be done about a reboot now.
enum Step {
    Nothing,
    Drop(&'static str),
    Empty,
    Permit,
    Send,
    Lapse,
    Well,
}

impl Coordinator {
    /// What a host says of its reboots, each time it says so.
    pub(crate) fn hear_reboot(&mut self, now: Now, name: &NodeId, word: Option<&RebootWord>) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        self.dirty |= node.words.reboot.as_ref() != word;
        // Each of its heartbeats may be the one that it waits for.
        self.dirty |= node.record.reboot.is_some();
        node.words.reboot = word.cloned();
        match (word, &mut node.record.reboot) {
            (Some(RebootWord::Wanted(wish)), None) => self.want_reboot(now, name, wish),
            // The last one did not help for long. It is out still, and has its place.
            (Some(RebootWord::Wanted(wish)), Some(reboot)) if reboot.stage == Stage::Returning => {
                self.want_reboot(now, name, wish);
                self.set_stage(name, Stage::Emptying);
            }
            (Some(RebootWord::Going { permit }), Some(reboot)) => {
                if let Stage::Permitted(given) = &mut reboot.stage
                    && permit.as_ref() == Some(&given.id)
                    && !given.taken
                {
                    given.taken = true;
                    self.out.store(Write::Node(node.record.clone()));
                }
            }
            _ => {}
        }
    }

    fn want_reboot(&mut self, now: Now, name: &NodeId, wish: &RebootWanted) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        node.record.reboot = Some(RebootRecord {
            why: wish.why.clone(),
            since: now.wall,
            boot_id: node.record.session.boot_id.clone(),
            stay_out: wish.stay_out,
            stage: Stage::Waits,
        });
        node.reboot_waits = RebootWaits::default();
        self.out.store(Write::Node(node.record.clone()));
        let why = wish.why.clone();
        self.say_reboot(now, name, RebootStep::Wanted { why });
    }

    fn say_reboot(&mut self, now: Now, name: &NodeId, step: RebootStep) {
        self.dirty = true;
        self.out.decide(now, Some(name), Decision::Reboot(step));
    }

    /// Another boot of a host has proved itself, while one of it was to end or had ended.
    pub(crate) fn rebooted(&mut self, now: Now, name: &NodeId, boot_id: &BootId) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let Some(reboot) = &mut node.record.reboot else {
            return;
        };
        node.reboot_waits = RebootWaits::default();
        let because = match &reboot.stage {
            Stage::Waits => Some("it has rebooted by itself"),
            // From its place on it counts as rebooted, whoever did it.
            Stage::Emptying | Stage::Permitted(_) if reboot.boot_id != *boot_id => None,
            Stage::Emptying | Stage::Permitted(_) | Stage::Returning => return,
        };
        let step = match because {
            Some(because) => {
                node.record.reboot = None;
                let because = because.to_string();
                RebootStep::Dropped { because }
            }
            None => {
                reboot.stage = Stage::Returning;
                RebootStep::Back
            }
        };
        self.out.store(Write::Node(node.record.clone()));
        self.say_reboot(now, name, step);
    }

    /// Drives all reboots as far as they go now, those that are wanted for longest first.
    pub(crate) fn drive_reboots(&mut self, now: Now) {
        let wanted = self.nodes.iter().filter_map(|(name, node)| {
            let reboot = node.record.reboot.as_ref()?;
            Some((reboot.since, name.clone()))
        });
        let mut wanted: Vec<_> = wanted.collect();
        wanted.sort_unstable();
        for (_, name) in wanted {
            self.note_waits(now, &name);
            let step = self.step_of(now, &name);
            self.take_step(now, &name, step);
        }
    }

    /// Notes since when a host is being emptied, and since when one that is back is well.
    fn note_waits(&mut self, now: Now, name: &NodeId) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        // Begun by a coordinator before this one: its time begins anew.
        if node
            .record
            .reboot
            .as_ref()
            .is_some_and(RebootRecord::empties)
        {
            node.reboot_waits.emptying.get_or_insert(now.boot);
        }
        let well = node.life.kind() == Liveness::Alive
            && matches!(node.level(), Level::Healthy | Level::Degraded);
        node.reboot_waits.well = match (well, node.reboot_waits.well) {
            (true, since) => Some(since.unwrap_or(now.boot)),
            (false, _) => None,
        };
    }

    fn step_of(&mut self, now: Now, name: &NodeId) -> Step {
        let Some(node) = self.nodes.get(name) else {
            return Step::Nothing;
        };
        let Some(reboot) = &node.record.reboot else {
            return Step::Nothing;
        };
        let wants = matches!(node.words.reboot, Some(RebootWord::Wanted(_)));
        let goes = matches!(node.words.reboot, Some(RebootWord::Going { .. }));
        // Nothing is known of its wish before it was heard on this boot by this coordinator.
        let heard = node.words.beat.is_some() && node.life.kind() == Liveness::Alive;
        match &reboot.stage {
            Stage::Waits | Stage::Emptying if !heard => Step::Nothing,
            Stage::Waits | Stage::Emptying if !wants && !goes => {
                Step::Drop("the host does not ask for it any more")
            }
            Stage::Waits => Step::Empty,
            Stage::Emptying if wants && self.why_not_permitted(now, node).is_empty() => {
                Step::Permit
            }
            Stage::Emptying => Step::Nothing,
            Stage::Permitted(permit) => {
                let void = node.words.stamp.is_some_and(|at| at > permit.not_after);
                let sent = node.reboot_waits.sent;
                let after = self.settings.commands.resend_after;
                let due = sent.is_none_or(|at| now.boot.since(at) >= after);
                match (heard && !goes, void) {
                    (false, _) => Step::Nothing,
                    (true, true) => Step::Lapse,
                    (true, false) if wants && due => Step::Send,
                    (true, false) => Step::Nothing,
                }
            }
            Stage::Returning => {
                let since = node.reboot_waits.well;
                let over = since.is_some_and(|at| now.boot.since(at) >= reboot.stay_out);
                let stays = matches!(node.words.reboot, Some(RebootWord::StaysOut { .. }));
                if over && heard && !stays {
                    Step::Well
                } else {
                    Step::Nothing
                }
            }
        }
    }

    fn take_step(&mut self, now: Now, name: &NodeId, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Drop(because) => {
                self.forget_reboot(name);
                let because = because.to_string();
                self.say_reboot(now, name, RebootStep::Dropped { because });
                self.give_back(name, Purpose::Reboot);
            }
            Step::Empty => self.empty_for_reboot(now, name),
            Step::Permit => self.permit_reboot(now, name),
            Step::Send => {
                if self.held(now).is_none() {
                    self.send_permit(now, name);
                }
            }
            Step::Lapse => self.lapse_permit(now, name),
            Step::Well => {
                let reboot = self.forget_reboot(name);
                let well_for = reboot.map(|r| r.stay_out).unwrap_or_default();
                self.say_reboot(now, name, RebootStep::Well { well_for });
                self.give_back(name, Purpose::Reboot);
            }
        }
    }

    fn forget_reboot(&mut self, name: &NodeId) -> Option<RebootRecord> {
        let node = self.nodes.get_mut(name)?;
        let reboot = node.record.reboot.take();
        node.reboot_waits = RebootWaits::default();
        self.out.store(Write::Node(node.record.clone()));
        reboot
    }

    /// Reserves its place, if there is one.
    fn empty_for_reboot(&mut self, now: Now, name: &NodeId) {
        if self.held(now).is_some() || self.reserve(now, name, Purpose::Reboot, false).is_err() {
            return;
        }
        self.set_stage(name, Stage::Emptying);
        self.say_reboot(now, name, RebootStep::Emptying);
    }

    fn set_stage(&mut self, name: &NodeId, stage: Stage) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let Some(reboot) = &mut node.record.reboot else {
            return;
        };
        reboot.stage = stage;
        node.reboot_waits.sent = None;
        self.out.store(Write::Node(node.record.clone()));
    }

    /// Looks at the brake in the very moment, stores the permit, and sends it.
    fn permit_reboot(&mut self, now: Now, name: &NodeId) {
        if !self.link_is_up() || self.held(now).is_some() {
            return;
        }
        let heard = self.nodes.get(name).and_then(|node| node.words.stamp);
        let (Some(stamp), Some(id)) = (heard, self.next_id(name)) else {
            return;
        };
        let permit = Permit {
            id: id.clone(),
            at: now.wall,
            not_after: stamp + self.settings.reboot.permit_for,
            taken: false,
        };
        self.set_stage(name, Stage::Permitted(permit));
        self.say_reboot(now, name, RebootStep::Permitted { permit: id });
        self.send_permit(now, name);
    }

    fn send_permit(&mut self, now: Now, name: &NodeId) {
        let Some(node) = self
            .nodes
            .get_mut(name)
            .filter(|_| self.ears.listening.is_some())
        else {
            return;
        };
        let Some(reboot) = &node.record.reboot else {
            return;
        };
        let Stage::Permitted(permit) = &reboot.stage else {
            return;
        };
        let (id, boot_id, until) = (permit.id.clone(), reboot.boot_id.clone(), permit.not_after);
        node.reboot_waits.sent = Some(now.boot);
        self.send_command(name, id, (boot_id, until), CommandBody::Reboot);
    }

    fn lapse_permit(&mut self, now: Now, name: &NodeId) {
        let node = self.nodes.get(name);
        let stage = node
            .and_then(|node| node.record.reboot.as_ref())
            .map(|r| &r.stage);
        let Some(Stage::Permitted(permit)) = stage else {
            return;
        };
        let permit = permit.id.clone();
        self.set_stage(name, Stage::Emptying);
        self.say_reboot(now, name, RebootStep::Lapsed { permit });
    }

    /// What keeps an emptying host from being permitted to reboot, the brake aside.
    pub(super) fn why_not_permitted(&self, now: Now, node: &Node) -> Vec<String> {
        let mut reasons = Vec::new();
        if node.record.fence.is_some() {
            reasons.push(String::from("it is being fenced"));
        }
        let since = node.reboot_waits.emptying;
        let long = since.is_some_and(|at| now.boot.since(at) >= self.settings.reboot.leave_within);
        for grant in self.grants.on(node.name()) {
            // What may be running exclusively is proved stopped first, however long it takes.
            if grant.is_exclusive() || !long {
                let work = &grant.record.key.work;
                let why = self.report.waiting.get(work).map_or(&[][..], |all| all);
                let why: Vec<String> = why.iter().map(ToString::to_string).collect();
                reasons.push(match why.is_empty() {
                    true => format!("{work} has not left it yet"),
                    false => format!("{work}: {}", why.join("; ")),
                });
            }
        }
        reasons
    }

    /// When time alone changes something about a reboot.
    pub(crate) fn reboot_wakes(&self) -> impl Iterator<Item = (Boottime, Wake)> {
        let times = self.nodes.values().filter_map(|node| {
            let reboot = node.record.reboot.as_ref()?;
            match &reboot.stage {
                Stage::Waits => None,
                Stage::Emptying => {
                    Some(node.reboot_waits.emptying? + self.settings.reboot.leave_within)
                }
                Stage::Permitted(permit) => Some(self.overdue_at(permit)),
                Stage::Returning => Some(node.reboot_waits.well? + reboot.stay_out),
            }
        });
        times.map(|at| (at, Wake::Reboot))
    }

    /// When a host that was permitted to reboot should be back, on our own boot clock. What
    /// happened before this coordinator began is reckoned by the wall clock, and is only told.
    pub(super) fn overdue_at(&self, permit: &Permit) -> Boottime {
        let started = self.started;
        let before = Millis(started.wall.0.saturating_sub(permit.at.0));
        let after = Millis(permit.at.0.saturating_sub(started.wall.0));
        started.boot + after + (self.settings.reboot.back_within - before)
    }
}
