//! `nodemedic uncordon X`: a cordoned node takes new work again.

use nodemedic_protocol::NodeId;

use super::accepted;
use crate::args::Context;
use crate::failure::Failure;

/// Which node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node's name
    pub node: NodeId,
}

/// Asks.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    accepted(context, &context.client()?.uncordon(&args.node)?)
}
