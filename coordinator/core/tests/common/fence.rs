//! Fence devices that work, hang, fail, half-work and lie, and the power of the hosts on them.

use std::collections::BTreeMap;

use nodemedic_coordinator_core::fencing::settings::{DeviceSettings, FencingSettings, NodeFencing};
use nodemedic_coordinator_core::fencing::{FenceCall, FenceCallId};
use nodemedic_protocol::api::{FenceAnswer, FenceThen, FenceVerb};
use nodemedic_protocol::{Boottime, DeviceName, Epoch, Millis};

use super::id;

/// How long a device takes for one thing.
const TAKES: Millis = Millis(1500);

/// One that answers when nobody waits for it any more.
const LATE_TAKES: Millis = Millis(80_000);

/// A slow one.
const SLOW_TAKES: Millis = Millis(30_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It does what it says.
    Honest,
    /// It never answers, and does nothing.
    Hangs,
    /// It does not answer in time, and does what it was asked well after that.
    Late,
    /// It answers with an error, and does nothing.
    Fails,
    /// `off` says done and does nothing; `status` tells the truth.
    HalfWorks,
    /// `off` says done and does nothing; `status` reads OFF.
    Lies,
    /// `off` works; `status` is an error.
    Blind,
    /// `off` works; `on` does not.
    NoWayBack,
    /// It takes half a minute to say whether it is well.
    SlowMonitor,
    /// `off` works; it takes half a minute to say that `on` does not.
    LateNoWayBack,
}

/// The devices and the plugs.
#[derive(Default)]
pub struct Power {
    pub manner: BTreeMap<String, Manner>,
    /// By device and node: whether the plug has power.
    pub plugs: BTreeMap<(String, String), bool>,
    /// Every question in order, as `verb device node`.
    pub asked: Vec<String>,
    under_way: Vec<(Boottime, Epoch, FenceCall)>,
}

/// What a step of time brings.
pub enum Pulse {
    Answer(Epoch, FenceCallId, FenceAnswer),
    Off(String),
    On(String),
}

impl Power {
    pub fn ask(&mut self, now: Boottime, epoch: Epoch, call: FenceCall) {
        let node = call.node.as_ref().map_or("-", |n| n.as_str());
        self.asked
            .push(format!("{} {} {node}", call.verb, call.device));
        let same = |(_, by, other): &&(Boottime, Epoch, FenceCall)| {
            other.device == call.device && *by == epoch
        };
        assert!(
            self.under_way.iter().find(same).is_none() || self.is_given_up(&call.device),
            "{} is asked two things at once",
            call.device
        );
        let takes = match (self.manner(&call.device), call.verb) {
            (Manner::SlowMonitor, FenceVerb::Monitor) => SLOW_TAKES,
            (Manner::LateNoWayBack, FenceVerb::On) => SLOW_TAKES,
            (Manner::Late, FenceVerb::Off) => LATE_TAKES,
            _ => TAKES,
        };
        self.under_way.push((now + takes, epoch, call));
    }

    fn hangs(&self, device: &DeviceName) -> bool {
        self.manner(device) == Manner::Hangs
    }

    /// The core has stopped to wait for what it is still about.
    fn is_given_up(&self, device: &DeviceName) -> bool {
        self.hangs(device) || self.manner(device) == Manner::Late
    }

    fn manner(&self, device: &DeviceName) -> Manner {
        let manner = self.manner.get(device.as_str());
        manner.copied().unwrap_or(Manner::Honest)
    }

    /// True when no plug of the node has power.
    pub fn is_dark(&self, node: &str) -> bool {
        let mut plugs = self.plugs.iter().filter(|((_, n), _)| n == node);
        plugs.all(|(_, power)| !power)
    }

    pub fn pass(&mut self, now: Boottime) -> Vec<Pulse> {
        let calls = std::mem::take(&mut self.under_way);
        let (due, rest) = calls.into_iter().partition(|(at, _, _)| *at <= now);
        self.under_way = rest;
        let mut pulses = Vec::new();
        let due: Vec<(Boottime, Epoch, FenceCall)> = due;
        for (at, epoch, call) in due {
            if self.hangs(&call.device) {
                self.under_way.push((at + Millis(3_600_000), epoch, call));
                continue;
            }
            let answer = self.done(&call, &mut pulses);
            pulses.push(Pulse::Answer(epoch, call.id, answer));
        }
        pulses
    }

    fn done(&mut self, call: &FenceCall, pulses: &mut Vec<Pulse>) -> FenceAnswer {
        let manner = self.manner(&call.device);
        let error = || FenceAnswer::Failed("exit code 1: connection timed out".into());
        let Some(node) = &call.node else {
            return match manner {
                Manner::Fails => error(),
                _ => FenceAnswer::Done,
            };
        };
        let node = node.to_string();
        let plug = (call.device.to_string(), node.clone());
        let power = self.plugs.get(&plug).copied().unwrap_or(true);
        match (call.verb, manner) {
            (_, Manner::Fails) | (FenceVerb::Status, Manner::Blind) => error(),
            (FenceVerb::On, Manner::NoWayBack | Manner::LateNoWayBack) => error(),
            (FenceVerb::Off, Manner::HalfWorks | Manner::Lies) => FenceAnswer::Done,
            (FenceVerb::Status, Manner::Lies) => FenceAnswer::PowerOff,
            (FenceVerb::Status, Manner::HalfWorks) => FenceAnswer::PowerOn,
            (FenceVerb::Off, _) => {
                self.plugs.insert(plug, false);
                if self.is_dark(&node) {
                    pulses.push(Pulse::Off(node));
                }
                FenceAnswer::Done
            }
            (FenceVerb::On, _) => {
                let dark = self.is_dark(&node);
                self.plugs.insert(plug, true);
                if dark {
                    pulses.push(Pulse::On(node));
                }
                FenceAnswer::Done
            }
            (FenceVerb::Status | FenceVerb::Monitor, _) => match power {
                true => FenceAnswer::PowerOn,
                false => FenceAnswer::PowerOff,
            },
        }
    }
}

/// Each node with its levels.
pub fn fencing(nodes: &[(&str, &[&[&str]])]) -> FencingSettings {
    let mut settings = FencingSettings::default();
    for (node, levels) in nodes {
        let device = |name: &&str| DeviceName::new(*name).unwrap();
        let levels: Vec<Vec<DeviceName>> = levels
            .iter()
            .map(|level| level.iter().map(device).collect())
            .collect();
        for device in levels.iter().flatten() {
            let timeouts = DeviceSettings::default();
            settings.devices.insert(device.clone(), timeouts);
        }
        let fencing = NodeFencing {
            levels,
            automatic: true,
            then: FenceThen::On,
        };
        settings.nodes.insert(id(node), fencing);
    }
    settings
}
