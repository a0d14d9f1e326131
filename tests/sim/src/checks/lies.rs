//! Who lies is found out, and is believed no more. What a lie may break is said here, and is
//! counted apart: two holders of the very work that it freed. It excuses nothing else.

use std::collections::{BTreeMap, BTreeSet};

use nodemedic_protocol::api::{Decision, FenceStep, FenceVerb, JournalWhat, Proof};
use nodemedic_protocol::{BootId, DeviceName, Generation, WorkName};
use nodemedic_sim_agent_core::UnitKey;
use nodemedic_sim_coordinator_core::Write;

use super::Checker;
use crate::boss::host_of;
use crate::clock::True;
use crate::fact::{Fact, Host, Liar};
use crate::works;

/// Where nothing goes wrong, a host that is heard for so long has answered what it was asked.
const FOUND_MS: u64 = 60_000;

/// What was believed because of a lie.
#[derive(Default)]
pub struct Lies {
    /// Who was said to be off while it ran, until its power is really gone.
    told: BTreeSet<(Host, Liar)>,
    /// What was called ended on such a word, and may run on there.
    freed: BTreeSet<(WorkName, Generation, Host)>,
}

impl Lies {
    pub(super) fn see(&mut self, fact: &Fact) {
        match fact {
            Fact::Misled { host, by } => {
                self.told.insert((*host, *by));
            }
            Fact::PoweredOff { host, .. } => {
                self.told.retain(|(of, _)| of != host);
                self.freed.retain(|(_, _, of)| of != host);
            }
            _ => {
                if let Some((
                    host,
                    Decision::Ended {
                        work,
                        generation,
                        proof,
                    },
                )) = decision(fact)
                {
                    let liar = match proof {
                        Proof::Fenced { .. } => Liar::Device,
                        Proof::PersonsWord { .. } => Liar::Person,
                        _ => return,
                    };
                    if self.told.contains(&(host, liar)) {
                        self.freed.insert((work.clone(), *generation, host));
                    }
                }
            }
        }
    }

    /// Whether this is the price of a lie: what runs there was called ended on a false word.
    pub(super) fn excuse(&self, work: &WorkName, generation: Generation, host: Host) -> bool {
        self.freed.contains(&(work.clone(), generation, host))
    }
}

/// The decision about a host in a journal entry that was just stored.
fn decision(fact: &Fact) -> Option<(Host, &Decision)> {
    let Fact::Committed(write) = fact else {
        return None;
    };
    let Write::Journal(entry) = &**write else {
        return None;
    };
    let JournalWhat::Coordinator(decision) = &entry.what else {
        return None;
    };
    Some((host_of(entry.node.as_ref()?)?, decision))
}

/// What a lie has cost: a second holder began beside the one that was said to be off.
#[derive(Default)]
pub struct Price {
    lies: Lies,
    running: BTreeSet<(WorkName, Generation, Host)>,
}

impl Price {
    pub(super) fn see(&mut self, fact: &Fact) -> Option<String> {
        self.lies.see(fact);
        match fact {
            Fact::Began {
                host,
                unit: UnitKey::Work(work),
                generation: Some(generation),
            } if works::is_exclusive(work) => {
                let grant = (work.clone(), *generation, *host);
                self.running.insert(grant);
                let mut others = self.running.iter();
                let (_, _, other) = others
                    .find(|(w, g, h)| w == work && h != host && self.lies.excuse(work, *g, *h))?;
                Some(format!(
                    "{work} begins on host-{host} and runs on host-{other}, which was said to be \
                     off"
                ))
            }
            Fact::Ended {
                host,
                unit: UnitKey::Work(work),
                generation: Some(generation),
                ..
            } => {
                self.running.remove(&(work.clone(), *generation, *host));
                None
            }
            _ => None,
        }
    }
}

/// See the file.
#[derive(Default)]
pub struct LiarsAreFound {
    lies: Lies,
    /// How often each host has booted, and which boot of it the coordinator calls off.
    boots: BTreeMap<Host, u64>,
    off: BTreeMap<Host, BootId>,
    /// False confirmations that nobody has found out, of hosts that run on, and since when they
    /// could have.
    believed: BTreeMap<Host, (DeviceName, True)>,
    /// Since when nothing goes wrong any more, and the coordinator hears and acts.
    calm: Option<True>,
    /// Every device that was ever wrong.
    wrong: BTreeSet<DeviceName>,
    /// Devices that were found out and that no person has trusted since.
    known: BTreeSet<DeviceName>,
    firing: BTreeSet<String>,
}

impl LiarsAreFound {
    fn step(&mut self, at: True, host: Option<Host>, step: &FenceStep) -> Option<String> {
        match step {
            FenceStep::Asked {
                device,
                verb: verb @ (FenceVerb::Off | FenceVerb::Status),
            } if self.known.contains(device) => {
                return Some(format!("{device} is a known liar, and is asked: {verb}"));
            }
            FenceStep::Confirmed { devices } => {
                let host = host?;
                if let Some(device) = devices.iter().find(|d| self.known.contains(*d)) {
                    return Some(format!("{device} is a known liar, and is believed"));
                }
                // What is read of a boot that is over proves its end, whatever runs there now.
                let runs = self
                    .off
                    .get(&host)
                    .is_some_and(|boot| self.runs(host, boot));
                if runs && self.lies.told.contains(&(host, Liar::Device)) {
                    self.wrong.extend(devices.iter().cloned());
                    let believed = devices.first().map(|device| (device.clone(), at));
                    self.believed.extend(believed.map(|since| (host, since)));
                }
            }
            FenceStep::DeviceLied { device, evidence } => {
                self.believed.remove(&host?);
                self.known.insert(device.clone());
                // That clocks alone may convict an honest one is said in ADR 15.
                if !self.wrong.contains(device) && !evidence.contains("a message of it left") {
                    return Some(format!("{device} is called a liar, and has told the truth"));
                }
            }
            FenceStep::DeviceTrusted { device, .. } => {
                self.known.remove(device);
            }
            _ => {}
        }
        None
    }

    fn runs(&self, host: Host, boot: &BootId) -> bool {
        let number = self.boots.get(&host).copied().unwrap_or_default();
        boot.as_str() == format!("host-{host}-boot-{number}")
    }

    /// A host is heard: nobody may be quiet about a liar, nor believe one about this host.
    fn heard(&self, at: True, host: Host) -> Option<String> {
        let settled = self.calm.is_some_and(|calm| at > calm + FOUND_MS);
        // A coordinator that dies over its journal tells it when it is back.
        let quiet = self.known.iter().filter(|_| settled).find(|device| {
            let key = format!("fence-device/{device}/lied");
            !self.firing.contains(&key)
        });
        if let Some(device) = quiet {
            return Some(format!("nobody is told that {device} lied"));
        }
        let (device, since) = self.believed.get(&host)?;
        let asked = self.calm?.max(*since);
        (at > asked + FOUND_MS).then(|| {
            format!("{device} is believed since {since}, and host-{host} is heard all the time")
        })
    }

    fn decided(&mut self, at: True, fact: &Fact) -> Option<String> {
        let Fact::Committed(write) = fact else {
            return None;
        };
        let entry = match &**write {
            Write::Journal(entry) => entry,
            Write::Node(record) => {
                let host = host_of(&record.node)?;
                match &record.fenced {
                    Some(fenced) => self.off.insert(host, fenced.boot_id.clone()),
                    None => self.off.remove(&host),
                };
                return None;
            }
            _ => return None,
        };
        match &entry.what {
            JournalWhat::Coordinator(Decision::Fence(step)) => {
                self.step(at, entry.node.as_ref().and_then(host_of), step)
            }
            JournalWhat::Coordinator(Decision::AlertRaised { key, .. }) => {
                self.firing.insert(key.clone());
                None
            }
            JournalWhat::Coordinator(Decision::AlertResolved { key }) => {
                self.firing.remove(key);
                None
            }
            _ => None,
        }
    }
}

impl Checker for LiarsAreFound {
    fn property(&self) -> &'static str {
        "a device that read OFF for a host that runs on is found out, and is believed no more"
    }

    fn see(&mut self, at: True, fact: &Fact) -> Option<String> {
        self.lies.see(fact);
        match fact {
            // Nothing of that boot can be heard any more but what was under way.
            Fact::PoweredOff { host, .. } => {
                self.believed.remove(host);
                None
            }
            Fact::Booted { host } => {
                *self.boots.entry(*host).or_default() += 1;
                None
            }
            // It has said nothing while it slept.
            Fact::Resumed { host, .. } => {
                if let Some((_, since)) = self.believed.get_mut(host) {
                    *since = at;
                }
                None
            }
            Fact::Heard { host } => self.heard(at, *host),
            Fact::Calm => {
                self.calm = Some(at);
                None
            }
            // It has heard and asked nothing before: a pause may outlast the faults.
            Fact::Listens | Fact::Decided(None) => {
                self.calm = self.calm.map(|_| at);
                None
            }
            Fact::End => {
                let (host, (device, _)) = self.believed.first_key_value()?;
                Some(format!("{device} is believed, and host-{host} runs"))
            }
            _ => self.decided(at, fact),
        }
    }
}
