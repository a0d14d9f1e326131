//! `cargo xtask bench heal`: how soon a service that was killed, or that hangs, runs again under
//! our agent, under systemd and under monit, on one booted Debian in one run.
//!
//! The measuring is a program of `tests/system`, which has the booted host; see its head.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::{build, package, setup};

/// A cold build of the system tests on two slow cores takes a third of this.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);
/// One round of all takes some ten seconds: a rest before each, and monit's cycles.
const ROUND_LIMIT: Duration = Duration::from_secs(60);
/// Making the root of the host, and booting it.
const BOOT_LIMIT: Duration = Duration::from_secs(900);
/// Fewer say nothing of a median.
const ROUNDS_MIN: u64 = 5;
/// More would take a day.
const ROUNDS_MAX: u64 = 1000;

/// Kills each service so often, prints a table, and writes it under the target directory.
pub fn run(rounds: u64) -> Result<()> {
    let rounds = rounds.clamp(ROUNDS_MIN, ROUNDS_MAX);
    setup::ensure(&[setup::BUILD, setup::TEST, setup::BENCH])?;
    package::run("release")?;
    build::run_cargo(
        &["build", "--package", "nodemedic-system-tests", "--bins"],
        BUILD_LIMIT,
    )?;
    super::make(&build::target().join("bench"))?;
    let report = build::target().join("bench/heal.json");
    let spare = ROUND_LIMIT.saturating_mul(u32::try_from(rounds)?);
    build::succeed(
        Command::new(build::target().join("debug/nodemedic-bench-heal"))
            .arg(rounds.to_string())
            .arg(&report),
        BOOT_LIMIT + spare,
    )?;
    println!("\nwritten to {}", report.display());
    Ok(())
}
