//! Who a client is, and what it may say and hear.
//!
//! The client id must be the identity: were it free, a valid agent could take over another's
//! session or, against brokers that go by client id, its name.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use mqtt5::broker::AuthResult;
use mqtt5::broker::auth::AuthProvider;
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use nodemedic_protocol::topic::{Direction, Kind, Topic};
use nodemedic_protocol::{NodeId, SiteId};

use super::door::Refusals;
use super::limits::KEEP_ALIVE_MAX_S;
use crate::secret;

/// The coordinator's name as a client. No node may have it.
pub(super) const COORDINATOR: &str = "coordinator";

/// What is known of a client before it says a word.
#[derive(Clone)]
pub(super) enum Identity {
    /// It came through the private door and must show this password.
    Coordinator {
        /// Of this start.
        password: String,
    },
    /// The common name of the certificate that it proved to hold.
    Certificate {
        /// As the certificate's authority wrote it.
        common_name: String,
    },
    /// Plaintext from this machine: it is who it says, for whoever may open a socket here is
    /// trusted already.
    Loopback,
}

/// Decides for one connection.
pub(super) struct Guard {
    site: Arc<SiteId>,
    identity: Identity,
    refusals: Arc<Refusals>,
}

impl Guard {
    pub(super) fn new(site: Arc<SiteId>, identity: Identity, refusals: Arc<Refusals>) -> Guard {
        Guard {
            site,
            identity,
            refusals,
        }
    }

    /// The name under which the client is let in.
    fn admit(&self, connect: &ConnectPacket) -> Result<String, String> {
        let id = connect.client_id.as_str();
        if connect.protocol_version != 5 {
            return Err(format!("{id:?} speaks MQTT 3; this broker serves MQTT 5"));
        }
        if !(1..=KEEP_ALIVE_MAX_S).contains(&connect.keep_alive) {
            return Err(format!(
                "{id:?} asks for a keep-alive of {} s; it must be 1 to {KEEP_ALIVE_MAX_S} s",
                connect.keep_alive
            ));
        }
        let name = match &self.identity {
            Identity::Coordinator { password } => {
                let given = connect.password.as_deref().unwrap_or_default();
                if id != COORDINATOR || !secret::same(given, password.as_bytes()) {
                    return Err(format!("{id:?} came to the coordinator's private door"));
                }
                return Ok(COORDINATOR.to_owned());
            }
            Identity::Certificate { common_name } if common_name != id => {
                return Err(format!(
                    "client id {id:?} is not the name of its certificate, {common_name:?}; set \
                     `node` in the agent's configuration, or issue a certificate for it"
                ));
            }
            Identity::Certificate { .. } | Identity::Loopback => {
                NodeId::new(id).map_err(|error| error.to_string())?
            }
        };
        if name.as_str() == COORDINATOR {
            return Err("only the coordinator itself may be called \"coordinator\"".to_owned());
        }
        if let Some(will) = &connect.will
            && !self.may_publish(name.as_str(), &will.topic)
        {
            return Err(format!(
                "{id:?} leaves a will for {:?}, which is not its own",
                will.topic
            ));
        }
        Ok(name.as_str().to_owned())
    }

    fn may_publish(&self, name: &str, topic: &str) -> bool {
        self.may(name, topic, Direction::FromNode)
    }

    fn may_subscribe(&self, name: &str, filter: &str) -> bool {
        // A filter with a wildcard is no topic, and no node has a use for one.
        self.may(name, filter, Direction::ToNode)
            || Topic::parse(&self.site, filter) == Ok(Topic::Coordinator)
    }

    fn may(&self, name: &str, topic: &str, direction: Direction) -> bool {
        match Topic::parse(&self.site, topic) {
            Ok(Topic::Node(node, kind)) => {
                node.as_str() == name && Kind::direction(kind) == direction
            }
            Ok(Topic::Coordinator) | Err(_) => false,
        }
    }

    fn is_coordinator(&self) -> bool {
        matches!(self.identity, Identity::Coordinator { .. })
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl AuthProvider for Guard {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        peer: SocketAddr,
    ) -> Answer<'a, mqtt5::error::Result<AuthResult>> {
        let result = match self.admit(connect) {
            Ok(name) => AuthResult::success_with_user(name),
            Err(why) => {
                self.refusals.log(peer, &why);
                AuthResult::fail_with_reason(ReasonCode::NotAuthorized, why)
            }
        };
        Box::pin(async move { Ok(result) })
    }

    fn authorize_publish<'a>(
        &'a self,
        _client_id: &str,
        user: Option<&'a str>,
        topic: &'a str,
    ) -> Answer<'a, bool> {
        let may = user.is_some_and(|name| self.is_coordinator() || self.may_publish(name, topic));
        Box::pin(async move { may })
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _client_id: &str,
        user: Option<&'a str>,
        filter: &'a str,
    ) -> Answer<'a, bool> {
        let may =
            user.is_some_and(|name| self.is_coordinator() || self.may_subscribe(name, filter));
        Box::pin(async move { may })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt5::types::ConnectOptions;
    use nodemedic_protocol::topic::{coordinator_filters, node_filters};

    fn guard(identity: Identity) -> Guard {
        Guard::new(
            Arc::new(SiteId::new("home").unwrap()),
            identity,
            Arc::default(),
        )
    }

    fn certificate(name: &str) -> Guard {
        guard(Identity::Certificate {
            common_name: name.to_owned(),
        })
    }

    fn connect(id: &str) -> ConnectPacket {
        ConnectPacket::new(ConnectOptions::new(id).protocol_options)
    }

    #[test]
    fn the_client_id_must_be_the_certificates_name() {
        assert_eq!(
            certificate("node-1").admit(&connect("node-1")).as_deref(),
            Ok("node-1")
        );
        let why = certificate("node-1").admit(&connect("node-2")).unwrap_err();
        assert!(
            why.contains("is not the name of its certificate, \"node-1\""),
            "{why}"
        );
    }

    #[test]
    fn nobody_is_the_coordinator_at_the_public_door() {
        for guard in [certificate(COORDINATOR), guard(Identity::Loopback)] {
            let why = guard.admit(&connect(COORDINATOR)).unwrap_err();
            assert!(why.contains("only the coordinator itself"), "{why}");
        }
    }

    #[test]
    fn the_private_door_wants_its_password() {
        let guard = guard(Identity::Coordinator {
            password: "right".to_owned(),
        });
        let with = |id: &str, password: Option<&str>| {
            let mut packet = connect(id);
            packet.password = password.map(|p| p.as_bytes().to_vec());
            guard.admit(&packet).is_ok()
        };
        assert!(with(COORDINATOR, Some("right")));
        assert!(!with(COORDINATOR, Some("wrong")));
        assert!(!with(COORDINATOR, None));
        assert!(!with("node-1", Some("right")));
    }

    #[test]
    fn a_node_speaks_for_itself_and_hears_its_own_orders_only() {
        let guard = certificate("node-1");
        let site = SiteId::new("home").unwrap();
        let mine = NodeId::new("node-1").unwrap();
        let other = NodeId::new("node-2").unwrap();
        for kind in Kind::ALL {
            let from_node = kind.direction() == Direction::FromNode;
            let topic = Topic::Node(mine.clone(), kind).to_text(&site);
            assert_eq!(guard.may_publish("node-1", &topic), from_node, "{topic}");
            assert_eq!(guard.may_subscribe("node-1", &topic), !from_node, "{topic}");
            let foreign = Topic::Node(other.clone(), kind).to_text(&site);
            assert!(!guard.may_publish("node-1", &foreign), "{foreign}");
            assert!(!guard.may_subscribe("node-1", &foreign), "{foreign}");
        }
        let state = Topic::Coordinator.to_text(&site);
        assert!(!guard.may_publish("node-1", &state));
        for filter in node_filters(&site, &mine) {
            assert!(guard.may_subscribe("node-1", &filter), "{filter}");
        }
        for filter in coordinator_filters(&site) {
            assert!(!guard.may_subscribe("node-1", &filter), "{filter}");
        }
        for filter in [
            "#",
            "+/+/+/+/+/+",
            "nodemedic/v1/home/node/node-1/+",
            "$share/a/#",
        ] {
            assert!(!guard.may_subscribe("node-1", filter), "{filter}");
        }
    }

    #[test]
    fn a_will_for_another_node_is_refused_at_the_door() {
        let mut packet = connect("node-1");
        packet.will = Some(mqtt5::types::WillMessage::new(
            "nodemedic/v1/home/node/node-2/presence",
            b"gone".to_vec(),
        ));
        let why = certificate("node-1").admit(&packet).unwrap_err();
        assert!(why.contains("which is not its own"), "{why}");
    }

    #[test]
    fn a_client_without_a_keep_alive_is_refused() {
        let mut packet = connect("node-1");
        packet.keep_alive = 0;
        assert!(
            certificate("node-1")
                .admit(&packet)
                .unwrap_err()
                .contains("keep-alive of 0")
        );
    }
}
