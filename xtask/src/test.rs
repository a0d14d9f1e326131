//! `cargo xtask test`: every test there is, from nothing, without a terminal.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::steps::Steps;
use crate::{package, setup};

/// Cold, on two slow cores, it takes a quarter of this.
const BUILD_LIMIT: Duration = Duration::from_secs(3600);
/// Tests of one crate end in seconds, simulations in a minute.
const UNIT_LIMIT: Duration = Duration::from_secs(2400);
/// Boots real hosts; measured below a quarter of this.
const SYSTEM_LIMIT: Duration = Duration::from_secs(2700);

/// All steps run, whatever fails; the table at the end and the exit status tell.
///
/// Every cargo call names the whole workspace. Naming one package would choose other features for
/// what it depends on, and half of it would be built twice.
pub fn run() -> Result<()> {
    let mut steps = Steps::new();
    let ready = steps.step("set-up", || setup::ensure(&[setup::BUILD, setup::TEST]));
    let built = steps.step("build programs and tests", || {
        build::run_cargo(&["build", "--workspace", "--all-targets"], BUILD_LIMIT)
    });
    let packaged = steps.step("packages", || package::run("dev"));
    let oracle = steps.step("build the heim oracle", build::heim_oracle);
    steps.step("repository lints", || {
        build::run_cargo(&["test", "--workspace", "--test", "tidy"], UNIT_LIMIT)
    });
    steps.step("unit, property and golden tests", unit_tests);
    steps.step("system tests", || {
        if ready && built && packaged && oracle {
            system_tests()
        } else {
            bail!("not run, because the set-up or a build failed")
        }
    });
    steps.finish()
}

fn unit_tests() -> Result<()> {
    let arguments = [
        "test",
        "--workspace",
        "--no-fail-fast",
        "--exclude",
        "nodemedic-system-tests",
    ];
    build::run_cargo(&arguments, UNIT_LIMIT)
}

/// One at a time: they share this machine's ports, namespaces and processor time, and measure.
fn system_tests() -> Result<()> {
    let names = system_test_names()?;
    let mut arguments = vec!["test", "--workspace", "--no-fail-fast"];
    for name in &names {
        arguments.extend(["--test", name]);
    }
    arguments.extend(["--", "--test-threads=1"]);
    build::run_cargo(&arguments, SYSTEM_LIMIT)
}

fn system_test_names() -> Result<Vec<String>> {
    let directory = build::root().join("tests/system/tests");
    let entries = fs::read_dir(&directory)
        .with_context(|| format!("reading the directory {}", directory.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("reading the directory {}", directory.display()))?
            .path();
        if let (Some("rs"), Some(name)) = (
            path.extension().and_then(|e| e.to_str()),
            path.file_stem().and_then(|n| n.to_str()),
        ) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    if names.is_empty() {
        bail!("there are no system tests in {}", directory.display());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tests_are_found_by_their_files() {
        let names = system_test_names().unwrap();
        assert!(names.contains(&"oracle_heim".to_owned()), "{names:?}");
    }
}
