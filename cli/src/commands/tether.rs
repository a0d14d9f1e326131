//! `nodemedic tether PARENT PROGRAM...` (hidden): becomes PROGRAM, and is killed by the kernel when
//! PARENT ends in whatever way.
//!
//! `up` and `story` start their daemons through this, so that `kill -9` of them leaves no orphan.
//! The parent-death signal (prctl(2), PR_SET_PDEATHSIG) belongs to the process that wants to be
//! killed and survives execve(2), so a small program in between sets it without any code between
//! fork and exec. The process number stays the same.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::failure::Failure;

/// Whose end ends this, and what to become.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Number of the process that starts this one
    parent: u32,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

/// Becomes the program; returns only when that fails.
pub fn run(args: &Args) -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|error| Failure::failed(format!("cannot ask to die with the parent: {error}")))?;
    // A parent that ended before the line above can no longer send the signal.
    if u32::try_from(getppid().as_raw()) != Ok(args.parent) {
        return Err(Failure::failed(format!(
            "process {} has already ended",
            args.parent
        )));
    }
    let Some((program, rest)) = args.program.split_first() else {
        return Err(Failure::usage("no program is named", ""));
    };
    let error = Command::new(program).args(rest).exec();
    Err(Failure::failed(format!(
        "cannot run {}: {error}",
        program.display()
    )))
}
