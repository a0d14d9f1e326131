//! Three hosts, a broker and a coordinator, each a machine of its own on one switch, with works
//! that write down when they run. A test breaks what it likes; the [`Book`] says what was so.

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use nodemedic_protocol::api::{
    BrakeState, JournalEntry, Liveness, NodeView, Scheduling, StatusView, WorkView,
};
use nodemedic_protocol::work::Enforcement;

use crate::api::{Api, whole_journal};
use crate::binary;
use crate::book::{Book, Instance};
use crate::broker::Mosquitto;
use crate::machine::Machine;
use crate::netns::{self, Net};
use crate::picture::picture;
use crate::process::{Process, print_tails};
use crate::terms::{Terms, WORKS, works_toml};
use crate::wait::wait_for;

/// Everything cold on a busy machine, or everything back after the worst: clients wait for up to
/// 10 s between two tries to reach their broker, and a try may hang for 5 s. A storm brake and a
/// resume grace come on top.
const SETTLE_BOUND: Duration = Duration::from_secs(60);

/// The kernel ends a killed process within thousandths of a second.
const DEATH_BOUND: Duration = Duration::from_secs(10);

const API_PORT: u16 = 7780;
const BROKER_PORT: u16 = 1883;

/// The hosts' names.
pub const HOSTS: [&str; 3] = ["host-1", "host-2", "host-3"];

/// One of our two programs on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The agent.
    Agent,
    /// The watchdog.
    Watchdog,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Part::Agent => "agent",
            Part::Watchdog => "watchdog",
        }
    }
}

/// The whole played site. Dropping it ends everything and removes every trace.
pub struct Realm {
    /// How long things take in it.
    pub terms: Terms,
    /// The coordinator's API.
    pub api: Api,
    /// The broker.
    pub broker: Mosquitto,
    coordinator: Option<Process>,
    machines: BTreeMap<String, Machine>,
    book: RefCell<Book>,
    dir: tempfile::TempDir,
    /// The switch; after all that uses it.
    pub net: Net,
}

impl Realm {
    /// Starts everything; returns when all is well.
    ///
    /// # Panics
    /// When that does not happen in time.
    #[must_use]
    pub fn start(terms: Terms) -> Realm {
        let dir = tempfile::Builder::new()
            .prefix("nodemedic-realm-")
            .tempdir();
        let dir = dir.expect("a folder");
        let members = [HOSTS.as_slice(), &["broker", "coordinator"]].concat();
        let net = Net::new(&members);
        let at = (net.address("broker"), BROKER_PORT);
        let broker = Mosquitto::start_at(dir.path(), at, Some(net.namespace("broker")), "");
        let api = Api::in_namespace(net.namespace("coordinator"), API_PORT);
        let log = dir.path().join("works.log");
        let mut realm = Realm {
            terms,
            api,
            broker,
            coordinator: None,
            machines: BTreeMap::new(),
            book: RefCell::new(Book::new(&log)),
            dir,
            net,
        };
        realm.write_coordinator(&log);
        realm.start_coordinator();
        for host in HOSTS {
            realm.write_agent(host);
            let init_log = realm.host_dir(host).join("init.log");
            let machine = Machine::new(realm.net.namespace(host), init_log);
            realm.machines.insert(host.to_owned(), machine);
            realm.boot(host);
        }
        realm.settle();
        realm
    }

    fn broker_toml(&self) -> String {
        let address = self.net.address("broker");
        format!("[broker]\nurl = \"mqtt://{address}:{BROKER_PORT}\"\nallow_plaintext = true\n")
    }

    fn write_coordinator(&self, works_log: &Path) {
        let text = format!(
            "site = \"test\"\n[api]\nlisten = \"127.0.0.1:{API_PORT}\"\n{}\
             [state]\ndirectory = \"{}\"\n{}{}",
            self.broker_toml(),
            self.dir.path().join("coordinator").display(),
            self.terms.coordinator_toml(),
            works_toml(&binary("nodemedic-test-work"), works_log, &self.terms),
        );
        write(&self.dir.path().join("coordinator.toml"), &text);
    }

    fn write_agent(&self, host: &str) {
        let dir = self.host_dir(host);
        let text = format!(
            "node = \"{host}\"\nsite = \"test\"\n{}[paths]\nstate = \"{}\"\nrun = \"{}\"\n\
             last_words = \"{}\"\n[work]\nallow_command = true\n{}",
            self.broker_toml(),
            dir.join("state").display(),
            dir.join("run").display(),
            dir.join("watchdog/last-words").display(),
            self.terms.agent_toml(),
        );
        write(&dir.join("agent.toml"), &text);
    }

    fn host_dir(&self, host: &str) -> PathBuf {
        self.dir.path().join(host)
    }

    fn machine(&mut self, host: &str) -> &mut Machine {
        let machine = self.machines.get_mut(host);
        machine.unwrap_or_else(|| panic!("no host {host}"))
    }

    /// Turns a host on, and starts its watchdog and its agent as its service manager would.
    pub fn boot(&mut self, host: &str) {
        let run = self.host_dir(host).join("run");
        // What a real host keeps in memory is gone after a reboot.
        let _ = std::fs::remove_dir_all(&run);
        std::fs::create_dir_all(&run).expect("a folder");
        std::fs::create_dir_all(self.host_dir(host).join("watchdog")).expect("a folder");
        self.machine(host).power_on();
        self.start_part(host, Part::Watchdog);
        self.start_part(host, Part::Agent);
    }

    /// Pulls a host's plug.
    pub fn cut_power(&mut self, host: &str) {
        self.machine(host).cut_power();
    }

    /// Whether a host has power.
    #[must_use]
    pub fn is_on(&self, host: &str) -> bool {
        self.machines[host].is_on()
    }

    /// Starts one of our programs on a host.
    pub fn start_part(&mut self, host: &str, part: Part) {
        let dir = self.host_dir(host);
        let socket = dir.join("run/watchdog.sock").display().to_string();
        let config = dir.join("agent.toml").display().to_string();
        let timeout = format!("{}ms", self.terms.watchdog_ms);
        let state = dir.join("watchdog").display().to_string();
        let (program, words) = match part {
            Part::Agent => ("nodemedic-agent", vec!["--config", &config]),
            Part::Watchdog => (
                "nodemedic-watchdog",
                vec![
                    "--no-device",
                    "--socket",
                    &socket,
                    "--timeout",
                    &timeout,
                    "--state",
                    &state,
                ],
            ),
        };
        let log = dir.join(format!("{}.log", part.name()));
        self.machine(host)
            .start(part.name(), &log, &binary(program), &words);
    }

    /// What a service manager would do: starts what does not run on a host that has power.
    pub fn tend(&mut self, host: &str) {
        for part in [Part::Watchdog, Part::Agent] {
            if self.is_on(host) && !self.runs(host, part) {
                self.start_part(host, part);
            }
        }
    }

    /// Sends a signal to one of our programs on a host.
    pub fn signal(&mut self, host: &str, part: Part, signal: Signal) {
        self.machine(host).signal(part.name(), signal);
    }

    /// kill -9 of one of our programs on a host; returns when it is dead.
    pub fn kill9(&mut self, host: &str, part: Part) {
        self.signal(host, part, Signal::SIGKILL);
        wait_for("it is dead", DEATH_BOUND, || {
            let lives = self.runs(host, part);
            if lives {
                Err("not yet".to_owned())
            } else {
                Ok(())
            }
        });
    }

    /// Whether one of our programs exists on a host, be it frozen.
    pub fn runs(&mut self, host: &str, part: Part) -> bool {
        self.machine(host).runs(part.name())
    }

    /// Sends a signal to a work's process.
    pub fn signal_work(&mut self, instance: &Instance, signal: Signal) {
        self.machine(&instance.node)
            .signal_process(instance.pid(), signal);
    }

    /// Starts the coordinator.
    pub fn start_coordinator(&mut self) {
        let namespace = self.net.namespace("coordinator");
        let mut command = netns::command(&namespace, &binary("nodemedic-coordinator"));
        command
            .arg("--config")
            .arg(self.dir.path().join("coordinator.toml"));
        let log = self.dir.path().join("coordinator.log");
        self.coordinator = Some(Process::start("coordinator", command, &log));
    }

    /// kill -9 of the coordinator.
    pub fn kill9_coordinator(&mut self) {
        if let Some(process) = self.coordinator.take() {
            process.kill9();
        }
    }

    /// What the works wrote, read to its present end.
    pub fn book(&self) -> Ref<'_, Book> {
        self.book.borrow_mut().read();
        self.book.borrow()
    }

    /// The living instances of a work.
    pub fn living(&self, work: &str) -> Vec<Instance> {
        self.book().living(work).into_iter().cloned().collect()
    }

    /// The one living instance of an exclusive work.
    ///
    /// # Panics
    /// When there is none, or more than one.
    pub fn holder(&self, work: &str) -> Instance {
        let mut living = self.living(work);
        assert_eq!(living.len(), 1, "{work}: {living:?}");
        living.remove(0)
    }

    /// The living instances of exclusive works on a host.
    pub fn exclusive_on(&self, host: &str) -> Vec<Instance> {
        let works = WORKS.iter().filter(|work| work.exclusive());
        let living = works.flat_map(|work| self.living(work.name));
        living.filter(|instance| instance.node == host).collect()
    }

    /// The coordinator's journal.
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn journal(&self) -> Result<Vec<JournalEntry>, String> {
        whole_journal(&self.api)
    }

    /// One node as the coordinator sees it.
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn node(&self, host: &str) -> Result<NodeView, String> {
        self.api.get(&format!("/api/v1/nodes/{host}"))
    }

    /// Whether all is well: in the coordinator's eyes, and by the works' own words.
    ///
    /// # Errors
    /// What is not.
    pub fn settled(&self) -> Result<(), String> {
        for work in WORKS {
            let living = self.living(work.name);
            if living.len() != work.wanted() {
                return Err(format!("{} lives as {living:?}", work.name));
            }
        }
        let status: StatusView = self.api.get("/api/v1/status")?;
        if status.resume_grace_left.0 > 0 {
            return Err(format!("{} of the resume grace", status.resume_grace_left));
        }
        if status.brake.state != BrakeState::Off {
            return Err(format!("the storm brake: {:?}", status.brake));
        }
        let nodes: Vec<NodeView> = self.api.get("/api/v1/nodes")?;
        let well = nodes.iter().filter(|n| {
            n.liveness == Liveness::Alive
                && n.scheduling == Scheduling::Open
                && matches!(n.enforcement, Enforcement::Software { .. })
        });
        if well.count() != HOSTS.len() {
            let seen = nodes.iter().map(|n| {
                let (life, open) = (n.liveness, &n.scheduling);
                format!("{}: {life}, {open:?}, {:?}", n.node, n.enforcement)
            });
            return Err(seen.collect::<Vec<_>>().join("; "));
        }
        let works: Vec<WorkView> = self.api.get("/api/v1/work")?;
        for view in &works {
            let moving = view.holders.iter().any(|holder| holder.releasing);
            let many = view.holders.len() != view.wanted as usize;
            if view.running != view.wanted || moving || many {
                return Err(format!("{:?} {:?}", view.holders, view.waiting));
            }
        }
        Ok(())
    }

    /// Waits until all is well again; says how long that took.
    pub fn settle(&self) -> Duration {
        let look = || self.settled().map_err(|e| e + "\n" + &picture(&self.api));
        let brake = Duration::from_millis(self.terms.brake_hold_ms);
        let bound = SETTLE_BOUND + self.terms.safe_time() + brake;
        wait_for("all is well", bound, look).1
    }

    /// Proves from the works' own words that no exclusive work ever had two holders.
    pub fn prove(&self) {
        let book = self.book();
        for work in WORKS.iter().filter(|work| work.exclusive()) {
            book.no_two_holders(work.name);
        }
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    std::fs::write(path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
}

impl Drop for Realm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut logs = vec![self.dir.path().join("coordinator.log")];
            for host in HOSTS {
                let of_host = |name: &str| self.host_dir(host).join(name);
                logs.extend(["init.log", "watchdog.log", "agent.log"].map(of_host));
            }
            print_tails(&logs);
        }
    }
}
