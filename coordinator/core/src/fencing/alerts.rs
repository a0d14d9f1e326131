//! What deserves an alert about fences and their devices, with what each device said and what a
//! person can do.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::Severity;
use nodemedic_protocol::api::{DeviceSaid, FenceAnswer, FenceBy, FenceThen, Liveness};

use crate::alert_rules::{Verdict, Verdicts};
use crate::alerts::Firing;
use crate::coordinator::Coordinator;
use crate::node::Node;

/// One sentence for each answer.
pub(super) fn words(said: &[DeviceSaid]) -> String {
    let said: Vec<String> = said.iter().map(ToString::to_string).collect();
    said.join("; ")
}

impl Coordinator {
    pub(crate) fn judge_fence(&self, node: &Node, verdicts: &mut Verdicts) {
        let name = node.name();
        if let Some(fence) = node.record.fence.as_ref().filter(|f| f.attempts > 0) {
            let said = match fence.said.is_empty() {
                true => String::from("No device could be asked."),
                false => format!("What the devices said: {}.", words(&fence.said)),
            };
            let firing = Firing {
                severity: Severity::Critical,
                node: Some(name.clone()),
                work: None,
                summary: format!("{name} cannot be fenced: no level of its devices confirms it"),
                detail: format!(
                    "Wanted by {}: {}. {said} It is tried again, and until then nothing of {name} \
                     moves. Repair the devices (nodemedic fences); or switch {name} off by hand, \
                     look that it is off, and say so: nodemedic confirm-down {name}.",
                    fence.by, fence.because
                ),
            };
            verdicts.insert(format!("fence/{name}/failed"), Verdict::Fires(firing));
        }
        // A fence that was dropped half-way may have switched nothing off.
        if !node.record.on_failed.is_empty() && node.life.kind() != Liveness::Alive {
            let said = words(&node.record.on_failed);
            let firing = Firing {
                severity: Severity::Warning,
                node: Some(name.clone()),
                work: None,
                summary: format!("{name} does not get its power back after its fence"),
                detail: format!(
                    "The fence itself is confirmed, and its work runs elsewhere. {said}. Switch \
                     {name} on by hand."
                ),
            };
            verdicts.insert(format!("fence/{name}/power-on"), Verdict::Fires(firing));
        }
    }

    /// A host that is confirmed off and not back: the same incident as its loss.
    pub(crate) fn off(&self, node: &Node) -> Option<Firing> {
        let fenced = node.record.fenced.as_ref()?;
        let name = node.name();
        let devices: Vec<&str> = fenced.devices.iter().map(|d| d.as_str()).collect();
        let next = match fenced.then {
            FenceThen::On => "Its power is given back; it is taken in again when it has booted.",
            FenceThen::StayOff => "It stays off until a person switches it on.",
        };
        Some(Firing {
            severity: match fenced.by {
                FenceBy::Coordinator => Severity::Critical,
                FenceBy::Person(_) => Severity::Warning,
            },
            node: Some(name.clone()),
            work: None,
            summary: format!("{name} is fenced: its power is off"),
            detail: format!(
                "Wanted by {}: {}. {} read OFF, and what it held may run elsewhere. {next} When it \
                 is gone for good: nodemedic forget {name}.",
                fenced.by,
                fenced.because,
                devices.join(", ")
            ),
        })
    }

    pub(crate) fn judge_fence_devices(&self, verdicts: &mut Verdicts) {
        for (device, record) in &self.fencing.devices {
            let Some(lied) = &record.lied else { continue };
            let firing = Firing {
                severity: Severity::Critical,
                node: None,
                work: None,
                summary: format!("fence device {device} confirmed OFF, and the host ran on"),
                detail: format!(
                    "{device}: {lied} Exclusive work may run twice: look at its data. The device \
                     lies, or its plug is that of another host. It is not believed any more; when \
                     it is repaired: nodemedic fence --trust {device}."
                ),
            };
            verdicts.insert(
                format!("fence-device/{device}/lied"),
                Verdict::Fires(firing),
            );
        }
        for device in self.settings.fencing.devices.keys() {
            let key = format!("fence-device/{device}/monitor");
            let monitor = self.fencing.monitors.get(device);
            match monitor.and_then(|m| m.last.as_ref()) {
                None => {
                    verdicts.insert(key, Verdict::Unseen);
                }
                Some((_, FenceAnswer::Failed(error))) => {
                    let firing = Firing {
                        severity: Severity::Warning,
                        node: None,
                        work: None,
                        summary: format!("fence device {device} is not well"),
                        detail: format!(
                            "Its monitor failed: {error}. Until it is repaired it cannot fence \
                             any host; nodemedic fences shows which ones."
                        ),
                    };
                    verdicts.insert(key, Verdict::Fires(firing));
                }
                Some(_) => {}
            }
        }
    }
}
