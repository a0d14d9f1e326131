//! `nodemedic doctor`: is this host fit for nodemedic?

use std::path::PathBuf;
use std::process::ExitCode;

use crate::args::Context;
use crate::doctor::place::Place;
use crate::doctor::{self, State};
use crate::local;

const AFTER_HELP: &str = "\
Exit codes:
  0  everything is as it should be
  1  warnings: it works, with a price
  2  something that is needed is missing

Nothing is changed, nothing is sent to the coordinator, and no agent needs to run.";

/// Looks at everything that nodemedic needs on this host: agent, versions, configuration,
/// permissions, polkit, systemd, kernel, watchdog, time, broker, certificates, state. What is not
/// as it should be says what that costs and what to do.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The agent's configuration
    #[arg(long, value_name = "PATH", default_value = "/etc/nodemedic/agent.toml")]
    config: PathBuf,
    /// The agent's local socket
    #[arg(long, env = "NODEMEDIC_SOCKET", default_value = local::DEFAULT_SOCKET,
          value_name = "PATH")]
    socket: PathBuf,
}

/// Looks, prints, and ends with its verdict.
pub fn run(args: &Args, context: &Context) -> ExitCode {
    let screen = &context.screen;
    let groups = match doctor::examine(Place::look(&args.config, &args.socket)) {
        Ok(groups) => groups,
        Err(failure) => {
            screen.error(&failure);
            return ExitCode::from(State::Missing.code());
        }
    };
    let printed = if screen.json {
        screen.json(&groups)
    } else {
        screen.say(&doctor::render(&groups, screen));
        Ok(())
    };
    if let Err(failure) = printed {
        screen.error(&failure);
    }
    let rows = groups.iter().flat_map(|group| &group.checks);
    let worst = rows.map(|row| row.state).max().unwrap_or(State::Missing);
    ExitCode::from(worst.code())
}
