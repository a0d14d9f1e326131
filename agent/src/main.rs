//! The binary `nodemedic-agent`: arguments in, exit status out.

use std::process::ExitCode;

use clap::Parser as _;
use nodemedic_agent::args::Args;
use nodemedic_agent::{config, life};
use nodemedic_edge::config::EXIT_CONFIG;

fn main() -> ExitCode {
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
