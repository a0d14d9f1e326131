//! The built binaries as a fleet that a test can break: real processes, real sockets, real brokers.
//!
//! `cargo xtask test` builds the binaries and installs the parts (Mosquitto, systemd-nspawn, ...)
//! first; a test that misses one fails and says so. Nothing here reads our own memory: tests look
//! from outside.

pub mod api;
pub mod book;
pub mod broker;
pub mod certs;
pub mod config;
pub mod fake_watchdog;
pub mod fleet;
pub mod machine;
pub mod mqtt;
pub mod netns;
pub mod nspawn;
pub mod packaged;
pub mod picture;
pub mod played;
pub mod process;
pub mod realm;
pub mod record;
pub mod scenario;
pub mod terms;
pub mod tool;
pub mod vm;
pub mod wait;

use std::path::PathBuf;

/// The folder with the built binaries: beside the test's own.
///
/// # Panics
/// When the test was not started by cargo from a target folder.
#[must_use]
pub fn binaries() -> PathBuf {
    let mut path = std::env::current_exe().expect("the test knows its own path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path
}

/// One of our binaries.
///
/// # Panics
/// When it is not built; says how to build it.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let path = binaries().join(name);
    assert!(
        path.exists(),
        "{} is not built: run the system tests by `cargo xtask test`, which builds it first",
        path.display()
    );
    path
}

/// The seed of a random run: that of the environment, or this one. Printed, so that whoever sees a
/// failure can have the same run again.
#[must_use]
pub fn seed(default: u64) -> u64 {
    let chosen = std::env::var("NODEMEDIC_SEED").ok();
    let seed = chosen.and_then(|s| s.parse().ok()).unwrap_or(default);
    println!("seed {seed} (NODEMEDIC_SEED chooses another)");
    seed
}
