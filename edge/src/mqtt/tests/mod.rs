//! The link against a real Mosquitto: what an owner sees, with the broker healthy, frozen, killed,
//! strict and foreign.

mod broker;
mod delivery;
mod refusal;
mod tls;

use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use super::*;

/// Every wait of these tests: far above what anything here takes, even on a loaded machine.
const BOUND: Duration = Duration::from_secs(30);

/// One end of a conversation.
struct Owner {
    sender: LinkSender,
    events: Receiver<LinkEvent>,
}

impl Owner {
    fn start(config: LinkConfig) -> Owner {
        let (sender, events) = start(config);
        Owner { sender, events }
    }

    /// Started, and up.
    async fn up(config: LinkConfig) -> Owner {
        let mut owner = Owner::start(config);
        owner.until_up().await;
        owner
    }

    async fn next(&mut self) -> LinkEvent {
        let event = tokio::time::timeout(BOUND, self.events.recv()).await;
        event
            .expect("an event within the bound")
            .expect("a link that is not over")
    }

    /// Passes over everything until up; says whether the broker knew the session.
    async fn until_up(&mut self) -> bool {
        loop {
            if let LinkEvent::Up { session_present } = self.next().await {
                return session_present;
            }
        }
    }

    /// The reason of the next Down.
    async fn until_down(&mut self) -> String {
        loop {
            if let LinkEvent::Down { error } = self.next().await {
                return error;
            }
        }
    }

    /// The next event, which must be a message.
    async fn message(&mut self) -> (String, String, bool) {
        match self.next().await {
            LinkEvent::Message {
                topic,
                payload,
                retain,
            } => (topic, String::from_utf8(payload.to_vec()).unwrap(), retain),
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// Sends as soon as there is room.
    async fn send(&self, message: Outgoing) {
        let mut tick = tokio::time::interval(Duration::from_millis(2));
        let sent = tokio::time::timeout(BOUND, async {
            while self.sender.try_send(message.clone()) == Err(SendRefused::Full) {
                tick.tick().await;
            }
        });
        sent.await.expect("room within the bound");
    }

    async fn close(self) {
        self.sender.close(None, Millis::from_secs(10)).await;
    }
}

fn config(port: u16, client_id: &str) -> LinkConfig {
    LinkConfig {
        client_id: client_id.to_owned(),
        host: "127.0.0.1".to_owned(),
        port,
        tls: None,
        credentials: None,
        will: None,
        subscriptions: Vec::new(),
        keep_alive_s: 30,
        session_expiry_s: 3600,
        backoff_first: Millis(20),
        backoff_max: Millis(200),
        seed: 1,
    }
}

fn listening(port: u16, client_id: &str, filter: &str) -> LinkConfig {
    LinkConfig {
        subscriptions: vec![filter.to_owned()],
        ..config(port, client_id)
    }
}

fn message(topic: &str, payload: impl Into<Bytes>) -> Outgoing {
    Outgoing {
        topic: topic.to_owned(),
        payload: payload.into(),
        at_least_once: true,
        retain: false,
        expiry_s: None,
        token: None,
    }
}

fn tracked(topic: &str, payload: impl Into<Bytes>, token: u64) -> Outgoing {
    Outgoing {
        token: Some(Token(token)),
        ..message(topic, payload)
    }
}
