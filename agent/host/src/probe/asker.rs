//! One question with what it remembers from one answer to the next.

use std::path::PathBuf;
use std::sync::Arc;

use nodemedic_agent_core::Verdict;
use nodemedic_protocol::work::{Check, ProbeSpec};

use super::{exec, http::Http, limits, log::Log, tcp, unix, watchdog::Watchdog};
use crate::manager::process::Process;
use crate::manager::systemd::Bus;
use crate::manager::target::Target;

/// Whom a question is about, as it runs now.
#[derive(Clone, Debug)]
pub struct Whose {
    /// Its main process, where there is one.
    pub pid: Option<u32>,
    /// All of it.
    pub target: Option<Target>,
    /// Its whole name under systemd.
    pub unit_name: Option<String>,
    /// Where its output goes when it is a command.
    pub log: PathBuf,
    /// Where cgroups are.
    pub cgroup_root: PathBuf,
    /// The way to systemd.
    pub bus: Arc<Bus>,
}

/// One question.
#[derive(Debug)]
pub struct Asker {
    spec: ProbeSpec,
    memory: Memory,
}

/// What a question remembers.
#[derive(Debug)]
enum Memory {
    Nothing,
    Http(Http),
    Watchdog(Watchdog),
    Log(Log),
    Limits(Box<limits::Watch>),
}

impl Asker {
    /// Was never asked.
    #[must_use]
    pub fn new(spec: ProbeSpec) -> Asker {
        let (interval, timeout) = (spec.interval, spec.timeout);
        let memory = match &spec.check {
            Check::Http { .. } => Memory::Http(Http::default()),
            Check::Watchdog { .. } => Memory::Watchdog(Watchdog::new(interval, timeout)),
            Check::Log { .. } => Memory::Log(Log::new(interval, timeout)),
            Check::Limits(limits) => {
                Memory::Limits(Box::new(limits::Watch::new(limits, interval, timeout)))
            }
            _ => Memory::Nothing,
        };
        Asker { spec, memory }
    }

    /// How it is asked.
    #[must_use]
    pub const fn spec(&self) -> &ProbeSpec {
        &self.spec
    }

    /// Asks once. It has answered by its timeout, and a moment later at most.
    pub async fn ask(&mut self, whose: &Whose) -> Verdict {
        let within = self.spec.timeout;
        match (&self.spec.check, &mut self.memory) {
            (Check::Process, _) => process(whose.pid),
            (Check::Tcp { address }, _) => tcp::ask(address, within).await,
            (Check::Http { url, ca, address }, Memory::Http(http)) => {
                http.ask(url, ca.as_deref(), address.as_deref(), within)
                    .await
            }
            (Check::Exec { command }, _) => exec::ask(command, within).await,
            (Check::Unix { path, send, expect }, _) => {
                unix::ask(path, send.as_deref(), expect.as_deref(), within).await
            }
            (Check::Watchdog { max_age }, Memory::Watchdog(watchdog)) => {
                watchdog.ask(whose, *max_age, within).await
            }
            (Check::Log { max_age, file }, Memory::Log(log)) => {
                log.ask(whose, file.as_deref(), *max_age, within).await
            }
            (Check::Limits(_), Memory::Limits(limits)) => limits.ask(whose, within).await,
            (check, _) => {
                let why = "its memory is of another kind: please report this";
                Verdict::Unknown(format!("{} probe: {why}", check.word()))
            }
        }
    }
}

/// The pidfd tells of an end at once; this is the same question asked at leisure. A unit without a
/// main process runs by its manager's word.
fn process(pid: Option<u32>) -> Verdict {
    let Some(pid) = pid else {
        return Verdict::Pass;
    };
    match Process::open(pid, None) {
        Ok(Some(_)) => Verdict::Pass,
        Ok(None) => Verdict::Fail(format!("process probe: process {pid} is gone")),
        Err(error) => Verdict::Unknown(format!("process probe: {error}")),
    }
}
