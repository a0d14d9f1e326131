//! Fence devices: out of band, so the network of the hosts does not matter. They are slow, hang,
//! fail, do half of their work, act late, or lie.

use std::collections::BTreeMap;

use nodemedic_protocol::api::{FenceAnswer, FenceThen, FenceVerb};
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::{DeviceName, Millis};
use nodemedic_sim_coordinator_core::fencing::FenceCall;
use nodemedic_sim_coordinator_core::fencing::settings::{
    DeviceSettings, FencingSettings, NodeFencing,
};
use nodemedic_sim_coordinator_core::{Input, Request};

use crate::clock::True;
use crate::fact::{Cut, Fact, Host, Liar};
use crate::knobs::Knobs;
use crate::world::{Event, World, own};

/// A device answers within this, or not at all.
const TIMEOUT_MS: u64 = 10_000;

/// Somebody looks within this why a host has no power.
const DARK_MS: u64 = 60_000;

/// How a device behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It does what it says.
    Honest,
    /// It does not answer; what it was asked for it may do later.
    Hangs,
    /// It says that it failed, and has done nothing.
    Fails,
    /// It says that it has switched, and has not; asked for the power it says how it is.
    HalfWorks,
    /// It says that it has switched, has not, and says so again when it is asked.
    Lies,
    /// Its plug is that of another host: that it switches, and that it reads.
    OtherPlug,
}

/// The devices of a world: host, level and manner, by name.
#[derive(Debug, Default)]
pub struct Devices {
    by_name: BTreeMap<DeviceName, Device>,
}

#[derive(Clone, Copy, Debug)]
struct Device {
    host: Host,
    manner: Manner,
    until: True,
}

impl Devices {
    /// Most hosts have a controller, some of them a switched socket too.
    pub(crate) fn draw(knobs: &Knobs, rng: &mut Rng) -> (Devices, FencingSettings) {
        let mut devices = Devices::default();
        let mut settings = FencingSettings::default();
        let timeout = Millis(TIMEOUT_MS);
        let timeouts = DeviceSettings {
            off: timeout,
            status: timeout,
            on: timeout,
            monitor: timeout,
        };
        for host in 0..knobs.hosts {
            let levels = if rng.chance(knobs.fenced) {
                1 + rng.below(2)
            } else {
                0
            };
            let names: Vec<DeviceName> = ["ipmi", "pdu"]
                .iter()
                .take(usize::try_from(levels).unwrap_or(0))
                .map(|kind| own(DeviceName::new(format!("{kind}-{host}"))))
                .collect();
            for name in &names {
                settings.devices.insert(name.clone(), timeouts);
                let device = Device {
                    host,
                    manner: Manner::Honest,
                    until: 0,
                };
                devices.by_name.insert(name.clone(), device);
            }
            if !names.is_empty() {
                let fencing = NodeFencing {
                    levels: names.into_iter().map(|name| vec![name]).collect(),
                    automatic: true,
                    then: FenceThen::On,
                };
                let node = format!("host-{host}");
                settings
                    .nodes
                    .insert(own(nodemedic_protocol::NodeId::new(node)), fencing);
            }
        }
        (devices, settings)
    }

    fn manner(&self, name: &DeviceName, now: True) -> Option<(Host, Manner)> {
        let device = self.by_name.get(name)?;
        let manner = if now < device.until {
            device.manner
        } else {
            Manner::Honest
        };
        Some((device.host, manner))
    }

    /// From now on the devices of a host behave so.
    pub(crate) fn behave(&mut self, host: Host, manner: Manner, until: True) {
        for device in self.by_name.values_mut().filter(|d| d.host == host) {
            device.manner = manner;
            device.until = until;
        }
    }

    /// All of them do what they say.
    pub(crate) fn heal(&mut self) {
        for device in self.by_name.values_mut() {
            device.until = 0;
        }
    }
}

impl World {
    /// The executor asks a device.
    pub(crate) fn ask_device(&mut self, call: &FenceCall) {
        let Some((h, manner)) = self.devices.manner(&call.device, self.now) else {
            return;
        };
        let takes = self.between(300, 4_000);
        let switches = matches!(call.verb, FenceVerb::Off | FenceVerb::On);
        let answer = match (manner, call.verb) {
            (Manner::Hangs, verb) => {
                if switches && self.rng.chance(300) {
                    let late = self.between(takes, 3 * TIMEOUT_MS);
                    self.at(late, Event::Switch(h, verb == FenceVerb::On));
                }
                let why = FenceAnswer::Failed("no answer in time".into());
                self.device_answers(call, TIMEOUT_MS, why);
                return;
            }
            (Manner::Fails, _) => FenceAnswer::Failed("login refused".into()),
            (Manner::Honest, FenceVerb::Off | FenceVerb::On) => {
                self.at(takes, Event::Switch(h, call.verb == FenceVerb::On));
                FenceAnswer::Done
            }
            (Manner::OtherPlug, FenceVerb::Off | FenceVerb::On) => {
                let other = self.beside(h);
                self.at(takes, Event::Switch(other, call.verb == FenceVerb::On));
                self.at(DARK_MS, Event::Boot(other));
                FenceAnswer::Done
            }
            (Manner::OtherPlug, FenceVerb::Status) if self.hosts[self.beside(h)].up => {
                FenceAnswer::PowerOn
            }
            (Manner::Lies | Manner::OtherPlug, FenceVerb::Status) => {
                if self.hosts[h].up {
                    let by = Liar::Device;
                    self.fact(Fact::Misled { host: h, by });
                }
                FenceAnswer::PowerOff
            }
            (_, FenceVerb::Status) if self.hosts[h].up => FenceAnswer::PowerOn,
            (_, FenceVerb::Status) => FenceAnswer::PowerOff,
            _ => FenceAnswer::Done,
        };
        self.device_answers(call, takes + 1, answer);
    }

    const fn beside(&self, h: Host) -> Host {
        (h + 1) % self.hosts.len()
    }

    fn device_answers(&mut self, call: &FenceCall, after: u64, answer: FenceAnswer) {
        let run = self.boss.run;
        let input = Input::Fenced {
            id: call.id,
            answer,
        };
        self.at(after, Event::ToBoss(run, Box::new(input)));
    }

    /// A person has repaired the fence devices that lied.
    pub(crate) fn trust_devices(&mut self) {
        let devices = self.boss.store.fence_devices.values();
        let lied = devices.filter(|record| record.lied.is_some());
        let lied: Vec<_> = lied.map(|record| record.device.clone()).collect();
        for device in lied {
            self.ask_once(Request::TrustDevice {
                device,
                reason: "it has another cable".into(),
                by: "operator".into(),
            });
        }
    }

    /// A device switches the power of a host.
    pub(crate) fn switch(&mut self, h: Host, on: bool) {
        if on {
            self.boot(h);
        } else {
            self.fact(Fact::Fault(format!("a device switches host-{h} off")));
            self.power_off(h, Cut::Fence);
        }
    }
}
