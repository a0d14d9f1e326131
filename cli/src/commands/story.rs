//! `nodemedic story`: break a fleet in every way and prove from outside that it heals.

use crate::args::Context;
use crate::failure::Failure;
use crate::story::{Options, play};

/// Starts a fleet of its own in a temporary directory on free ports, with nothing installed, and
/// plays the main story on it: kills a service, breaks it for good, loses a host, drains and
/// undrains a node. Each turn is seen by asking the services themselves; at the end their own
/// records prove that the exclusive work never ran twice.
///
/// Ends with 0 only if every step was seen.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Keep configuration, logs and records also when all went well
    #[arg(long)]
    keep: bool,
}

/// Plays it.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let options = Options { keep: args.keep };
    super::runtime()?.block_on(play(&options, &context.screen))
}
