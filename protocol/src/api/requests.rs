//! What people and programs ask of the coordinator, and how it answers.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::fence::FenceThen;
use crate::time::Millis;
use crate::work::WorkSpec;

/// `PUT /api/v1/work`: declare or change works. Answers [`Accepted`] or [`ApiError`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutWork {
    /// Each replaces the one of its name.
    pub works: Vec<WorkSpec>,
}

/// `POST /api/v1/nodes/{node}/drain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Why; people will ask.
    pub reason: String,
    /// So long after it has begun what is left is stopped. Without one nothing is forced.
    #[serde(default)]
    pub deadline: Option<Millis>,
    /// Begins at once, however many hosts are out. It is recorded.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub override_budget: bool,
}

/// `POST /api/v1/nodes/{node}/cordon`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CordonRequest {
    /// Why; people will ask.
    pub reason: String,
}

/// `POST /api/v1/nodes/{node}/confirm-down`: a person's word that nothing runs on a node any more.
/// It is recorded, and it frees exclusive work that waits for proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmDownRequest {
    /// How the person knows.
    pub reason: String,
    /// Who says so.
    pub by: String,
}

/// `POST /api/v1/nodes/{node}/fence`: switch a host off and prove it. Not held by the storm brake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FenceRequest {
    /// Why; people will ask.
    pub reason: String,
    /// Who wants it.
    pub by: String,
    /// Begins at once, however many hosts are out. It is recorded.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub override_budget: bool,
    /// What becomes of the host afterwards; absent: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<FenceThen>,
}

/// `POST /api/v1/nodes/{node}/cancel-fence`: ask its devices nothing more. What was asked before is
/// not undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelFenceRequest {
    /// Why; people will ask.
    pub reason: String,
    /// Who says so.
    pub by: String,
}

/// `POST /api/v1/fence-devices/{device}/trust`: a person's word that a device which was wrong may
/// be believed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustDeviceRequest {
    /// What was wrong with it, and how that was repaired.
    pub reason: String,
    /// Who says so.
    pub by: String,
}

/// `POST /api/v1/nodes/{node}/forget`: the host is gone for good. Refused while the node may still
/// be there or holds a grant; one that reports again is a new node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetRequest {
    /// Why; people will ask.
    pub reason: String,
}

/// A request was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// What will happen, one sentence.
    pub message: String,
}

/// A request was not taken. With a status of 4xx (the asker's fault) or 5xx (ours).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What was wrong, and what to do.
    pub error: String,
}
