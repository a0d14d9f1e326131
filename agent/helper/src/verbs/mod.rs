//! The verbs: one file each, and a row in each of the two tables below.

mod fence;
mod kill;
mod unfence;

use std::collections::BTreeSet;

use crate::allow::Allow;
use crate::hands::Hands;
use crate::ports::Port;
use crate::request::Request;

pub use unfence::lift;

/// What the allow list adds to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warrant {
    /// The ports of the service.
    pub ports: BTreeSet<Port>,
}

/// Whether it may be done.
///
/// # Errors
/// Why not, and what to change if it should.
pub fn may(allow: &Allow, request: &Request) -> Result<Warrant, String> {
    match request {
        Request::Fence { unit } => fence::may(allow, unit),
        Request::Unfence { unit } => unfence::may(allow, unit),
        Request::Kill { unit, cgroup } => kill::may(allow, unit, cgroup),
    }
}

/// Does what may be done.
///
/// # Errors
/// Why it could not be done, or not be proved.
pub async fn act(hands: &Hands, warrant: &Warrant, request: &Request) -> Result<String, String> {
    match request {
        Request::Fence { unit } => fence::act(hands, warrant, unit).await,
        Request::Unfence { unit } => unfence::act(hands, unit).await,
        Request::Kill { cgroup, .. } => kill::act(hands, cgroup).await,
    }
}
