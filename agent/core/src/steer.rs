//! What each unit is to do: services by the configuration, works by assignment and lease.

use alloc::format;
use alloc::string::{String, ToString};

use nodemedic_protocol::event::EventKind;
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::work::{Enforcement, OnLeaseLoss, StopCause};
use nodemedic_protocol::{Component, Millis, Severity, WorkName};

use crate::agent::Agent;
use crate::conditions::Finding;
use crate::config::{Config, Service, WhenSpent};
use crate::input::PluginReport;
use crate::mutation::Mutation;
use crate::out::Out;
use crate::supervisor::{Goal, Permit, Stage};
use crate::unit::UnitKey;
use crate::works::plan_of;

/// Rounds of settling in one turn. Each ends, adopts or forgets a grant, and a grant passes through
/// at most four of these; what is left over waits for the next input.
const ROUNDS_MAX: usize = 8;

impl Agent {
    /// Looks after every service of the configuration.
    pub(crate) fn watch_services(&mut self, out: &mut Out) {
        let services: alloc::vec::Vec<_> = self
            .config
            .services
            .iter()
            .map(|(name, service)| (UnitKey::Service(name.clone()), service.clone()))
            .collect();
        for (key, service) in services {
            self.watch_service(out, key, &service);
        }
    }

    fn watch_service(&mut self, out: &mut Out, key: UnitKey, service: &Service) {
        let plan = self.plan_of_service(service);
        self.supervisor.watch(out, key.clone(), plan);
        let fenced = match &key {
            UnitKey::Service(name) => self.supervisor.tools().ledger.fenced(name).cloned(),
            UnitKey::Work(_) => None,
        };
        let goal = if let Some(fenced) = fenced.filter(|fenced| !fenced.trying) {
            self.supervisor.explain(&key, &fenced.cause);
            Goal::Fence
        } else {
            Goal::Run
        };
        self.supervisor
            .aim(out, &mut self.book, &key, goal, Permit::Free);
    }

    /// Conditions of services and works that nobody knows any more end here.
    pub(crate) fn drop_strangers(&mut self, out: &mut Out) {
        let known = |c: &Component| match c {
            Component::Service(name) => self.config.services.contains_key(name),
            Component::Work(name) => self.works.held().contains_key(name),
            _ => true,
        };
        for component in self.book.components(|c| !known(c)) {
            self.book
                .clear_component(out, &component, "it is no longer configured here");
        }
    }

    /// Takes a new configuration.
    pub(crate) fn reconfigure(&mut self, out: &mut Out, config: Config) {
        let old = core::mem::replace(&mut self.config, config);
        self.supervisor.manners_mut().settings = self.config.healing;
        for name in old.services.keys() {
            if !self.config.services.contains_key(name) {
                let key = UnitKey::Service(name.clone());
                let ledger = &mut self.supervisor.tools_mut().ledger;
                ledger.unset_fenced(name);
                ledger.forget_tries(name);
                let because = "it is no longer configured here";
                self.supervisor.unwatch(out, &mut self.book, &key, because);
            }
        }
        for (name, service) in self.config.services.clone() {
            if old.services.get(&name) != Some(&service) || old.healing != self.config.healing {
                self.watch_service(out, UnitKey::Service(name), &service);
            }
        }
        let component = Component::Agent("configuration".to_string());
        self.book.clear(
            out,
            &component,
            &Reason::ConfigRefused,
            "the configuration was read again and is valid",
        );
        out.event(component, EventKind::ConfigReloaded);
        self.report.rebirth();
    }

    pub(crate) fn refuse_config(&mut self, out: &mut Out, error: String) {
        let component = Component::Agent("configuration".to_string());
        let finding = Finding::plain(Severity::Warning, error.clone());
        self.book
            .raise(out, &component, &Reason::ConfigRefused, finding);
        out.event(component, EventKind::ConfigRefused { error });
    }

    /// A plugin's report is complete: what it does not name is well.
    pub(crate) fn take_plugin(&mut self, out: &mut Out, plugin: &str, report: PluginReport) {
        let of_plugin = |c: &Component| matches!(c, Component::Plugin(p, _) if p == plugin);
        let itself = Component::Agent(format!("plugin {plugin}"));
        let findings = match report {
            PluginReport::Findings(findings) => findings,
            PluginReport::Unknown(why) => {
                for component in self.book.components(of_plugin) {
                    for reason in self.book.reasons_of(&component) {
                        self.book.set_seen(&component, &reason, false);
                    }
                }
                let finding = Finding::plain(
                    Severity::Info,
                    format!("plugin {plugin} could not look: {why}"),
                );
                self.book
                    .raise(out, &itself, &Reason::Unresponsive, finding);
                return;
            }
        };
        self.book
            .clear(out, &itself, &Reason::Unresponsive, "it answers");
        for component in self.book.components(of_plugin) {
            for reason in self.book.reasons_of(&component) {
                let named = findings.iter().any(|f| {
                    component == Component::Plugin(plugin.to_string(), f.part.clone())
                        && reason == f.reason
                });
                if !named {
                    self.book
                        .clear(out, &component, &reason, "the plugin finds it well");
                }
            }
        }
        for f in findings {
            let component = Component::Plugin(plugin.to_string(), f.part);
            let finding = Finding {
                severity: f.severity,
                message: f.message,
                evidence: f.evidence,
            };
            self.book.raise(out, &component, &f.reason, finding);
        }
    }

    /// Exclusive work whose lease is over begins to stop.
    pub(crate) fn end_lost_leases(&mut self, out: &mut Out) {
        for (work, generation) in self.leases.lost(out.now.boot) {
            let of_this = self
                .works
                .held()
                .get(&work)
                .is_some_and(|h| h.generation() == generation);
            if of_this {
                self.lose(out, &work);
            }
        }
    }

    fn lose(&mut self, out: &mut Out, work: &WorkName) {
        let Some(held) = self.works.get_mut(work) else {
            return;
        };
        if !held.end(StopCause::LeaseLost, "its lease ended") {
            return;
        }
        let generation = held.generation();
        let component = Component::Work(work.clone());
        out.event(component.clone(), EventKind::LeaseLost { generation });
        let finding = Finding::plain(
            Severity::Warning,
            format!("work {work} lost its lease of generation {generation} and is stopped"),
        );
        self.book
            .raise(out, &component, &Reason::LeaseLost, finding);
    }

    /// Brings units in line with works, until nothing moves.
    pub(crate) fn reconcile(&mut self, out: &mut Out) {
        for _ in 0..ROUNDS_MAX {
            for key in core::mem::take(&mut out.proved) {
                self.proved(out, &key);
            }
            for (work, cause, detail) in core::mem::take(&mut out.ending) {
                if let Some(held) = self.works.get_mut(&work) {
                    held.end(cause, &detail);
                }
            }
            for work in self.works.names() {
                self.steer(out, &work);
            }
            if out.proved.is_empty() && out.ending.is_empty() {
                return;
            }
        }
    }

    fn proved(&mut self, out: &Out, key: &UnitKey) {
        let UnitKey::Work(work) = key else { return };
        if let Some(held) = self.works.get_mut(work)
            && held.ending.is_some()
        {
            held.stopped = true;
            held.since = out.now.boot;
            self.leases.forget(work);
        }
    }

    /// Brings one work's unit in line.
    fn steer(&mut self, out: &mut Out, work: &WorkName) {
        let now = out.now.boot;
        let key = UnitKey::Work(work.clone());
        if self.works.advance(work, now) {
            self.forget(out, work, "a newer grant is held here");
        }
        self.check_lease(out, work);
        let Some(held) = self.works.get_mut(work) else {
            return;
        };
        if held.ending.is_some()
            && held.over_by.is_none()
            && held.exclusive() == Some(OnLeaseLoss::Stop)
        {
            let generation = held.generation();
            let grace = held.assigned.spec.stop_grace;
            held.over_by = self
                .leases
                .deadline(work, generation)
                .map(|deadline| deadline + grace);
        }
        let plan = match plan_of(held, &self.config) {
            Ok(plan) => plan,
            Err(why) => {
                // It has no plan, so nothing was ever started under this grant.
                if !held.stopped {
                    held.end(StopCause::Refused, &why);
                    held.stopped = true;
                    held.since = now;
                }
                return;
            }
        };
        let goal = match held.ending {
            None => Goal::Run,
            Some(StopCause::Fenced) => Goal::Fence,
            Some(_) => Goal::Stop {
                over_by: held.over_by,
            },
        };
        if self.config.mutation.has(Mutation::StopUnproved) && held.ending.is_some() {
            held.stopped = true;
        }
        let (sharing, generation) = (held.exclusive(), held.generation());
        let detail = held.detail.clone();
        let stopped = held.stopped;
        match self.supervisor.get(&key) {
            None if stopped => self.supervisor.watch_stopped(out, key.clone(), plan, goal),
            Some(unit) if *unit.plan() == plan => {}
            _ => self.supervisor.watch(out, key.clone(), plan),
        }
        if goal != Goal::Run {
            self.supervisor.explain(&key, &detail);
        }
        let permit = self.permit(out, work, sharing, generation);
        self.supervisor.aim(out, &mut self.book, &key, goal, permit);
    }

    /// What runs, or may run, under a promise needs a lease in force. Without one (the file was
    /// lost, or the work was found running) the promise counts as over.
    fn check_lease(&mut self, out: &mut Out, work: &WorkName) {
        let Some(held) = self.works.held().get(work) else {
            return;
        };
        if held.ending.is_some() || held.exclusive() != Some(OnLeaseLoss::Stop) {
            return;
        }
        let generation = held.generation();
        let key = UnitKey::Work(work.clone());
        let started = self
            .supervisor
            .tools()
            .ledger
            .was_started(&key, Some(generation));
        if started && !self.leases.covers(out.now.boot, work, generation) {
            self.lose(out, work);
        }
    }

    /// Conditions of the agent itself.
    pub(crate) fn judge_self(&mut self, out: &mut Out) {
        let watchdog = Component::Agent("watchdog".to_string());
        let promises = self
            .works
            .held()
            .values()
            .any(|held| held.ending.is_none() && held.exclusive() == Some(OnLeaseLoss::Stop));
        if promises && self.enforcement == Enforcement::None {
            let finding = Finding::plain(
                Severity::Warning,
                "no watchdog enforces the promises of exclusive work on this host: start \
                 nodemedic-watchdog",
            );
            self.book
                .raise(out, &watchdog, &Reason::NotEnforced, finding);
        } else {
            let because = "promises are enforced, or there are none";
            self.book
                .clear(out, &watchdog, &Reason::NotEnforced, because);
        }
        let spool = Component::Agent("spool".to_string());
        if self.outbox.is_crowded(self.config.spool_events_max) {
            let finding = Finding::plain(
                Severity::Warning,
                "the event spool is full and drops its oldest events: connect the coordinator",
            );
            self.book
                .raise(out, &spool, &Reason::SpoolOverflow, finding);
        } else if self.outbox.waiting() == 0 {
            self.book.clear(
                out,
                &spool,
                &Reason::SpoolOverflow,
                "everything that waited is stored",
            );
        }
    }

    pub(crate) fn go_down(&mut self, out: &mut Out, reason: String, back_within: Millis) {
        out.event(
            Component::Agent("self".to_string()),
            EventKind::AgentStopping {
                reason: reason.clone(),
            },
        );
        let going_down = nodemedic_protocol::message::GoingDown {
            reason,
            back_within,
        };
        let presence = self.report.presence(out, Some(going_down));
        out.send(nodemedic_protocol::message::Message::Presence(presence));
    }

    /// Why the host asks to be drained, if it does.
    pub(crate) fn drain_wanted(&self) -> Option<String> {
        let ledger = &self.supervisor.tools().ledger;
        self.config
            .services
            .iter()
            .filter(|(_, service)| service.when_spent == WhenSpent::FenceAndDrain)
            .find_map(|(name, _)| ledger.fenced(name))
            .map(|fenced| format!("service {} is fenced: {}", fenced.service, fenced.cause))
            .or_else(|| self.doctor.given_up())
    }

    /// True while something that should be seen is not.
    pub(crate) fn is_blind(&self) -> bool {
        self.sampled_at.is_none()
            || self
                .supervisor
                .iter()
                .any(|(_, unit)| matches!(unit.stage(), Stage::Unseen | Stage::Unknown { .. }))
    }
}
