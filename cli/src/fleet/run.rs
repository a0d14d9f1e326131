//! Starting a fleet, starting parts of it again, and noticing parts that ended.

use std::ffi::OsString;
use std::time::Duration;

use nodemedic_edge::clock;
use nodemedic_protocol::api::Liveness;
use nodemedic_protocol::{Boottime, Millis};

use super::config::{self, Shape, Timing};
use super::daemon::Daemon;
use super::layout::{Layout, Lock};
use super::programs::Programs;
use super::works::works;
use crate::client::Client;
use crate::failure::Failure;

/// A coordinator opens its store and its ports in well under a second; a machine that compiles
/// beside it may need much longer.
const COORDINATOR_UP_WITHIN: Millis = Millis::from_secs(20);

/// An agent takes its inventory, connects, and is heard.
const NODES_UP_WITHIN: Millis = Millis::from_secs(30);

/// A socket is made before anything else.
const SOCKET_WITHIN: Millis = Millis::from_secs(10);

/// Between two looks while something comes up.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A process of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The coordinator with its broker.
    Coordinator,
    /// The agent of a node, counted from 1.
    Agent(usize),
    /// The watchdog of a node, counted from 1.
    Watchdog(usize),
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::Coordinator => f.write_str("coordinator"),
            Part::Agent(n) => write!(f, "node-{n} agent"),
            Part::Watchdog(n) => write!(f, "node-{n} watchdog"),
        }
    }
}

/// A running fleet. Dropping it kills its daemons, and its works end with its lock.
#[derive(Debug)]
pub struct Fleet {
    /// Where its files are.
    pub layout: Layout,
    /// Its addresses.
    pub shape: Shape,
    /// How fast it reacts.
    pub timing: Timing,
    /// What it is started from.
    pub programs: Programs,
    /// To ask its coordinator.
    pub client: Client,
    pub(super) parts: std::collections::BTreeMap<Part, Daemon>,
    pub(super) lock: Option<Lock>,
}

impl Fleet {
    /// Writes the configuration; starts nothing yet.
    pub fn new(
        layout: Layout,
        lock: Lock,
        shape: Shape,
        timing: Timing,
        programs: Programs,
    ) -> Result<Fleet, Failure> {
        config::write(&layout, &shape, &timing)?;
        let client = Client::new(&shape.url(), None, None)?;
        let parts = std::collections::BTreeMap::new();
        Ok(Fleet {
            layout,
            shape,
            timing,
            programs,
            client,
            parts,
            lock: Some(lock),
        })
    }

    /// Starts the coordinator and sees it answer.
    pub async fn start_coordinator(&mut self) -> Result<Millis, Failure> {
        let began = clock::boottime();
        self.start(Part::Coordinator)?;
        loop {
            match self.ask(Client::status).await {
                Ok(_) => return Ok(clock::boottime().since(began)),
                Err(failure) => self.go_on(began, COORDINATOR_UP_WITHIN, &failure.message)?,
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Starts all watchdogs and agents, and sees every node alive.
    pub async fn start_nodes(&mut self) -> Result<Millis, Failure> {
        let began = clock::boottime();
        for n in self.shape.nodes() {
            self.start_node(n).await?;
        }
        let wanted = self.shape.ports.len();
        loop {
            let alive = match self.ask(Client::nodes).await {
                Ok(nodes) => nodes
                    .iter()
                    .filter(|n| n.liveness == Liveness::Alive)
                    .count(),
                Err(_) => 0,
            };
            if alive >= wanted {
                return Ok(clock::boottime().since(began));
            }
            self.go_on(
                began,
                NODES_UP_WITHIN,
                &format!("{alive} of {wanted} nodes are alive"),
            )?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Starts a node's watchdog, then its agent, which leans on it; what runs is left alone.
    pub async fn start_node(&mut self, n: usize) -> Result<(), Failure> {
        self.start_again(Part::Watchdog(n)).await?;
        self.start_again(Part::Agent(n)).await
    }

    /// Starts one process, if it is not there.
    pub async fn start_again(&mut self, part: Part) -> Result<(), Failure> {
        if self.parts.contains_key(&part) {
            return Ok(());
        }
        match part {
            Part::Coordinator | Part::Agent(_) => self.start(part),
            Part::Watchdog(n) => self.start_watchdog(n).await,
        }
    }

    async fn start_watchdog(&mut self, n: usize) -> Result<(), Failure> {
        let socket = self.layout.watchdog_socket(n);
        // A socket of an earlier run would look like one that is listened on.
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let what = format!("cannot remove {}: {error}", socket.display());
                return Err(Failure::failed(what));
            }
            _ => {}
        }
        let began = clock::boottime();
        self.start(Part::Watchdog(n))?;
        while !socket.exists() {
            self.go_on(
                began,
                SOCKET_WITHIN,
                &format!("{} does not appear", socket.display()),
            )?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Declares the two works.
    pub async fn declare_works(&self) -> Result<(), Failure> {
        let put = works(&self.layout, &self.programs, &self.timing)?;
        self.ask(move |client| client.put_work(&put))
            .await
            .map(drop)
    }

    fn start(&mut self, part: Part) -> Result<(), Failure> {
        let arg = |text: &str| OsString::from(text);
        let (program, args, log) = match part {
            Part::Coordinator => (
                &self.programs.coordinator,
                vec![arg("--config"), self.layout.coordinator_config().into()],
                "coordinator".to_owned(),
            ),
            Part::Agent(n) => (
                &self.programs.agent,
                vec![arg("--config"), self.layout.agent_config(n).into()],
                format!("node-{n}.agent"),
            ),
            Part::Watchdog(n) => (
                &self.programs.watchdog,
                vec![
                    arg("--socket"),
                    self.layout.watchdog_socket(n).into(),
                    arg("--no-device"),
                    arg("--timeout"),
                    nodemedic_edge::config::span::write(self.timing.watchdog).into(),
                    arg("--last-resort"),
                    arg("say"),
                    arg("--state"),
                    self.layout.watchdog_state(n).into(),
                ],
                format!("node-{n}.watchdog"),
            ),
        };
        let nodemedic = &self.programs.nodemedic;
        let daemon = Daemon::start(
            &part.to_string(),
            nodemedic,
            program,
            &args,
            self.layout.log(&log),
        )?;
        self.parts.insert(part, daemon);
        Ok(())
    }

    /// The number of a process, while it runs.
    pub fn pid(&self, part: Part) -> Option<u32> {
        self.parts.get(&part).map(|daemon| daemon.pid)
    }

    /// The processes that ended by themselves since the last call, with how; they are forgotten.
    pub fn reap(&mut self) -> Vec<(Part, Failure)> {
        let mut ended = Vec::new();
        self.parts.retain(|part, daemon| match daemon.ended() {
            Some(how) => {
                ended.push((*part, daemon.failure(&how)));
                false
            }
            None => true,
        });
        ended
    }

    /// Asks the coordinator without stopping everything else meanwhile.
    pub async fn ask<T, F>(&self, question: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&Client) -> Result<T, Failure> + Send + 'static,
    {
        let client = self.client.clone();
        tokio::task::spawn_blocking(move || question(&client))
            .await
            .map_err(|error| Failure::failed(format!("the question was cut off: {error}")))?
    }

    /// While something is waited for: fails when a daemon ended or the time is over.
    fn go_on(&mut self, began: Boottime, within: Millis, seen: &str) -> Result<(), Failure> {
        if let Some((_, failure)) = self.reap().into_iter().next() {
            return Err(failure);
        }
        if clock::boottime().since(began) < within {
            return Ok(());
        }
        Err(Failure::new(
            crate::failure::Kind::Failed,
            format!("the fleet is not up after {within}: {seen}"),
            format!(
                "the logs are in {}",
                self.layout.dir().join("log").display()
            ),
        ))
    }
}
