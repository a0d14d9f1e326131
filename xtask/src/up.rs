//! `cargo xtask up`: build every program of a fleet and become `nodemedic up`.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::{build, process, setup};

/// Never returns when it works: the process becomes `nodemedic up`, so Ctrl-C and the exit status
/// are its own.
pub fn run(arguments: Vec<OsString>) -> Result<()> {
    setup::ensure(&[setup::BUILD])?;
    let programs = build::programs()?;
    let mut command = Command::new(programs.join("nodemedic"));
    Err(process::become_it(command.arg("up").args(arguments)))
}
