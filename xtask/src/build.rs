//! cargo, called the same way by every command, and where its results lie.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process;

/// The packages whose programs make a fleet.
const PROGRAMS: &[&str] = &[
    "nodemedic-agent",
    "nodemedic-watchdog",
    "nodemedic-coordinator",
    "nodemedic-cli",
    "nodemedic-plugin-chrony",
];

/// A cold build of everything on two slow cores takes a quarter of this.
const BUILD_LIMIT: Duration = Duration::from_secs(3600);

/// The top of the work tree.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// A cargo command at the top of the work tree.
pub fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// Runs cargo; an exit status other than 0 is an error.
///
/// # Errors
/// When cargo cannot be started, fails, or takes longer than `limit`.
pub fn run_cargo(arguments: &[&str], limit: Duration) -> Result<()> {
    succeed(&mut cargo(arguments), limit)
}

/// Runs a command; an exit status other than 0 is an error.
///
/// # Errors
/// As [`run_cargo`].
pub fn succeed(command: &mut Command, limit: Duration) -> Result<()> {
    println!("$ {}", process::words(command));
    let status = process::run(command, limit)?;
    if !status.success() {
        bail!("{} ended with {status}", process::words(command));
    }
    Ok(())
}

/// Builds every program of a fleet, quickly, and gives the directory where they lie.
///
/// # Errors
/// When the build fails.
pub fn programs() -> Result<PathBuf> {
    let mut arguments = vec!["build"];
    for package in PROGRAMS {
        arguments.extend(["--package", package]);
    }
    run_cargo(&arguments, BUILD_LIMIT)?;
    Ok(target().join("debug"))
}

/// Builds a program as it is shipped, from the package of its name, and gives its path.
///
/// # Errors
/// When the build fails.
pub fn shipped(program: &str) -> Result<PathBuf> {
    run_cargo(&["build", "--release", "--package", program], BUILD_LIMIT)?;
    Ok(target().join("release").join(program))
}

/// Builds the heim oracle, which has a lockfile of its own.
///
/// # Errors
/// When the build fails.
pub fn heim_oracle() -> Result<()> {
    let manifest = root().join("tests/oracles/heim/Cargo.toml");
    let target = target().join("oracle-heim");
    succeed(
        cargo(&["build", "--locked", "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(target),
        BUILD_LIMIT,
    )
}
