//! A stranger on the broker: publishes what it likes, to see that it harms nothing.

use std::path::Path;
use std::time::Duration;

use nodemedic_edge::mqtt::{LinkConfig, LinkEvent, LinkSender, Outgoing, Token, start};
use nodemedic_edge::tls;
use nodemedic_protocol::Millis;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// A loopback broker answers in a thousandth of this.
const BOUND: Duration = Duration::from_secs(10);

fn config(client_id: &str, port: u16) -> LinkConfig {
    LinkConfig {
        client_id: client_id.to_owned(),
        host: "127.0.0.1".to_owned(),
        port,
        tls: None,
        credentials: None,
        will: None,
        subscriptions: Vec::new(),
        keep_alive_s: 5,
        session_expiry_s: 0,
        backoff_first: Millis(100),
        backoff_max: Millis(500),
        seed: 1,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tls::install_provider();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

async fn next(events: &mut Receiver<LinkEvent>) -> LinkEvent {
    timeout(BOUND, events.recv())
        .await
        .expect("the broker answers")
        .expect("the link lives")
}

async fn up(config: LinkConfig) -> (LinkSender, Receiver<LinkEvent>) {
    let who = config.client_id.clone();
    let (sender, mut events) = start(config);
    match next(&mut events).await {
        LinkEvent::Up { .. } => (sender, events),
        other => panic!("{who} could not connect: {other:?}"),
    }
}

/// What became of one publish.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// The broker took it.
    Taken,
    /// The broker refused it.
    Refused(String),
}

async fn publish(config: LinkConfig, topic: &str, payload: &[u8], times: u64) -> Fate {
    let (sender, mut events) = up(config).await;
    let mut fate = Fate::Taken;
    for number in 0..times {
        let message = Outgoing {
            topic: topic.to_owned(),
            payload: payload.to_vec().into(),
            at_least_once: true,
            retain: false,
            expiry_s: None,
            token: Some(Token(number)),
        };
        sender.try_send(message).expect("the link is up");
        fate = loop {
            match next(&mut events).await {
                LinkEvent::Delivered(_) => break Fate::Taken,
                LinkEvent::Rejected { reason, .. } => break Fate::Refused(reason),
                LinkEvent::Down { error } => panic!("the link fell: {error}"),
                LinkEvent::Up { .. } | LinkEvent::Message { .. } => {}
            }
        };
    }
    sender.close(None, Millis(1000)).await;
    fate
}

/// Publishes the same payload several times under a client id of one's choice; says what became of
/// the last.
///
/// # Panics
/// When the broker does not answer.
#[must_use]
pub fn publish_as(client_id: &str, port: u16, topic: &str, payload: &[u8], times: u64) -> Fate {
    runtime().block_on(publish(config(client_id, port), topic, payload, times))
}

/// Publishes once over TLS with a certificate.
///
/// # Panics
/// When the broker does not answer, or does not let this certificate in.
#[must_use]
pub fn publish_tls(
    client_id: &str,
    port: u16,
    ca: &Path,
    pair: (&Path, &Path),
    topic: &str,
    payload: &[u8],
) -> Fate {
    let runtime = runtime();
    let config = tls_config(client_id, port, ca, Some(pair));
    runtime.block_on(publish(config, topic, payload, 1))
}

fn tls_config(client_id: &str, port: u16, ca: &Path, pair: Option<(&Path, &Path)>) -> LinkConfig {
    let tls = tls::client_config(ca, pair).expect("the test's own certificates are good");
    LinkConfig {
        tls: Some(tls),
        host: "localhost".to_owned(),
        ..config(client_id, port)
    }
}

/// Tries to connect over TLS; the first event.
///
/// # Panics
/// When nothing happens in time, or a file is missing.
#[must_use]
pub fn connect_tls(
    client_id: &str,
    port: u16,
    ca: &Path,
    pair: Option<(&Path, &Path)>,
) -> LinkEvent {
    let runtime = runtime();
    let config = tls_config(client_id, port, ca, pair);
    runtime.block_on(async {
        let (_sender, mut events) = start(config);
        next(&mut events).await
    })
}
