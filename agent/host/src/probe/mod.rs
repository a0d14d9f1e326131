//! Probes: how a unit is seen from outside to work. One loop for each of its probes, which never
//! overlaps itself.

mod age;
mod asker;
mod exec;
mod http;
#[cfg(test)]
mod https_tests;
mod limits;
mod log;
mod look;
mod tcp;
mod unix;
mod watchdog;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nodemedic_agent_core::effect::Watch;
use nodemedic_agent_core::{Input, Seen, UnitKey, Verdict};
use nodemedic_protocol::Millis;
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::work::ProbeSpec;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

pub use self::asker::{Asker, Whose};
use crate::manager::systemd::Bus;
use crate::manager::target::Targets;

/// Until a unit is first seen to work it is asked at this pace, so that a start is confirmed soon.
/// The pace slows down, by half each time, to that of its interval: what cannot be asked is not
/// asked four times a second for ever.
const STARTUP_PACE: Duration = Duration::from_millis(250);

/// Where what the probes of a unit ask about is.
#[derive(Clone, Debug)]
pub struct Around {
    /// What runs of each unit.
    pub targets: Targets,
    /// The unit's whole name under systemd.
    pub unit_name: Option<String>,
    /// Where its output goes when it is a command.
    pub log: PathBuf,
    /// Where cgroups are.
    pub cgroup_root: PathBuf,
    /// The way to systemd.
    pub bus: Arc<Bus>,
}

/// The probes of one unit.
#[derive(Debug)]
pub struct Prober {
    unit: UnitKey,
    specs: Vec<ProbeSpec>,
    around: Around,
    rng: Rng,
    inputs: mpsc::Sender<Input>,
    running: Option<Asking>,
}

/// The loops that ask about one main process.
#[derive(Debug)]
struct Asking {
    pid: Option<u32>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Prober {
    /// Asks nothing yet. Without a probe in the watch it never does.
    #[must_use]
    pub fn new(watch: &Watch, around: Around, seed: u64, inputs: mpsc::Sender<Input>) -> Prober {
        Prober {
            unit: watch.unit.clone(),
            specs: watch.probes.clone(),
            around,
            rng: Rng::new(seed),
            inputs,
            running: None,
        }
    }

    /// Asks while the unit runs. What cannot be seen changes nothing.
    pub fn follow(&mut self, seen: &Seen) {
        match seen {
            Seen::Running { pid, .. } => {
                let same = matches!(&self.running, Some(asking) if asking.pid == *pid);
                if !same {
                    self.start(*pid);
                }
            }
            Seen::NotRunning { .. } => self.pause(),
            Seen::Unknown { .. } => {}
        }
    }

    /// Asks no more until it is seen to run again.
    pub fn pause(&mut self) {
        self.running = None;
    }

    fn start(&mut self, pid: Option<u32>) {
        self.pause();
        let tasks = self.specs.iter().enumerate().map(|(probe, spec)| {
            let one = One {
                unit: self.unit.clone(),
                probe,
                pid,
                around: self.around.clone(),
                asker: Asker::new(spec.clone()),
                rng: Rng::new(self.rng.next_u64()),
            };
            tokio::spawn(one.ask_on(self.inputs.clone()))
        });
        let tasks = tasks.collect();
        self.running = Some(Asking { pid, tasks });
    }
}

/// The next pause of a probe that has not passed yet; it grows up to the interval.
fn slower(pace: Duration, interval: Millis) -> Duration {
    pace.saturating_add(pace / 2).min(interval.to_duration())
}

/// One probe of one unit.
struct One {
    unit: UnitKey,
    probe: usize,
    pid: Option<u32>,
    around: Around,
    asker: Asker,
    rng: Rng,
}

impl One {
    async fn ask_on(mut self, inputs: mpsc::Sender<Input>) {
        let interval = self.asker.spec().interval;
        let mut pace = STARTUP_PACE.min(interval.to_duration());
        // A fleet, or a host with many units, must not ask in step.
        let first = self.rng.below(u64::try_from(pace.as_millis()).unwrap_or(0));
        sleep(Duration::from_millis(first)).await;
        let mut passed = false;
        loop {
            let verdict = self.asker.ask(&self.whose()).await;
            passed |= verdict == Verdict::Pass;
            let input = Input::Probed {
                unit: self.unit.clone(),
                probe: self.probe,
                verdict,
            };
            if inputs.send(input).await.is_err() {
                return;
            }
            // Never later than it says: a hang is told by one interval and one timeout.
            let jitter = self.rng.below(interval.0 / 5 + 1);
            let pause = Duration::from_millis(interval.0 - jitter);
            if passed {
                sleep(pause).await;
            } else {
                sleep(pace.min(pause)).await;
                pace = slower(pace, interval);
            }
        }
    }

    fn whose(&self) -> Whose {
        Whose {
            pid: self.pid,
            target: self.around.targets.of(&self.unit),
            unit_name: self.around.unit_name.clone(),
            log: self.around.log.clone(),
            cgroup_root: self.around.cgroup_root.clone(),
            bus: Arc::clone(&self.around.bus),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_passes_is_asked_at_its_interval_for_ever() {
        let interval = Millis::from_secs(5);
        let paces = std::iter::successors(Some(STARTUP_PACE), |pace| Some(slower(*pace, interval)));
        let paces: Vec<Duration> = paces.take(10_000).collect();
        assert!(paces.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(paces.last(), Some(&interval.to_duration()));
    }
}
