//! The real agent on a disk that refuses new events: none leaves before it is durable, so that no
//! number ever stands for two events.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is the error message of a test, in its helpers too"
)]

#[path = "../../edge/src/mqtt/tests/broker.rs"]
#[expect(dead_code, reason = "not every test of a broker kills it")]
mod broker;
mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use nodemedic_agent_host::spool::Spool;
use nodemedic_edge::mqtt::{self, LinkConfig, LinkEvent, LinkSender};
// The broker's file names it so.
use nodemedic_edge::files;
use nodemedic_protocol::event::{Event, EventKind};
use nodemedic_protocol::message::Message;
use nodemedic_protocol::topic::Topic;
use nodemedic_protocol::{BootId, Boottime, Component, Millis, Seq, SiteId, WallTime};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use broker::Broker;

/// Far beyond what a loaded machine needs; a test that gets here has failed.
const BOUND: Duration = Duration::from_secs(60);

/// Enough that the spool is longer than anything else that the agent writes.
const EARLIER: u64 = 60;

/// A repetition comes once in fifteen seconds at the most, the disk is tried again after one.
const TRIES: usize = 4;

struct Site {
    broker: Broker,
    dir: tempfile::TempDir,
    agent: Child,
    _sender: LinkSender,
    heard: Receiver<LinkEvent>,
    /// Every event that ever left, by its number.
    events: BTreeMap<Seq, Event>,
    heartbeats: usize,
    /// How often the first event arrived: the outbox repeats from it on.
    firsts: usize,
}

impl Site {
    fn new() -> Site {
        let broker = Broker::start();
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let text = format!(
            "node = \"n1\"\nsite = \"test\"\n[paths]\nstate = \"{at}/state\"\nrun = \"{at}/run\"\n\
             last_words = \"{at}/last-words\"\n[heartbeat]\ninterval = \"500ms\"\n\
             [broker]\nurl = \"mqtt://127.0.0.1:{}\"\n",
            broker.port
        );
        files::write_atomic(&dir.path().join("agent.toml"), text.as_bytes(), 0o644).unwrap();
        let (mut spool, _, _) = Spool::open(&dir.path().join("state")).unwrap();
        for seq in 1..=EARLIER {
            spool.append(&earlier(seq)).unwrap();
        }
        let (sender, heard) = mqtt::start(LinkConfig {
            client_id: "listener".into(),
            host: "127.0.0.1".into(),
            port: broker.port,
            tls: None,
            credentials: None,
            will: None,
            subscriptions: vec!["nodemedic/#".into()],
            keep_alive_s: 5,
            session_expiry_s: 300,
            backoff_first: Millis(50),
            backoff_max: Millis(500),
            seed: 1,
        });
        let agent = spawn(dir.path());
        Site {
            broker,
            dir,
            agent,
            _sender: sender,
            heard,
            events: BTreeMap::new(),
            heartbeats: 0,
            firsts: 0,
        }
    }

    /// Its disk has refused three events; gives the newest number before them.
    async fn with_refused_events() -> (Site, Seq) {
        let mut site = Site::new();
        let durable = begun(&mut site, Seq(1)).await;
        site.refuse_three().await;
        (site, durable)
    }

    async fn refuse_three(&mut self) {
        let refused = |site: &Site| site.log().matches("kept in memory and not sent").count();
        let before = refused(self);
        self.disk_is_full(true);
        self.reload().await;
        self.until("it does not say so", |site| refused(site) > before)
            .await;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.agent)
    }

    /// Takes what the agent sends until this is so. No number may stand for two events.
    async fn until(&mut self, what: &str, is: impl Fn(&Site) -> bool) {
        let site: SiteId = SiteId::new("test").unwrap();
        let listening = async {
            while !is(self) {
                let next = timeout(Duration::from_millis(20), self.heard.recv()).await;
                let Ok(Some(LinkEvent::Message { topic, payload, .. })) = next else {
                    continue;
                };
                let topic = Topic::parse(&site, &topic).unwrap();
                match Message::decode(&topic, &payload) {
                    Ok(Message::Event(batch)) => {
                        for event in batch.events {
                            self.firsts += usize::from(event.seq == Seq(1));
                            let known = self.events.entry(event.seq).or_insert(event.clone());
                            assert_eq!(*known, event, "one number for two events");
                        }
                    }
                    Ok(Message::Heartbeat(_)) => self.heartbeats += 1,
                    _ => {}
                }
            }
        };
        if timeout(BOUND, listening).await.is_err() {
            panic!("{what}\n{}", self.log());
        }
    }

    /// Such events of this number or above left.
    fn left(&self, from: Seq, kind: impl Fn(&EventKind) -> bool) -> usize {
        let newer = self.events.range(from..);
        newer.filter(|(_, event)| kind(&event.kind)).count()
    }

    fn newest(&self) -> Seq {
        self.events.last_key_value().map_or(Seq(0), |(seq, _)| *seq)
    }

    /// No file of the agent may become longer than the spool is now; or all may again.
    fn disk_is_full(&self, full: bool) {
        let spool = std::fs::metadata(self.path("state/events")).unwrap().len();
        let limit = Rlimit {
            current: full.then_some(spool),
            maximum: None,
        };
        prlimit(Some(self.pid()), Resource::Fsize, limit).unwrap();
    }

    /// Three events, one after the other.
    async fn reload(&mut self) {
        for _ in 0..3 {
            let reloads = |site: &Site| site.log().matches("was read again").count();
            let before = reloads(self);
            kill_process(self.pid(), Signal::HUP).unwrap();
            self.until("it does not read again", |site| reloads(site) > before)
                .await;
        }
    }

    fn again(&mut self) {
        self.agent.kill().unwrap();
        self.agent.wait().unwrap();
        self.agent = spawn(self.dir.path());
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
        self.broker.kill();
    }
}

fn earlier(seq: u64) -> Event {
    Event {
        seq: Seq(seq),
        boot_id: BootId::new("boot-before").unwrap(),
        at: Boottime(seq),
        wall: WallTime(seq),
        component: Component::Host,
        kind: EventKind::AgentStopping {
            reason: "x".repeat(2_000),
        },
    }
}

/// A write beyond the limit on file sizes is to fail, as on a full disk, and not to kill.
fn spawn(dir: &Path) -> Child {
    let script = "trap '' XFSZ; exec \"$0\" \"$@\"";
    common::spawn(&["/bin/sh", "-c", script, common::AGENT], dir)
}

const fn is_start(kind: &EventKind) -> bool {
    matches!(kind, EventKind::AgentStarted { .. })
}

const fn is_reload(kind: &EventKind) -> bool {
    matches!(kind, EventKind::ConfigReloaded)
}

/// Waits for the word of a start, numbered `from` or above; gives the newest number that left.
async fn begun(site: &mut Site, from: Seq) -> Seq {
    site.until("it does not begin", |site| site.left(from, is_start) == 1)
        .await;
    site.newest()
}

#[tokio::test]
async fn an_event_that_is_not_durable_is_not_sent_and_its_number_may_come_again() {
    let (mut site, durable) = Site::with_refused_events().await;
    let heartbeats = site.heartbeats;
    site.until("heartbeats do not go on", |site| {
        site.heartbeats > heartbeats + 2
    })
    .await;
    assert_eq!(site.newest(), durable, "what left might come again");
    site.again();
    // The number of the first refused one, now of the new start; the listener would see both.
    begun(&mut site, durable.next()).await;
    assert_eq!(site.left(Seq(1), is_reload), 0);
}

#[tokio::test]
async fn what_a_full_disk_refused_is_written_in_order_once_there_is_room() {
    let (mut site, durable) = Site::with_refused_events().await;
    site.disk_is_full(false);
    site.until("it does not try again", |site| {
        site.log().contains("takes events again")
    })
    .await;
    site.again();
    begun(&mut site, durable.next()).await;
    assert_eq!(site.left(durable.next(), is_reload), 3);
    let numbers: Vec<u64> = site.events.keys().map(|seq| seq.0).collect();
    let wanted: Vec<u64> = (1..=site.newest().0).collect();
    assert_eq!(numbers, wanted, "in order, and none is missing");
}

/// Nobody stores events here, so the outbox repeats itself from the first one on, seldom and more
/// seldom: events that leave between two such repetitions left because the disk took them.
#[tokio::test]
async fn what_a_full_disk_refused_leaves_as_soon_as_it_is_written() {
    let (mut site, durable) = Site::with_refused_events().await;
    for episode in 1..=TRIES {
        let repetitions = site.firsts;
        site.disk_is_full(false);
        site.until("it does not leave", |site| {
            site.left(durable.next(), is_reload) == 3 * episode
        })
        .await;
        if site.firsts == repetitions {
            return;
        }
        // A repetition came by chance.
        site.refuse_three().await;
    }
    panic!("only a repetition brings them\n{}", site.log());
}
