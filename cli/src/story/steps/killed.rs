//! A service is killed and answers again, several times over; how long that takes is measured
//! beside how long the service itself takes to start.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodemedic_edge::clock;
use nodemedic_protocol::Millis;
use tokio::process::Command;

use crate::fleet::{LEDGER, find_free};
use crate::out::micros;
use crate::story::stage::Stage;
use crate::story::timeline::{Unseen, median};
use crate::story::watch::next_process;

/// Odd, so that the median is one of them.
const TIMES: usize = 5;

/// A restart in place takes milliseconds; this is the bound on waiting, not the measure.
const AGAIN_WITHIN: Millis = Millis::from_secs(10);

/// Longer than `healthy_after` in the agent's configuration, so that each kill is a first one and
/// not part of a crash loop.
const PAUSE: Duration = Duration::from_millis(1300);

/// The goal, as the median of what comes on top of the service's own start.
const GOAL: &str = "goal: below 100ms";

pub async fn play(stage: &mut Stage<'_>) -> Result<(), Unseen> {
    let own = own_start(stage).await?;
    stage.own_start_us = own;
    stage
        .timeline
        .measured("the service's own start, median of 5", own, None);

    let mut took = Vec::with_capacity(TIMES + 1);
    for _ in 0..=TIMES {
        took.push(kill_once(stage).await?);
        tokio::time::sleep(PAUSE).await;
    }
    let (first, more) = took
        .split_first()
        .map_or((0, &[][..]), |(first, more)| (*first, more));
    stage
        .timeline
        .measured("first kill until it answers again", first, None);
    let middle = median(more).unwrap_or(first);
    stage
        .timeline
        .measured("kill until it answers again, median of 5", middle, None);
    let beyond = middle.saturating_sub(own);
    stage.timeline.measured(
        "of that beyond its own start",
        beyond,
        Some(GOAL.to_owned()),
    );
    Ok(())
}

/// Kills the exclusive work where it answers, and sees another process answer at the same place.
async fn kill_once(stage: &mut Stage<'_>) -> Result<u64, Unseen> {
    let expected = "ledger answers from one node before it is killed";
    let seen = stage
        .watch
        .until(AGAIN_WITHIN, expected, |seen| seen.ledger_alone().is_some())
        .await?;
    let Some((node, old)) = seen.ledger_alone() else {
        return Err(Unseen::new(expected, seen.words()));
    };
    let address = stage
        .fleet
        .shape
        .ledger(node)
        .ok_or_else(|| Unseen::new("a node of this fleet", format!("node-{node}")))?;
    let began = clock::boottime_us();
    kill_process(old.pid)?;
    let (new, came) = next_process(address, Some(old.pid), AGAIN_WITHIN).await?;
    let took = came.saturating_sub(began);
    stage.timeline.note(&format!(
        "killed process {} on node-{node}; process {} answers after {}",
        old.pid,
        new.pid,
        micros(took)
    ));
    if new.generation != old.generation {
        return Err(Unseen::new(
            "a restart in place keeps its generation",
            format!("{:?} became {:?}", old.generation, new.generation),
        ));
    }
    Ok(took)
}

/// `kill -9`, as anybody could.
pub fn kill_process(pid: u32) -> Result<(), Unseen> {
    let result = i32::try_from(pid)
        .map_err(|error| error.to_string())
        .and_then(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(|e| e.to_string()));
    result.map_err(|error| Unseen::new(format!("process {pid} can be killed"), error))
}

/// The median time from starting the same program with the same options until it answers, without
/// nodemedic.
async fn own_start(stage: &Stage<'_>) -> Result<u64, Unseen> {
    let mut took = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let port = find_free(1)?.first().copied().unwrap_or_default();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let layout = &stage.fleet.layout;
        let began = clock::boottime_us();
        let mut child = Command::new(&stage.fleet.programs.nodemedic)
            .args([
                "sample",
                "--listen",
                &address.to_string(),
                "--work",
                "own-start",
            ])
            .arg("--record")
            .arg(layout.record("own-start"))
            .arg("--break-file")
            .arg(layout.break_file("nowhere", LEDGER))
            .arg("--lives-with")
            .arg(layout.lock_file())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Unseen::new("the sample service starts", error.to_string()))?;
        let (_, came) = next_process(address, None, AGAIN_WITHIN).await?;
        took.push(came.saturating_sub(began));
        child
            .kill()
            .await
            .map_err(|error| Unseen::new("the sample service ends", error.to_string()))?;
    }
    median(&took).ok_or_else(|| Unseen::new("the service's own start is measured", "nothing"))
}
