//! The program `nodemedic-helper`: arguments in, exit status out. Only systemd and root run it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nodemedic_helper::hands::{Allowed, Hands};
use nodemedic_helper::{
    ALLOWED, Allow, Answer, Places, STATE, USER, apart, fenced, polkit, restore, serve, verbs,
};

/// Does for the nodemedic agent what needs root: keeps fenced services out, kills what is left of
/// them, and nothing else.
#[derive(Debug, Parser)]
#[command(name = "nodemedic-helper", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer on the listening socket that systemd gives as standard input.
    Serve,
    /// Read from the agent's configuration what the agent may touch; write it down for this program
    /// and as a rule for polkit.
    Allow {
        /// The agent's configuration.
        #[arg(long, value_name = "PATH", default_value = "/etc/nodemedic/agent.toml")]
        config: PathBuf,
    },
    /// Early in a boot: mask what is fenced and block its ports, where that is not done.
    Restore,
    /// Do what a remedy of the agent's configuration does; --dry-run says which files a clean-up
    /// would remove.
    Remedy {
        /// Its name: [remedy.NAME].
        name: String,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Leave the answer there too, and end well whatever it is.
        #[arg(long, value_name = "PATH")]
        answer: Option<PathBuf>,
    },
    /// Show what is fenced.
    List,
    /// Let a fenced unit back, whatever the agent says of it. It is not started.
    Unfence {
        /// Which; --all for every one.
        #[arg(required_unless_present = "all")]
        unit: Option<String>,
        /// Every one.
        #[arg(long)]
        all: bool,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    nodemedic_edge::log::init("nodemedic-helper");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(args.command)),
        Err(error) => Err(format!("cannot start the event loop: {error}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), String> {
    let places = Places::of_host(STATE.into());
    match command {
        Command::Serve => {
            let user = nix::unistd::User::from_name(USER).map_err(|error| error.to_string())?;
            let uid = user.map(|user| user.uid.as_raw());
            let places = Places {
                apart: PathBuf::from(ALLOWED).parent().map(PathBuf::from),
                ..places
            };
            let hands = Hands::new(places, Allowed::File(ALLOWED.into()));
            let served = serve::run(hands, uid).await;
            served.map_err(|error| format!("cannot serve: {error}; start nodemedic-helper.socket"))
        }
        Command::Allow { config } => {
            let allow = Allow::from_config(&config)
                .map_err(|error| format!("{error}; what was allowed before stays"))?;
            let directory = PathBuf::from(ALLOWED);
            let directory = directory.parent().unwrap_or(&directory);
            nodemedic_edge::files::ensure_dir(directory, 0o755).map_err(|e| e.to_string())?;
            allow.save(ALLOWED.as_ref())?;
            polkit::write(polkit::RULES.as_ref(), &allow, USER)
        }
        Command::Restore => match restore::run(&places).await? {
            0 => Ok(()),
            count => Err(format!(
                "{count} of the list of fenced units are not in force"
            )),
        },
        Command::Remedy {
            name,
            dry_run,
            answer,
        } => remedy(places, &name, dry_run, answer).await,
        Command::List => {
            let (list, wrong) = fenced::read(&places.state)?;
            for (unit, ports) in list {
                let ports: Vec<String> = ports.iter().map(|port| format!(" {port}")).collect();
                println!("{unit}{}", ports.concat());
            }
            wrong.into_iter().for_each(|line| eprintln!("{line}"));
            Ok(())
        }
        Command::Unfence { unit, all } => {
            let units: Vec<String> = match (unit, all) {
                (_, true) => fenced::read(&places.state)?.0.into_keys().collect(),
                (unit, false) => unit.into_iter().collect(),
            };
            for unit in units {
                println!("{unit}: {}", verbs::lift(&places, &unit).await?);
            }
            Ok(())
        }
    }
}

async fn remedy(
    places: Places,
    name: &str,
    dry_run: bool,
    leave: Option<PathBuf>,
) -> Result<(), String> {
    let hands = Hands::new(places, Allowed::File(ALLOWED.into()));
    let request = hands
        .allowed()
        .and_then(|allow| verbs::request_of(&allow, name, dry_run));
    let answer = match request {
        Ok(request) => hands.act(&request).await,
        Err(why) => Answer::Refused(why),
    };
    if let Some(path) = leave {
        return apart::leave(&path, &answer);
    }
    println!("{}", answer.into_result()?);
    Ok(())
}
