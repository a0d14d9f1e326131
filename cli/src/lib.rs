//! The command line of nodemedic: asks the coordinator over HTTP and the agent over its local
//! socket, starts a whole fleet on one machine (`up`), and proves the main story on it (`story`).
//!
//! May depend on `protocol` and `edge` only. One command is one file in `commands`; what people
//! read is made in `out`; nothing here decides anything about nodes or work.

use std::process::ExitCode;

mod args;
mod blast;
mod client;
mod commands;
mod doctor;
mod failure;
mod fleet;
mod http;
mod local;
mod out;
mod reboot;
mod sample;
mod story;
mod top;
mod trust;
mod words;
mod workfile;

/// Runs the command that the process's arguments name; errors are printed here, once.
#[must_use]
pub fn run() -> ExitCode {
    args::run()
}
