//! Every MQTT topic, built and parsed here and nowhere else.
//!
//! `nodemedic/v1/<site>/node/<node>/<kind>` and `nodemedic/v1/<site>/coordinator/state`.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use crate::ids::{NodeId, SiteId};

const ROOT: &str = "nodemedic/v1";

/// What a node's topic carries, and in which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Node to coordinator, retained, and the last will.
    Presence,
    /// Node to coordinator.
    Birth,
    /// Node to coordinator, at most once.
    Heartbeat,
    /// Node to coordinator, retained.
    Health,
    /// Node to coordinator, at most once.
    Sample,
    /// Node to coordinator.
    Event,
    /// Node to coordinator.
    Work,
    /// Node to coordinator.
    Ack,
    /// Coordinator to node.
    Command,
    /// Coordinator to node, at most once.
    Lease,
}

/// Who sends a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The node publishes, the coordinator subscribes.
    FromNode,
    /// The coordinator publishes, the node subscribes.
    ToNode,
}

/// How a kind is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// MQTT quality of service 1 rather than 0.
    pub at_least_once: bool,
    /// Kept by the broker for later subscribers.
    pub retain: bool,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 10] = [
        Kind::Presence,
        Kind::Birth,
        Kind::Heartbeat,
        Kind::Health,
        Kind::Sample,
        Kind::Event,
        Kind::Work,
        Kind::Ack,
        Kind::Command,
        Kind::Lease,
    ];

    /// The last level of the topic.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Presence => "presence",
            Kind::Birth => "birth",
            Kind::Heartbeat => "heartbeat",
            Kind::Health => "health",
            Kind::Sample => "sample",
            Kind::Event => "event",
            Kind::Work => "work",
            Kind::Ack => "ack",
            Kind::Command => "command",
            Kind::Lease => "lease",
        }
    }

    /// Who sends it.
    #[must_use]
    pub const fn direction(self) -> Direction {
        match self {
            Kind::Command | Kind::Lease => Direction::ToNode,
            _ => Direction::FromNode,
        }
    }

    /// How it is published. What is repeated anyway, or worthless when late, goes at most once.
    #[must_use]
    pub const fn delivery(self) -> Delivery {
        match self {
            Kind::Presence | Kind::Health => Delivery {
                at_least_once: true,
                retain: true,
            },
            Kind::Heartbeat | Kind::Sample | Kind::Lease => Delivery {
                at_least_once: false,
                retain: false,
            },
            Kind::Birth | Kind::Event | Kind::Work | Kind::Ack | Kind::Command => Delivery {
                at_least_once: true,
                retain: false,
            },
        }
    }
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Of one node.
    Node(NodeId, Kind),
    /// `coordinator/state`, retained.
    Coordinator,
}

/// A topic that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicError {
    topic: String,
    why: &'static str,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {:?}: {}", self.topic, self.why)
    }
}

impl core::error::Error for TopicError {}

impl Topic {
    /// The text of the topic in a site.
    #[must_use]
    pub fn to_text(&self, site: &SiteId) -> String {
        match self {
            Topic::Node(node, kind) => format!("{ROOT}/{site}/node/{node}/{}", kind.as_str()),
            Topic::Coordinator => format!("{ROOT}/{site}/coordinator/state"),
        }
    }

    /// The topic that a text names in a site.
    ///
    /// # Errors
    /// When it is of another version or site, or has a level that this version does not know.
    pub fn parse(site: &SiteId, text: &str) -> Result<Topic, TopicError> {
        let error = |why| TopicError {
            topic: text.to_string(),
            why,
        };
        let rest = text
            .strip_prefix(ROOT)
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(|| error("not under nodemedic/v1"))?;
        let rest = rest
            .strip_prefix(site.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(|| error("of another site"))?;
        if rest == "coordinator/state" {
            return Ok(Topic::Coordinator);
        }
        let rest = rest
            .strip_prefix("node/")
            .ok_or_else(|| error("neither node nor coordinator"))?;
        let (node, kind) = rest.split_once('/').ok_or_else(|| error("has no kind"))?;
        let node = NodeId::new(node).map_err(|_| error("has a bad node name"))?;
        let kind = Kind::ALL
            .into_iter()
            .find(|k| k.as_str() == kind)
            .ok_or_else(|| error("has an unknown kind"))?;
        Ok(Topic::Node(node, kind))
    }
}

/// What a coordinator subscribes to: one filter for each kind that nodes send.
#[must_use]
pub fn coordinator_filters(site: &SiteId) -> alloc::vec::Vec<String> {
    Kind::ALL
        .into_iter()
        .filter(|k| k.direction() == Direction::FromNode)
        .map(|k| format!("{ROOT}/{site}/node/+/{}", k.as_str()))
        .collect()
}

/// What a node subscribes to.
#[must_use]
pub fn node_filters(site: &SiteId, node: &NodeId) -> alloc::vec::Vec<String> {
    let mut filters: alloc::vec::Vec<String> = Kind::ALL
        .into_iter()
        .filter(|k| k.direction() == Direction::ToNode)
        .map(|k| Topic::Node(node.clone(), k).to_text(site))
        .collect();
    filters.push(Topic::Coordinator.to_text(site));
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> SiteId {
        SiteId::new("home").unwrap()
    }

    #[test]
    fn every_topic_survives_the_round_trip() {
        let node = NodeId::new("node-1").unwrap();
        for kind in Kind::ALL {
            let topic = Topic::Node(node.clone(), kind);
            assert_eq!(Topic::parse(&site(), &topic.to_text(&site())), Ok(topic));
        }
        let topic = Topic::Coordinator;
        assert_eq!(Topic::parse(&site(), &topic.to_text(&site())), Ok(topic));
    }

    #[test]
    fn foreign_topics_are_refused_with_the_reason() {
        for (text, why) in [
            ("nodemedic/v2/home/node/a/birth", "not under nodemedic/v1"),
            ("nodemedic/v1/away/node/a/birth", "of another site"),
            ("nodemedic/v1/homes/node/a/birth", "of another site"),
            (
                "nodemedic/v1/home/nodes/a/birth",
                "neither node nor coordinator",
            ),
            ("nodemedic/v1/home/node/a", "has no kind"),
            ("nodemedic/v1/home/node//birth", "has a bad node name"),
            ("nodemedic/v1/home/node/a/birth/x", "has an unknown kind"),
        ] {
            let error = Topic::parse(&site(), text).unwrap_err();
            assert_eq!(error.why, why, "{text}");
        }
    }
}
