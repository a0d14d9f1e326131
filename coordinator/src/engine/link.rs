//! The MQTT side of the loop: bytes to messages and back.

use bytes::Bytes;
use nodemedic_coordinator_core::Input;
use nodemedic_edge::clock;
use nodemedic_edge::mqtt::{LinkEvent, LinkSender, Outgoing, Will};
use nodemedic_protocol::codec::describe_bad;
use nodemedic_protocol::message::{CoordinatorState, Message};
use nodemedic_protocol::topic::Topic;
use nodemedic_protocol::{Epoch, Millis, NodeId, SiteId};

use super::Engine;

/// A goodbye is a courtesy: agents miss us by their leases.
const GOODBYE_WITHIN: Millis = Millis::from_secs(2);

/// A command is void after a minute by its own word; the broker need not keep it for longer.
const COMMAND_EXPIRY_S: u32 = 60;

/// A lease that is late by this much is worth nothing.
const LEASE_EXPIRY_S: u32 = 5;

impl Engine {
    pub(super) fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { session_present } => {
                tracing::info!(session_present, "connected to the broker");
                self.link_is_up = true;
                self.publish_state();
                self.handle(Input::LinkUp);
            }
            LinkEvent::Down { error } => {
                if self.may_say("the broker") || self.link_is_up {
                    tracing::warn!("not connected to the broker: {error}");
                }
                self.link_is_up = false;
                self.handle(Input::LinkDown);
            }
            LinkEvent::Message {
                topic,
                payload,
                retain,
            } => {
                self.on_message(&topic, &payload, retain);
            }
            // What must arrive is sent again by the core until its effect is seen.
            LinkEvent::Delivered(_) => {}
            LinkEvent::Rejected { reason, .. } => {
                if self.may_say("rejections") {
                    tracing::warn!("the broker refused a message of ours: {reason}");
                }
            }
        }
    }

    fn on_message(&mut self, topic: &str, payload: &Bytes, retained: bool) {
        // The end of a retained message, not a message.
        if payload.is_empty() {
            return;
        }
        let parsed = match Topic::parse(&self.site, topic) {
            Ok(parsed) => parsed,
            Err(error) => {
                if self.may_say(topic) {
                    tracing::warn!("dropped a message: {error}");
                }
                return;
            }
        };
        match (Message::decode(&parsed, payload), parsed) {
            (Ok(Message::Coordinator(state)), _) => self.on_coordinator(state),
            (Ok(message), Topic::Node(node, _)) => {
                self.handle(Input::Message {
                    node,
                    message: Box::new(message),
                    retained,
                });
            }
            (Ok(_), Topic::Coordinator) => {}
            (Err(error), parsed) => {
                let peer = match &parsed {
                    Topic::Node(node, _) => node.as_str(),
                    Topic::Coordinator => "another coordinator",
                };
                if self.may_say(peer) {
                    tracing::warn!("{}", describe_bad(topic, &error));
                }
            }
        }
    }

    fn on_coordinator(&mut self, state: CoordinatorState) {
        if state.epoch < self.epoch || (state.epoch == self.epoch && !state.online) {
            // A late will: of our predecessor, or of a connection that we have replaced since. It
            // must not be what agents find.
            self.publish_state();
        }
        if state.epoch != self.epoch {
            self.handle(Input::OtherCoordinator(state));
        }
    }

    /// True when a line about this peer may be logged now.
    fn may_say(&mut self, peer: &str) -> bool {
        match self.quiet.may_say(peer, clock::boottime()) {
            Some(0) => true,
            Some(held_back) => {
                tracing::warn!("{held_back} more lines about {peer} were held back");
                true
            }
            None => false,
        }
    }

    fn publish_state(&mut self) {
        let state = state_message(&self.site, self.epoch, true);
        if let Some(Err(error)) = state.map(|state| self.link.try_send(state)) {
            tracing::debug!("the coordinator's state waits: {error}");
        }
    }

    pub(super) fn send(&mut self, node: NodeId, message: &Message) {
        let Some(kind) = message.kind() else { return };
        let payload = match message.encode() {
            Ok(payload) => payload,
            Err(error) => {
                tracing::error!("cannot encode a {} for {node}: {error}", kind.as_str());
                return;
            }
        };
        let delivery = kind.delivery();
        let peer = node.as_str().to_owned();
        let outgoing = Outgoing {
            topic: Topic::Node(node, kind).to_text(&self.site),
            payload: payload.into(),
            at_least_once: delivery.at_least_once,
            retain: delivery.retain,
            expiry_s: Some(if delivery.at_least_once {
                COMMAND_EXPIRY_S
            } else {
                LEASE_EXPIRY_S
            }),
            token: None,
        };
        if let Err(error) = self.link.try_send(outgoing)
            && self.link_is_up
            && self.may_say(&peer)
        {
            tracing::warn!("a {} for {peer} was not sent: {error}", kind.as_str());
        }
    }
}

/// What the broker says for us when we vanish.
pub(crate) fn will(site: &SiteId, epoch: Epoch) -> Option<Will> {
    let state = state_message(site, epoch, false)?;
    Some(Will {
        topic: state.topic,
        payload: state.payload,
        retain: true,
        at_least_once: true,
    })
}

/// `coordinator/state`, retained.
pub(crate) fn state_message(site: &SiteId, epoch: Epoch, online: bool) -> Option<Outgoing> {
    let state = Message::Coordinator(CoordinatorState {
        epoch,
        online,
        wall: clock::wall(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    let payload = state
        .encode()
        .inspect_err(|error| tracing::error!("cannot encode the coordinator's state: {error}"))
        .ok()?;
    Some(Outgoing {
        topic: Topic::Coordinator.to_text(site),
        payload: payload.into(),
        at_least_once: true,
        retain: true,
        expiry_s: None,
        token: None,
    })
}

pub(super) async fn say_goodbye(link: LinkSender, site: &SiteId, epoch: Epoch) {
    link.close(state_message(site, epoch, false), GOODBYE_WITHIN)
        .await;
}
