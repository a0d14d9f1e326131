//! Power that comes back after a fence, and whether the devices themselves are well. Neither
//! decides anything about a proof.

use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::api::{DeviceSaid, FenceAnswer, FenceVerb};
use nodemedic_protocol::{DeviceName, Millis, NodeId, Now};

use super::Monitor;
use crate::coordinator::Coordinator;
use crate::stored::Write;

impl Coordinator {
    /// Asks for `on` where it is due, one device of a host after the other.
    pub(super) fn power_on(&mut self, now: Now) {
        let due = self.nodes.iter().filter_map(|(name, node)| {
            let waits = node.record.fence.is_none() && !self.fencing.asks_about(name);
            let device = node.record.power_on.first().filter(|_| waits)?;
            Some((name.clone(), device.clone()))
        });
        let due: Vec<(NodeId, DeviceName)> = due.collect();
        for (name, device) in due {
            if !self.settings.fencing.devices.contains_key(&device) {
                let text = String::from("no device of this name is configured any more");
                let said = DeviceSaid {
                    device,
                    verb: FenceVerb::On,
                    answer: FenceAnswer::Failed(text),
                };
                self.powered_on(&name, said, false);
            } else if !self.is_busy(&device, &name) {
                self.ask_device(now, &device, Some(&name), FenceVerb::On);
            }
        }
    }

    pub(super) fn powered_on(&mut self, name: &NodeId, said: DeviceSaid, is_up: bool) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        node.record.power_on.retain(|device| *device != said.device);
        if said.answer != FenceAnswer::Done && !is_up {
            node.record.on_failed.push(said);
        }
        self.out.store(Write::Node(node.record.clone()));
        self.dirty = true;
    }

    /// Asks each device now and then whether it is well. A fence goes first.
    pub(super) fn monitor_devices(&mut self, now: Now) {
        let every = self.settings.fencing.monitor_every;
        let devices = self.settings.fencing.devices.keys();
        let devices: Vec<DeviceName> = devices.cloned().collect();
        for device in devices {
            let first = now.boot + Millis(self.fencing.rng.below(every.0.min(FIRST_MONITOR.0)));
            let monitor = self.fencing.monitors.entry(device.clone());
            let monitor = monitor.or_insert(Monitor {
                next: first,
                last: None,
            });
            if monitor.next > now.boot {
                continue;
            }
            let pause = Millis(self.fencing.rng.jitter(every.0).max(1));
            monitor.next = now.boot + pause;
            if !self.fencing.is_asked(&device) {
                self.ask_device(now, &device, None, FenceVerb::Monitor);
            }
        }
    }

    pub(super) fn monitored(&mut self, now: Now, device: &DeviceName, answer: FenceAnswer) {
        if let Some(monitor) = self.fencing.monitors.get_mut(device) {
            monitor.last = Some((now.wall, answer));
        }
    }
}

/// After a start every device has been asked once within this: a broken one shows soon.
const FIRST_MONITOR: Millis = Millis::from_secs(60);
