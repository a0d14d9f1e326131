//! Fence devices as proof: a host is off when its devices have switched it off and then, asked
//! apart, read OFF. [`record`] has the steps of one fence; here is what they are done with.
//!
//! A host is fenced because a person says so, or because it is lost while exclusive work waits for
//! a proof that it has ended there. docs/safety.md says what that proves and what breaks it.

mod alerts;
mod confirm;
mod drive;
mod lies;
mod power;
pub mod record;
pub mod requests;
pub mod settings;
mod views;

use alloc::collections::BTreeMap;
use alloc::string::String;

use nodemedic_protocol::api::{FenceAnswer, FenceVerb};
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::{BootId, Boottime, DeviceName, Millis, NodeId, WallTime};

use record::FenceDeviceRecord;

/// Names one question to a fence device; the core chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FenceCallId(pub u64);

/// One question to a fence device; answered by `Input::Fenced`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceCall {
    /// Given back with the answer.
    pub id: FenceCallId,
    /// Whom to ask.
    pub device: DeviceName,
    /// About which host; absent for `monitor`.
    pub node: Option<NodeId>,
    /// What.
    pub verb: FenceVerb,
    /// No answer after so long is a failure.
    pub timeout: Millis,
}

/// The executor ends a call at its timeout and says so; the core waits this much longer for that
/// word, then it goes on without.
const ANSWER_SLACK: Millis = Millis::from_secs(5);

/// A question that waits for its answer.
#[derive(Debug)]
struct Asked {
    device: DeviceName,
    /// Absent for `monitor`, and when the fence that asked is no more.
    node: Option<NodeId>,
    /// The boot of that node when it was asked.
    boot_id: Option<BootId>,
    verb: FenceVerb,
    until: Boottime,
}

/// How the monitors of one device go.
#[derive(Debug)]
struct Monitor {
    next: Boottime,
    last: Option<(WallTime, FenceAnswer)>,
}

/// What this coordinator knows of fencing beside what is in the records of the nodes.
#[derive(Debug)]
pub(crate) struct Fencing {
    calls: BTreeMap<FenceCallId, Asked>,
    last_call: u64,
    devices: BTreeMap<DeviceName, FenceDeviceRecord>,
    monitors: BTreeMap<DeviceName, Monitor>,
    retry_at: BTreeMap<NodeId, Boottime>,
    /// When devices that may switch off late are asked for power once more.
    late_at: BTreeMap<NodeId, Boottime>,
    /// Why a fence that is wanted does not begin, for people.
    waits_for: BTreeMap<NodeId, String>,
    rng: Rng,
}

impl Fencing {
    pub(crate) const fn new(devices: BTreeMap<DeviceName, FenceDeviceRecord>, rng: Rng) -> Fencing {
        Fencing {
            calls: BTreeMap::new(),
            last_call: 0,
            devices,
            monitors: BTreeMap::new(),
            retry_at: BTreeMap::new(),
            late_at: BTreeMap::new(),
            waits_for: BTreeMap::new(),
            rng,
        }
    }

    /// How it is known that a device was wrong; absent while it is believed.
    fn lied(&self, device: &DeviceName) -> Option<&String> {
        self.devices.get(device)?.lied.as_ref()
    }

    fn is_asked(&self, device: &DeviceName) -> bool {
        self.calls.values().any(|call| call.device == *device)
    }

    fn asks_about(&self, node: &NodeId) -> bool {
        let mut calls = self.calls.values();
        calls.any(|call| call.node.as_ref() == Some(node))
    }

    /// The fence of a node is no more: answers that are under way concern nobody.
    fn forget(&mut self, node: &NodeId) {
        for call in self.calls.values_mut() {
            if call.node.as_ref() == Some(node) {
                call.node = None;
            }
        }
        self.retry_at.remove(node);
        self.late_at.remove(node);
        self.waits_for.remove(node);
    }
}
