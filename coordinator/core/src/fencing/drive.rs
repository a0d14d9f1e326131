//! Drives every fence one step on: who is to be fenced, what may begin, which device is asked next,
//! and what its answer means.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::api::{
    Decision, DeviceSaid, FenceAnswer, FenceBy, FenceStep, FenceThen, FenceVerb, Liveness, Purpose,
};
use nodemedic_protocol::{BootId, Boottime, DeviceName, Millis, NodeId, Now};

use super::record::{FenceRecord, FenceStage, Next};
use super::{ANSWER_SLACK, Asked, FenceCall, FenceCallId};
use crate::coordinator::Coordinator;
use crate::effect::Effect;
use crate::mutation::Mutation;
use crate::node::Node;
use crate::stored::Write;

impl Coordinator {
    /// Drives all fences and devices as far as they go now.
    pub(crate) fn drive_fences(&mut self, now: Now) {
        self.expire_calls(now);
        let concerned = self.nodes.iter().filter(|(name, node)| {
            node.record.fence.is_some() || self.needs_fence(name, node).is_some()
        });
        let names: Vec<NodeId> = concerned.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.drive_fence(now, &name);
        }
        self.power_on(now);
        self.monitor_devices(now);
    }

    /// Why the coordinator would fence a node by itself, if it would.
    fn needs_fence(&self, name: &NodeId, node: &Node) -> Option<String> {
        let fencing = self.settings.fencing.nodes.get(name)?;
        if !fencing.automatic || node.life.kind() != Liveness::Lost {
            return None;
        }
        let mut held = self.grants.on(name).filter(|grant| grant.is_exclusive());
        let first = held.next()?;
        let work = &first.record.key.work;
        Some(format!(
            "it is lost, and nothing else proves that {work} has ended there"
        ))
    }

    /// Notes that a node is to be fenced.
    pub(super) fn want_fence(&mut self, now: Now, name: &NodeId, mut fence: FenceRecord) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let step = FenceStep::Wanted {
            by: fence.by.clone(),
            because: fence.because.clone(),
        };
        fence.switched = node.still_without_power();
        node.record.fence = Some(fence);
        self.out.store(Write::Node(node.record.clone()));
        self.out.decide(now, Some(name), Decision::Fence(step));
        self.fencing.forget(name);
        self.dirty = true;
    }

    fn drive_fence(&mut self, now: Now, name: &NodeId) {
        let Some(node) = self.nodes.get(name) else {
            return;
        };
        let need = self.needs_fence(name, node);
        let fence = match (&node.record.fence, &need) {
            (Some(fence), _) => fence.clone(),
            (None, Some(because)) => {
                let then = self.settings.fencing.nodes.get(name);
                let fence = FenceRecord {
                    by: FenceBy::Coordinator,
                    because: because.clone(),
                    since: now.wall,
                    overriding: false,
                    then: then.map_or(FenceThen::On, |fencing| fencing.then),
                    stage: FenceStage::Waits,
                    attempts: 0,
                    said: Vec::new(),
                    switched: Vec::new(),
                };
                self.want_fence(now, name, fence.clone());
                fence
            }
            (None, None) => return,
        };
        if self.fencing.asks_about(name) {
            return;
        }
        let automatic = fence.by == FenceBy::Coordinator;
        // What is switched off already is asked for its state; nothing more is switched off.
        if automatic && need.is_none() && !matches!(fence.stage, FenceStage::Status { .. }) {
            let node = self.nodes.get(name);
            let because = match node.map(|n| n.life.kind()) {
                Some(Liveness::Lost) | None => "no exclusive work waits for it any more",
                Some(Liveness::Unheard) => "this coordinator has only just begun to listen",
                Some(_) => "the host is heard again",
            };
            self.drop_fence(now, name, because.to_string());
            return;
        }
        match fence.stage {
            FenceStage::Failed if self.retry_at(name) > now.boot => return,
            FenceStage::Failed | FenceStage::Waits => {
                if let Err(waits_for) = self.may_begin(now, name, &fence) {
                    self.fencing.waits_for.insert(name.clone(), waits_for);
                    return;
                }
                self.fencing.waits_for.remove(name);
                self.fencing.retry_at.remove(name);
                if let Some(fence) = self.fence_of(name) {
                    fence.begin();
                }
            }
            FenceStage::Off { .. } | FenceStage::Status { .. } => {}
        }
        self.ask_for_fence(now, name);
    }

    fn retry_at(&self, name: &NodeId) -> Boottime {
        let at = self.fencing.retry_at.get(name);
        at.copied().unwrap_or_default()
    }

    pub(super) fn fence_of(&mut self, name: &NodeId) -> Option<&mut FenceRecord> {
        self.nodes.get_mut(name)?.record.fence.as_mut()
    }

    /// No storm, a device that is free, and a place among the hosts that are out. The place is
    /// taken in the step in which the first device is asked to switch off: one that was taken while
    /// the device was busy would still be held when others have fallen silent. Whoever holds it may
    /// be off already, and gives it back only when the fence is over.
    fn may_begin(&mut self, now: Now, name: &NodeId, fence: &FenceRecord) -> Result<(), String> {
        if fence.by == FenceBy::Coordinator {
            self.silence_counts(now)?;
        }
        let Some(device) = self.asked_first(name) else {
            // No device can be asked: the fence fails, and takes nobody out.
            return Ok(());
        };
        let early = self.settings.mutation.has(Mutation::ReserveEarly);
        if !early && self.is_busy(&device, name) {
            if !fence.overriding {
                self.room_for(name).map_err(|full| full.to_string())?;
            }
            return Err(format!("{device} is busy"));
        }
        self.reserve(now, name, Purpose::Fence, fence.overriding)
            .map_err(|full| full.to_string())
    }

    /// The device that a fence begins with: a level whose first one is not believed fails unasked.
    fn asked_first(&self, name: &NodeId) -> Option<DeviceName> {
        let levels = &self.settings.fencing.nodes.get(name)?.levels;
        let mut first = levels.iter().filter_map(|level| level.first());
        first
            .find(|device| self.fencing.lied(device).is_none())
            .cloned()
    }

    /// Whether a host may be taken for lost as of now.
    fn silence_counts(&mut self, now: Now) -> Result<(), String> {
        if !self.link_is_up() {
            return Err(String::from(
                "this coordinator is not connected to the broker",
            ));
        }
        if now.boot < self.ears.grace_until {
            return Err(String::from(
                "this coordinator has only just begun to listen",
            ));
        }
        match self.held(now) {
            Some(obstacle) => Err(obstacle.to_string()),
            None => Ok(()),
        }
    }

    /// Asks the device whose turn it is, as soon as it is free.
    fn ask_for_fence(&mut self, now: Now, name: &NodeId) {
        loop {
            let Some(fence) = self.nodes.get(name).and_then(|n| n.record.fence.clone()) else {
                return;
            };
            let levels = self.settings.fencing.nodes.get(name);
            let levels: &[Vec<DeviceName>] = levels.map_or(&[], |fencing| &fencing.levels);
            let Some((device, verb)) = fence.to_ask(levels) else {
                if !matches!(fence.stage, FenceStage::Waits | FenceStage::Failed) {
                    self.fail_fence(now, name);
                }
                return;
            };
            let device = device.clone();
            if let Some(lied) = self.fencing.lied(&device) {
                let answer = FenceAnswer::Failed(format!(
                    "not asked, because it is not believed: {lied}; when it is repaired: \
                     nodemedic fence --trust {device}"
                ));
                self.fence_answered(now, name, answer);
                continue;
            }
            if verb == FenceVerb::Off && fence.by == FenceBy::Coordinator {
                if let Err(waits_for) = self.silence_counts(now) {
                    self.fencing.waits_for.insert(name.clone(), waits_for);
                    return;
                }
                self.fencing.waits_for.remove(name);
            }
            if self.is_busy(&device, name) {
                return;
            }
            if verb == FenceVerb::Off
                && let Some(fence) = self.fence_of(name)
            {
                fence.asks_off(&device);
            }
            if let Some(node) = self.nodes.get(name) {
                self.out.store(Write::Node(node.record.clone()));
            }
            self.ask_device(now, &device, Some(name), verb);
            return;
        }
    }

    /// One fence at a time: a device is busy from a fence's `off` to the end of its `status`.
    pub(super) fn is_busy(&self, device: &DeviceName, name: &NodeId) -> bool {
        let at_status = |(other, node): (&NodeId, &Node)| {
            let levels = self.settings.fencing.nodes.get(other);
            let fence = node.record.fence.as_ref();
            let (Some(levels), Some(fence)) = (levels, fence) else {
                return false;
            };
            let asks = fence.to_ask(&levels.levels);
            other != name && asks == Some((device, FenceVerb::Status))
        };
        self.fencing.is_asked(device) || self.nodes.iter().any(at_status)
    }

    pub(super) fn ask_device(
        &mut self,
        now: Now,
        device: &DeviceName,
        node: Option<&NodeId>,
        verb: FenceVerb,
    ) {
        let settings = self.settings.fencing.devices.get(device);
        let timeout = settings.copied().unwrap_or_default().timeout(verb);
        self.fencing.last_call += 1;
        let id = FenceCallId(self.fencing.last_call);
        let asked = Asked {
            device: device.clone(),
            node: node.cloned(),
            boot_id: node.and_then(|name| self.boot_of(name)),
            verb,
            until: now.boot + timeout + ANSWER_SLACK,
        };
        self.fencing.calls.insert(id, asked);
        if verb != FenceVerb::Monitor {
            let device = device.clone();
            let step = FenceStep::Asked { device, verb };
            self.out.decide(now, node, Decision::Fence(step));
        }
        self.out.push(Effect::Fence(FenceCall {
            id,
            device: device.clone(),
            node: node.cloned(),
            verb,
            timeout,
        }));
    }

    /// A device has answered. An answer to what nobody waits for counts as none.
    pub(crate) fn hear_device(&mut self, now: Now, id: FenceCallId, answer: FenceAnswer) {
        let Some(call) = self.fencing.calls.remove(&id) else {
            return;
        };
        self.dirty = true;
        if self.superseded.is_some() {
            return;
        }
        if call.verb == FenceVerb::Monitor {
            self.monitored(now, &call.device, answer);
            return;
        }
        if !matches!(answer, FenceAnswer::Failed(_)) {
            // Who does its work is well.
            self.monitored(now, &call.device, FenceAnswer::Done);
        }
        let boot_id = call.node.as_ref().and_then(|name| self.boot_of(name));
        let answer = match call.verb {
            // It may have been read while the host was between two boots.
            FenceVerb::Status if boot_id != call.boot_id => FenceAnswer::Failed(String::from(
                "the host has come up again since it was asked: what it read proves nothing",
            )),
            _ => answer,
        };
        let said = DeviceSaid {
            device: call.device,
            verb: call.verb,
            answer,
        };
        let step = FenceStep::Said(said.clone());
        self.out
            .decide(now, call.node.as_ref(), Decision::Fence(step));
        match (call.node, call.verb) {
            // Who has come up since it was asked has power, whatever became of the question.
            (Some(node), FenceVerb::On) => self.powered_on(&node, said, boot_id != call.boot_id),
            (Some(node), _) => self.fence_answered(now, &node, said.answer),
            (None, _) => {}
        }
    }

    /// The boot of which the coordinator knows.
    fn boot_of(&self, name: &NodeId) -> Option<BootId> {
        let node = self.nodes.get(name)?;
        Some(node.record.session.boot_id.clone())
    }

    fn expire_calls(&mut self, now: Now) {
        let calls = self.fencing.calls.iter();
        let over = calls.filter(|(_, call)| call.until <= now.boot);
        let over: Vec<FenceCallId> = over.map(|(id, _)| *id).collect();
        for id in over {
            let text = String::from("no answer in time; nobody knows what it did");
            self.hear_device(now, id, FenceAnswer::Failed(text));
        }
    }

    fn fence_answered(&mut self, now: Now, name: &NodeId, answer: FenceAnswer) {
        let mutation = self.settings.mutation;
        let levels = self.settings.fencing.nodes.get(name);
        let levels = levels.map_or_else(Vec::new, |fencing| fencing.levels.clone());
        let Some(fence) = self.fence_of(name) else {
            return;
        };
        match fence.hear(&levels, answer, mutation) {
            Next::Goes => {}
            Next::Confirmed { level } => {
                let devices = levels.get(level).cloned().unwrap_or_default();
                self.confirm_fence(now, name, devices);
            }
            Next::Failed => self.fail_fence(now, name),
        }
    }

    /// Every level has failed: a pause, then again.
    fn fail_fence(&mut self, now: Now, name: &NodeId) {
        let (first, max) = (
            self.settings.fencing.retry_first,
            self.settings.fencing.retry_max,
        );
        let Some(fence) = self.fence_of(name) else {
            return;
        };
        if fence.stage != FenceStage::Failed {
            fence.stage = FenceStage::Failed;
            fence.attempts = fence.attempts.saturating_add(1);
        }
        let attempts = fence.attempts;
        let doublings = attempts.saturating_sub(1).min(20);
        let wait = first.scaled(1 << doublings, 1).min(max);
        let wait = Millis(self.fencing.rng.jitter(wait.0).max(1));
        self.fencing.retry_at.insert(name.clone(), now.boot + wait);
        if let Some(node) = self.nodes.get(name) {
            self.out.store(Write::Node(node.record.clone()));
        }
        let step = FenceStep::Failed {
            attempts,
            retry_in: wait,
        };
        self.out.decide(now, Some(name), Decision::Fence(step));
        self.dirty = true;
    }

    /// When time alone changes something about fences.
    pub(crate) fn next_fencing(&self) -> impl Iterator<Item = Boottime> {
        let calls = self.fencing.calls.values().map(|call| call.until);
        let retries = self.fencing.retry_at.values().copied();
        let monitors = self.fencing.monitors.values().map(|m| m.next);
        let late = self.fencing.late_at.values().copied();
        calls.chain(retries).chain(monitors).chain(late)
    }
}
