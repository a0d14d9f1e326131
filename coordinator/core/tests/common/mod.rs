//! A small fleet on virtual time around the coordinator core: nodes, a store that holds only what
//! was committed, a receiver of alerts, and the properties that must hold at every step.
#![expect(dead_code, reason = "each test file uses a part of this")]

pub mod fence;
pub mod node;

use std::collections::BTreeMap;

use node::FakeNode;
use nodemedic_coordinator_core::{
    Coordinator, Effect, Input, Refused, Request, RequestId, Settings,
};
use nodemedic_coordinator_core::{NotifyFailure, NotifyId, Stored, Write};
use nodemedic_protocol::api::{
    Accepted, AlertState, Decision, JournalEntry, JournalWhat, Liveness,
};
use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::message::Message;
use nodemedic_protocol::work::{OnLeaseLoss, Run, Sharing, WorkSpec};
use nodemedic_protocol::{
    Boottime, Epoch, Generation, Millis, NodeId, Now, Severity, SiteId, WallTime, WorkName,
};

pub const STEP_MS: u64 = 500;

pub struct World {
    pub now: Now,
    pub settings: Settings,
    pub core: Option<Coordinator>,
    pub store: Stored,
    pub nodes: BTreeMap<String, FakeNode>,
    pub journal: Vec<JournalEntry>,
    pub told: Vec<(String, AlertState)>,
    pub receiver_fails: bool,
    pub log: Vec<String>,
    pub answers: BTreeMap<u64, Result<Accepted, Refused>>,
    /// Effects done so far, and the number of the one before which the coordinator dies.
    pub effects: u64,
    pub crash_at: Option<u64>,
    pub power: fence::Power,
    /// Nodes that are heard and do not hear.
    pub deaf: std::collections::BTreeSet<String>,
    /// What all nodes say takes so long.
    pub slow: Millis,
    under_way: std::collections::VecDeque<(Boottime, String, Message)>,
    open: Vec<Write>,
    to_nodes: Vec<(NodeId, Message)>,
    notifies: Vec<NotifyId>,
    requests: u64,
}

pub fn settings() -> Settings {
    let mut settings = Settings::new(SiteId::new("test").unwrap(), "0");
    settings.alerts.receivers = vec!["page".into()];
    settings
}

pub fn work(name: &str, sharing: Sharing) -> WorkSpec {
    WorkSpec {
        name: WorkName::new(name).unwrap(),
        sharing,
        run: Run::Command {
            start: vec!["/bin/work".into()],
            stop: vec![],
            environment: BTreeMap::new(),
        },
        probes: Vec::new(),
        priority: 0,
        needs: Capacity::default(),
        node_labels: BTreeMap::new(),
        start_grace: Millis::from_secs(30),
        stop_grace: Millis::from_secs(5),
    }
}

pub fn exclusive(name: &str) -> WorkSpec {
    let on_lease_loss = OnLeaseLoss::Stop;
    work(name, Sharing::Exclusive { on_lease_loss })
}

pub fn replicated(name: &str, replicas: u16) -> WorkSpec {
    work(name, Sharing::Replicated { replicas })
}

pub fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

impl World {
    pub fn new(nodes: &[&str]) -> World {
        World::with(nodes, settings())
    }

    pub fn with(nodes: &[&str], settings: Settings) -> World {
        let now = Now {
            boot: Boottime(1_000_000),
            wall: WallTime(1_800_000_000_000),
        };
        let mut world = World {
            now,
            settings,
            core: None,
            store: Stored::default(),
            nodes: BTreeMap::new(),
            journal: Vec::new(),
            told: Vec::new(),
            receiver_fails: false,
            log: Vec::new(),
            answers: BTreeMap::new(),
            effects: 0,
            crash_at: None,
            power: fence::Power::default(),
            deaf: std::collections::BTreeSet::new(),
            slow: Millis::ZERO,
            under_way: std::collections::VecDeque::new(),
            open: Vec::new(),
            to_nodes: Vec::new(),
            notifies: Vec::new(),
            requests: 0,
        };
        for name in nodes {
            let mut node = FakeNode::new(name);
            node.say_birth(now);
            world.nodes.insert((*name).into(), node);
        }
        world.start();
        world
    }

    /// A coordinator starts from what is stored: the edge raises the epoch first.
    pub fn start(&mut self) {
        self.store.epoch = self.store.epoch.next();
        let seed = self.store.epoch.0;
        let core = Coordinator::new(self.settings.clone(), self.store.clone(), self.now, seed);
        self.core = Some(core);
        self.drain_effects();
        self.input(Input::LinkUp);
    }

    pub fn kill(&mut self) {
        self.core = None;
        self.open.clear();
        self.notifies.clear();
    }

    pub fn core(&self) -> &Coordinator {
        self.core.as_ref().unwrap()
    }

    pub fn input(&mut self, input: Input) {
        if let Some(core) = &mut self.core {
            core.handle(self.now, input);
            self.drain_effects();
        }
    }

    fn drain_effects(&mut self) {
        while let Some(effect) = self.core.as_mut().and_then(Coordinator::poll_effect) {
            if self.crash_at == Some(self.effects) {
                self.crash_at = None;
                self.kill();
                return;
            }
            self.effects += 1;
            match effect {
                Effect::Store(write) => {
                    self.open.push(*write);
                    continue;
                }
                other => {
                    self.commit();
                    self.perform(other);
                }
            }
        }
        self.commit();
    }

    fn commit(&mut self) {
        for write in std::mem::take(&mut self.open) {
            if let Write::Journal(entry) = &write {
                assert_eq!(
                    entry.number,
                    self.journal.len() as u64 + 1,
                    "a gap in the journal"
                );
                self.journal.push(entry.clone());
            }
            self.store.apply(write);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Store(_) => unreachable!("stores are collected"),
            Effect::Send { node, message } => self.to_nodes.push((node, *message)),
            Effect::Notify { id, body, .. } => {
                if !self.receiver_fails {
                    self.told.push((body.alert.key, body.alert.state));
                }
                self.notifies.push(id);
            }
            Effect::Fence(call) => {
                for device in self.settings.fencing.devices.keys() {
                    for (node, fencing) in &self.settings.fencing.nodes {
                        if fencing.levels.iter().flatten().any(|d| d == device) {
                            let plug = (device.to_string(), node.to_string());
                            self.power.plugs.entry(plug).or_insert(true);
                        }
                    }
                }
                let epoch = self.core.as_ref().unwrap().epoch();
                self.power.ask(self.now.boot, epoch, call);
            }
            Effect::Answer { id, result } => {
                self.answers.insert(id.0, result);
            }
            Effect::Log { text, .. } => self.log.push(text),
        }
    }

    pub fn ask(&mut self, request: Request) -> Result<Accepted, Refused> {
        self.try_ask(request).expect("every request is answered")
    }

    /// No answer comes when the coordinator dies over it.
    pub fn try_ask(&mut self, request: Request) -> Option<Result<Accepted, Refused>> {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.input(Input::Request { id, request });
        self.answers.remove(&self.requests)
    }

    pub fn put(&mut self, works: &[WorkSpec]) {
        let works = works.to_vec();
        self.ask(Request::PutWork { works })
            .expect("the works are valid");
    }

    pub fn message(&mut self, node: &str, message: Message, retained: bool) {
        let (node, message) = (id(node), Box::new(message));
        self.input(Input::Message {
            node,
            message,
            retained,
        });
    }

    /// Half a second passes everywhere.
    pub fn step(&mut self) {
        self.now.boot = self.now.boot + Millis(STEP_MS);
        self.now.wall.0 += STEP_MS;
        for notify in std::mem::take(&mut self.notifies) {
            let result = if self.receiver_fails {
                Err(NotifyFailure {
                    permanent: false,
                    text: "connection refused".into(),
                })
            } else {
                Ok(())
            };
            self.input(Input::Notified { id: notify, result });
        }
        self.pulse();
        let mut said = Vec::new();
        for node in self.nodes.values_mut() {
            let words = node.tick(self.now);
            if node.connected {
                said.extend(words.into_iter().map(|m| (node.name.to_string(), m)));
            }
        }
        let due = self.now.boot + self.slow;
        let sent = said.into_iter().map(|(node, m)| (due, node, m));
        self.under_way.extend(sent);
        while let Some((_, node, message)) = self
            .under_way
            .pop_front_if(|(due, ..)| *due <= self.now.boot)
        {
            self.message(&node, message, false);
        }
        if self.core.as_ref().is_some_and(|core| {
            core.poll_timeout()
                .is_some_and(|(at, _)| at <= self.now.boot)
        }) {
            self.input(Input::Timer);
            let next = self.core.as_ref().and_then(|c| c.poll_timeout());
            assert!(
                next.is_none_or(|(at, _)| at > self.now.boot),
                "a timer that is never done"
            );
        }
        for (name, message) in std::mem::take(&mut self.to_nodes) {
            let node = self.nodes.get_mut(name.as_str()).unwrap();
            if node.connected && node.up && !self.deaf.contains(name.as_str()) {
                node.take(self.now, message);
            }
        }
        self.check();
    }

    /// What was asked of fence devices is done, also for a coordinator that is no more.
    fn pulse(&mut self) {
        for pulse in self.power.pass(self.now.boot) {
            match pulse {
                fence::Pulse::Off(node) => self.nodes.get_mut(&node).unwrap().up = false,
                fence::Pulse::On(node) => {
                    let now = self.now;
                    self.nodes.get_mut(&node).unwrap().reboot(now);
                }
                fence::Pulse::Answer(epoch, id, answer) => {
                    if self.core.as_ref().is_some_and(|core| core.epoch() == epoch) {
                        self.input(Input::Fenced { id, answer });
                    }
                }
            }
        }
    }

    pub fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 1000 / STEP_MS {
            self.step();
        }
    }

    /// Runs until it is so, within a bound; says how long it took.
    pub fn until(&mut self, what: &str, seconds: u64, so: impl Fn(&World) -> bool) -> u64 {
        let began = self.now.boot;
        while !so(self) {
            let waited = self.now.boot.since(began).0;
            assert!(
                waited < seconds * 1000,
                "not within {seconds} s: {what}\n{}",
                self.tell()
            );
            self.step();
        }
        self.now.boot.since(began).0 / 1000
    }

    pub fn holders(&self, work: &str) -> Vec<&str> {
        let nodes = self.nodes.iter().filter(|(_, node)| node.runs(work));
        nodes.map(|(name, _)| name.as_str()).collect()
    }

    pub fn serving(&self, work: &str) -> usize {
        let view = self.core().works_view(self.now);
        let view = view.iter().find(|w| w.spec.name.as_str() == work);
        view.map_or(0, |v| v.running as usize)
    }

    /// Goes on, and starts the coordinator again whenever it has died.
    pub fn live(&mut self, seconds: u64) {
        for _ in 0..seconds * 2 {
            if self.core.is_none() {
                self.run(2);
                self.start();
            }
            self.step();
        }
    }

    pub fn liveness(&self, node: &str) -> Liveness {
        self.core().node_view(self.now, &id(node)).unwrap().liveness
    }

    pub fn decisions(&self) -> impl Iterator<Item = &Decision> {
        self.journal.iter().filter_map(|entry| match &entry.what {
            JournalWhat::Coordinator(decision) => Some(decision),
            JournalWhat::Node(_) => None,
        })
    }

    pub fn open_alerts(&self) -> Vec<(String, Severity)> {
        let alerts = self.core().alerts_view().into_iter();
        alerts
            .filter(|a| a.state == AlertState::Firing)
            .map(|a| (a.key, a.severity))
            .collect()
    }

    pub fn tell(&self) -> String {
        let journal: Vec<String> = self
            .journal
            .iter()
            .map(|e| format!("{:?}", e.what))
            .collect();
        let works = self.core.as_ref().map(|c| c.works_view(self.now));
        format!("{}\n{works:#?}", journal.join("\n"))
    }

    /// What must hold at every step.
    fn check(&self) {
        let mut exclusive: BTreeMap<&WorkName, Vec<&str>> = BTreeMap::new();
        for (name, node) in self.nodes.iter().filter(|(_, n)| n.up) {
            for (work, held) in &node.works {
                let one = matches!(held.assigned.spec.sharing, Sharing::Exclusive { .. });
                // Starting without a lease runs nothing yet.
                let runs = !held.state.is_stopped()
                    && held.state != nodemedic_protocol::work::WorkState::Starting;
                if one && runs {
                    exclusive.entry(work).or_default().push(name);
                }
            }
        }
        for (work, nodes) in exclusive {
            assert!(
                nodes.len() < 2,
                "{work} runs on {nodes:?} at once\n{}",
                self.tell()
            );
        }
        let mut highest: BTreeMap<&WorkName, Generation> = BTreeMap::new();
        let mut unended: BTreeMap<&WorkName, usize> = BTreeMap::new();
        for decision in self.decisions() {
            match decision {
                Decision::Granted {
                    work, generation, ..
                } => {
                    let before = highest.insert(work, *generation);
                    assert!(
                        before.is_none_or(|b| b < *generation),
                        "{work} {generation}"
                    );
                    let open = unended.entry(work).or_default();
                    *open += 1;
                    let one = self
                        .store
                        .works
                        .get(work)
                        .is_some_and(|spec| matches!(spec.sharing, Sharing::Exclusive { .. }));
                    assert!(!one || *open < 2, "{work} has two un-ended grants");
                }
                Decision::Ended { work, .. } => *unended.entry(work).or_default() -= 1,
                _ => {}
            }
        }
    }

    pub fn epoch(&self) -> Epoch {
        self.core().epoch()
    }
}
