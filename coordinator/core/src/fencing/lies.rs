//! A device that confirmed OFF while the host ran on: how that is known, and what follows.
//!
//! Messages may arrive late: kept back by a broker, or repeated. So a message of the fenced boot
//! alone says nothing. It is known to be from after the fence in two ways: it answers a question
//! that was asked after (no clock is needed), or it left later, by the host's own boot clock, than
//! that clock can have read when the devices said OFF.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::api::{Decision, FenceStep, Purpose};
use nodemedic_protocol::{BootId, Boottime, NodeId, Now};

use super::record::FenceDeviceRecord;
use crate::coordinator::Coordinator;
use crate::mutation::Mutation;
use crate::stored::Write;

impl Coordinator {
    /// True when a message is of a boot that is confirmed off, and may have been under way since
    /// before. One that cannot have been convicts the devices.
    pub(crate) fn is_of_the_dead(
        &mut self,
        now: Now,
        name: &NodeId,
        boot: &BootId,
        sent: Boottime,
    ) -> bool {
        let fenced = self.nodes.get(name).and_then(|n| n.record.fenced.as_ref());
        let Some(fenced) = fenced.filter(|fenced| fenced.boot_id == *boot) else {
            return false;
        };
        match fenced.clock_limit {
            Some(limit) if sent > limit => {
                let beyond = sent.since(limit);
                let evidence = format!("a message of it left at least {beyond} after that");
                self.convict(now, name, &evidence);
                false
            }
            _ => true,
        }
    }

    /// A question that was asked after the fence was answered by the boot that was confirmed off.
    pub(crate) fn dead_has_answered(&mut self, now: Now, name: &NodeId, boot: &BootId) {
        let fenced = self.nodes.get(name).and_then(|n| n.record.fenced.as_ref());
        if fenced.is_some_and(|fenced| fenced.boot_id == *boot) {
            self.convict(now, name, "it has answered a question that was asked after");
        }
    }

    /// The devices that confirmed a fence were wrong: not one of them is believed any more. The
    /// host runs, and is treated as one that is heard again; what it still runs it must stop.
    fn convict(&mut self, now: Now, name: &NodeId, how: &str) {
        if self.settings.mutation.has(Mutation::BelieveLiar) {
            return;
        }
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let Some(fenced) = node.record.fenced.take() else {
            return;
        };
        node.record.known_down = None;
        node.record.power_on.clear();
        // What convicts is a word of the host, whatever it says.
        let session = node.record.session.clone();
        let change = node.life.hear(now.boot, &session);
        self.out.store(Write::Node(node.record.clone()));
        let works: Vec<String> = fenced
            .freed
            .iter()
            .map(|key| String::from(key.clone()))
            .collect();
        let works = match works.is_empty() {
            true => String::from("It held no work."),
            false => format!(
                "It may have run beside its successor: {}.",
                works.join(", ")
            ),
        };
        let evidence =
            format!("it read OFF for {name}, and yet the same boot of {name} runs: {how}. {works}");
        for device in fenced.devices {
            let record = FenceDeviceRecord {
                device: device.clone(),
                lied: Some(evidence.clone()),
            };
            self.out.store(Write::FenceDevice(record.clone()));
            self.fencing.devices.insert(device.clone(), record);
            let step = FenceStep::DeviceLied {
                device,
                evidence: evidence.to_string(),
            };
            self.out.decide(now, Some(name), Decision::Fence(step));
        }
        if let Some(change) = change {
            self.out.decide(now, Some(name), change.decision());
        }
        self.give_back(name, Purpose::Fence);
        self.dirty = true;
    }
}
