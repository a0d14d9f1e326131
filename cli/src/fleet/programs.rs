//! The programs of a fleet, found beside this one: what was built or installed together runs
//! together.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Kind};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// This program.
    pub nodemedic: PathBuf,
    /// `nodemedic-coordinator`.
    pub coordinator: PathBuf,
    /// `nodemedic-agent`.
    pub agent: PathBuf,
    /// `nodemedic-watchdog`.
    pub watchdog: PathBuf,
}

impl Programs {
    /// Finds them beside the running program.
    pub fn find() -> Result<Programs, Failure> {
        let own = std::env::current_exe()
            .map_err(|error| Failure::failed(format!("cannot find this program: {error}")))?;
        let dir = own.parent().unwrap_or(Path::new("/")).to_path_buf();
        Programs::beside(own, &dir)
    }

    fn beside(nodemedic: PathBuf, dir: &Path) -> Result<Programs, Failure> {
        let find = |name: &str| {
            let path = dir.join(name);
            if path.is_file() {
                return Ok(path);
            }
            Err(Failure::new(
                Kind::Failed,
                format!("{name} is not beside this program, in {}", dir.display()),
                "install all packages of nodemedic; in a source tree, build them all with \
                 `cargo build --workspace --bins` (`cargo xtask up` does)",
            ))
        };
        Ok(Programs {
            coordinator: find("nodemedic-coordinator")?,
            agent: find("nodemedic-agent")?,
            watchdog: find("nodemedic-watchdog")?,
            nodemedic,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["nodemedic-coordinator", "nodemedic-agent"] {
            nodemedic_edge::files::write_atomic(&dir.path().join(name), b"", 0o700).unwrap();
        }
        let failure = Programs::beside(dir.path().join("nodemedic"), dir.path()).unwrap_err();
        assert!(
            failure
                .message
                .starts_with("nodemedic-watchdog is not beside"),
            "{failure}"
        );
    }
}
