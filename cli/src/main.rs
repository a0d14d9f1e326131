//! The program `nodemedic`: hands its arguments to the library and returns the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    nodemedic_cli::run()
}
