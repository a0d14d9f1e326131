//! What is kept of a fence, and the steps that it takes. Pure: nothing is asked here.
//!
//! A step is stored before its device is asked. Nothing that was heard before a restart counts
//! after it: the fence begins again, with `off`, which may be asked any number of times.

use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::api::{DeviceSaid, FenceAnswer, FenceBy, FenceThen, FenceVerb};
use nodemedic_protocol::{BootId, Boottime, DeviceName, WallTime};
use serde::{Deserialize, Serialize};

use crate::mutation::{Mutation, Mutations};
use crate::stored::GrantKey;

/// A fence that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceRecord {
    /// Who wants it.
    pub by: FenceBy,
    /// Why.
    pub because: String,
    /// Since when.
    pub since: WallTime,
    /// True when a person wants it however many hosts are out.
    pub overriding: bool,
    /// What becomes of the host afterwards.
    pub then: FenceThen,
    /// Where it is.
    pub stage: FenceStage,
    /// Attempts that failed.
    pub attempts: u32,
    /// What the devices said in the newest attempt, in order.
    pub said: Vec<DeviceSaid>,
    /// Every device that was ever asked to switch off, in any attempt: stored before it is asked.
    #[serde(default)]
    pub switched: Vec<Switched>,
}

/// A device that was asked to switch off: it may have done it, or do it yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// Which.
    pub device: DeviceName,
    /// It is asked, and nobody has heard its answer.
    pub open: bool,
    /// It did not answer well: it may do it long after.
    pub late: bool,
}

/// Where a fence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceStage {
    /// Nothing is asked yet: it waits for room, for the brake, or for its turn.
    Waits,
    /// A device is to switch off, or is asked to.
    Off {
        /// Of which level.
        level: usize,
        /// The how manieth of that level.
        device: usize,
    },
    /// A device said that it has switched off, and is asked what it reads.
    Status {
        /// Of which level.
        level: usize,
        /// The how manieth of that level.
        device: usize,
    },
    /// Every level has failed; it is tried again after a pause.
    Failed,
}

/// A host that is confirmed off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencedRecord {
    /// Which boot of it: nothing of it can speak any more.
    pub boot_id: BootId,
    /// Since when.
    pub at: WallTime,
    /// Who wanted it.
    pub by: FenceBy,
    /// Why.
    pub because: String,
    /// What becomes of it.
    pub then: FenceThen,
    /// Who confirmed it.
    pub devices: Vec<DeviceName>,
    /// What it held, and may run elsewhere since.
    pub freed: Vec<GrantKey>,
    /// What the host's boot clock cannot have passed when it was confirmed; absent when the
    /// coordinator had not heard this boot.
    pub clock_limit: Option<Boottime>,
}

/// What is kept of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceDeviceRecord {
    /// Which.
    pub device: DeviceName,
    /// Set while it is not believed: how it is known that it was wrong.
    pub lied: Option<String>,
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The stage says what to ask now.
    Goes,
    /// Every device of this level has confirmed.
    Confirmed { level: usize },
    /// No level is left.
    Failed,
}

impl FenceRecord {
    /// Which device is to be asked what; none while it waits or has failed.
    pub(crate) fn to_ask<'a>(
        &self,
        levels: &'a [Vec<DeviceName>],
    ) -> Option<(&'a DeviceName, FenceVerb)> {
        let (level, device, verb) = match self.stage {
            FenceStage::Off { level, device } => (level, device, FenceVerb::Off),
            FenceStage::Status { level, device } => (level, device, FenceVerb::Status),
            FenceStage::Waits | FenceStage::Failed => return None,
        };
        let device = levels.get(level)?.get(device)?;
        Some((device, verb))
    }

    /// A new attempt, from the first device of the first level.
    pub(crate) fn begin(&mut self) {
        self.said.clear();
        self.stage = FenceStage::Off {
            level: 0,
            device: 0,
        };
    }

    /// A device is about to be asked to switch off.
    pub(crate) fn asks_off(&mut self, device: &DeviceName) {
        if let Some(known) = self.switched_by(device) {
            // The answer to what it was asked before is lost.
            known.late |= known.open;
            known.open = true;
            return;
        }
        self.switched.push(Switched {
            device: device.clone(),
            open: true,
            late: false,
        });
    }

    fn switched_by(&mut self, device: &DeviceName) -> Option<&mut Switched> {
        let mut switched = self.switched.iter_mut();
        switched.find(|switched| switched.device == *device)
    }

    /// Takes the answer of the device that was to be asked. Only `off` that ended well and then
    /// OFF, read apart, confirms; everything else fails the level.
    pub(crate) fn hear(
        &mut self,
        levels: &[Vec<DeviceName>],
        answer: FenceAnswer,
        mutation: Mutations,
    ) -> Next {
        let Some((name, verb)) = self.to_ask(levels) else {
            return Next::Goes;
        };
        let well = match verb {
            FenceVerb::Off => answer == FenceAnswer::Done,
            _ => answer == FenceAnswer::PowerOff,
        };
        let device = name.clone();
        if verb == FenceVerb::Off
            && let Some(switched) = self.switched_by(&device)
        {
            switched.late |= !well;
            switched.open = false;
        }
        self.said.push(DeviceSaid {
            device,
            verb,
            answer,
        });
        let believed = mutation.has(Mutation::FenceBelieved);
        match self.stage {
            FenceStage::Off { level, device } if well && !believed => {
                self.stage = FenceStage::Status { level, device };
                Next::Goes
            }
            FenceStage::Off { level, device } | FenceStage::Status { level, device } if well => {
                self.next_device(levels, level, device)
            }
            FenceStage::Off { level, .. } | FenceStage::Status { level, .. } => {
                self.next_level(levels, level)
            }
            FenceStage::Waits | FenceStage::Failed => Next::Goes,
        }
    }

    fn next_device(&mut self, levels: &[Vec<DeviceName>], level: usize, device: usize) -> Next {
        let device = device + 1;
        let more = levels.get(level).is_some_and(|all| device < all.len());
        if !more {
            return Next::Confirmed { level };
        }
        self.stage = FenceStage::Off { level, device };
        Next::Goes
    }

    fn next_level(&mut self, levels: &[Vec<DeviceName>], level: usize) -> Next {
        let level = level + 1;
        if level < levels.len() {
            self.stage = FenceStage::Off { level, device: 0 };
            return Next::Goes;
        }
        self.stage = FenceStage::Failed;
        self.attempts = self.attempts.saturating_add(1);
        Next::Failed
    }

    /// Devices that may have switched something off.
    pub(crate) fn may_have_switched_off(&self) -> Vec<DeviceName> {
        let switched = self.switched.iter();
        switched.map(|switched| switched.device.clone()).collect()
    }

    /// Those of them that may do it yet: they failed, gave no answer in time, or none at all.
    pub(crate) fn may_switch_off_late(&self) -> Vec<DeviceName> {
        let late = self.switched.iter().filter(|s| s.late || s.open);
        late.map(|switched| switched.device.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
