//! `nodemedic forget X`: a host that is gone for good leaves the list, and its alerts end.

use nodemedic_protocol::NodeId;
use nodemedic_protocol::api::ForgetRequest;

use super::accepted;
use crate::args::Context;
use crate::failure::Failure;

/// Which node, and why.
///
/// Refused while the node may still be there or holds work. One that reports again is a new node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node's name
    pub node: NodeId,
    /// Why; people will ask
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Asks.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let request = ForgetRequest {
        reason: args.reason.clone(),
    };
    accepted(context, &context.client()?.forget(&args.node, &request)?)
}
