//! The manager `systemd`: units are watched by their D-Bus signals and started and stopped by
//! jobs, whose end is a signal too. Nothing is polled.
//!
//! Without systemd, or while its bus is away, a unit is Unknown with the reason; it is tried again
//! with growing pauses.

mod bus;
mod cgroup_path;
mod describe;
mod ending;
mod environment;
mod properties;
mod refusal;
mod state;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nodemedic_agent_core::describe::full_name;
use nodemedic_agent_core::{Act, DownCause, GatePromise, Seen, UnitKey};
use nodemedic_edge::backoff::Backoff;
use nodemedic_protocol::event::{Outcome, Verb};
use nodemedic_protocol::{Boottime, Millis};
use tokio::time::{sleep, timeout};

pub use self::bus::Bus;
use self::bus::{Attached, CALL_WAIT, Signal};
use self::state::Hints;
use super::door::{Door, Pass};
use super::target::Target;
use crate::helper::Helper;

/// First and longest pause between attempts to reach the bus.
const RETRY_FIRST: Millis = Millis(100);
const RETRY_MAX: Millis = Millis(5_000);

/// systemd says that a unit changed before it says that the job ended. An end without failure waits
/// so long for the word that somebody asked for it.
const JOB_WORD_WAIT: Duration = Duration::from_millis(100);

/// One unit of systemd.
#[derive(Debug)]
pub struct SystemdUnit {
    key: UnitKey,
    template: String,
    name: String,
    bus: Arc<Bus>,
    environment_file: Option<PathBuf>,
    cgroup_root: PathBuf,
    door: Door,
    helper: Helper,
    attached: Option<Attached>,
    retry: Backoff,
    seen: Seen,
    looked: bool,
    job_by_other: bool,
    stopped_by_us: bool,
    control_group: String,
    /// Why the last act did not start it, for the look that follows.
    turned_away: Option<String>,
    started: Option<Boottime>,
}

impl SystemdUnit {
    /// A unit that nobody has looked at yet. For work a template gets the work's name as its
    /// instance, and an environment file under `environment_files`.
    #[must_use]
    pub fn new(
        key: &UnitKey,
        unit: &str,
        bus: Arc<Bus>,
        environment_files: PathBuf,
        cgroup_root: PathBuf,
        door: Door,
        helper: Helper,
    ) -> SystemdUnit {
        let environment_file = match key {
            UnitKey::Work(name) => Some(environment_files.join(format!("{name}.env"))),
            UnitKey::Service(_) => None,
        };
        SystemdUnit {
            key: key.clone(),
            template: unit.to_owned(),
            name: full_name(key, unit),
            bus,
            environment_file,
            cgroup_root,
            door,
            helper,
            attached: None,
            retry: Backoff::new(RETRY_FIRST, RETRY_MAX, nodemedic_edge::clock::boottime_us()),
            seen: unknown("not looked at yet"),
            looked: false,
            job_by_other: false,
            stopped_by_us: false,
            control_group: String::new(),
            turned_away: None,
            started: None,
        }
    }

    /// Whether this looks after that unit already.
    #[must_use]
    pub fn is_of(&self, key: &UnitKey, unit: &str) -> bool {
        self.key == *key && self.template == unit
    }

    /// Looks again.
    pub async fn observe(&mut self) -> Seen {
        self.seen = match self.read().await {
            Ok(Seen::NotRunning { cause }) => Seen::NotRunning {
                cause: match self.turned_away.take() {
                    Some(why) => DownCause::TurnedAway(why),
                    None => cause,
                },
            },
            Ok(seen) => seen,
            Err(error) => unknown(&error),
        };
        self.seen.clone()
    }

    /// Waits until what was seen last is no longer true. May be dropped and called again.
    pub async fn changed(&mut self) -> Seen {
        loop {
            let signal = match &mut self.attached {
                Some(attached) => attached.signals.recv().await.unwrap_or(Signal::Lost),
                None => {
                    sleep(self.retry.next_wait().to_duration()).await;
                    Signal::Changed
                }
            };
            match signal {
                Signal::Changed => {}
                Signal::JobRemoved { .. } => self.job_by_other = true,
                Signal::Lost => self.detach().await,
            }
            let before = self.seen.clone();
            if self.observe().await != before {
                return self.seen.clone();
            }
        }
    }

    /// What the watchdog has to kill for this unit.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        (self.control_group.len() > 1).then(|| Target::Cgroup {
            path: self.control_group.clone(),
        })
    }

    /// When the newest start of it began on this boot; zero when none did.
    #[must_use]
    pub const fn started(&self) -> Option<Boottime> {
        self.started
    }

    /// The units that systemd starts before this one, and those without which it does not run it;
    /// `None` while systemd does not say.
    pub async fn ordering(&mut self) -> Option<(Vec<String>, Vec<String>)> {
        let attached = self.attach().await.ok()?;
        let order = timeout(CALL_WAIT, properties::ordering(attached)).await;
        match order {
            Ok(Ok(order)) => Some(order),
            Ok(Err(error)) => {
                tracing::warn!(unit = %self.name, %error, "cannot read the order of units");
                None
            }
            Err(_) => None,
        }
    }

    /// Does one thing to the unit.
    pub async fn act(&mut self, act: &Act) -> Outcome {
        let done = match act.verb {
            Verb::Start | Verb::Restart | Verb::Kill => self.start(act).await,
            Verb::Stop => self.stop(act).await,
            Verb::Fence => self.fence(act).await,
            Verb::Unfence => self.unfence().await,
        };
        match done {
            Ok(()) => Outcome::Done,
            Err(text) => Outcome::Failed(text),
        }
    }

    async fn start(&mut self, act: &Act) -> Result<(), String> {
        if act.verb == Verb::Start
            && let Seen::Running { generation, .. } = self.observe().await
        {
            if generation == act.generation {
                return Ok(());
            }
            return Err(format!(
                "{} runs under another generation; stop it before this one is started",
                self.name
            ));
        }
        let mut verb = act.verb;
        if act.gate.is_some() && verb == Verb::Restart {
            // The gate stands between the two halves: after a stop of a minute the lease may be
            // another one.
            self.stop(act).await?;
            verb = Verb::Start;
        }
        if act.verb == Verb::Kill {
            self.kill(act).await?;
            verb = Verb::Start;
        }
        if let (Some(path), UnitKey::Work(work)) = (&self.environment_file, &self.key) {
            environment::write(path, work, act).await?;
        }
        let pass = self.pass(act).await;
        let pass = pass.inspect_err(|why| self.turned_away = Some(why.clone()))?;
        let (name, is_service) = (self.name.clone(), self.is_service());
        let attached = self.attach().await?;
        // Its own limit on starts would refuse a start that our budget allows. Not failed: no harm.
        let _not_loaded = attached.manager.reset_failed_unit(name.clone()).await;
        let mode = "replace".to_owned();
        if let Some(pass) = pass
            && let Err(why) = pass.still_holds()
        {
            self.turned_away = Some(why.clone());
            return Err(why);
        }
        let job = match verb {
            Verb::Start => attached.manager.start_unit(name.clone(), mode).await,
            _ => attached.manager.restart_unit(name.clone(), mode).await,
        };
        let job = job.map_err(|error| refusal::text("start", &name, is_service, &error))?;
        let result = wait_for(attached, job.as_str()).await?;
        self.looked = true;
        self.stopped_by_us = false;
        self.job_by_other = false;
        let promised = self.control_group.clone();
        let seen = self.observe().await;
        if act.gate.is_some() && self.control_group != promised {
            // The task of the unit promises the right one from now on.
            tracing::error!(
                unit = %self.name,
                promised,
                found = self.control_group,
                "the unit runs in another cgroup than was promised: report this with its definition"
            );
        }
        match (result.as_str(), seen) {
            ("done", Seen::Running { .. }) => Ok(()),
            ("done", Seen::NotRunning { cause }) => Err(format!("started, but {cause}")),
            (result, _) => Err(format!("the start of {name} ended as: {result}")),
        }
    }

    /// What exclusive work has to pass. Its cgroup is promised before it is there.
    async fn pass(&mut self, act: &Act) -> Result<Option<Pass>, String> {
        self.turned_away = None;
        let Some(gate) = act.gate else {
            self.release("").await;
            return Ok(None);
        };
        let path = self.cgroup_to_be().await?;
        if gate.promise == GatePromise::No {
            self.release(&path).await;
        }
        let target = Target::Cgroup { path: path.clone() };
        let pass = self.door.pass(act, target).await?;
        self.control_group = path;
        Ok(pass)
    }

    /// Work of which nothing is promised now: it was stopped and proved so, or it is about to start
    /// without a promise. An empty path means where systemd would put it. What is not empty stays
    /// with the watchdog.
    async fn release(&mut self, path: &str) {
        let path = match (&self.key, path) {
            // Never under a promise.
            (UnitKey::Service(_), _) => return,
            (UnitKey::Work(_), "") => self.cgroup_to_be().await,
            (UnitKey::Work(_), path) => Ok(path.to_owned()),
        };
        // Without a path nothing of it can have been promised either.
        if let Ok(path) = path
            && self.members(&path).await.is_ok_and(|left| left.is_empty())
        {
            self.door.targets.release(path);
        }
    }

    async fn cgroup_to_be(&mut self) -> Result<String, String> {
        let attached = self.attach().await?;
        let known = timeout(CALL_WAIT, properties::cgroup_to_be(attached)).await;
        let known = known.unwrap_or_else(|_| Err("no answer within 10 s".to_owned()));
        let path = known.map_err(|error| {
            format!(
                "cannot say where the cgroup of {} will be: {error}",
                self.name
            )
        })?;
        Ok(path.of(&self.name))
    }

    fn is_service(&self) -> bool {
        matches!(self.key, UnitKey::Service(_))
    }

    async fn attach(&mut self) -> Result<&mut Attached, String> {
        let attached = match self.attached.take() {
            Some(attached) => attached,
            None => self.bus.attach(&self.name).await?,
        };
        self.retry.reset();
        Ok(self.attached.insert(attached))
    }

    async fn detach(&mut self) {
        self.attached = None;
        self.bus.forget().await;
    }

    /// Reads everything and gives it a name.
    async fn read(&mut self) -> Result<Seen, String> {
        let may_wait = self.looked && !self.job_by_other && !self.stopped_by_us;
        let attached = self.attach().await?;
        let mut properties = match timeout(CALL_WAIT, properties::read(attached)).await {
            Ok(Ok(properties)) => properties,
            Ok(Err(error)) => {
                self.detach().await;
                return Err(format!("cannot read {}: {error}", self.name));
            }
            Err(_) => {
                self.detach().await;
                return Err(format!("cannot read {}: no answer within 10 s", self.name));
            }
        };
        let clean_end = properties.active_state == "inactive" && properties.result == "success";
        if clean_end && may_wait {
            let word = timeout(JOB_WORD_WAIT, job_word(attached)).await;
            self.job_by_other = matches!(word, Ok(true));
        }
        if properties.active_state == "active" {
            self.job_by_other = false;
            self.stopped_by_us = false;
        }
        if !properties.control_group.is_empty() {
            self.control_group = std::mem::take(&mut properties.control_group);
        }
        let hints = Hints {
            job_by_other: self.job_by_other,
            first_look: !self.looked,
            stopped_by_us: self.stopped_by_us,
            is_work: matches!(self.key, UnitKey::Work(_)),
            generation: match &self.environment_file {
                Some(path) => environment::generation(path).await,
                None => None,
            },
        };
        // As long as it stays inactive nobody knows how it came to be so.
        self.looked |= properties.active_state != "inactive";
        self.started = properties.started;
        Ok(state::view(&self.name, &properties, hints))
    }
}

fn unknown(why: &str) -> Seen {
    Seen::Unknown {
        why: why.to_owned(),
    }
}

/// Waits for the end of one job; the deadline is the caller's.
async fn wait_for(attached: &mut Attached, wanted: &str) -> Result<String, String> {
    loop {
        match attached.signals.recv().await {
            Some(Signal::JobRemoved { job, result }) if job == wanted => return Ok(result),
            Some(Signal::Lost) | None => {
                return Err("lost systemd while its job was under way".to_owned());
            }
            Some(_) => {}
        }
    }
}

/// Whether somebody's job about the unit ends; the deadline is the caller's.
async fn job_word(attached: &mut Attached) -> bool {
    while let Some(signal) = attached.signals.recv().await {
        match signal {
            Signal::JobRemoved { .. } => return true,
            Signal::Lost => return false,
            Signal::Changed => {}
        }
    }
    false
}
