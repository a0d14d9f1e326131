//! What a person asks about fences. A person's word is not held by the storm brake.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::api::{Accepted, Decision, FenceBy, FenceStep, FenceThen, Liveness};
use nodemedic_protocol::{DeviceName, NodeId, Now};

use super::record::{FenceRecord, FenceStage};
use crate::coordinator::Coordinator;
use crate::effect::Refused;
use crate::requests::needs_text;
use crate::stored::Write;

/// A person's wish to have a host fenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceWish {
    /// Which.
    pub node: NodeId,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// However many hosts are out.
    pub override_budget: bool,
    /// What becomes of the host afterwards; absent: as configured.
    pub then: Option<FenceThen>,
}

type Answer = Result<Accepted, Refused>;

impl Coordinator {
    pub(crate) fn fence(&mut self, now: Now, wish: FenceWish) -> Answer {
        needs_text("reason", &wish.reason)?;
        needs_text("by", &wish.by)?;
        let name = &wish.node;
        let Some(node) = self.nodes.get(name) else {
            return Err(Refused::NoSuchNode(name.clone()));
        };
        let Some(fencing) = self.settings.fencing.nodes.get(name) else {
            return Err(Refused::Conflict(format!(
                "no fence device is configured for {name}: name it in the nodes of a [fence.NAME] \
                 in coordinator.toml, or switch it off by hand and say so with nodemedic \
                 confirm-down {name}"
            )));
        };
        if node.life.kind() == Liveness::Fenced {
            return Err(Refused::Conflict(format!(
                "{name} is confirmed off already, and has not come back since"
            )));
        }
        let then = wish.then.unwrap_or(fencing.then);
        let by = FenceBy::Person(wish.by);
        let message = if node.record.fence.is_some() {
            self.take_over_fence(now, name, by, wish.reason, wish.override_budget, then);
            format!("a fence of {name} was under way; it goes on as yours")
        } else {
            let fence = FenceRecord {
                by,
                because: wish.reason,
                since: now.wall,
                overriding: wish.override_budget,
                then,
                stage: FenceStage::Waits,
                attempts: 0,
                said: Vec::new(),
                switched: Vec::new(),
            };
            self.want_fence(now, name, fence);
            format!("{name} is being switched off; nodemedic fences shows how it goes")
        };
        Ok(Accepted { message })
    }

    /// A person takes over what is under way; a pause between two attempts is over.
    fn take_over_fence(
        &mut self,
        now: Now,
        name: &NodeId,
        by: FenceBy,
        because: String,
        overriding: bool,
        then: FenceThen,
    ) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let Some(fence) = &mut node.record.fence else {
            return;
        };
        fence.by = by.clone();
        fence.because.clone_from(&because);
        fence.overriding |= overriding;
        fence.then = then;
        self.out.store(Write::Node(node.record.clone()));
        self.fencing.retry_at.remove(name);
        let step = FenceStep::Wanted { by, because };
        self.out.decide(now, Some(name), Decision::Fence(step));
        self.dirty = true;
    }

    pub(crate) fn cancel_fence(
        &mut self,
        now: Now,
        name: &NodeId,
        reason: &str,
        by: &str,
    ) -> Answer {
        needs_text("reason", reason)?;
        needs_text("by", by)?;
        let Some(node) = self.nodes.get(name) else {
            return Err(Refused::NoSuchNode(name.clone()));
        };
        if node.record.fence.is_none() {
            return Err(Refused::Conflict(format!(
                "no fence of {name} is under way"
            )));
        }
        self.drop_fence(now, name, format!("{by} says so: {reason}"));
        let automatic = self.settings.fencing.nodes.get(name);
        let again = match automatic.is_some_and(|fencing| fencing.automatic) {
            true => "; while exclusive work of a lost host waits for it, it is wanted again",
            false => "",
        };
        Ok(Accepted {
            message: format!("the fence of {name} is dropped{again}"),
        })
    }

    pub(crate) fn trust_device(
        &mut self,
        now: Now,
        device: DeviceName,
        reason: String,
        by: String,
    ) -> Answer {
        needs_text("reason", &reason)?;
        needs_text("by", &by)?;
        if self.fencing.lied(&device).is_none() {
            return Err(Refused::Conflict(format!(
                "{device} is not one of those that are not believed; nodemedic fences lists all"
            )));
        }
        let record = super::record::FenceDeviceRecord {
            device: device.clone(),
            lied: None,
        };
        self.out.store(Write::FenceDevice(record.clone()));
        self.fencing.devices.insert(device.clone(), record);
        let message = format!("{device} is believed again");
        let step = FenceStep::DeviceTrusted { device, by, reason };
        self.out.decide(now, None, Decision::Fence(step));
        self.dirty = true;
        Ok(Accepted { message })
    }
}
