//! The binary `nodemedic-agent`: arguments in, exit status out.

use std::process::ExitCode;

use clap::Parser as _;
use nodemedic_agent::args::Args;
use nodemedic_agent::{config, life};
use nodemedic_agent_host::manager::command::gate;
use nodemedic_edge::config::EXIT_CONFIG;

/// As a shell says that it found no program.
const EXIT_NO_COMMAND: u8 = 127;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == gate::ARGUMENT) {
        return match gate::run(words) {
            // It became its command, which never returns here; or nobody opened it.
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(EXIT_NO_COMMAND)
            }
        };
    }
    let args = Args::parse();
    nodemedic_edge::log::init("nodemedic-agent");
    let settings = match config::load(&args.config) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if args.check {
        println!("{} is valid", args.config.display());
        return ExitCode::SUCCESS;
    }
    match life::run(settings, args.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
