//! After the faults: everything is repaired, and the world must come to rest within a bound. Every
//! work has its holders, outboxes are empty, and what alerts say is over or still true.

use nodemedic_protocol::api::AlertState;
use nodemedic_sim_agent_core::{Input, UnitKey};
use nodemedic_sim_coordinator_core::Request;

use crate::boss::host_of;
use crate::fact::{Fact, Violation};
use crate::host::HostState;
use crate::works;
use crate::world::{Event, World};

/// The longest ways to rest: an agent's outbox that backed off to five minutes, and the longest
/// safe time behind a resume grace; then a drain's worth of moving.
pub(crate) const REST_WITHIN_MS: u64 = 600_000;

/// It must look restful so many times in a row.
const LOOKS: u32 = 4;

/// Between two looks.
const LOOK_MS: u64 = 5_000;

impl World {
    pub(crate) fn begin_calm(&mut self) {
        self.calm = true;
        self.fact(Fact::Calm);
        self.boss.cut = false;
        self.boss.mute = false;
        self.boss.away_until = 0;
        self.boss.disk_full_until = 0;
        self.devices.heal();
        self.at(0, Event::BrokerUp);
        self.at(100, Event::BossStart);
        for h in 0..self.hosts.len() {
            let host = &mut self.hosts[h];
            host.link.cut_up = false;
            host.link.cut_down = false;
            host.link.slow_until = 0;
            host.cursed_until = 0;
            host.unkillable_until = 0;
            host.disk.full_until = 0;
            host.crash_in = None;
            host.freeze_in = None;
            for process in host.processes.values_mut() {
                process.sick = false;
                process.stubborn = false;
                process.lies_until = 0;
            }
            let (boot, node) = (host.boot, host.name.clone());
            if host.up {
                self.at(200, Event::AgentStart(h, boot));
                self.at(100, Event::DogStart(h, boot));
            } else {
                self.at(200, Event::Boot(h));
            }
            for delay in [10_000, 60_000, 150_000] {
                let node = node.clone();
                let undrain = Request::Undrain { node: node.clone() };
                self.at(delay, Event::Ask(Box::new(undrain)));
                self.at(delay, Event::Ask(Box::new(Request::Uncordon { node })));
            }
        }
        let works = self.works.clone();
        self.at(5_000, Event::Ask(Box::new(Request::PutWork { works })));
        self.at(LOOK_MS, Event::Rest);
    }

    pub(crate) fn look_for_rest(&mut self) {
        for h in 0..self.hosts.len() {
            self.unfence(h);
        }
        self.trust_devices();
        match self.unrest() {
            None => self.restful += 1,
            Some(why) => {
                self.restful = 0;
                if self.now > self.knobs.fault_ms + REST_WITHIN_MS {
                    self.checks.found.push(Violation {
                        at: self.now,
                        property: "once faults stop, the world comes to rest",
                        what: why,
                    });
                    self.end();
                    return;
                }
            }
        }
        if self.restful >= LOOKS {
            self.rested = Some(self.now - self.knobs.fault_ms);
            self.end();
        } else {
            self.at(LOOK_MS, Event::Rest);
        }
    }

    fn end(&mut self) {
        self.over = true;
        if self.rested.is_some() {
            self.fact(Fact::End);
        }
    }

    /// A person lets fenced services back.
    fn unfence(&mut self, h: usize) {
        let service = works::sshd();
        let host = &self.hosts[h];
        let run = host.run;
        let now = host.now(self.now);
        let fenced = host.agent.as_ref().is_some_and(|agent| {
            let status = agent.status(now);
            status.drain_wanted.is_some()
        });
        if fenced {
            self.tell_core(h, run, Input::Unfence { service });
        }
    }

    /// What is not at rest.
    fn unrest(&self) -> Option<String> {
        let core = self.boss.core.as_ref()?;
        if self.boss.conn == 0 {
            return Some("the coordinator has no connection".into());
        }
        for spec in &self.works {
            let unit = UnitKey::Work(spec.name.clone());
            let runs = |h: &&HostState| h.processes.get(&unit).is_some_and(|p| !p.gate);
            let holders = self.hosts.iter().filter(runs);
            let (runs, wanted) = (holders.count(), works::wanted(spec));
            if runs != wanted {
                let view = core.work_view(self.boss.clock.now(self.now), &spec.name);
                let waiting = view.map(|v| (v.waiting, v.holders));
                return Some(format!(
                    "{} runs {runs} of {wanted} times: {waiting:?}",
                    spec.name
                ));
            }
        }
        for host in &self.hosts {
            if !host.disk.spool.events.is_empty() {
                let (name, left) = (&host.name, host.disk.spool.events.len());
                return Some(format!("{left} events of {name} are not stored"));
            }
        }
        self.untrue_alert()
    }

    /// An alert that fires though what it says is over.
    fn untrue_alert(&self) -> Option<String> {
        let core = self.boss.core.as_ref()?;
        let alerts = core.alerts_view();
        let firing = alerts.iter().filter(|a| a.state == AlertState::Firing);
        for alert in firing {
            let host = alert.node.as_ref().and_then(host_of);
            let host = host.and_then(|h| self.hosts.get(h));
            let agent = host.and_then(|h| h.agent.as_ref().map(|a| (h, a)));
            let still_true = agent.is_some_and(|(host, agent)| {
                let status = agent.status(host.now(self.now));
                status.conditions.iter().any(|c| {
                    let name = &host.name;
                    let key = format!("node/{name}/condition/{}/{}", c.component, c.reason);
                    key == alert.key
                })
            });
            if !still_true {
                return Some(format!("alert {} fires: {}", alert.key, alert.detail));
            }
        }
        let untold = alerts.iter().find(|a| !a.delivered)?;
        Some(format!("alert {} is not delivered", untold.key))
    }
}
