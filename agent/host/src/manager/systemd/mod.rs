//! The manager `systemd`: units are watched by their D-Bus signals and started and stopped by
//! jobs, whose end is a signal too. Nothing is polled.
//!
//! Without systemd, or while its bus is away, a unit is Unknown with the reason; it is tried again
//! with growing pauses.

mod bus;
mod cgroup;
mod state;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nodemedic_agent_core::{Act, Seen, UnitKey};
use nodemedic_edge::backoff::Backoff;
use nodemedic_edge::files;
use nodemedic_protocol::event::{Outcome, Verb};
use nodemedic_protocol::{Generation, Millis};
use rustix::process::Signal as KillSignal;
use tokio::time::{sleep, timeout};
use zbus_systemd::zbus;

pub use self::bus::Bus;
use self::bus::{Attached, CALL_WAIT, Signal};
use self::state::{Hints, Properties};
use super::target::Target;

/// First and longest pause between attempts to reach the bus.
const RETRY_FIRST: Millis = Millis(100);
const RETRY_MAX: Millis = Millis(5_000);

/// systemd says that a unit changed before it says that the job ended. An end without failure waits
/// so long for the word that somebody asked for it.
const JOB_WORD_WAIT: Duration = Duration::from_millis(100);

/// How long what was sent SIGKILL may take to leave its cgroup.
const KILL_ROUNDS: u32 = 50;
const KILL_ROUND: Duration = Duration::from_millis(100);

/// An environment file of ours is a few lines.
const ENVIRONMENT_MAX_BYTES: usize = 64 << 10;

/// One unit of systemd.
#[derive(Debug)]
pub struct SystemdUnit {
    key: UnitKey,
    template: String,
    name: String,
    bus: Arc<Bus>,
    environment_file: Option<PathBuf>,
    cgroup_root: PathBuf,
    attached: Option<Attached>,
    retry: Backoff,
    seen: Seen,
    looked: bool,
    job_by_other: bool,
    stopped_by_us: bool,
    control_group: String,
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
            attached: None,
            retry: Backoff::new(RETRY_FIRST, RETRY_MAX, nodemedic_edge::clock::boottime_us()),
            seen: unknown("not looked at yet"),
            looked: false,
            job_by_other: false,
            stopped_by_us: false,
            control_group: String::new(),
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

    /// What an action would call, for the record of actions.
    #[must_use]
    pub fn describe(&self, verb: Verb) -> String {
        match verb {
            Verb::Start => format!("systemd StartUnit {}", self.name),
            Verb::Restart => format!("systemd RestartUnit {}", self.name),
            Verb::Stop | Verb::Fence => format!("systemd StopUnit {}", self.name),
            Verb::Unfence => "none".to_owned(),
        }
    }

    /// Does one thing to the unit.
    pub async fn act(&mut self, act: &Act) -> Outcome {
        let done = match act.verb {
            Verb::Start | Verb::Restart => self.start(act).await,
            Verb::Stop | Verb::Fence => self.stop(act).await,
            Verb::Unfence => Ok(()),
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
        self.write_environment(act).await?;
        let (name, verb) = (self.name.clone(), act.verb);
        let attached = self.attach().await?;
        // Its own limit on starts would refuse a start that our budget allows. Not failed: no harm.
        let _not_loaded = attached.manager.reset_failed_unit(name.clone()).await;
        let mode = "replace".to_owned();
        let job = match verb {
            Verb::Start => attached.manager.start_unit(name.clone(), mode).await,
            _ => attached.manager.restart_unit(name.clone(), mode).await,
        };
        let job = job.map_err(|error| format!("systemd refused to start {name}: {error}"))?;
        let result = wait_for(attached, job.as_str()).await?;
        self.stopped_by_us = false;
        self.job_by_other = false;
        let seen = self.observe().await;
        match (result.as_str(), seen) {
            ("done", Seen::Running { .. }) => Ok(()),
            ("done", Seen::NotRunning { cause }) => Err(format!("started, but {cause}")),
            (result, _) => Err(format!("the start of {name} ended as: {result}")),
        }
    }

    async fn stop(&mut self, act: &Act) -> Result<(), String> {
        self.read().await?;
        let (name, group) = (self.name.clone(), self.control_group.clone());
        let attached = self.attach().await?;
        let job = attached
            .manager
            .stop_unit(name.clone(), "replace".to_owned())
            .await;
        match job {
            Ok(job) => {
                let wait = timeout(
                    act.stop_grace.to_duration(),
                    wait_for(attached, job.as_str()),
                );
                if let Ok(ended) = wait.await {
                    ended?;
                } else {
                    kill_unit(attached, &name).await?;
                }
            }
            // Not loaded and not to be found: nothing of it runs, which is proved below.
            Err(error) if error.to_string().contains("NoSuchUnit") => {}
            Err(error) => return Err(format!("systemd refused to stop {name}: {error}")),
        }
        self.stopped_by_us = true;
        self.empty(&group).await?;
        match self.observe().await {
            Seen::NotRunning { .. } => {
                self.control_group.clear();
                Ok(())
            }
            Seen::Running { pid, .. } => Err(format!("{name} runs again as process {pid:?}")),
            Seen::Unknown { why } => Err(why),
        }
    }

    /// Kills what is left in the cgroup and proves that it is empty.
    async fn empty(&mut self, group: &str) -> Result<(), String> {
        let mut left = Vec::new();
        for _ in 0..KILL_ROUNDS {
            left = self.members(group).await?;
            if left.is_empty() {
                return Ok(());
            }
            if let Some(attached) = &self.attached {
                // Refused for a unit that is inactive already; then we do it.
                let _then_by_hand = kill_unit(attached, &self.name).await;
            }
            let (root, path) = (self.cgroup_root.clone(), group.to_owned());
            let killed = tokio::task::spawn_blocking(move || cgroup_kill(&root, &path));
            killed.await.map_err(|error| error.to_string())??;
            sleep(KILL_ROUND).await;
        }
        Err(format!("still in {group} after SIGKILL: {left:?}"))
    }

    async fn members(&self, group: &str) -> Result<Vec<u32>, String> {
        let (root, group) = (self.cgroup_root.clone(), group.to_owned());
        tokio::task::spawn_blocking(move || cgroup::members(&root, &group))
            .await
            .map_err(|error| error.to_string())?
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
        let mut properties = match timeout(CALL_WAIT, read_properties(attached)).await {
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
            generation: self.generation().await,
        };
        self.looked = true;
        Ok(state::view(&self.name, &properties, hints))
    }

    /// The grant in the environment file: the unit was started with it.
    async fn generation(&self) -> Option<Generation> {
        let path = self.environment_file.clone()?;
        let read = move || files::read_capped(&path, ENVIRONMENT_MAX_BYTES);
        let bytes = tokio::task::spawn_blocking(read).await.ok()?.ok()??;
        String::from_utf8_lossy(&bytes)
            .lines()
            .find_map(|line| line.strip_prefix("NODEMEDIC_GENERATION="))
            .and_then(|number| number.trim().parse().ok())
            .map(Generation)
    }

    /// Hands the grant over. Written before the start, so that no start can miss it.
    async fn write_environment(&self, act: &Act) -> Result<(), String> {
        let (Some(path), UnitKey::Work(work)) = (self.environment_file.clone(), &self.key) else {
            return Ok(());
        };
        let mut text = String::new();
        for (key, value) in &act.environment {
            text.push_str(&format!("{key}={}\n", quoted(value)));
        }
        text.push_str(&format!("NODEMEDIC_WORK={work}\n"));
        if let Some(generation) = act.generation {
            text.push_str(&format!("NODEMEDIC_GENERATION={generation}\n"));
        }
        let write = move || {
            if let Some(directory) = path.parent() {
                files::ensure_dir(directory, 0o755)?;
            }
            files::write_atomic(&path, text.as_bytes(), 0o644)
        };
        let written = tokio::task::spawn_blocking(write).await;
        written
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    }
}

/// systemd.exec(5), EnvironmentFile=: within double quotes these are escaped.
fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '`' | '$') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

fn full_name(key: &UnitKey, unit: &str) -> String {
    match (key, unit.split_once("@.")) {
        (UnitKey::Work(name), Some((before, kind))) => format!("{before}@{name}.{kind}"),
        (UnitKey::Service(name), Some((before, kind))) => format!("{before}@{name}.{kind}"),
        (_, None) => unit.to_owned(),
    }
}

fn unknown(why: &str) -> Seen {
    Seen::Unknown {
        why: why.to_owned(),
    }
}

fn cgroup_kill(root: &std::path::Path, group: &str) -> Result<(), String> {
    cgroup::kill(root, group)
}

async fn kill_unit(attached: &Attached, name: &str) -> Result<(), String> {
    let signal = KillSignal::KILL.as_raw();
    attached
        .manager
        .kill_unit(name.to_owned(), "all".to_owned(), signal)
        .await
        .map_err(|error| format!("systemd refused to kill {name}: {error}"))
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

async fn read_properties(attached: &Attached) -> Result<Properties, String> {
    let mut found = Properties::default();
    let interface = |name: &'static str| zbus::names::InterfaceName::from_static_str(name);
    let unit = interface("org.freedesktop.systemd1.Unit").map_err(|e| e.to_string())?;
    let all = attached
        .properties
        .get_all(unit)
        .await
        .map_err(|e| e.to_string())?;
    let text = |name: &str| -> Result<String, String> {
        let value = all.get(name).ok_or_else(|| format!("no property {name}"))?;
        <&str>::try_from(&**value)
            .map(str::to_owned)
            .map_err(|e| e.to_string())
    };
    found.load_state = text("LoadState")?;
    found.active_state = text("ActiveState")?;
    found.sub_state = text("SubState")?;
    found.inactive_since_us = all
        .get("InactiveEnterTimestampMonotonic")
        .and_then(|value| u64::try_from(&**value).ok())
        .unwrap_or(0);
    // Only services have these; targets, sockets and the like end without a process.
    let service = interface("org.freedesktop.systemd1.Service").map_err(|e| e.to_string())?;
    found.result = "success".to_owned();
    if let Ok(all) = attached.properties.get_all(service).await {
        let number = |name: &str| all.get(name).and_then(|v| i32::try_from(&**v).ok());
        let text = |name: &str| all.get(name).and_then(|v| <&str>::try_from(&**v).ok());
        found.main_pid = all
            .get("MainPID")
            .and_then(|value| u32::try_from(&**value).ok())
            .unwrap_or(0);
        found.exec_main_code = number("ExecMainCode").unwrap_or(0);
        found.exec_main_status = number("ExecMainStatus").unwrap_or(0);
        found.result = text("Result").unwrap_or("success").to_owned();
        found.control_group = text("ControlGroup").unwrap_or_default().to_owned();
    }
    Ok(found)
}
