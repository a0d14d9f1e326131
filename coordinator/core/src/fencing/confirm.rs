//! How a fence ends: confirmed, which is a proof, or dropped, which is none.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::api::{Decision, FenceStep, FenceThen, Proof, Purpose};
use nodemedic_protocol::{Boottime, DeviceName, Millis, NodeId, Now};

use super::record::{FenceRecord, FencedRecord};
use crate::coordinator::Coordinator;
use crate::node::Node;
use crate::stored::{GrantKey, KnownDown, Write};

/// The smallest delay of all messages of one boot lies below this: one of them all came through an
/// idle network.
const DELAY_SLACK: Millis = Millis::from_secs(10);

impl Coordinator {
    /// All devices of a level read OFF. The proof, the end of every grant and the new standing are
    /// one run of writes: on disk before power comes back or work is granted elsewhere.
    pub(super) fn confirm_fence(&mut self, now: Now, name: &NodeId, devices: Vec<DeviceName>) {
        let held = self.grants.on(name);
        let freed: Vec<GrantKey> = held.map(|g| g.record.key.clone()).collect();
        let drift = self.settings.lease.drift_per_mille;
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let Some(fence) = node.record.fence.take() else {
            return;
        };
        node.record.fenced = Some(fenced(node, now, &fence, &devices, &freed, drift));
        node.record.known_down = Some(KnownDown::Fenced);
        if fence.then == FenceThen::On {
            // A device that did not answer well is most often out of reach, and has no power to
            // give: it is asked only when what it may have done is over.
            let late = fence.may_switch_off_late();
            let mut others = fence.may_have_switched_off();
            others.retain(|device| !devices.contains(device) && !late.contains(device));
            node.record.power_on = [devices.clone(), others].concat();
            node.record.power_on_late = late;
        }
        node.candidate = None;
        let because = format!("confirmed off: {}", fence.because);
        let change = node.life.fence(now.boot, because);
        self.out.store(Write::Node(node.record.clone()));
        let step = FenceStep::Confirmed {
            devices: devices.clone(),
        };
        self.out.decide(now, Some(name), Decision::Fence(step));
        if let Some(change) = change {
            self.out.decide(now, Some(name), change.decision());
        }
        for key in &freed {
            let devices = devices.clone();
            let proof = Proof::Fenced { devices };
            self.grants.end(&mut self.out, now, key, proof);
        }
        self.fencing.forget(name);
        self.dirty = true;
    }

    /// The fence is not wanted any more. What it has switched off gets its power back.
    pub(super) fn drop_fence(&mut self, now: Now, name: &NodeId, because: String) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let Some(fence) = node.record.fence.take() else {
            return;
        };
        if fence.then == FenceThen::On {
            node.record.power_on = fence.may_have_switched_off();
            node.record.power_on_late = fence.may_switch_off_late();
        }
        self.out.store(Write::Node(node.record.clone()));
        let step = FenceStep::Dropped { because };
        self.out.decide(now, Some(name), Decision::Fence(step));
        self.fencing.forget(name);
        self.give_back(name, Purpose::Fence);
        self.dirty = true;
    }

    /// Another boot speaks for a host that was fenced: it is back.
    pub(crate) fn fenced_is_back(&mut self, name: &NodeId) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        // It has power, whatever was said of that; also when its fence was dropped half-way.
        let dark = !core::mem::take(&mut node.record.on_failed).is_empty();
        if node.record.fenced.take().is_none() {
            if dark {
                self.out.store(Write::Node(node.record.clone()));
            }
            return;
        }
        node.record.known_down = None;
        self.out.store(Write::Node(node.record.clone()));
        self.give_back(name, Purpose::Fence);
    }
}

fn fenced(
    node: &Node,
    now: Now,
    fence: &FenceRecord,
    devices: &[DeviceName],
    freed: &[GrantKey],
    drift_per_mille: u32,
) -> FencedRecord {
    FencedRecord {
        boot_id: node.record.session.boot_id.clone(),
        at: now.wall,
        by: fence.by.clone(),
        because: fence.because.clone(),
        then: fence.then,
        devices: devices.to_vec(),
        freed: freed.to_vec(),
        clock_limit: clock_limit(node, now.boot, drift_per_mille),
    }
}

/// What the node's boot clock cannot have passed by now, as far as its messages tell: it was heard
/// to lead our clock by so much at the most, plus what the quickest message took, plus what the
/// clocks can have run apart since.
fn clock_limit(node: &Node, now: Boottime, drift_per_mille: u32) -> Option<Boottime> {
    let (lead, heard) = node.words.lead?;
    let at_now = i64::try_from(now.0).ok()?.checked_add(lead)?;
    let apart = now.since(heard).scaled(u64::from(drift_per_mille), 1000);
    let limit = Boottime(u64::try_from(at_now).ok()?);
    Some(limit + apart + DELAY_SLACK)
}
