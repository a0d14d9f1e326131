//! `nodemedic-coordinator`: parses arguments and returns an exit code; the life cycle is in the
//! library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use nodemedic_coordinator::program::{self, Mode};

/// Looks after a fleet: watches its nodes, places work on them, moves it away from those that
/// cannot be treated, and pages a person when one is needed.
///
/// Exit status: 0 ended on request, 1 failed, 78 the configuration is wrong.
#[derive(Debug, Parser)]
#[command(name = "nodemedic-coordinator", version)]
struct Arguments {
    /// The configuration file; a directory of the same name that ends in .d may hold more.
    #[arg(long, value_name = "PATH", default_value = nodemedic_coordinator::config::DEFAULT_PATH)]
    config: PathBuf,
    /// Only check the configuration, and say what it means.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mode = if arguments.check {
        Mode::Check
    } else {
        Mode::Run
    };
    program::run(&arguments.config, mode)
}
