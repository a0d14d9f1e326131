//! One agent for one state directory: two would restart the same services and write the same files.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Held for as long as the agent runs; the kernel lets it go whatever way it ends.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Takes the lock of a state directory.
///
/// # Errors
/// When another agent has it, or the directory cannot be written.
pub fn take(state: &Path) -> anyhow::Result<Lock> {
    let path = state.join("agent.lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| {
            format!(
                "cannot write {}: make the directory writable for the agent, or set [paths] state",
                path.display()
            )
        })?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut file) => {
            // The number is for the message below only; the lock is what counts.
            let _ = file
                .set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| writeln!(file, "{}", std::process::id()));
            Ok(Lock { _file: file })
        }
        Err((file, Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            let _ = file.take(20).read_to_string(&mut pid);
            bail!(
                "another nodemedic-agent (process {}) uses {}: stop it first, or give this one \
                 another directory under [paths] state",
                pid.trim(),
                state.display()
            );
        }
        Err((_, error)) => bail!("cannot lock {}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_agent_is_told_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = take(dir.path()).unwrap();
        let error = take(dir.path()).unwrap_err().to_string();
        let own = std::process::id();
        assert!(
            error.starts_with(&format!("another nodemedic-agent (process {own}) uses ")),
            "{error}"
        );
        assert!(error.contains("[paths] state"), "{error}");
        drop(first);
        take(dir.path()).unwrap();
    }
}
