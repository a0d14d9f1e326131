//! `cargo xtask check`: formatting, lints, documentation, dependencies, the repository's own lints.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

use crate::build::{self, cargo, run_cargo};
use crate::steps::{Steps, Verdict};
use crate::{process, setup};

/// A cold clippy or doc run on two slow cores takes a quarter of this.
const LIMIT: Duration = Duration::from_secs(3600);
/// The version that deny.toml is written for.
const CARGO_DENY: &str = "^0.20";

/// All steps run, whatever fails.
pub fn run() -> Result<()> {
    let mut steps = Steps::new();
    steps.step("set-up", || setup::ensure(&[setup::BUILD]));
    steps.step("formatting", || {
        run_cargo(&["fmt", "--all", "--check"], LIMIT)
    });
    steps.step("repository lints", || {
        run_cargo(&["test", "--package", "nodemedic-tidy"], LIMIT)
    });
    steps.step("clippy", || {
        run_cargo(
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
            LIMIT,
        )
    });
    steps.step("documentation", || {
        build::succeed(
            cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
            LIMIT,
        )
    });
    if steps.step("cargo-deny is there", ensure_deny) {
        steps.step("licences, bans, sources", || {
            run_cargo(&["deny", "check", "licenses", "bans", "sources"], LIMIT)
        });
        steps.verdict("advisories", advisories);
    }
    steps.finish()
}

fn ensure_deny() -> Result<()> {
    let mut probe = cargo(&["deny", "--version"]);
    probe.stdout(Stdio::null()).stderr(Stdio::null());
    if process::run(&mut probe, LIMIT)?.success() {
        return Ok(());
    }
    run_cargo(
        &["install", "--locked", "cargo-deny", "--version", CARGO_DENY],
        LIMIT,
    )
}

/// The advisories come over the network. Without it the step says that it could not look, which is
/// not the same as having found nothing.
fn advisories() -> Result<Verdict> {
    let fetched = fetch_advisories()?;
    let mut arguments = vec!["deny", "check"];
    if let Fetched::No = fetched {
        if !database_is_there() {
            return Ok(Verdict::Partial(
                "not checked: the advisory database cannot be fetched from here".to_owned(),
            ));
        }
        arguments.push("--disable-fetch");
    }
    arguments.push("advisories");
    run_cargo(&arguments, LIMIT)?;
    Ok(match fetched {
        Fetched::Yes => Verdict::Whole,
        Fetched::No => Verdict::Partial(
            "checked against an older database: a new one cannot be fetched from here".to_owned(),
        ),
    })
}

enum Fetched {
    Yes,
    No,
}

fn fetch_advisories() -> Result<Fetched> {
    let mut fetch: Command = cargo(&["deny", "fetch", "db"]);
    let status = process::run(&mut fetch, LIMIT)?;
    Ok(if status.success() {
        Fetched::Yes
    } else {
        Fetched::No
    })
}

fn database_is_there() -> bool {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => std::path::PathBuf::from(home),
        None => match std::env::var_os("HOME") {
            Some(home) => std::path::PathBuf::from(home).join(".cargo"),
            None => return false,
        },
    };
    let Ok(entries) = std::fs::read_dir(home.join("advisory-dbs")) else {
        return false;
    };
    // A fetch that failed leaves an empty directory behind.
    entries
        .flatten()
        .any(|entry| entry.path().join("crates").is_dir())
}
