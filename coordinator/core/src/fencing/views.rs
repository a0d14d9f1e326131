//! Fences as people are shown them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::api::{FenceDeviceView, FenceVerb, FenceView, FencesView, NodeFencingView};
use nodemedic_protocol::{DeviceName, NodeId, Now};

use super::record::{FenceRecord, FenceStage};
use crate::coordinator::Coordinator;
use crate::node::Node;

impl Coordinator {
    /// For `GET /api/v1/fences`.
    #[must_use]
    pub fn fences_view(&self, now: Now) -> FencesView {
        let configured = self.settings.fencing.devices.keys();
        let lied = self.fencing.devices.values();
        let lied = lied.filter(|record| record.lied.is_some());
        let mut devices: Vec<&DeviceName> = configured
            .chain(lied.map(|record| &record.device))
            .collect();
        devices.sort();
        devices.dedup();
        let fences = self.nodes.values();
        FencesView {
            devices: devices.into_iter().map(|d| self.device_view(d)).collect(),
            fences: fences
                .filter_map(|node| self.fence_view(now, node))
                .collect(),
        }
    }

    fn device_view(&self, device: &DeviceName) -> FenceDeviceView {
        let nodes = self.settings.fencing.nodes.iter();
        let nodes =
            nodes.filter(|(_, fencing)| fencing.levels.iter().flatten().any(|d| d == device));
        let call = self.fencing.calls.values().find(|c| c.device == *device);
        let monitor = self.fencing.monitors.get(device);
        let (monitored, monitor) = match monitor.and_then(|m| m.last.clone()) {
            Some((at, answer)) => (Some(at), Some(answer)),
            None => (None, None),
        };
        FenceDeviceView {
            device: device.clone(),
            nodes: nodes.map(|(name, _)| name.clone()).collect::<Vec<NodeId>>(),
            lied: self.fencing.lied(device).cloned(),
            asked: call.map(|call| call.verb),
            monitor,
            monitored,
        }
    }

    fn fence_view(&self, now: Now, node: &Node) -> Option<FenceView> {
        let fence = node.record.fence.as_ref()?;
        Some(FenceView {
            node: node.name().clone(),
            by: fence.by.clone(),
            because: fence.because.clone(),
            since: fence.since,
            state: self.fence_state(now, node.name(), fence),
            attempts: fence.attempts,
            said: fence.said.clone(),
        })
    }

    fn fence_state(&self, now: Now, name: &NodeId, fence: &FenceRecord) -> String {
        let waits_for = self.fencing.waits_for.get(name);
        if let Some(waits_for) = waits_for {
            return format!("waits: {waits_for}");
        }
        let levels = self.settings.fencing.nodes.get(name);
        let levels = levels.map_or(&[][..], |fencing| &fencing.levels[..]);
        match (fence.stage, fence.to_ask(levels)) {
            (FenceStage::Failed, _) => {
                let at = self.fencing.retry_at.get(name).copied();
                let wait = at.unwrap_or(now.boot).since(now.boot);
                format!("failed, tried again in {wait}")
            }
            (_, Some((device, verb))) if self.fencing.asks_about(name) => match verb {
                FenceVerb::Status => format!("{device} is asked whether it is off"),
                _ => format!("{device} is asked to switch it off"),
            },
            (_, Some((device, _))) => format!("waits for {device}, which is busy"),
            (_, None) => String::from("begins"),
        }
    }

    /// How a node can be fenced; absent when it cannot and never was.
    pub(crate) fn fencing_view(&self, now: Now, node: &Node) -> Option<NodeFencingView> {
        let fencing = self.settings.fencing.nodes.get(node.name());
        let record = &node.record;
        if fencing.is_none() && record.fence.is_none() && record.fenced.is_none() {
            return None;
        }
        Some(NodeFencingView {
            levels: fencing.map(|f| f.levels.clone()).unwrap_or_default(),
            automatic: fencing.is_some_and(|f| f.automatic),
            then: fencing.map(|f| f.then).unwrap_or_default(),
            fence: self.fence_view(now, node),
            off_since: record.fenced.as_ref().map(|fenced| fenced.at),
            on_failed: record.on_failed.clone(),
        })
    }
}
