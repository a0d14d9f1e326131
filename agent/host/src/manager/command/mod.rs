//! The manager `command`: programs that the agent starts itself, for hosts without systemd and for
//! works of the fleet.
//!
//! Each runs in a session of its own and outlives the agent, which finds it again by pid and start
//! time. Proof that nothing of it runs means: no process has its session, and none carries the mark
//! of its start in its environment. A process that leaves the session *and* clears its environment
//! escapes this proof; work that does so belongs under systemd, whose cgroup nothing leaves.

mod ending;
pub mod gate;
mod gated;
mod log_file;
pub(crate) mod record;
mod spawn;
mod stopping;

use std::collections::BTreeMap;
use std::path::PathBuf;

use nodemedic_agent_core::{Act, DownCause, Seen, UnitKey};
use nodemedic_protocol::event::{Outcome, Verb};
use nodemedic_protocol::work::Run;
use nodemedic_protocol::{BootId, Boottime, Generation};
use tokio::task::JoinHandle;

pub use self::ending::Members;
pub(crate) use self::ending::list;
use self::gate::Latch;
use self::record::Record;
use super::door::Door;
use super::process::Process;
use super::target::Target;

/// Where a command unit keeps its things, and what every unit is told.
#[derive(Clone, Debug)]
pub struct Places {
    /// Records of what was started on this boot: a directory of its own, beside those of others.
    pub records: PathBuf,
    /// Logs of the units.
    pub logs: PathBuf,
    /// Directories of works.
    pub works: PathBuf,
    /// This boot.
    pub boot_id: BootId,
}

/// One program.
#[derive(Debug)]
pub struct CommandUnit {
    unit: UnitKey,
    run: Command,
    places: Places,
    state: State,
    /// A start that was interrupted is still finished: what it starts must be known.
    starting: Option<JoinHandle<Result<Started, String>>>,
    door: Door,
    /// What waits behind its gate. Dropping it sends it away.
    gated: Option<Started>,
    started: Option<Boottime>,
}

#[derive(Clone, Debug)]
struct Command {
    start: Vec<String>,
    stop: Vec<String>,
    environment: BTreeMap<String, String>,
}

#[derive(Debug)]
enum State {
    Down(DownCause),
    Up(Running),
    Unseen(String),
}

#[derive(Debug)]
struct Running {
    process: Process,
    generation: Option<Generation>,
}

/// What a start gives back to the event loop, where the pidfd can be waited for.
#[derive(Debug)]
struct Started {
    record: Record,
    pid: u32,
    start_ticks: u64,
    latch: Option<Latch>,
}

impl CommandUnit {
    /// A unit that nobody has looked at yet.
    #[must_use]
    pub fn new(
        unit: UnitKey,
        start: &[String],
        stop: &[String],
        environment: &BTreeMap<String, String>,
        places: Places,
        door: Door,
    ) -> CommandUnit {
        CommandUnit {
            unit,
            run: Command {
                start: start.to_vec(),
                stop: stop.to_vec(),
                environment: environment.clone(),
            },
            places,
            state: State::Unseen("not looked at yet".to_owned()),
            starting: None,
            door,
            gated: None,
            started: None,
        }
    }

    /// Runs it this way from the next start or stop on.
    pub fn replace(
        &mut self,
        start: &[String],
        stop: &[String],
        environment: &BTreeMap<String, String>,
    ) {
        self.run = Command {
            start: start.to_vec(),
            stop: stop.to_vec(),
            environment: environment.clone(),
        };
    }

    /// Looks again: adopts what runs, as the record on disk says.
    pub async fn observe(&mut self) -> Seen {
        self.finish_start().await;
        if self.gated.is_some() {
            self.send_away().await;
        }
        if let State::Up(running) = &self.state {
            let gone = Process::open(running.process.pid(), Some(running.process.start_ticks()));
            if let Ok(Some(_)) = gone {
                return self.seen();
            }
        }
        let before = std::mem::replace(&mut self.state, State::Down(DownCause::NotStarted));
        let mut record = self.record().await;
        self.started = record.as_ref().ok().and_then(|record| match record {
            Some(record) => record.prepared_at(),
            None => Some(Boottime(0)),
        });
        if matches!(&record, Ok(Some(record)) if record.gated) {
            // Of an agent that ended before it opened the gate.
            self.send_away().await;
            record = match &self.state {
                State::Unseen(error) => Err(error.clone()),
                _ => Ok(None),
            };
        }
        self.state = match (before, record) {
            (_, Err(error)) => State::Unseen(error),
            (State::Down(away @ DownCause::TurnedAway(_)), Ok(None)) => State::Down(away),
            (_, Ok(None)) => State::Down(DownCause::NotStarted),
            (before, Ok(Some(record))) => adopt(&record, before),
        };
        self.seen()
    }

    /// Waits until what was seen last is no longer true.
    pub async fn changed(&mut self) -> Seen {
        let State::Up(running) = &self.state else {
            return std::future::pending().await;
        };
        self.state = match running.process.ended().await {
            Ok(()) => State::Down(running.process.collect()),
            Err(error) => State::Unseen(format!(
                "cannot wait for process {}: {error}",
                running.process.pid()
            )),
        };
        self.seen()
    }

    /// What was seen last.
    #[must_use]
    pub fn seen(&self) -> Seen {
        match &self.state {
            State::Up(running) => Seen::Running {
                pid: Some(running.process.pid()),
                generation: running.generation,
            },
            State::Down(cause) => Seen::NotRunning {
                cause: cause.clone(),
            },
            State::Unseen(why) => Seen::Unknown { why: why.clone() },
        }
    }

    /// What the watchdog has to kill for this unit.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        match &self.state {
            State::Up(running) => Some(Target::Session {
                leader: running.process.pid(),
                start_ticks: running.process.start_ticks(),
            }),
            State::Down(_) | State::Unseen(_) => None,
        }
    }

    /// When the newest start of it began on this boot: by its record, which is written before
    /// anything runs and removed only when nothing is left. Zero without one.
    #[must_use]
    pub const fn started(&self) -> Option<Boottime> {
        self.started
    }

    /// Does one thing to the unit. Dropped halfway, what was begun stays begun: a start is finished
    /// in the background and found by the next look.
    pub async fn act(&mut self, act: &Act) -> Outcome {
        self.finish_start().await;
        if let Run::Command {
            start,
            stop,
            environment,
        } = &act.run
        {
            self.replace(start, stop, environment);
        }
        let done = match act.verb {
            Verb::Start => self.start(act, false).await,
            Verb::Restart | Verb::Kill => self.start(act, true).await,
            Verb::Stop | Verb::Fence => self.stop(act).await,
            Verb::Unfence => Ok(()),
        };
        match done {
            Ok(()) => Outcome::Done,
            Err(text) => Outcome::Failed(text),
        }
    }

    async fn start(&mut self, act: &Act, again: bool) -> Result<(), String> {
        if !again && let Seen::Running { pid, generation } = self.observe().await {
            if generation == act.generation {
                return Ok(());
            }
            let pid = pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
            return Err(format!(
                "process {pid} runs under another generation; stop it before this one is started"
            ));
        }
        // What is left of an earlier run would run beside the new one.
        self.stop(act).await?;
        let (unit, places, run) = (self.unit.clone(), self.places.clone(), self.run.clone());
        let (generation, more) = (act.generation, act.environment.clone());
        let gate = act.gate.map(|_| self.door.gate_program.clone());
        let job = move || spawn::start(&unit, &places, &run, generation, &more, gate.as_deref());
        self.starting = Some(tokio::task::spawn_blocking(job));
        self.finish_start().await;
        if act.gate.is_some()
            && self.gated.is_some()
            && let Err(why) = self.pass(act).await
        {
            self.send_away().await;
            if let State::Down(cause) = &mut self.state {
                *cause = DownCause::TurnedAway(why.clone());
                self.door.targets.clear(&self.unit);
            }
            return Err(why);
        }
        match &self.state {
            State::Up(_) => Ok(()),
            State::Down(cause) => Err(format!("started, but {cause}")),
            State::Unseen(why) => Err(why.clone()),
        }
    }

    async fn finish_start(&mut self) {
        let Some(job) = &mut self.starting else {
            return;
        };
        let ended = job.await;
        self.starting = None;
        self.state = match ended {
            Ok(Ok(started)) if started.latch.is_some() => {
                self.gated = Some(started);
                State::Down(DownCause::NotStarted)
            }
            Ok(Ok(started)) => match Process::open(started.pid, Some(started.start_ticks)) {
                Ok(Some(process)) => State::Up(Running {
                    process,
                    generation: started.record.generation,
                }),
                Ok(None) => State::Down(DownCause::Gone),
                Err(error) => State::Unseen(format!(
                    "started process {}, but cannot hold it: {error}",
                    started.pid
                )),
            },
            Ok(Err(error)) => State::Down(DownCause::Failed(error)),
            Err(error) => State::Unseen(format!("the start broke off: {error}")),
        };
    }

    async fn record(&self) -> Result<Option<Record>, String> {
        let (unit, places) = (self.unit.clone(), self.places.clone());
        blocking(move || Record::load(&unit, &places)).await
    }

    async fn forget(&self) -> Result<(), String> {
        let (unit, places) = (self.unit.clone(), self.places.clone());
        blocking(move || Record::remove(&unit, &places)).await
    }
}

/// Runs what may wait for a disk away from the event loop.
async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(job).await {
        Ok(result) => result,
        Err(error) => Err(format!("the helper thread broke off: {error}")),
    }
}

fn adopt(record: &Record, before: State) -> State {
    let Some(pid) = record.pid else {
        return State::Down(DownCause::Gone);
    };
    match Process::open(pid, record.start_ticks) {
        Ok(Some(process)) if record.may_be(process.start_ticks()) => {
            // A process that ended but was not collected yet is held as well; its end is readable
            // at once, and tells how.
            State::Up(Running {
                process,
                generation: record.generation,
            })
        }
        Ok(_) => match before {
            State::Down(cause) if cause != DownCause::NotStarted => State::Down(cause),
            State::Up(running) => State::Down(running.process.collect()),
            _ => State::Down(DownCause::Gone),
        },
        Err(error) => State::Unseen(format!("cannot look at process {pid}: {error}")),
    }
}
