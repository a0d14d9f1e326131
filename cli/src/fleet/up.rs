//! `nodemedic up`: brings a fleet up, tells what happens on it, repairs what a person kills, and
//! stops everything in order at the end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nodemedic_edge::clock;
use nodemedic_protocol::api::EventsPage;
use nodemedic_protocol::{Boottime, Millis};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::{Fleet, LEDGER, Layout, NodePorts, Part, Programs, Shape, Timing, WEB, check_free};
use crate::client::{Client, EventsQuery, FOLLOW_WAIT_MS};
use crate::failure::Failure;
use crate::out::{Cell, Column, Paint, Screen, Table, clean};
use crate::{sample, words};

/// A host whose agent died comes back after so long, as one that somebody repaired: long enough to
/// see its work move away.
const HOST_BACK_AFTER: Millis = Millis::from_secs(30);

/// As a service manager would start it again: well within the term of a lease, so that exclusive
/// work is not stopped for it.
const COORDINATOR_BACK_AFTER: Millis = Millis::from_secs(1);

/// Both works answer within this, or somebody should look.
const WORKS_UP_WITHIN: Millis = Millis::from_secs(30);

/// Between two looks at the processes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Pages of the journal that wait to be printed.
const QUEUE: usize = 8;

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where.
    pub dir: PathBuf,
    /// The coordinator's address.
    pub api: SocketAddr,
    /// The broker's address.
    pub broker: SocketAddr,
    /// One entry for each node.
    pub ports: Vec<NodePorts>,
    /// Forget an earlier fleet.
    pub fresh: bool,
}

/// Starts, follows, stops.
pub async fn run(options: &Options, screen: &Screen) -> Result<(), Failure> {
    let programs = Programs::find()?;
    let layout = Layout::new(&options.dir)?;
    let lock = layout.lock()?;
    if options.fresh {
        layout.wipe(&lock)?;
    }
    let shape = Shape {
        site: "up",
        api: options.api,
        broker: options.broker,
        ports: options.ports.clone(),
        webhook: None,
    };
    let mut fleet = Fleet::new(layout, lock, shape, Timing::DEMONSTRATION, programs)?;
    for told in fleet.clear_leftovers().await? {
        screen.note(&told);
    }
    check_ports(&fleet.shape)?;
    let mut ending = Ending::new()?;
    let ran = tokio::select! {
        ran = live(&mut fleet, screen) => ran,
        signal = ending.asked() => {
            screen.say(&format!("\n{signal}: stopping works, agents, watchdogs, coordinator"));
            Ok(())
        }
    };
    let began = clock::boottime();
    let stopped = fleet.stop().await;
    ran?;
    for told in stopped? {
        screen.note(&told);
    }
    screen.say(&format!(
        "stopped in {}; no process is left",
        clock::boottime().since(began)
    ));
    Ok(())
}

fn check_ports(shape: &Shape) -> Result<(), Failure> {
    check_free(shape.api, "the coordinator's API and page", "--api")?;
    check_free(shape.broker, "the MQTT broker", "--broker-port")?;
    for n in shape.nodes() {
        for (work, address) in [(LEDGER, shape.ledger(n)), (WEB, shape.web(n))] {
            if let Some(address) = address {
                check_free(address, &format!("{work} on node-{n}"), "--service-port")?;
            }
        }
    }
    Ok(())
}

/// The signals that end it.
struct Ending {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Ending {
    fn new() -> Result<Ending, Failure> {
        let take =
            |kind| signal(kind).map_err(|e| Failure::failed(format!("cannot take signals: {e}")));
        Ok(Ending {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
            hangup: take(SignalKind::hangup())?,
        })
    }

    async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "the terminal is gone",
        }
    }
}

async fn live(fleet: &mut Fleet, screen: &Screen) -> Result<(), Failure> {
    let began = clock::boottime();
    let nodes = fleet.shape.ports.len();
    progress(
        screen,
        "coordinator and broker",
        fleet.start_coordinator().await?,
    );
    progress(
        screen,
        &format!("{nodes} agents with watchdogs"),
        fleet.start_nodes().await?,
    );
    let declared = clock::boottime();
    fleet.declare_works().await?;
    let (ledger_pid, wanted_up) = works_up(fleet, declared).await;
    match wanted_up {
        Some(took) => progress(screen, "works ledger and web answer", took),
        None => screen.note("not all works answer yet; `nodemedic work` says why"),
    }
    let up = clock::boottime().since(began);
    screen.say(&welcome(fleet, screen, up, ledger_pid));
    follow(fleet, screen).await
}

fn progress(screen: &Screen, what: &str, took: Millis) {
    let done = screen.paint(Paint::Good, "up");
    screen.say(&format!(
        "{done}  {what:<32} {}",
        screen.paint(Paint::Dim, &took.to_string())
    ));
}

/// Waits for the works; gives the ledger's process, and how long it took if all answer.
async fn works_up(fleet: &Fleet, began: Boottime) -> (Option<(usize, u32)>, Option<Millis>) {
    let web_wanted = usize::from(super::WEB_REPLICAS).min(fleet.shape.ports.len());
    loop {
        let mut ledger = None;
        let mut web = 0;
        for n in fleet.shape.nodes() {
            if let Some(address) = fleet.shape.ledger(n)
                && let Ok(answer) = sample::ask(address).await
            {
                ledger = Some((n, answer.pid));
            }
            if let Some(address) = fleet.shape.web(n)
                && sample::ask(address).await.is_ok()
            {
                web += 1;
            }
        }
        let took = clock::boottime().since(began);
        if ledger.is_some() && web >= web_wanted {
            return (ledger, Some(took));
        }
        if took >= WORKS_UP_WITHIN {
            return (ledger, None);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The page's address, and what to try.
fn welcome(fleet: &Fleet, screen: &Screen, up: Millis, ledger: Option<(usize, u32)>) -> String {
    let program = shown_program(&fleet.programs.nodemedic);
    let mut table = Table::bare(&[Column::left("command"), Column::left("what")], 2);
    let mut row = |command: String, what: &str| {
        table.row(vec![
            Cell::painted(command, Paint::Bold),
            Cell::painted(what, Paint::Dim),
        ]);
    };
    if fleet.shape.url() != crate::args::DEFAULT_URL {
        row(
            format!("export NODEMEDIC_URL={}", fleet.shape.url()),
            "so that it is found",
        );
    }
    row(format!("{program} nodes"), "the fleet");
    row(format!("{program} work"), "what runs where");
    if let Some((node, pid)) = ledger {
        row(
            format!("kill -9 {pid}"),
            "kill ledger: it is back in an instant",
        );
        let parts = [Part::Agent(node), Part::Watchdog(node)];
        let pids: Vec<String> = parts
            .iter()
            .filter_map(|part| fleet.pid(*part))
            .map(|pid| pid.to_string())
            .collect();
        row(
            format!("kill -9 {} {pid}", pids.join(" ")),
            "lose its whole host: it moves when its lease has ended",
        );
    }
    row(
        format!("{program} drain node-1 --reason test --wait"),
        "empty a node",
    );
    row(format!("{program} undrain node-1"), "and give it back");
    let socket = fleet.layout.agent_socket(1);
    row(
        format!("{program} top --socket {}", socket.display()),
        "this machine, live",
    );
    let page = screen.paint(Paint::Bold, &format!("{}/", fleet.shape.url()));
    let dir = fleet.layout.dir().display();
    format!(
        "\nThe fleet is up, after {up}. Page: {page}\n\nTry in another terminal:\n{}\n\n\
         Files: {dir}   Ctrl-C stops everything.\n",
        table.render(None, screen.color),
    )
}

/// The program as the shell that started us can call it.
fn shown_program(program: &Path) -> String {
    let here = std::env::current_dir().ok();
    let shown = here
        .as_deref()
        .and_then(|here| program.strip_prefix(here).ok());
    clean(&shown.unwrap_or(program).to_string_lossy())
}

/// Prints the journal as it grows, and starts again what ended; ends only by a failure.
async fn follow(fleet: &mut Fleet, screen: &Screen) -> Result<(), Failure> {
    let mut pages = journal(fleet.client.clone());
    let mut due: BTreeMap<Part, Boottime> = BTreeMap::new();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            page = pages.recv() => match page {
                Some(page) => {
                    for entry in &page.entries {
                        screen.say(&words::line(entry, screen));
                    }
                }
                None => return Err(Failure::failed("the reader of the journal ended")),
            },
            _ = look.tick() => {
                note_ended(fleet, screen, &mut due);
                repair(fleet, screen, &mut due).await?;
            }
        }
    }
}

fn note_ended(fleet: &mut Fleet, screen: &Screen, due: &mut BTreeMap<Part, Boottime>) {
    let now = clock::boottime();
    for (part, failure) in fleet.reap() {
        let after = match part {
            Part::Coordinator => COORDINATOR_BACK_AFTER,
            Part::Agent(_) | Part::Watchdog(_) => HOST_BACK_AFTER,
        };
        let first = failure.message.lines().next().unwrap_or_default();
        let first = first.split(';').next().unwrap_or_default();
        let text = format!("{first}; it is started again in {after}");
        screen.say(&screen.paint(Paint::Warn, &clean(&text)));
        due.insert(part, now + after);
    }
}

async fn repair(
    fleet: &mut Fleet,
    screen: &Screen,
    due: &mut BTreeMap<Part, Boottime>,
) -> Result<(), Failure> {
    let now = clock::boottime();
    let ready: Vec<Part> = due
        .iter()
        .filter(|(_, at)| **at <= now)
        .map(|(part, _)| *part)
        .collect();
    for part in ready {
        due.remove(&part);
        match part {
            // An agent that leans on no watchdog would only complain about it.
            Part::Agent(n) => fleet.start_node(n).await?,
            Part::Coordinator | Part::Watchdog(_) => fleet.start_again(part).await?,
        }
        screen.say(&screen.paint(Paint::Warn, &format!("{part} is started again")));
    }
    Ok(())
}

/// Reads the journal in the background, from now on; a coordinator that is away is waited for.
fn journal(client: Client) -> mpsc::Receiver<EventsPage> {
    let (tell, pages) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut query = EventsQuery {
            limit: 200,
            ..EventsQuery::default()
        };
        loop {
            let (asked, client) = (query.clone(), client.clone());
            let answer = tokio::task::spawn_blocking(move || client.events(&asked)).await;
            match answer {
                Ok(Ok(page)) => {
                    // The first answer only says where the journal stands: what led here was shown
                    // as progress.
                    let first = query.after.is_none();
                    query.after = Some(page.last.max(query.after.unwrap_or(0)));
                    query.wait_ms = FOLLOW_WAIT_MS;
                    if !first && !page.entries.is_empty() && tell.send(page).await.is_err() {
                        return;
                    }
                }
                Ok(Err(_)) => tokio::time::sleep(LOOK_EVERY).await,
                Err(_) => return,
            }
        }
    });
    pages
}
