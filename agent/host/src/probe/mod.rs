//! Probes: how a unit is seen from outside to work. One loop per unit, which never overlaps itself.

mod exec;
mod http;
mod tcp;

use std::time::Duration;

use nodemedic_agent_core::effect::Watch;
use nodemedic_agent_core::{Input, Seen, UnitKey, Verdict};
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::work::{Check, ProbeSpec};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::manager::process::Process;

/// Until a unit is first seen to work it is asked at this pace, so that a start is confirmed soon.
const STARTUP_PACE: Duration = Duration::from_millis(250);

/// The probe of one unit.
#[derive(Debug)]
pub struct Prober {
    unit: UnitKey,
    spec: Option<ProbeSpec>,
    rng: Rng,
    inputs: mpsc::Sender<Input>,
    running: Option<(Option<u32>, JoinHandle<()>)>,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.pause();
    }
}

impl Prober {
    /// Asks nothing yet. Without a probe in the watch it never does.
    #[must_use]
    pub fn new(watch: &Watch, seed: u64, inputs: mpsc::Sender<Input>) -> Prober {
        Prober {
            unit: watch.unit.clone(),
            spec: watch.probe.clone(),
            rng: Rng::new(seed),
            inputs,
            running: None,
        }
    }

    /// Asks while the unit runs. What cannot be seen changes nothing.
    pub fn follow(&mut self, seen: &Seen) {
        match seen {
            Seen::Running { pid, .. } => {
                let same = matches!(&self.running, Some((asked, _)) if asked == pid);
                if !same {
                    self.pause();
                    self.start(*pid);
                }
            }
            Seen::NotRunning { .. } => self.pause(),
            Seen::Unknown { .. } => {}
        }
    }

    /// Asks no more until it is seen to run again.
    pub fn pause(&mut self) {
        if let Some((_, task)) = self.running.take() {
            task.abort();
        }
    }

    fn start(&mut self, pid: Option<u32>) {
        if let Some(spec) = &self.spec {
            let rng = Rng::new(self.rng.next_u64());
            let probes = ask_on(
                self.unit.clone(),
                spec.clone(),
                pid,
                rng,
                self.inputs.clone(),
            );
            self.running = Some((pid, tokio::spawn(probes)));
        }
    }
}

async fn ask_on(
    unit: UnitKey,
    spec: ProbeSpec,
    pid: Option<u32>,
    mut rng: Rng,
    inputs: mpsc::Sender<Input>,
) {
    let pace = STARTUP_PACE.min(spec.interval.to_duration());
    // A fleet, or a host with many units, must not ask in step.
    let first = rng.below(u64::try_from(pace.as_millis()).unwrap_or(0));
    sleep(Duration::from_millis(first)).await;
    let mut passed = false;
    loop {
        let verdict = ask(&spec, pid).await;
        passed |= verdict == Verdict::Pass;
        let unit = unit.clone();
        if inputs.send(Input::Probed { unit, verdict }).await.is_err() {
            return;
        }
        let pause = if passed {
            Duration::from_millis(rng.jitter(spec.interval.0))
        } else {
            pace
        };
        sleep(pause).await;
    }
}

/// Asks once.
pub async fn ask(spec: &ProbeSpec, pid: Option<u32>) -> Verdict {
    match &spec.check {
        Check::Process => process(pid),
        Check::Tcp { address } => tcp::ask(address, spec.timeout).await,
        Check::Http { url } => http::ask(url, spec.timeout).await,
        Check::Exec { command } => exec::ask(command, spec.timeout).await,
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
