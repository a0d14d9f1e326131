//! `nodemedic cordon X`: no new work for a node; what runs there stays.

use nodemedic_protocol::NodeId;
use nodemedic_protocol::api::CordonRequest;

use super::accepted;
use crate::args::Context;
use crate::failure::Failure;

/// Which node, and why.
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
    let request = CordonRequest {
        reason: args.reason.clone(),
    };
    accepted(context, &context.client()?.cordon(&args.node, &request)?)
}
