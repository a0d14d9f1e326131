//! The command line: what is common to all commands, which commands there are, and how an end
//! becomes an exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::client::Client;
use crate::commands;
use crate::failure::Failure;
use crate::out::Screen;

/// Where a coordinator on this machine listens unless told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:7780";

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  it was tried and failed
  2  wrong usage
  3  the coordinator or the agent cannot be reached
  4  no such node or work
  5  the coordinator or the agent refused

New here? `nodemedic up` starts a whole fleet on this machine; `nodemedic story` breaks one and
shows how it heals.";

/// A field medic for servers: sees what breaks, treats it on the spot, moves work away, pages you.
#[derive(Debug, Parser)]
#[command(name = "nodemedic", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// What is common to all commands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// The coordinator's address
    #[arg(long, global = true, env = "NODEMEDIC_URL", default_value = DEFAULT_URL,
          value_name = "URL")]
    pub url: String,
    /// File with the token that the coordinator asks for
    #[arg(long, global = true, env = "NODEMEDIC_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificate authority of an https coordinator [default: those of this system]
    #[arg(long, global = true, env = "NODEMEDIC_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Print JSON for programs instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// Colour the output (auto: on a terminal, unless NO_COLOR is set)
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a whole fleet on this machine: coordinator, broker, three agents, two works
    Up(commands::up::Args),
    /// Break a fleet in every way and prove from outside that it heals
    Story(commands::story::Args),
    /// The coordinator at a glance
    Status,
    /// All nodes
    Nodes,
    /// One node in full
    Node(commands::node::Args),
    /// Works: what runs where; declare and remove them
    Work(commands::work::Args),
    /// Move all work off a node
    Drain(commands::drain::Args),
    /// Let a drained node take work again
    Undrain(commands::undrain::Args),
    /// Give a node no new work; what runs there stays
    Cordon(commands::cordon::Args),
    /// Let a cordoned node take new work again
    Uncordon(commands::uncordon::Args),
    /// The storm brake: when many hosts fall silent at once, nothing is taken out on silence
    Brake(commands::brake::Args),
    /// Say as a person that nothing runs on a node any more, so that its work may move
    ConfirmDown(commands::confirm_down::Args),
    /// Switch a host off by its fence devices, and prove it
    Fence(commands::fence::Args),
    /// Fence devices, and fences that are under way
    Fences,
    /// Forget a node that is gone for good, and end its alerts
    Forget(commands::forget::Args),
    /// What happened, in order
    Events(commands::events::Args),
    /// What a person should know
    Alerts(commands::alerts::Args),
    /// Hold the healing of this host's services, or of one, while you work on it
    Pause(commands::pause::Pause),
    /// End such a pause
    Resume(commands::pause::Resume),
    /// Let a fenced service of this host back, with a fresh restart budget
    Unfence(commands::pause::Unfence),
    /// Live view of this host, from its agent
    Top(commands::top::Args),
    /// Is this host fit for nodemedic? What is missing, what that costs, and what to do
    Doctor(commands::doctor::Args),
    /// What was to be seen of a service before it was killed or fenced
    Diagnose(commands::diagnose::Args),
    /// Break something on this host on purpose; it is taken back by itself
    Inject(commands::inject::Args),
    /// A small real HTTP service, to try things with
    Sample(commands::sample::Args),
    /// Run a program that ends when its starter ends
    #[command(hide = true)]
    Tether(commands::tether::Args),
}

/// What a command works with.
pub struct Context {
    /// The options.
    pub global: Global,
    /// Where and how output goes.
    pub screen: Screen,
}

impl Context {
    /// The coordinator's client.
    pub fn client(&self) -> Result<Client, Failure> {
        Client::new(
            &self.global.url,
            self.global.token_file.as_deref(),
            self.global.ca.as_deref(),
        )
    }
}

/// Parses, runs, and turns the end into an exit code.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let screen = Screen::of_process(cli.global.color, cli.global.json);
    let context = Context {
        global: cli.global,
        screen,
    };
    // Its exit code is its verdict.
    if let Command::Doctor(args) = &cli.command {
        return commands::doctor::run(args, &context);
    }
    match dispatch(&cli.command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            context.screen.error(&failure);
            ExitCode::from(failure.kind.code())
        }
    }
}

fn dispatch(command: &Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Up(args) => commands::up::run(args, context),
        Command::Story(args) => commands::story::run(args, context),
        Command::Status => commands::status::run(context),
        Command::Nodes => commands::nodes::run(context),
        Command::Node(args) => commands::node::run(args, context),
        Command::Work(args) => commands::work::run(args, context),
        Command::Drain(args) => commands::drain::run(args, context),
        Command::Undrain(args) => commands::undrain::run(args, context),
        Command::Cordon(args) => commands::cordon::run(args, context),
        Command::Uncordon(args) => commands::uncordon::run(args, context),
        Command::Brake(args) => commands::brake::run(args, context),
        Command::ConfirmDown(args) => commands::confirm_down::run(args, context),
        Command::Fence(args) => commands::fence::run(args, context),
        Command::Fences => commands::fences::run(context),
        Command::Forget(args) => commands::forget::run(args, context),
        Command::Events(args) => commands::events::run(args, context),
        Command::Alerts(args) => commands::alerts::run(args, context),
        Command::Pause(args) => commands::pause::pause(args, context),
        Command::Resume(args) => commands::pause::resume(args, context),
        Command::Unfence(args) => commands::pause::unfence(args, context),
        Command::Top(args) => commands::top::run(args, context),
        Command::Doctor(_) => Ok(()),
        Command::Diagnose(args) => commands::diagnose::run(args, context),
        Command::Inject(args) => commands::inject::run(args, context),
        Command::Sample(args) => commands::sample::run(args),
        Command::Tether(args) => commands::tether::run(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use nodemedic_protocol::Millis;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_drain_is_read_as_a_person_writes_it() {
        let cli = Cli::try_parse_from([
            "nodemedic",
            "drain",
            "node-2",
            "--deadline",
            "10m",
            "--reason",
            "new disk",
            "--wait",
        ])
        .unwrap();
        let Command::Drain(args) = cli.command else {
            panic!("not a drain")
        };
        assert_eq!(args.node.as_str(), "node-2");
        assert_eq!(args.deadline, Some(Millis(600_000)));
        assert_eq!(args.reason, "new disk");
        assert!(args.wait);
        assert_eq!(cli.global.url, DEFAULT_URL);
    }

    #[test]
    fn global_options_stand_before_and_after_the_command() {
        for line in [
            ["nodemedic", "--json", "nodes"],
            ["nodemedic", "nodes", "--json"],
        ] {
            assert!(Cli::try_parse_from(line).unwrap().global.json);
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in [
            vec!["nodemedic"],
            vec!["nodemedic", "drain", "node-1"],
            vec!["nodemedic", "drain", "no/de", "--reason", "x"],
            vec![
                "nodemedic",
                "drain",
                "node-1",
                "--reason",
                "x",
                "--deadline",
                "soon",
            ],
            vec!["nodemedic", "confirm-down", "node-1", "--reason", "x"],
            vec!["nodemedic", "forget", "node-1"],
            vec!["nodemedic", "fence", "--reason", "x", "--by", "ada"],
            vec!["nodemedic", "fence", "node-1", "--reason", "x"],
            vec![
                "nodemedic",
                "fence",
                "node-1",
                "--trust",
                "pdu",
                "--reason",
                "x",
                "--by",
                "ada",
            ],
            vec![
                "nodemedic",
                "fence",
                "--trust",
                "pdu",
                "--cancel",
                "--reason",
                "x",
                "--by",
                "ada",
            ],
            vec!["nodemedic", "brake", "release", "--reason", "x"],
            vec!["nodemedic", "brake", "release", "--for", "30m"],
            vec!["nodemedic", "pause", "web", "--reason", "x"],
            vec!["nodemedic", "pause", "web", "--for", "1h"],
            vec!["nodemedic", "unfence"],
            vec!["nodemedic", "up", "--nodes", "0"],
            vec!["nodemedic", "up", "--nodes", "99"],
            vec!["nodemedic", "nodes", "--color", "sometimes"],
        ] {
            let error = Cli::try_parse_from(&line).expect_err(&line.join(" "));
            assert_eq!(error.exit_code(), 2, "{line:?}");
        }
    }

    #[test]
    fn help_names_the_exit_codes() {
        let help = Cli::command().render_help().to_string();
        for line in [
            "3  the coordinator or the agent cannot be reached",
            "5  the coordinator",
        ] {
            assert!(help.contains(line), "{help}");
        }
    }
}
