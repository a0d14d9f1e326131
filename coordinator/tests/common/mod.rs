//! A coordinator in this process, an agent that is only its messages, and an HTTP client.

pub mod program;

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use nodemedic_coordinator::config::Config;
use nodemedic_coordinator::life::{self, Running};
use nodemedic_edge::mqtt::{self, LinkConfig, LinkEvent, LinkSender, Outgoing};
use nodemedic_edge::{clock, files};
use nodemedic_protocol::api::{EventsPage, WorkView};
use nodemedic_protocol::health::Level;
use nodemedic_protocol::inventory::{Capacity, Inventory};
use nodemedic_protocol::message::{
    Ack, Answer, Birth, Command, CommandBody, Heartbeat, Message, Presence, Session, WorkReport,
};
use nodemedic_protocol::topic::{Topic, node_filters};
use nodemedic_protocol::work::{Desired, Enforcement, StopCause, WorkState, WorkStatus};
use nodemedic_protocol::{
    BootId, Epoch, Generation, Millis, NodeId, Revision, Seq, SessionId, SiteId, StreamId,
};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Every wait ends here; an ordinary one takes milliseconds.
pub const BOUND: Duration = Duration::from_secs(30);

/// A look is worth it once the journal has grown, and after this in any case: not every change of a
/// level is an event.
const LOOK_AFTER: Millis = Millis(500);

/// Waits for a level at this API: looks at each event until `look` gives something.
pub async fn until<T, F: Future<Output = Option<T>>>(
    api: SocketAddr,
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let looking = async {
        let mut page: EventsPage = get(api, "/api/v1/events").await;
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            let path = format!(
                "/api/v1/events?after={}&wait_ms={}",
                page.last, LOOK_AFTER.0
            );
            page = get(api, &path).await;
        }
    };
    match tokio::time::timeout(BOUND, looking).await {
        Ok(seen) => seen,
        Err(_) => panic!("never seen: {what}"),
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A directory with a configuration in it, and ports that stay the same over restarts.
pub struct Place {
    pub directory: TempDir,
    pub broker_port: u16,
    more: String,
}

impl Place {
    pub fn new(more: &str) -> Place {
        let directory = tempfile::tempdir().unwrap();
        Place {
            directory,
            broker_port: free_port(),
            more: more.to_owned(),
        }
    }

    pub fn config_file(&self) -> PathBuf {
        self.directory.path().join("coordinator.toml")
    }

    pub fn config(&self) -> Config {
        let text = format!(
            "[api]\nlisten = \"127.0.0.1:0\"\n[broker]\nlisten = \"127.0.0.1:{}\"\n\
             [state]\ndirectory = \"state\"\n{}",
            self.broker_port, self.more
        );
        files::write_atomic(&self.config_file(), text.as_bytes(), 0o600).unwrap();
        Config::read(&self.config_file()).unwrap()
    }

    /// Starts, once a predecessor that was killed has let go of the directory.
    pub async fn start(&self) -> Running {
        let config = self.config();
        if let Ok(lock) = File::open(config.directory.join("coordinator.lock")) {
            let free = tokio::task::spawn_blocking(move || lock.lock());
            let free = tokio::time::timeout(BOUND, free).await;
            free.expect("the predecessor keeps the directory")
                .unwrap()
                .unwrap();
        }
        life::start(config).await.unwrap()
    }
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Answered {
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Asks the API; `headers` are `name: value`.
pub async fn ask(
    api: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Answered {
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://{api}{path}"));
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(body.to_owned()).unwrap();
    tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(BOUND))
            .build()
            .into();
        let mut response = agent.run(request).unwrap();
        Answered {
            status: response.status().as_u16(),
            headers: format!("{:?}", response.headers()),
            body: response.body_mut().read_to_string().unwrap(),
        }
    })
    .await
    .unwrap()
}

pub async fn get<T: DeserializeOwned>(api: SocketAddr, path: &str) -> T {
    let answered = ask(api, "GET", path, &[], "").await;
    assert_eq!(answered.status, 200, "{path}: {}", answered.body);
    answered.json()
}

/// A runtime of its own, so that dropping it is a kill: no goodbye, no last write.
pub fn life() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// What runs, once two works do.
pub async fn running_works(api: SocketAddr) -> Vec<(String, Generation)> {
    until(api, "both works running", || async {
        let works: Vec<WorkView> = get(api, "/api/v1/work").await;
        let held: Vec<_> = works
            .iter()
            .flat_map(|work| &work.holders)
            .filter(|held| held.state == Some(WorkState::Running))
            .map(|held| (held.work.to_string(), held.generation))
            .collect();
        (held.len() == 2).then_some(held)
    })
    .await
}

/// An agent that does whatever it is told, at once, and only in its messages.
pub struct FakeAgent {
    /// Each command as it arrived.
    pub commands: mpsc::UnboundedReceiver<Command>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Body {
    site: SiteId,
    node: NodeId,
    session: Session,
    link: LinkSender,
    revision: Revision,
    epoch: Epoch,
    n: u64,
    seq: u64,
    works: Vec<WorkStatus>,
    commands: mpsc::UnboundedSender<Command>,
}

impl FakeAgent {
    pub fn start(name: &str, broker_port: u16) -> FakeAgent {
        let site = SiteId::new("default").unwrap();
        let node = NodeId::new(name).unwrap();
        let (link, mut events) = mqtt::start(LinkConfig {
            client_id: name.to_owned(),
            host: "127.0.0.1".to_owned(),
            port: broker_port,
            tls: None,
            credentials: None,
            will: None,
            subscriptions: node_filters(&site, &node),
            keep_alive_s: 5,
            session_expiry_s: 60,
            backoff_first: Millis(20),
            backoff_max: Millis(100),
            seed: 7,
        });
        let (commands, commands_seen) = mpsc::unbounded_channel();
        let session = Session {
            boot_id: BootId::new(format!("boot-of-{name}")).unwrap(),
            session_id: SessionId::new("session-1").unwrap(),
        };
        let mut body = Body {
            site,
            node,
            session,
            link,
            revision: Revision(0),
            epoch: Epoch(0),
            n: 0,
            seq: 0,
            works: Vec::new(),
            commands,
        };
        let task = tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(100));
            loop {
                tokio::select! {
                    _ = beat.tick() => body.beat(),
                    event = events.recv() => match event {
                        Some(LinkEvent::Up { .. }) => body.be_born(),
                        Some(LinkEvent::Message { topic, payload, .. }) => {
                            body.hear(&topic, &payload);
                        }
                        Some(_) => {}
                        None => return,
                    },
                }
            }
        });
        FakeAgent {
            commands: commands_seen,
            task,
        }
    }
}

impl Body {
    fn say(&self, message: &Message) {
        let kind = message.kind().unwrap();
        let delivery = kind.delivery();
        // What is lost while the link is down is said again by the next heartbeat.
        let _ = self.link.try_send(Outgoing {
            topic: Topic::Node(self.node.clone(), kind).to_text(&self.site),
            payload: Bytes::from(message.encode().unwrap()),
            at_least_once: delivery.at_least_once,
            retain: delivery.retain,
            expiry_s: None,
            token: None,
        });
    }

    fn next_seq(&mut self) -> Seq {
        self.seq += 1;
        Seq(self.seq)
    }

    fn be_born(&mut self) {
        let now = clock::now();
        self.say(&Message::Presence(Presence {
            session: self.session.clone(),
            online: true,
            wall: now.wall,
            going_down: None,
        }));
        let seq = self.next_seq();
        let birth = Birth {
            session: self.session.clone(),
            seq,
            version: "0.1.0".to_owned(),
            at: now.boot,
            wall: now.wall,
            inventory: Inventory::default(),
            capacity: Capacity {
                cpu_milli: 4000,
                memory_bytes: 8 << 30,
            },
            labels: std::collections::BTreeMap::new(),
            zone: Some("rack-7".to_owned()),
            enforcement: Enforcement::Software {
                timeout: Millis::from_secs(1),
            },
            epoch_seen: self.epoch,
            revision: self.revision,
            stream: StreamId::new("stream-1").unwrap(),
            reboot: None,
            works: self.works.clone(),
        };
        self.say(&Message::Birth(Box::new(birth)));
    }

    fn beat(&mut self) {
        self.n += 1;
        let heartbeat = Heartbeat {
            session: self.session.clone(),
            n: self.n,
            sent_at: clock::boottime(),
            seq_sent: Seq(self.seq),
            revision: self.revision,
            epoch_seen: self.epoch,
            level: Level::Healthy,
            drain_wanted: None,
            reboot: None,
            works: self.works.clone(),
        };
        self.say(&Message::Heartbeat(heartbeat));
    }

    fn hear(&mut self, topic: &str, payload: &[u8]) {
        let topic = Topic::parse(&self.site, topic).unwrap();
        let Ok(Message::Command(command)) = Message::decode(&topic, payload) else {
            return;
        };
        self.epoch = command.epoch;
        match &command.body {
            CommandBody::Rebirth => self.be_born(),
            CommandBody::Reboot => panic!("nobody asked for a reboot"),
            CommandBody::Assign(assignment) => {
                self.revision = assignment.revision;
                let since = clock::boottime();
                let works = assignment.works.iter().map(|assigned| WorkStatus {
                    work: assigned.spec.name.clone(),
                    generation: assigned.generation,
                    state: match assigned.desired {
                        Desired::Run => WorkState::Running,
                        Desired::Stop => WorkState::Stopped(StopCause::Asked),
                    },
                    since,
                    pid: None,
                    detail: String::new(),
                });
                self.works = works.collect();
                let seq = self.next_seq();
                self.say(&Message::Work(WorkReport {
                    session: self.session.clone(),
                    seq,
                    at: since,
                    revision: self.revision,
                    works: self.works.clone(),
                }));
            }
        }
        self.say(&Message::Ack(Ack {
            session: self.session.clone(),
            id: command.id.clone(),
            answer: Answer::Taken,
        }));
        // A test that does not read commands misses nothing else.
        let _ = self.commands.send(command);
    }
}
