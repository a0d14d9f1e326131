//! Records of the budget and of the storm brake.

use alloc::string::String;

use nodemedic_protocol::{Millis, WallTime};
use serde::{Deserialize, Serialize};

/// A place among the hosts that are out by choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Since when.
    pub since: WallTime,
    /// True when what it was for is over, and the host is not yet seen to be back and well.
    pub over: bool,
}

/// How it is known that a silent node is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownDown {
    /// A person said so.
    PersonsWord {
        /// Who.
        by: String,
    },
    /// A fence device confirmed it.
    Fenced,
}

/// A storm: many hosts silent at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrakeRecord {
    /// Since when.
    pub since: WallTime,
    /// A person's release of the brake that has not ended.
    pub release: Option<ReleaseRecord>,
}

/// A person's release of the storm brake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// Since when.
    pub since: WallTime,
    /// For how long.
    pub span: Millis,
    /// Why.
    pub reason: String,
}
