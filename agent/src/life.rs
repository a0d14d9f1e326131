//! From start to end: what is opened in which order, the event loop, reload and farewell.

mod answer;
mod wiring;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nodemedic_agent_core::{Agent, Facts, Input};
use nodemedic_agent_host::inject::Injector;
use nodemedic_agent_host::manager::Units;
use nodemedic_agent_host::plugin::Plugins;
use nodemedic_agent_host::sampler::thread::SamplerThread;
use nodemedic_agent_host::watchdog::{WatchdogClient, confirm, last_words};
use nodemedic_agent_host::{boot, inventory};
use nodemedic_edge::{clock, files, tls};
use nodemedic_protocol::sample::Sample;
use nodemedic_protocol::{Boottime, Millis};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::asking;
use crate::config::{self, Settings};
use crate::driver::Driver;
use crate::lock::{self, Lock};
use crate::packages::{self, Packages};
use crate::socket::{Asked, Socket};
use crate::storage::{Storage, Written};
use crate::systemd::Systemd;
use crate::uplink::Uplink;

/// Inputs of units, probes, plugins and the watchdog that wait for the loop.
const INPUTS_MAX: usize = 256;

/// The loop turns at least this often. tokio's timers do not count suspend, the core's deadlines
/// do.
const TURN_EVERY: Millis = Millis::from_secs(1);

/// Room in a full link is looked for again after this.
const LINK_RETRY: Millis = Millis(20);

/// How long the end may take for each of: the disk, the watchdog, the broker.
const LEAVE_WITHIN: Millis = Millis::from_secs(2);

/// An agent that is stopped is expected to be back after an upgrade or a restart of its unit.
const BACK_WITHIN: Millis = Millis::from_secs(60);

/// What the local socket gives at most.
const EVENTS_LAST_MAX: u32 = 256;

/// Runs until a signal ends it.
///
/// # Errors
/// When it cannot start; the message says what to do.
pub fn run(settings: Settings, config_path: PathBuf) -> anyhow::Result<()> {
    tls::install_provider();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        let life = Life::start(settings, config_path)?;
        life.turn().await;
        Ok(())
    })
}

/// What wakes the loop.
enum Woken {
    Input(Input),
    Sampled(Box<Sample>),
    Written(Written),
    Asked(Asked),
    Reload,
    End(&'static str),
    Nothing,
}

/// All that runs.
struct Life {
    settings: Settings,
    config_path: PathBuf,
    agent: Agent,
    driver: Driver,
    inputs: mpsc::Receiver<Input>,
    plugins: Plugins,
    sampler: SamplerThread,
    samples: mpsc::Receiver<Sample>,
    sampled_processes: Vec<(String, u32)>,
    packages: Packages,
    socket: Socket,
    injector: Injector,
    systemd: Systemd,
    signals: Signals,
    _lock: Lock,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    fn catch() -> anyhow::Result<Signals> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Signals {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            reload: catch(SignalKind::hangup())?,
        })
    }
}

impl Life {
    fn start(settings: Settings, config_path: PathBuf) -> anyhow::Result<Life> {
        // Signals first: one that comes during the start must not be lost.
        let signals = Signals::catch()?;
        files::ensure_dir(&settings.state, 0o750)?;
        files::ensure_dir(&settings.run, 0o755)?;
        let lock = lock::take(&settings.state)?;
        let roots = &settings.sampling.roots;
        let session = boot::session(&roots.proc_root)?;
        let (storage, found) = Storage::open(&settings.state, &settings.run, &session.boot_id)?;
        let inventory = inventory::read(roots);
        let now = clock::now();
        let facts = Facts {
            session: session.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capacity: inventory::capacity(&inventory),
            inventory,
            spool: found.spool,
            leases: found.leases,
        };
        let seed = boot::random_number()?;
        let mut agent = Agent::new(settings.core.clone(), found.memory, facts, now, seed);
        match last_words::read(&settings.last_words) {
            Ok(Some(words)) => agent.handle(clock::now(), Input::LastWords(words)),
            Ok(None) => {}
            Err(error) => tracing::warn!("{error}"),
        }
        let (outbox, inputs) = mpsc::channel(INPUTS_MAX);
        let (confirmer, questions) = confirm::questions();
        let (remedies, unit_settings) = wiring::hands(&settings, &session, seed, &outbox);
        let units = Units::new(unit_settings, confirmer, outbox.clone());
        let watchdog = WatchdogClient::start(
            settings.watchdog.clone(),
            units.targets(),
            questions,
            outbox.clone(),
        )?;
        let uplink = settings
            .broker
            .as_ref()
            .map(|broker| Uplink::start(&settings, broker, &session, seed, now.wall))
            .transpose()?;
        let injector = asking::injector(&settings, session.boot_id, outbox.clone());
        let mut plugins = Plugins::new(outbox, seed);
        plugins.set(&settings.plugins);
        let (sampler, samples) = SamplerThread::start(
            roots.clone(),
            settings.sampling.top,
            settings.sampling.interval,
        )
        .context("cannot start the sampler's thread")?;
        let socket = Socket::open(&settings.run.join("agent.sock"))?;
        Ok(Life {
            driver: Driver::new(units, remedies, storage, uplink, watchdog),
            settings,
            config_path,
            agent,
            inputs,
            plugins,
            sampler,
            samples,
            sampled_processes: Vec::new(),
            packages: Packages::default(),
            socket,
            injector,
            systemd: Systemd::new(),
            signals,
            _lock: lock,
        })
    }

    /// The event loop.
    async fn turn(mut self) {
        self.work();
        self.systemd.ready();
        tracing::info!(
            "nodemedic-agent {} looks after {}",
            env!("CARGO_PKG_VERSION"),
            self.settings.core.node
        );
        loop {
            match self.woken().await {
                Woken::Input(input) => {
                    self.look_at_packages(packages::may_lead_to_an_act(&input));
                    self.agent.handle(clock::now(), input);
                }
                Woken::Sampled(sample) => {
                    self.look_at_packages(self.agent.may_treat());
                    self.agent.handle(clock::now(), Input::Sample(sample));
                }
                Woken::Written(written) => self.driver.written(&written, clock::boottime()),
                Woken::Asked(asked) => self.answer(asked),
                Woken::Reload => self.reload(),
                Woken::End(reason) => return self.end(reason).await,
                Woken::Nothing => {}
            }
            self.work();
        }
    }

    /// Does what is due and what is wanted.
    fn work(&mut self) {
        let now = clock::now();
        if self
            .agent
            .poll_timeout()
            .is_some_and(|(at, _)| at <= now.boot)
        {
            self.look_at_packages(true);
            self.agent.handle(now, Input::Timer);
        }
        self.look_at_packages(self.agent.waits_for_package_manager());
        self.driver.pump(&mut self.agent, now.boot);
        if let Some(uplink) = &mut self.driver.uplink {
            uplink.flush();
        }
        let processes = self.agent.main_processes();
        if processes != self.sampled_processes {
            self.sampler.watch(processes.clone());
            self.sampled_processes = processes;
        }
        let (level, link_up) = self.agent.summary();
        self.systemd.turned(now.boot, level, link_up);
    }

    /// Says whether the package manager is at work, before what may lead to an act.
    fn look_at_packages(&mut self, wanted: bool) {
        let now = clock::now();
        let respected = self.settings.core.healing.respect_package_manager;
        if wanted
            && respected
            && let Some(busy) = self.packages.look(now.boot)
        {
            self.agent.handle(now, Input::PackageManager { busy });
        }
    }

    async fn woken(&mut self) -> Woken {
        let now = clock::boottime();
        let timer = self.agent.poll_timeout().map(|(at, _)| at);
        let wait = [timer, self.driver.wake()]
            .into_iter()
            .flatten()
            .map(|at: Boottime| at.since(now))
            .min()
            .map_or(TURN_EVERY, |wait| wait.min(TURN_EVERY));
        let link_is_full = self.driver.uplink.as_ref().is_some_and(Uplink::is_waiting);
        let wait = if link_is_full {
            wait.min(LINK_RETRY)
        } else {
            wait
        };
        tokio::select! {
            Some(input) = self.inputs.recv() => Woken::Input(input),
            Some(sample) = self.samples.recv() => Woken::Sampled(Box::new(sample)),
            link = heard(self.driver.uplink.as_mut()) => link.map_or(Woken::Nothing, Woken::Input),
            written = self.driver.storage.written() => Woken::Written(written),
            asked = self.socket.asked() => Woken::Asked(asked),
            _ = self.signals.reload.recv() => Woken::Reload,
            _ = self.signals.terminate.recv() => Woken::End("agent stop"),
            _ = self.signals.interrupt.recv() => Woken::End("interrupted"),
            () = tokio::time::sleep(wait.to_duration()) => Woken::Nothing,
        }
    }

    /// Reads the configuration again; what is wrong leaves the old one in force.
    fn reload(&mut self) {
        let now = clock::now();
        match read_again(&self.config_path, &self.settings) {
            Ok(settings) => {
                self.plugins.set(&settings.plugins);
                self.driver.units.allow(settings.allow.clone());
                self.driver.remedies.set(settings.deeds.clone());
                let core = Box::new(settings.core.clone());
                self.settings = settings;
                self.agent.handle(now, Input::Reconfigured(core));
                tracing::info!("the configuration was read again");
            }
            Err(error) => {
                tracing::error!("the configuration is refused, the old one stays: {error}");
                self.agent.handle(now, Input::ConfigRefused { error });
            }
        }
    }

    /// The end on request: services and works keep running, promises stay with the watchdog.
    async fn end(mut self, reason: &str) {
        tracing::info!("ending: {reason}");
        self.systemd.stopping();
        self.injector.end(LEAVE_WITHIN).await;
        // What was taken back, and whatever else waits.
        while let Ok(input) = self.inputs.try_recv() {
            self.agent.handle(clock::now(), input);
        }
        self.agent.handle(
            clock::now(),
            Input::GoingDown {
                reason: reason.to_owned(),
                back_within: BACK_WITHIN,
            },
        );
        let over = clock::boottime() + LEAVE_WITHIN;
        loop {
            let now = clock::boottime();
            self.driver.pump(&mut self.agent, now);
            if self.driver.is_idle() || now >= over {
                break;
            }
            let wait = over.since(now).to_duration();
            match tokio::time::timeout(wait, self.driver.storage.written()).await {
                Ok(written) => self.driver.written(&written, clock::boottime()),
                Err(_) => tracing::error!("the disk did not answer in time"),
            }
        }
        self.driver.leave(LEAVE_WITHIN).await;
    }
}

/// Where cgroups are.
pub(crate) const CGROUPS: &str = "/sys/fs/cgroup";

async fn heard(uplink: Option<&mut Uplink>) -> Option<Input> {
    match uplink {
        Some(uplink) => uplink.heard().await,
        None => std::future::pending().await,
    }
}

/// A configuration that may take the place of the present one.
fn read_again(path: &Path, present: &Settings) -> Result<Settings, String> {
    let mut settings = config::load(path).map_err(|e| e.to_string())?;
    if settings.core.node != present.core.node || settings.site != present.site {
        return Err(format!(
            "{}: node and site cannot change while the agent runs: restart it",
            path.display()
        ));
    }
    if settings.broker != present.broker
        || settings.state != present.state
        || settings.run != present.run
        || settings.core.sample_every != present.core.sample_every
    {
        tracing::warn!(
            "a change of [broker], [paths] or [sampling] takes effect at the next start"
        );
    }
    settings.broker.clone_from(&present.broker);
    settings.state.clone_from(&present.state);
    settings.run.clone_from(&present.run);
    settings.last_words.clone_from(&present.last_words);
    settings.watchdog.clone_from(&present.watchdog);
    settings.fenced.clone_from(&present.fenced);
    settings.core.sample_every = present.core.sample_every;
    settings.sampling = present.sampling.clone();
    Ok(settings)
}
