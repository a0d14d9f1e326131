//! What a plan is, and every reason why something is not done, each with its sentence.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use nodemedic_protocol::api::Liveness;
use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::{Generation, NodeId, WorkName};

use super::picture::NoNewWork;
use crate::lease::LeaseEnd;
use crate::stored::{GrantKey, ReleaseWhy};

/// What to do now. An immutable value; whoever does it needs no thought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Grants to take away.
    pub releases: Vec<Release>,
    /// Grants to make.
    pub grants: Vec<NewGrant>,
}

/// A grant to take away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Which.
    pub key: GrantKey,
    /// From whom.
    pub node: NodeId,
    /// Why.
    pub why: ReleaseWhy,
}

/// A grant to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGrant {
    /// The work.
    pub work: WorkName,
    /// To whom.
    pub node: NodeId,
    /// Why there.
    pub because: Because,
}

/// Why a node was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// No other fits.
    OnlyOne,
    /// It came first of so many that fit.
    BestOf(usize),
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Because::OnlyOne => f.write_str("the only node that fits"),
            Because::BestOf(many) => write!(f, "the best of {many} nodes that fit"),
        }
    }
}

/// Why the works are not as wanted; a work that is has no entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanReport {
    /// By work.
    pub waiting: BTreeMap<WorkName, Vec<Waiting>>,
}

/// One reason why a work is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// No node fits.
    NoNode {
        /// Each node, and why it does not.
        refusals: Vec<(NodeId, NodeRefusal)>,
    },
    /// It must be proved stopped there first.
    Stop {
        /// Where.
        node: NodeId,
        /// Under which grant.
        generation: Generation,
    },
    /// Its holder is silent, and its promise may still hold.
    Lease {
        /// The silent node.
        node: NodeId,
        /// Under which grant.
        generation: Generation,
        /// Until when.
        until: LeaseEnd,
    },
    /// It would leave a node that is being emptied, but has no other place.
    StaysOnDraining {
        /// Where.
        node: NodeId,
        /// Why nowhere else.
        refusals: Vec<(NodeId, NodeRefusal)>,
    },
    /// Work of lower priority is stopped to make room.
    Room {
        /// Where.
        node: NodeId,
    },
    /// Its replacement does not serve yet, so it stays a little longer.
    Replacement {
        /// Where it stays.
        node: NodeId,
    },
    /// It is granted and does not serve yet.
    NotServing {
        /// Where.
        node: NodeId,
    },
}

/// Why a node does not fit a work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeRefusal {
    /// It takes no new work.
    Closed(NoNewWork),
    /// This work failed there and must not come back for now.
    Barred,
    /// It holds this work already.
    HoldsIt,
    /// It lacks a label.
    LacksLabel {
        /// Which.
        key: String,
        /// With which value.
        value: String,
    },
    /// It has too little left.
    NoRoom {
        /// What is left.
        left: Capacity,
        /// What is needed.
        needs: Capacity,
    },
}

impl fmt::Display for NodeRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeRefusal::Closed(NoNewWork::Liveness(liveness)) => write!(f, "is {liveness}"),
            NodeRefusal::Closed(NoNewWork::Gathering) => {
                f.write_str("waits until the whole fleet had time to speak")
            }
            NodeRefusal::Closed(NoNewWork::Undescribed) => {
                f.write_str("has not yet said what it offers")
            }
            NodeRefusal::Closed(NoNewWork::BeingFenced) => f.write_str("is being fenced"),
            NodeRefusal::Closed(NoNewWork::ToBeRebooted) => f.write_str("is about to be rebooted"),
            NodeRefusal::Closed(NoNewWork::Rebooted) => {
                f.write_str("was rebooted and must be well for a while first")
            }
            NodeRefusal::Closed(NoNewWork::Cordoned) => f.write_str("is cordoned"),
            NodeRefusal::Closed(NoNewWork::Draining) => f.write_str("is being drained"),
            NodeRefusal::Closed(NoNewWork::Drained) => f.write_str("is drained"),
            NodeRefusal::Barred => f.write_str("had it fail there"),
            NodeRefusal::HoldsIt => f.write_str("holds it already"),
            NodeRefusal::LacksLabel { key, value } => write!(f, "lacks the label {key}={value}"),
            NodeRefusal::NoRoom { left, needs } => write!(
                f,
                "has {}m cpu and {} MiB left, it needs {}m and {} MiB",
                left.cpu_milli,
                left.memory_bytes >> 20,
                needs.cpu_milli,
                needs.memory_bytes >> 20
            ),
        }
    }
}

/// At most so many nodes are named in one sentence; a large fleet refuses for few reasons.
const NAMED_MAX: usize = 6;

fn list(refusals: &[(NodeId, NodeRefusal)]) -> String {
    if refusals.is_empty() {
        return String::from("there is no node");
    }
    let mut text = String::new();
    for (index, (node, refusal)) in refusals.iter().take(NAMED_MAX).enumerate() {
        if index > 0 {
            text.push_str("; ");
        }
        text.push_str(&format!("{node} {refusal}"));
    }
    if refusals.len() > NAMED_MAX {
        text.push_str(&format!("; and {} more", refusals.len() - NAMED_MAX));
    }
    text
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waiting::NoNode { refusals } => write!(f, "no node fits: {}", list(refusals)),
            Waiting::Stop { node, generation } => write!(
                f,
                "generation {generation} on {node} must be proved stopped first"
            ),
            Waiting::Lease {
                node,
                generation,
                until: LeaseEnd::At(_),
            } => write!(
                f,
                "{node} is silent, and the lease of generation {generation} may still hold there"
            ),
            Waiting::Lease {
                node,
                generation,
                until: LeaseEnd::Never(why),
            } => write!(
                f,
                "{node} is silent, and nothing proves that generation {generation} has ended: \
                {why}; \
                 when you know that {node} is down, say so with confirm-down"
            ),
            Waiting::StaysOnDraining { node, refusals } => {
                write!(
                    f,
                    "stays on {node} because no other node fits: {}",
                    list(refusals)
                )
            }
            Waiting::Room { node } => {
                write!(
                    f,
                    "work of lower priority is being stopped on {node} to make room"
                )
            }
            Waiting::Replacement { node } => {
                write!(f, "stays on {node} until its replacement serves")
            }
            Waiting::NotServing { node } => write!(f, "does not serve on {node} yet"),
        }
    }
}

impl From<Liveness> for NodeRefusal {
    fn from(liveness: Liveness) -> NodeRefusal {
        NodeRefusal::Closed(NoNewWork::Liveness(liveness))
    }
}
