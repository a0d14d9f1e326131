//! Power that comes back after a fence, and whether the devices themselves are well. Neither
//! decides anything about a proof.

use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::api::{DeviceSaid, FenceAnswer, FenceVerb, Liveness};
use nodemedic_protocol::{DeviceName, Millis, NodeId, Now};

use super::Monitor;
use super::record::Switched;
use crate::coordinator::Coordinator;
use crate::node::Node;
use crate::stored::{KnownDown, Write};

impl Coordinator {
    /// Asks for `on` where it is due, one device of a host after the other.
    pub(super) fn power_on(&mut self, now: Now) {
        self.power_on_late(now);
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

    /// A device that did not answer well may switch off when power was given back already. So it is
    /// asked for power once more, when that can happen no more; who has power loses nothing by it.
    fn power_on_late(&mut self, now: Now) {
        let devices = &self.settings.fencing.devices;
        for (name, node) in &mut self.nodes {
            let record = &mut node.record;
            if record.power_on_late.is_empty() || record.fence.is_some() {
                continue;
            }
            let off = |device| devices.get(device).copied().unwrap_or_default().off;
            let longest = record.power_on_late.iter().map(off).max();
            let wait = longest.unwrap_or_default().scaled(LATE_TIMES, 1);
            let at = self.fencing.late_at.entry(name.clone());
            if *at.or_insert(now.boot + wait) > now.boot {
                continue;
            }
            self.fencing.late_at.remove(name);
            let mut late = core::mem::take(&mut record.power_on_late);
            late.retain(|device| !record.power_on.contains(device));
            // Who said that it is down may have their hands in it.
            if !matches!(record.known_down, Some(KnownDown::PersonsWord { .. })) {
                record.power_on.extend(late);
            }
            self.out.store(Write::Node(record.clone()));
        }
    }

    pub(super) fn powered_on(&mut self, name: &NodeId, said: DeviceSaid, is_up: bool) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        node.record.power_on.retain(|device| *device != said.device);
        // Who is heard has power.
        let is_up = is_up || node.life.kind() == Liveness::Alive;
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

impl Node {
    /// Devices that were asked to switch off and not yet, or in vain, to give power back: the next
    /// fence begins with them.
    pub(super) fn still_without_power(&mut self) -> Vec<Switched> {
        let record = &mut self.record;
        let late = core::mem::take(&mut record.power_on_late);
        let on = core::mem::take(&mut record.power_on);
        let failed = core::mem::take(&mut record.on_failed);
        let failed = failed.into_iter().map(|said| said.device);
        let mut all: Vec<Switched> = Vec::new();
        for device in late.iter().cloned().chain(on).chain(failed) {
            if !all.iter().any(|switched| switched.device == device) {
                all.push(Switched {
                    late: late.contains(&device),
                    open: false,
                    device,
                });
            }
        }
        all
    }
}

/// What a device was asked and did not answer well it does within so many times of what it may
/// take, or never.
const LATE_TIMES: u64 = 4;

/// After a start every device has been asked once within this: a broken one shows soon.
const FIRST_MONITOR: Millis = Millis::from_secs(60);
