//! The name of anything that the agent keeps alive: a service of the host, or a work of the fleet.

use core::fmt;

use nodemedic_protocol::{Component, ServiceName, WorkName};
use serde::{Deserialize, Serialize};

/// Services and works share one ladder; this tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitKey {
    /// Of the host's own configuration.
    Service(ServiceName),
    /// Placed here by the coordinator.
    Work(WorkName),
}

impl UnitKey {
    /// The same thing in the health vocabulary.
    #[must_use]
    pub fn component(&self) -> Component {
        match self {
            UnitKey::Service(name) => Component::Service(name.clone()),
            UnitKey::Work(name) => Component::Work(name.clone()),
        }
    }
}

impl fmt::Display for UnitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnitKey::Service(name) => write!(f, "service {name}"),
            UnitKey::Work(name) => write!(f, "work {name}"),
        }
    }
}
