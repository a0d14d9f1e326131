//! `nodemedic confirm-down X`: a person's word that nothing runs on a node any more. It is recorded
//! with the person's name, and frees exclusive work that waits for proof.

use nodemedic_protocol::NodeId;
use nodemedic_protocol::api::ConfirmDownRequest;

use super::accepted;
use crate::args::Context;
use crate::failure::Failure;

/// Which node, who says so, and how they know.
///
/// Only say this of a host whose power you have seen to be off, or whose processes you have seen to
/// be gone: exclusive work starts elsewhere at once on your word, and runs twice if you are wrong.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node's name
    pub node: NodeId,
    /// How you know
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who says so
    #[arg(long, value_name = "NAME")]
    pub by: String,
}

/// Asks.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let request = ConfirmDownRequest {
        reason: args.reason.clone(),
        by: args.by.clone(),
    };
    accepted(
        context,
        &context.client()?.confirm_down(&args.node, &request)?,
    )
}
