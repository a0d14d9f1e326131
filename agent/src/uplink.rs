//! Between the core's messages and the MQTT link: topics, bytes, a short queue, and what comes
//! back.

use std::collections::VecDeque;

use anyhow::Context as _;
use bytes::Bytes;
use nodemedic_agent_core::{Input, ToNode, Token};
use nodemedic_edge::mqtt::{self, LinkConfig, LinkEvent, LinkSender, Outgoing, SendRefused, Will};
use nodemedic_edge::tls;
use nodemedic_protocol::codec::describe_bad;
use nodemedic_protocol::message::{Message, Presence, Session};
use nodemedic_protocol::topic::{self, Kind, Topic};
use nodemedic_protocol::{Millis, NodeId, SiteId, WallTime};
use tokio::sync::mpsc;

use crate::config::{Broker, BrokerTls, Settings};

/// Messages that wait for room in the link. The core has its own outbox for what must not be lost;
/// a queue this long means that the link is stuck, and the oldest of what is repeated anyway goes.
const QUEUE_MAX: usize = 256;

/// A dead broker is noticed within twice of this.
const KEEP_ALIVE_S: u16 = 5;

/// The broker keeps what the coordinator sends to a node that is away for so long. Longer is of no
/// use: commands expire, and the desired state is sent again.
const SESSION_EXPIRY_S: u32 = 300;

/// First wait before a new attempt to connect.
const BACKOFF_FIRST: Millis = Millis(250);

/// Longest wait: a fleet that comes back after an outage of its broker does so within seconds.
const BACKOFF_MAX: Millis = Millis::from_secs(10);

/// The link, and what waits for it.
#[derive(Debug)]
pub struct Uplink {
    site: SiteId,
    node: NodeId,
    sender: LinkSender,
    events: mpsc::Receiver<LinkEvent>,
    queue: VecDeque<Outgoing>,
    dropped: u64,
}

impl Uplink {
    /// Begins to connect.
    ///
    /// # Errors
    /// When a certificate cannot be used.
    pub fn start(
        settings: &Settings,
        broker: &Broker,
        session: &Session,
        seed: u64,
        wall: WallTime,
    ) -> anyhow::Result<Uplink> {
        let node = settings.core.node.clone();
        let site = settings.site.clone();
        let will = Presence {
            session: session.clone(),
            online: false,
            wall,
            going_down: None,
        };
        let payload = Message::Presence(will)
            .encode()
            .map_err(anyhow::Error::msg)?;
        let delivery = Kind::Presence.delivery();
        let tls = match &broker.tls {
            None => None,
            Some(BrokerTls { ca, own }) => {
                let own = own.as_ref().map(|(cert, key)| (&**cert, &**key));
                let config = tls::client_config(ca, own)
                    .context("cannot use the certificates of [broker]")?;
                Some(config)
            }
        };
        let config = LinkConfig {
            client_id: node.to_string(),
            host: broker.host.clone(),
            port: broker.port,
            tls,
            credentials: None,
            will: Some(Will {
                topic: Topic::Node(node.clone(), Kind::Presence).to_text(&site),
                payload: payload.into(),
                retain: delivery.retain,
                at_least_once: delivery.at_least_once,
            }),
            subscriptions: topic::node_filters(&site, &node),
            keep_alive_s: KEEP_ALIVE_S,
            session_expiry_s: SESSION_EXPIRY_S,
            backoff_first: BACKOFF_FIRST,
            backoff_max: BACKOFF_MAX,
            seed,
        };
        let (sender, events) = mqtt::start(config);
        Ok(Uplink {
            site,
            node,
            sender,
            events,
            queue: VecDeque::new(),
            dropped: 0,
        })
    }

    /// Waits for what the link says, as input of the core; `None` for what the core need not know.
    pub async fn heard(&mut self) -> Option<Input> {
        match self.events.recv().await {
            Some(event) => self.input(event),
            // The link ends only with the agent.
            None => std::future::pending().await,
        }
    }

    fn input(&mut self, event: LinkEvent) -> Option<Input> {
        match event {
            LinkEvent::Up { .. } => {
                self.queue.clear();
                Some(Input::LinkUp)
            }
            LinkEvent::Down { error } => {
                self.queue.clear();
                Some(Input::LinkDown { error })
            }
            LinkEvent::Delivered(token) => Some(Input::Delivered(Token(token.0))),
            LinkEvent::Rejected { token, reason } => {
                // The core's own resend tries again, at its own slow pace.
                tracing::warn!("the broker refused message {}: {reason}", token.0);
                None
            }
            LinkEvent::Message {
                topic,
                payload,
                retain,
            } => Some(self.message(&topic, &payload, retain)),
        }
    }

    fn message(&self, text: &str, payload: &Bytes, retained: bool) -> Input {
        let bad = |error: &dyn std::fmt::Display| Input::Malformed {
            error: describe_bad(text, error),
        };
        let topic = match Topic::parse(&self.site, text) {
            Ok(topic) => topic,
            Err(error) => return bad(&error),
        };
        if let Topic::Node(node, _) = &topic
            && *node != self.node
        {
            return bad(&format!("it is for {node}, this is {}", self.node));
        }
        let message = match Message::decode(&topic, payload) {
            Ok(Message::Command(command)) => ToNode::Command(command),
            Ok(Message::Lease(lease)) => ToNode::Lease(lease),
            Ok(Message::Coordinator(state)) => ToNode::Coordinator(state),
            Ok(_) => return bad(&"nodes send this and never receive it"),
            Err(error) => return bad(&error),
        };
        Input::Received { message, retained }
    }

    /// Takes a message to send.
    pub fn send(&mut self, message: &Message, token: Option<Token>) {
        let Some(outgoing) = self.outgoing(message, token) else {
            return;
        };
        if self.queue.len() >= QUEUE_MAX {
            let repeated = self.queue.iter().position(|o| !o.at_least_once);
            self.queue.remove(repeated.unwrap_or(0));
            self.dropped += 1;
            tracing::debug!(dropped = self.dropped, "the link is stuck");
        }
        self.queue.push_back(outgoing);
        self.flush();
    }

    fn outgoing(&self, message: &Message, token: Option<Token>) -> Option<Outgoing> {
        let kind = message.kind()?;
        let payload = match message.encode() {
            Ok(payload) => payload,
            Err(error) => {
                tracing::error!("cannot encode a {} message: {error}", kind.as_str());
                return None;
            }
        };
        let delivery = kind.delivery();
        Some(Outgoing {
            topic: Topic::Node(self.node.clone(), kind).to_text(&self.site),
            payload: payload.into(),
            at_least_once: delivery.at_least_once,
            retain: delivery.retain,
            expiry_s: None,
            token: token.map(|t| mqtt::Token(t.0)),
        })
    }

    /// Hands over what the link takes. Returns whether something is left.
    pub fn flush(&mut self) -> bool {
        while let Some(outgoing) = self.queue.pop_front() {
            match self.sender.try_send(outgoing.clone()) {
                Ok(()) => {}
                Err(SendRefused::Full) => {
                    self.queue.push_front(outgoing);
                    return true;
                }
                // What was for this connection is said again on the next one.
                Err(SendRefused::Down) => self.queue.clear(),
            }
        }
        false
    }

    /// True while something waits for room.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Sends a last message and says goodbye.
    pub async fn close(mut self, last: Option<&Message>, within: Millis) {
        self.flush();
        let last = last.and_then(|message| self.outgoing(message, None));
        self.sender.close(last, within).await;
    }
}
