//! The developer's commands: `cargo xtask COMMAND`. One file per command; each does all of its own
//! set-up, so that a fresh machine needs nothing but a Rust toolchain and, for packages, root.

mod bench;
mod build;
mod check;
mod package;
mod process;
mod setup;
mod sim;
mod steps;
mod test;
mod up;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The developer's commands of nodemedic.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything and run a whole fleet on this machine; arguments go to `nodemedic up`.
    Up {
        /// `cargo xtask up -- --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run every test: unit, property, golden, simulation, real processes, real hosts.
    Test,
    /// Formatting, lints, documentation, licences of dependencies, and the repository's own lints.
    Check,
    /// Measure the agent beside node_exporter, collectd and monit, in the same minute; or the
    /// watchdog under stress; or how soon what fails runs again.
    Bench {
        /// What is measured.
        #[arg(value_enum, default_value_t = Bench::Agent)]
        what: Bench,
        /// How long to measure; the watchdog so long under each load.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// How often each service is killed by `heal`.
        #[arg(long, default_value_t = 50)]
        rounds: u64,
    },
    /// Build the Debian packages.
    Package {
        /// `release` is what is shipped; `dev` is quick to build.
        #[arg(long, default_value = "release")]
        profile: String,
    },
    /// Run the simulation; arguments go to it: `--seeds N --seconds S --nodes N`.
    Sim {
        /// See `cargo xtask sim -- --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Install what the other commands need, and do nothing else.
    Setup,
}

/// What `cargo xtask bench` measures.
#[derive(Clone, Copy, ValueEnum)]
enum Bench {
    /// What the agent costs beside its rivals.
    Agent,
    /// How long the watchdog goes without feeding its device under stress.
    Watchdog,
    /// How soon a service that was killed, or that hangs, runs again: beside systemd and monit.
    Heal,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match process::end_children_with_us().and_then(|()| run(arguments.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up { arguments } => up::run(arguments),
        Command::Test => test::run(),
        Command::Check => check::run(),
        Command::Bench {
            what,
            seconds,
            rounds,
        } => match what {
            Bench::Agent => bench::run(seconds),
            Bench::Watchdog => bench::watchdog::run(seconds),
            Bench::Heal => bench::heal::run(rounds),
        },
        Command::Package { profile } => {
            setup::ensure(&[setup::BUILD])?;
            package::run(&profile)
        }
        Command::Sim { arguments } => sim::run(arguments),
        Command::Setup => setup::run(),
    }
}
