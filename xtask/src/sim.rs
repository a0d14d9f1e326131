//! `cargo xtask sim`: the deterministic simulation, with any number of seeds.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Result;

use crate::{build, setup};

/// A night of seeds.
const LIMIT: Duration = Duration::from_secs(12 * 3600);

/// Builds and runs the simulation's program with these arguments.
pub fn run(arguments: Vec<OsString>) -> Result<()> {
    setup::ensure(&[setup::BUILD])?;
    build::succeed(
        build::cargo(&["run", "--quiet", "--package", "nodemedic-sim", "--"]).args(arguments),
        LIMIT,
    )
}
