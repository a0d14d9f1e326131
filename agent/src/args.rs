//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::config::DEFAULT_PATH;

/// Watches this host and its services, heals what it can, and reports to the coordinator.
///
/// Exit status: 0 ended on request, 1 failed, 2 wrong command line, 78 wrong configuration.
#[derive(Debug, Parser)]
#[command(name = "nodemedic-agent", version)]
pub struct Args {
    /// The configuration file; files of the directory beside it (agent.d for agent.toml) are merged
    /// in.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    pub config: PathBuf,

    /// Only say whether the configuration is valid.
    #[arg(long)]
    pub check: bool,
}
