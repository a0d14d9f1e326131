//! A whole fleet on one machine: coordinator, agents and watchdogs as separate processes that a
//! test may kill.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nodemedic_protocol::api::{JournalEntry, Liveness, NodeView, WorkView};
use nodemedic_protocol::local::{LocalRequest, LocalResponse};

use crate::api::{Api, ask_agent, http_get, whole_journal};
use crate::binary;
use crate::certs::Authority;
use crate::config::{agent_broker, coordinator_broker};
use crate::process::{Process, kill_all_under, print_tails};
use crate::wait::wait_for;

/// Long enough for a cold start of everything on a busy machine with two processors.
pub const START_BOUND: Duration = Duration::from_secs(40);

/// Which broker carries the messages.
pub enum Carrier {
    /// The coordinator's own.
    Embedded,
    /// The coordinator's own, with TLS and client certificates of this authority.
    EmbeddedTls(Box<Authority>),
    /// Another program on this loopback port.
    External(u16),
}

/// How a fleet begins.
pub struct Plan {
    /// How many nodes: `node-1` and so on.
    pub nodes: usize,
    /// The broker.
    pub carrier: Carrier,
    /// More text for coordinator.toml.
    pub coordinator_toml: String,
    /// More text for every agent.toml.
    pub agent_toml: String,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            nodes: 3,
            carrier: Carrier::Embedded,
            coordinator_toml: String::new(),
            agent_toml: String::new(),
        }
    }
}

/// The processes of one node.
#[derive(Default)]
struct Node {
    agent: Option<Process>,
    watchdog: Option<Process>,
    ledger_port: u16,
    web_port: u16,
}

/// A fleet in a folder of its own.
pub struct Fleet {
    dir: tempfile::TempDir,
    coordinator: Option<Process>,
    nodes: BTreeMap<String, Node>,
    /// The coordinator's API.
    pub api: Api,
    /// The broker's port.
    pub broker_port: u16,
}

/// A loopback port that was free a moment ago.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its number").port()
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("folder");
    std::fs::write(path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
}

impl Fleet {
    /// Writes the configurations and starts everything; returns when every node is alive.
    ///
    /// # Panics
    /// When that does not happen in time.
    #[must_use]
    pub fn start(plan: &Plan) -> Fleet {
        let dir = tempfile::Builder::new()
            .prefix("nodemedic-test-")
            .tempdir()
            .expect("a folder");
        let api_port = free_port();
        let (broker_port, broker_toml) = coordinator_broker(&plan.carrier);
        let coordinator = format!(
            "site = \"test\"\n[api]\nlisten = \"127.0.0.1:{api_port}\"\n[broker]\n{broker_toml}\n\
             [state]\ndirectory = \"{}\"\n[lease]\nterm = \"3s\"\n\
             [liveness]\nheartbeat = \"500ms\"\nreconnect_within = \"1s\"\n\
             suspect_after = \"1500ms\"\nlost_after = \"2500ms\"\nreturning_for = \"1s\"\n{}",
            dir.path().join("coordinator").display(),
            plan.coordinator_toml
        );
        write(&dir.path().join("coordinator.toml"), &coordinator);
        let mut fleet = Fleet {
            dir,
            coordinator: None,
            nodes: BTreeMap::new(),
            api: Api::new(api_port),
            broker_port,
        };
        fleet.start_coordinator();
        for number in 1..=plan.nodes {
            let name = format!("node-{number}");
            let node = Node {
                ledger_port: free_port(),
                web_port: free_port(),
                ..Node::default()
            };
            let broker = agent_broker(&plan.carrier, broker_port, &name);
            fleet.write_agent_config(&name, &node, &broker, &plan.agent_toml);
            fleet.nodes.insert(name.clone(), node);
            fleet.start_watchdog(&name);
            fleet.start_agent(&name);
        }
        fleet.wait_all_alive();
        fleet
    }

    fn write_agent_config(&self, name: &str, node: &Node, broker: &str, more: &str) {
        let dir = self.node_dir(name);
        let text = format!(
            "node = \"{name}\"\nsite = \"test\"\n[vars]\nledger_port = \"{}\"\nweb_port = \"{}\"\n\
             dir = \"{}\"\nshared = \"{}\"\n[broker]\n{broker}\n\
             [paths]\nstate = \"{}\"\nrun = \"{}\"\nlast_words = \"{}\"\n\
             [heartbeat]\ninterval = \"500ms\"\n[work]\nallow_command = true\n{more}",
            node.ledger_port,
            node.web_port,
            dir.display(),
            self.dir().display(),
            dir.join("state").display(),
            dir.join("run").display(),
            dir.join("watchdog/last-words").display(),
        );
        write(&dir.join("agent.toml"), &text);
        for folder in ["run", "watchdog"] {
            std::fs::create_dir_all(dir.join(folder)).expect("folder");
        }
    }

    /// The fleet's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// One node's folder.
    #[must_use]
    pub fn node_dir(&self, node: &str) -> PathBuf {
        self.dir.path().join(node)
    }

    /// Where all sample services of one work write their records.
    #[must_use]
    pub fn record(&self, work: &str) -> PathBuf {
        self.dir().join(format!("{work}.record"))
    }

    /// Names of all nodes.
    #[must_use]
    pub fn node_names(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    /// Starts the coordinator.
    pub fn start_coordinator(&mut self) {
        let mut command = Command::new(binary("nodemedic-coordinator"));
        command
            .arg("--config")
            .arg(self.dir().join("coordinator.toml"));
        let log = self.dir().join("coordinator.log");
        self.coordinator = Some(Process::start("coordinator", command, &log));
    }

    /// kill -9 of the coordinator (and of its embedded broker).
    pub fn kill9_coordinator(&mut self) {
        if let Some(process) = self.coordinator.take() {
            process.kill9();
        }
    }

    /// Starts one agent.
    pub fn start_agent(&mut self, node: &str) {
        let dir = self.node_dir(node);
        let mut command = Command::new(binary("nodemedic-agent"));
        command.arg("--config").arg(dir.join("agent.toml"));
        let process = Process::start(&format!("agent {node}"), command, &dir.join("agent.log"));
        self.node_mut(node).agent = Some(process);
    }

    /// Starts one watchdog.
    pub fn start_watchdog(&mut self, node: &str) {
        let dir = self.node_dir(node);
        let mut command = Command::new(binary("nodemedic-watchdog"));
        command.arg("--socket").arg(dir.join("run/watchdog.sock"));
        command.args(["--no-device", "--timeout", "1s", "--state"]);
        command.arg(dir.join("watchdog"));
        let log = dir.join("watchdog.log");
        let process = Process::start(&format!("watchdog {node}"), command, &log);
        self.node_mut(node).watchdog = Some(process);
    }

    /// kill -9 of one agent; its works and its watchdog go on.
    pub fn kill9_agent(&mut self, node: &str) {
        if let Some(process) = self.node_mut(node).agent.take() {
            process.kill9();
        }
    }

    /// kill -9 of one watchdog.
    pub fn kill9_watchdog(&mut self, node: &str) {
        if let Some(process) = self.node_mut(node).watchdog.take() {
            process.kill9();
        }
    }

    /// The running agent of a node.
    ///
    /// # Panics
    /// When it was killed.
    #[must_use]
    pub fn agent(&self, node: &str) -> &Process {
        self.nodes[node].agent.as_ref().expect("the agent runs")
    }

    fn node_mut(&mut self, node: &str) -> &mut Node {
        self.nodes
            .get_mut(node)
            .unwrap_or_else(|| panic!("no node {node}"))
    }

    /// Whether so many nodes are alive in the coordinator's eyes.
    ///
    /// # Errors
    /// Names what each node is instead.
    pub fn api_alive(&self, wanted: usize) -> Result<(), String> {
        let nodes: Vec<NodeView> = self.api.get("/api/v1/nodes")?;
        let alive = nodes
            .iter()
            .filter(|n| n.liveness == Liveness::Alive)
            .count();
        if alive == wanted {
            return Ok(());
        }
        let mut seen = String::from("nodes:");
        for node in &nodes {
            let _ = write!(seen, " {}={}", node.node, node.liveness);
        }
        Err(seen)
    }

    /// Waits until every node is alive in the coordinator's eyes.
    pub fn wait_all_alive(&self) {
        let wanted = self.nodes.len();
        wait_for("every node is alive", START_BOUND, || {
            self.api_alive(wanted)
        });
    }

    /// One work as the coordinator sees it.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn work(&self, name: &str) -> Result<WorkView, String> {
        let works: Vec<WorkView> = self.api.get("/api/v1/work")?;
        works
            .into_iter()
            .find(|w| w.spec.name.as_str() == name)
            .ok_or_else(|| format!("no work {name}"))
    }

    /// The whole journal.
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn journal(&self) -> Result<Vec<JournalEntry>, String> {
        whole_journal(&self.api)
    }

    /// How many events an agent still holds for the coordinator.
    ///
    /// # Panics
    /// When the agent does not answer.
    #[must_use]
    pub fn spooled_events(&self, node: &str) -> u64 {
        let socket = self.node_dir(node).join("run/agent.sock");
        match ask_agent(&socket, &LocalRequest::Status) {
            Ok(LocalResponse::Status(status)) => status.link.spooled_events,
            other => panic!("{node}: {other:?}"),
        }
    }

    /// Where the sample service of one work answers on one node.
    #[must_use]
    pub fn url(&self, node: &str, work: &str) -> String {
        let ports = &self.nodes[node];
        let port = if work == "ledger" {
            ports.ledger_port
        } else {
            ports.web_port
        };
        format!("http://127.0.0.1:{port}/")
    }

    /// What the sample service of one work says on one node, asked directly.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ask(&self, node: &str, work: &str) -> Result<serde_json::Value, String> {
        let (status, body) = http_get(&self.url(node, work))?;
        if status != 200 {
            return Err(format!("status {status}"));
        }
        serde_json::from_str(&body).map_err(|e| format!("{e}: {body}"))
    }

    /// The nodes on which a work answers now, with what each said.
    #[must_use]
    pub fn answering(&self, work: &str) -> BTreeMap<String, serde_json::Value> {
        self.nodes
            .keys()
            .filter_map(|node| Some((node.clone(), self.ask(node, work).ok()?)))
            .collect()
    }

    /// Waits until the ledger answers on one node and web on two.
    pub fn wait_placed(&self) {
        wait_for("ledger on one node, web on two", START_BOUND, || {
            let (ledger, web) = (self.answering("ledger"), self.answering("web"));
            if ledger.len() == 1 && web.len() == 2 {
                return Ok(());
            }
            Err(format!(
                "ledger on {:?}, web on {:?}",
                ledger.keys(),
                web.keys()
            ))
        });
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_logs();
        }
        self.nodes.clear();
        self.coordinator = None;
        kill_all_under(self.dir.path());
    }
}

impl Fleet {
    /// The end of every log, for the reader of a failed test.
    fn print_logs(&self) {
        let mut logs = vec![self.dir().join("coordinator.log")];
        for node in self.nodes.keys() {
            logs.push(self.node_dir(node).join("agent.log"));
            logs.push(self.node_dir(node).join("watchdog.log"));
        }
        print_tails(&logs);
    }
}
