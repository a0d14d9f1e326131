//! The file that takes a unit's output.
//!
//! The unit writes into the file itself: a pipe through the agent would break when the agent ends.
//! So nothing stands between them that could count bytes; the file is opened for appending, and at
//! each start one that has grown beyond the cap becomes `.old`, in place of the one before. A unit
//! that writes without end should log to the journal instead.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A log beyond this is set aside at the next start; two of them is what a unit may leave.
pub const LOG_MAX_BYTES: u64 = 4 << 20;

/// Logs may hold what is nobody's business.
const LOG_MODE: u32 = 0o640;

/// Opens the log for appending.
pub fn open(path: &Path) -> Result<File, String> {
    let size = std::fs::metadata(path).map_or(0, |meta| meta.len());
    if size > LOG_MAX_BYTES {
        let old = path.with_extension("log.old");
        std::fs::rename(path, &old)
            .map_err(|error| format!("cannot set {} aside: {error}", path.display()))?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(LOG_MODE)
        .open(path)
        .map_err(|error| {
            format!(
                "cannot open the log {}: {error}; make its directory writable for the agent",
                path.display()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_log_that_is_too_long_is_set_aside_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("service.web.log");
        open(&path).unwrap().write_all(b"first\n").unwrap();
        open(&path).unwrap().write_all(b"second\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"first\nsecond\n");
        open(&path).unwrap().set_len(LOG_MAX_BYTES + 1).unwrap();
        open(&path).unwrap().write_all(b"third\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"third\n");
        let old = dir.path().join("service.web.log.old");
        assert_eq!(std::fs::metadata(old).unwrap().len(), LOG_MAX_BYTES + 1);
    }
}
