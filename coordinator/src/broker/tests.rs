//! The embedded broker against real clients: who gets in, what they may say and hear, and what
//! outlives it.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use nodemedic_edge::mqtt::{self, LinkConfig, LinkEvent, LinkSender, Outgoing, Token};
use nodemedic_edge::{files, tls};
use nodemedic_protocol::NodeId;
use nodemedic_protocol::topic::{Kind, Topic, coordinator_filters, node_filters};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

use super::*;

/// Every wait in these tests ends here; an ordinary one takes milliseconds.
const BOUND: Duration = Duration::from_secs(20);

struct Authority {
    file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(directory: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().unwrap();
        let file = directory.join(format!("{name}.crt"));
        let pem = params.self_signed(&key).unwrap().pem();
        files::write_atomic(&file, pem.as_bytes(), 0o600).unwrap();
        Authority {
            file,
            issuer: Issuer::new(params, key),
        }
    }

    /// Certificate and key of `name`, from this authority.
    fn issue(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if !name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let files = (
            directory.join(format!("{name}-leaf.crt")),
            directory.join(format!("{name}-leaf.key")),
        );
        files::write_atomic(&files.0, certificate.as_bytes(), 0o600).unwrap();
        files::write_atomic(&files.1, key.serialize_pem().as_bytes(), 0o600).unwrap();
        files
    }
}

struct World {
    directory: TempDir,
    site: SiteId,
    authority: Authority,
}

impl World {
    fn new() -> World {
        tls::install_provider();
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path(), "authority");
        World {
            directory,
            site: SiteId::new("home").unwrap(),
            authority,
        }
    }

    fn at(&self) -> &Path {
        self.directory.path()
    }

    async fn broker(&self, secure: bool) -> Broker {
        let tls = secure.then(|| {
            let (certificate, key) = self.authority.issue(self.at(), "broker");
            tls::server_config(&self.authority.file, &certificate, &key).unwrap()
        });
        let settings = BrokerSettings {
            site: self.site.clone(),
            listen: "127.0.0.1:0".parse().unwrap(),
            tls,
            directory: self.at().join("broker"),
        };
        Broker::start(settings).await.unwrap()
    }

    fn plain(&self, broker: &Broker, client_id: &str) -> LinkConfig {
        LinkConfig {
            client_id: client_id.to_owned(),
            host: "127.0.0.1".to_owned(),
            port: broker.public().port(),
            tls: None,
            credentials: None,
            will: None,
            subscriptions: Vec::new(),
            keep_alive_s: 5,
            session_expiry_s: 60,
            backoff_first: Millis(50),
            backoff_max: Millis(200),
            seed: 1,
        }
    }

    fn secure(
        &self,
        broker: &Broker,
        client_id: &str,
        authority: &Authority,
        cn: &str,
    ) -> LinkConfig {
        let (certificate, key) = authority.issue(self.at(), cn);
        let tls = tls::client_config(&self.authority.file, Some((&certificate, &key))).unwrap();
        LinkConfig {
            tls: Some(tls),
            ..self.plain(broker, client_id)
        }
    }

    fn coordinator(&self, broker: &Broker) -> LinkConfig {
        let door = broker.private();
        LinkConfig {
            port: door.address.port(),
            credentials: Some((door.user.clone(), door.password.clone())),
            subscriptions: coordinator_filters(&self.site),
            ..self.plain(broker, "coordinator")
        }
    }

    fn topic(&self, node: &str, kind: Kind) -> String {
        Topic::Node(NodeId::new(node).unwrap(), kind).to_text(&self.site)
    }
}

async fn next(events: &mut Receiver<LinkEvent>) -> LinkEvent {
    tokio::time::timeout(BOUND, events.recv())
        .await
        .expect("nothing happened")
        .expect("ended")
}

/// The first word on whether this client is let in.
async fn outcome(config: LinkConfig) -> Result<(LinkSender, Receiver<LinkEvent>), String> {
    let (link, mut events) = mqtt::start(config);
    match next(&mut events).await {
        LinkEvent::Up { .. } => Ok((link, events)),
        LinkEvent::Down { error } => Err(error),
        other => panic!("{other:?} before any word on the connection"),
    }
}

fn message(topic: String, text: &'static str, retain: bool) -> Outgoing {
    Outgoing {
        topic,
        payload: Bytes::from_static(text.as_bytes()),
        at_least_once: true,
        retain,
        expiry_s: None,
        token: Some(Token(1)),
    }
}

/// True when the broker took the message, false when it refused it.
async fn taken(link: &LinkSender, events: &mut Receiver<LinkEvent>, message: Outgoing) -> bool {
    link.try_send(message).unwrap();
    loop {
        match next(events).await {
            LinkEvent::Delivered(Token(1)) => return true,
            LinkEvent::Rejected {
                token: Token(1), ..
            } => return false,
            LinkEvent::Message { .. } => {}
            other => panic!("{other:?} instead of an answer"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_a_node_gets_in_under_the_name_of_its_certificate_only() {
    let world = World::new();
    let broker = world.broker(true).await;
    let own = &world.authority;
    let good = outcome(world.secure(&broker, "node-1", own, "node-1")).await;
    drop(good.expect("the right certificate was refused"));

    let spoofed = world.secure(&broker, "node-2", own, "node-1");
    outcome(spoofed)
        .await
        .expect_err("node-1 came in as node-2");
    let posing = world.secure(&broker, "coordinator", own, "coordinator");
    outcome(posing)
        .await
        .expect_err("a certificate was taken for the coordinator");
    let nameless = world.secure(&broker, "node-1", own, "");
    outcome(nameless)
        .await
        .expect_err("a certificate without a name was let in");

    let foreign = Authority::new(world.at(), "foreign");
    let stranger = world.secure(&broker, "node-1", &foreign, "node-1");
    outcome(stranger)
        .await
        .expect_err("a foreign authority's certificate was let in");
    let mut bare = world.secure(&broker, "node-1", own, "node-1");
    bare.tls = Some(tls::client_config(&own.file, None).unwrap());
    outcome(bare)
        .await
        .expect_err("no certificate at all was let in");
    let plain = world.plain(&broker, "node-1");
    outcome(plain)
        .await
        .expect_err("plaintext was let in at the TLS door");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_coordinators_name_needs_the_password_of_this_start() {
    let world = World::new();
    let broker = world.broker(false).await;
    drop(
        outcome(world.coordinator(&broker))
            .await
            .expect("the coordinator was refused"),
    );
    let mut guessed = world.coordinator(&broker);
    guessed.credentials = Some(("coordinator".to_owned(), "0".repeat(64)));
    outcome(guessed)
        .await
        .expect_err("a wrong password opened the private door");
    let public = world.plain(&broker, "coordinator");
    outcome(public)
        .await
        .expect_err("the coordinator's name was free at the public door");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_speaks_for_itself_only_and_the_coordinator_hears_it() {
    let world = World::new();
    let broker = world.broker(false).await;
    let (coordinator, mut heard) = outcome(world.coordinator(&broker)).await.unwrap();
    let node = NodeId::new("node-1").unwrap();
    let mut config = world.plain(&broker, "node-1");
    config.subscriptions = node_filters(&world.site, &node);
    let (link, mut events) = outcome(config).await.unwrap();

    for (topic, may) in [
        (world.topic("node-1", Kind::Birth), true),
        (world.topic("node-2", Kind::Birth), false),
        (world.topic("node-1", Kind::Command), false),
        (world.topic("node-2", Kind::Command), false),
        (Topic::Coordinator.to_text(&world.site), false),
        ("elsewhere".to_owned(), false),
    ] {
        let sent = message(topic.clone(), "hello", false);
        assert_eq!(taken(&link, &mut events, sent).await, may, "{topic}");
    }
    let LinkEvent::Message { topic, payload, .. } = next(&mut heard).await else {
        panic!()
    };
    assert_eq!(
        (topic, payload.as_ref()),
        (world.topic("node-1", Kind::Birth), &b"hello"[..])
    );

    let order = message(world.topic("node-1", Kind::Command), "order", false);
    assert!(taken(&coordinator, &mut heard, order).await);
    let LinkEvent::Message { payload, .. } = next(&mut events).await else {
        panic!()
    };
    assert_eq!(payload.as_ref(), b"order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_messages_are_there_after_a_stop_and_a_start() {
    let world = World::new();
    let broker = world.broker(false).await;
    let (link, mut events) = outcome(world.plain(&broker, "node-1")).await.unwrap();
    let presence = message(world.topic("node-1", Kind::Presence), "online", true);
    assert!(taken(&link, &mut events, presence).await);
    drop(link);
    broker.stop(Millis::from_secs(5)).await;

    let broker = world.broker(false).await;
    let (_link, mut heard) = outcome(world.coordinator(&broker)).await.unwrap();
    let LinkEvent::Message {
        topic,
        payload,
        retain,
    } = next(&mut heard).await
    else {
        panic!()
    };
    assert_eq!(topic, world.topic("node-1", Kind::Presence));
    assert_eq!((payload.as_ref(), retain), (&b"online"[..], true));
}

#[tokio::test]
async fn a_port_in_use_and_plaintext_for_the_world_are_refused_plainly() {
    let world = World::new();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let start = |listen| {
        Broker::start(BrokerSettings {
            site: world.site.clone(),
            listen,
            tls: None,
            directory: world.at().join("broker"),
        })
    };
    let error = start(other.local_addr().unwrap())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("Another program has the port"), "{error}");
    assert!(
        error.contains("set [broker] listen to another port"),
        "{error}"
    );
    let error = start("0.0.0.0:0".parse().unwrap())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("will not serve MQTT in plaintext"),
        "{error}"
    );
}
