//! What holds healing back beside the units' own plans: persons' pauses, the package manager, the
//! order of units.

use alloc::format;
use alloc::string::{String, ToString};

use nodemedic_protocol::healing::{HealingStatus, Mode, PAUSE_MAX, REASON_MAX_CHARS};
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::{Component, Millis, ServiceName, Severity};

use crate::agent::Agent;
use crate::conditions::Finding;
use crate::config::Service;
use crate::input::Input;
use crate::out::Out;
use crate::supervisor::{PACKAGE_WAIT_MAX, Packages, Plan};
use crate::unit::UnitKey;

/// While something waits for the package manager its lock is looked at every second. What was seen
/// longer ago than this was another run of it.
const PACKAGE_GAP_MAX: Millis = Millis::from_secs(60);

impl Agent {
    /// Whether a person may hold healing so.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn may_pause(
        &self,
        service: Option<&ServiceName>,
        span: Millis,
        reason: &str,
    ) -> Result<(), String> {
        self.known(service)?;
        if span == Millis::ZERO || span > PAUSE_MAX {
            return Err(format!(
                "a pause lasts at least 1ms and at most {PAUSE_MAX}: what takes longer is a \
                 service with mode = \"off\" in agent.toml"
            ));
        }
        if reason.trim().is_empty() || reason.chars().count() > REASON_MAX_CHARS {
            return Err(format!(
                "a pause needs a reason of at most {REASON_MAX_CHARS} characters: others will ask"
            ));
        }
        Ok(())
    }

    /// Whether there is such a pause to end.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn may_resume(&self, service: Option<&ServiceName>) -> Result<(), String> {
        self.known(service)?;
        let pauses = &self.supervisor.manners().pauses;
        match (service, pauses.get(service), pauses.get(None)) {
            (_, Some(_), _) => Ok(()),
            (Some(name), None, Some(_)) => Err(format!(
                "service {name} has no pause of its own; the whole host is paused: resume it \
                 without a name"
            )),
            (Some(name), None, None) => Err(format!("service {name} is not paused")),
            (None, None, _) => Err("this host is not paused".to_string()),
        }
    }

    fn known(&self, service: Option<&ServiceName>) -> Result<(), String> {
        match service {
            Some(name) if !self.config.services.contains_key(name) => Err(format!(
                "there is no service {:?} in this host's configuration; `nodemedic top` lists them",
                name.as_str()
            )),
            _ => Ok(()),
        }
    }

    /// What begins or ends a hold.
    pub(crate) fn take_hold(&mut self, out: &mut Out, hold: Input) {
        match hold {
            Input::PackageManager { busy } => self.package_manager(out, busy),
            Input::Pause {
                service,
                span,
                reason,
            } => self.pause(out, service, span, &reason),
            Input::Resume { service } => {
                self.resume(out, service.as_ref(), "a person ended it");
            }
            _ => {}
        }
    }

    fn pause(&mut self, out: &mut Out, service: Option<ServiceName>, span: Millis, reason: &str) {
        if self.may_pause(service.as_ref(), span, reason).is_err() {
            return;
        }
        let (component, what) = paused(service.as_ref());
        let because = "another pause takes its place";
        self.book.clear(out, &component, &Reason::Paused, because);
        let finding = Finding::plain(
            Severity::Info,
            format!("healing of {what} is paused for {span}: {reason}"),
        );
        self.book.raise(out, &component, &Reason::Paused, finding);
        let pauses = &mut self.supervisor.manners_mut().pauses;
        pauses.set(out.now.boot, service, span, reason.to_string());
    }

    pub(crate) fn resume(&mut self, out: &mut Out, service: Option<&ServiceName>, because: &str) {
        if self.supervisor.manners_mut().pauses.end(service) {
            let (component, _) = paused(service);
            self.book.clear(out, &component, &Reason::Paused, because);
        }
    }

    /// Pauses whose time is over end here, and those of services that are gone.
    pub(crate) fn end_pauses(&mut self, out: &mut Out) {
        for service in self.supervisor.manners().pauses.over(out.now.boot) {
            self.resume(out, service.as_ref(), "its time is over");
        }
        let pauses = &self.supervisor.manners().pauses;
        let gone = |name: &&ServiceName| !self.config.services.contains_key(*name);
        let gone: alloc::vec::Vec<ServiceName> =
            pauses.held().flatten().filter(gone).cloned().collect();
        for name in gone {
            self.resume(out, Some(&name), "it is no longer configured here");
        }
    }

    pub(crate) fn package_manager(&mut self, out: &Out, busy: bool) {
        let now = out.now.boot;
        let packages = &mut self.supervisor.manners_mut().packages;
        *packages = busy.then(|| {
            let goes_on = packages.filter(|known| now.since(known.seen) < PACKAGE_GAP_MAX);
            Packages {
                since: goes_on.map_or(now, |known| known.since),
                seen: now,
            }
        });
    }

    /// What waited for the package manager for too long goes on, and somebody should look.
    pub(crate) fn judge_packages(&mut self, out: &mut Out) {
        let manners = self.supervisor.manners();
        let (since, respected) = (
            manners.packages.map(|packages| packages.since),
            manners.settings.respect_package_manager,
        );
        let reason = Reason::PackageManagerBusy;
        match since.filter(|_| respected) {
            Some(since) if out.now.boot.since(since) >= PACKAGE_WAIT_MAX => {
                if self.supervisor.has_due() {
                    let finding = Finding::plain(
                        Severity::Warning,
                        format!(
                            "packages have been installed or removed for {PACKAGE_WAIT_MAX}: \
                             healing no longer waits; see who holds the package manager's lock"
                        ),
                    );
                    self.book.raise(out, &Component::Host, &reason, finding);
                }
            }
            _ => {
                let because = "the package manager is done";
                self.book.clear(out, &Component::Host, &reason, because);
            }
        }
    }

    /// True while something is to be done and the package manager, as far as is known, holds it:
    /// then its lock is to be looked at again soon.
    #[must_use]
    pub fn waits_for_package_manager(&self) -> bool {
        let manners = self.supervisor.manners();
        manners.settings.respect_package_manager
            && manners.packages.is_some()
            && (self.supervisor.has_due() || self.doctor.has_due())
    }

    /// What holds for all services, for people.
    pub(crate) fn healing_status(&self) -> HealingStatus {
        let manners = self.supervisor.manners();
        HealingStatus {
            mode: self.config.healing.mode,
            paused: manners.pauses.get(None),
            package_manager_since: manners
                .packages
                .filter(|_| self.waits_for_package_manager())
                .map(|packages| packages.since),
            under_way: self.supervisor.under_way(),
            at_once: manners.settings.at_once,
        }
    }

    /// The plan of a service under the host's own settings.
    pub(crate) fn plan_of_service(&self, service: &Service) -> Plan {
        let healing = self.config.healing;
        Plan {
            run: service.run.clone(),
            probes: service.probes.clone(),
            restart: service.restart,
            when_spent: service.when_spent,
            start_grace: service.start_grace,
            boot_grace: healing.boot_grace,
            stop_grace: service.stop_grace,
            generation: None,
            environment: alloc::collections::BTreeMap::new(),
            ladder: service.ladder,
            hooks: service.hooks.clone(),
            mode: service.mode.min(healing.mode),
            group: service.group.clone(),
            retry: healing.retry,
        }
    }

    /// What a host that does not heal its services says of that at its birth.
    pub(crate) fn mode_label(&self) -> Option<(String, String)> {
        let mode = self.config.healing.mode;
        (mode != Mode::Act).then(|| ("nodemedic.mode".to_string(), mode.to_string()))
    }
}

fn paused(service: Option<&ServiceName>) -> (Component, String) {
    match service {
        Some(name) => {
            let key = UnitKey::Service(name.clone());
            (key.component(), key.to_string())
        }
        None => (Component::Host, "all services".to_string()),
    }
}
