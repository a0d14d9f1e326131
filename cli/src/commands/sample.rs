//! `nodemedic sample`: a small real HTTP service, to try things with.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::sample::{Settings, serve};

/// Answers GET / with its work, node, generation, process and start time.
///
/// Keeps a record of when it ran, one line for each start, from which anybody can prove that two
/// instances never ran at once.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// File to record starts and signs of life in
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// While this file exists, refuse to start: a fault for trying things out
    #[arg(long, value_name = "FILE")]
    break_file: Option<PathBuf>,
    /// End when nobody holds an exclusive lock (flock) on this file any more
    #[arg(long, value_name = "FILE")]
    lives_with: Option<PathBuf>,
    /// Name of the work
    #[arg(long, env = "NODEMEDIC_WORK", value_name = "NAME")]
    work: Option<String>,
    /// Name of the node
    #[arg(long, env = "NODEMEDIC_NODE", value_name = "NAME")]
    node: Option<String>,
    /// Number of the grant
    #[arg(long, env = "NODEMEDIC_GENERATION", value_name = "NUMBER")]
    generation: Option<u64>,
}

/// Serves until SIGTERM or SIGINT.
pub fn run(args: &Args) -> Result<(), Failure> {
    let settings = Settings {
        listen: args.listen,
        record: args.record.clone(),
        break_file: args.break_file.clone(),
        lives_with: args.lives_with.clone(),
        work: args.work.clone(),
        node: args.node.clone(),
        generation: args.generation,
    };
    super::runtime()?.block_on(serve(settings))
}
