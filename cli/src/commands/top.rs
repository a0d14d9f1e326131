//! `nodemedic top`: this host, live, from its agent.

use std::path::PathBuf;

use crate::args::Context;
use crate::failure::Failure;
use crate::{local, top};

/// Processors, memory, pressure, disks, filesystems, networks, processes, services, works and what
/// is wrong, as the agent of this host sees it. q quits.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent's local socket
    #[arg(long, env = "NODEMEDIC_SOCKET", default_value = local::DEFAULT_SOCKET,
          value_name = "PATH")]
    socket: PathBuf,
    /// Print one frame as text and end
    #[arg(long)]
    once: bool,
}

/// Shows it.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let screen = &context.screen;
    if screen.json {
        return screen.json(&local::status(&args.socket)?);
    }
    if args.once {
        let status = local::status(&args.socket)?;
        for line in top::frame(&status, screen.width.unwrap_or(top::WIDTH_WITHOUT_TERMINAL)) {
            screen.say(&crate::out::paint_line(&line, screen.color));
        }
        return Ok(());
    }
    if screen.width.is_none() {
        return Err(Failure::usage(
            "a live view needs a terminal",
            "`nodemedic top --once` prints one frame, `--json` prints all of it",
        ));
    }
    top::live(&args.socket, screen.color)
}
