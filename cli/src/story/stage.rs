//! Sets the stage, plays the steps one after the other, and clears up.

use std::path::PathBuf;

use nodemedic_edge::clock;
use nodemedic_protocol::api::JournalEntry;
use tokio::signal::unix::{SignalKind, signal};

use super::pager::Pager;
use super::steps::STEPS;
use super::timeline::{Timeline, Unseen};
use super::watch::Watch;
use crate::client::EventsQuery;
use crate::failure::{Failure, Kind};
use crate::fleet::{Fleet, Layout, NodePorts, Programs, Shape, Timing, find_free};
use crate::out::{Screen, micros};
use crate::words;

/// How many nodes play: one is lost or drained, and two replicas still find different nodes.
const NODES: usize = 3;

/// Lines of the journal that are shown when a step was not seen.
const JOURNAL_SHOWN: u32 = 25;

/// How the story is played.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Keep the directory also when all went well.
    pub keep: bool,
}

/// What the steps play with.
pub struct Stage<'a> {
    /// The fleet.
    pub fleet: Fleet,
    /// Asks the services.
    pub watch: Watch,
    /// Takes the pages.
    pub pager: Pager,
    /// Prints.
    pub timeline: Timeline<'a>,
    /// How long the service itself takes from exec to its first answer, once measured.
    pub own_start_us: u64,
}

/// Plays the whole story.
pub async fn play(options: &Options, screen: &Screen) -> Result<(), Failure> {
    let programs = Programs::find()?;
    let dir = std::env::temp_dir().join(format!("nodemedic-story-{}", std::process::id()));
    let layout = Layout::new(&dir)?;
    let mut timeline = Timeline::new(screen);
    if !screen.json {
        screen.say(&format!("a fleet of {NODES} nodes in {}", dir.display()));
    }
    let pager = Pager::start().await?;
    let lock = layout.lock()?;
    let shape = shape(&pager)?;
    let fleet = Fleet::new(layout, lock, shape, Timing::DEMONSTRATION, programs)?;
    let watch = Watch::start(&fleet.shape);
    timeline.report.logs = Some(dir.display().to_string());
    let mut stage = Stage {
        fleet,
        watch,
        pager,
        timeline,
        own_start_us: 0,
    };
    let played = play_steps(&mut stage).await;
    if played.is_err() && !screen.json {
        show_journal(&stage, screen).await;
    }
    let Stage {
        fleet,
        watch,
        mut timeline,
        ..
    } = stage;
    drop(watch);
    let stopped = fleet.stop().await;
    timeline.report.passed = played.is_ok() && stopped.is_ok();
    let keep = options.keep || !timeline.report.passed;
    if !keep {
        timeline.report.logs = None;
        remove(&dir, screen);
    }
    timeline.summary();
    if screen.json {
        screen.json(&timeline.report)?;
    } else if keep {
        screen.say(&format!(
            "logs, configuration and records: {}",
            dir.display()
        ));
    }
    played?;
    stopped
        .map(drop)
        .map_err(|failure| failure.during("stopping the fleet"))
}

fn shape(pager: &Pager) -> Result<Shape, Failure> {
    let ports = find_free(2 + 2 * NODES)?;
    let ([api, broker, works @ ..], true) = (ports.as_slice(), ports.len() == 2 + 2 * NODES) else {
        return Err(Failure::failed("too few ports"));
    };
    Ok(Shape {
        site: "story",
        api: ([127, 0, 0, 1], *api).into(),
        broker: ([127, 0, 0, 1], *broker).into(),
        ports: works
            .chunks_exact(2)
            .map(|pair| NodePorts {
                ledger: pair[0],
                web: pair[1],
            })
            .collect(),
        webhook: Some(pager.address),
    })
}

async fn play_steps(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::failed(format!("cannot take signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    tokio::select! {
        played = steps(stage) => played,
        _ = interrupt.recv() => Err(Failure::failed("interrupted")),
        _ = terminate.recv() => Err(Failure::failed("told to end")),
    }
}

async fn steps(stage: &mut Stage<'_>) -> Result<(), Failure> {
    set_up(stage).await?;
    for step in STEPS {
        stage.timeline.begin(step.name, step.what);
        let result = (step.play)(stage).await;
        stage.timeline.end(&result);
        result.map_err(|unseen| not_seen(step.name, &unseen))?;
    }
    Ok(())
}

fn not_seen(step: &str, unseen: &Unseen) -> Failure {
    Failure::new(
        Kind::Failed,
        format!("step {step:?} was not seen"),
        format!("expected: {}\n  seen:     {}", unseen.expected, unseen.seen),
    )
}

async fn set_up(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let us = |span: nodemedic_protocol::Millis| micros(span.0.saturating_mul(1000));
    let took = stage.fleet.start_coordinator().await?;
    stage.timeline.note(&format!(
        "coordinator and broker are up, after {}",
        us(took)
    ));
    let took = stage.fleet.start_nodes().await?;
    stage.timeline.note(&format!(
        "{NODES} agents with watchdogs are up, after {}",
        us(took)
    ));
    Ok(())
}

/// The end of the fleet's journal: what nodemedic itself thought that it did.
async fn show_journal(stage: &Stage<'_>, screen: &Screen) {
    let query = EventsQuery {
        limit: JOURNAL_SHOWN,
        ..EventsQuery::default()
    };
    let page = stage.fleet.ask(move |client| client.events(&query)).await;
    screen.say("\nthe end of the fleet's own journal:");
    match page {
        Ok(page) => {
            let show = |entry: &JournalEntry| screen.say(&words::line(entry, screen));
            page.entries.iter().for_each(show);
        }
        Err(failure) => screen.say(&format!("  (cannot be read: {})", failure.message)),
    }
    let wall = crate::out::clock_time(clock::wall());
    screen.say(&format!("  now it is {wall}"));
}

fn remove(dir: &PathBuf, screen: &Screen) {
    if let Err(error) = std::fs::remove_dir_all(dir) {
        screen.note(&format!("cannot remove {}: {error}", dir.display()));
    }
}
