//! The built binaries as a fleet that a test can break: real processes, real sockets, real brokers.
//!
//! `cargo xtask test` builds the binaries and installs the parts (Mosquitto, systemd-nspawn, ...)
//! first; a test that misses one fails and says so. Nothing here reads our own memory: tests look
//! from outside.

pub mod api;
pub mod broker;
pub mod certs;
pub mod config;
pub mod fleet;
pub mod mqtt;
pub mod nspawn;
pub mod process;
pub mod record;
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
