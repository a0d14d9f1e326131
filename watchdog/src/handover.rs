//! What one watchdog leaves to the next when it is restarted under live promises: its beats, in a
//! file beside the socket, good for this boot only.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::beat::{BEAT_MAX, Beat, HEADER, RECORD};

/// Three beats hold all promises that a table can hold.
const FILE_MAX: u64 = 3 * BEAT_MAX as u64 + 64;

/// Where the file of a socket is.
#[must_use]
pub fn path(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_os_string();
    name.push(".promises");
    PathBuf::from(name)
}

fn boot_id() -> Vec<u8> {
    fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// Writes the file.
///
/// # Errors
/// With the path and the cause.
pub fn leave(path: &Path, beats: &[Beat]) -> Result<(), String> {
    let error = |e: std::io::Error| format!("cannot write {}: {e}", path.display());
    let new = path.with_extension("new");
    let mut bytes = boot_id();
    bytes.extend(beats.iter().flat_map(Beat::encode));
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&new).map_err(error)?;
    file.write_all(&bytes).map_err(error)?;
    fs::rename(&new, path).map_err(error)
}

/// Reads the file and removes it. A file of another boot or of a stranger is no promise of ours.
///
/// # Errors
/// When there is one that is ours and cannot be read.
pub fn take(path: &Path) -> Result<Vec<Beat>, String> {
    let Ok(file) = File::open(path) else {
        return Ok(Vec::new());
    };
    let error = |why: &str| format!("cannot take over {}: {why}", path.display());
    let owner = file.metadata().map_err(|e| error(&e.to_string()))?.uid();
    let mut bytes = Vec::new();
    file.take(FILE_MAX)
        .read_to_end(&mut bytes)
        .map_err(|e| error(&e.to_string()))?;
    let _ = fs::remove_file(path);
    let boot = boot_id();
    if owner != nix::unistd::geteuid().as_raw() || boot.is_empty() {
        return Ok(Vec::new());
    }
    let Some(mut rest) = bytes.strip_prefix(boot.as_slice()) else {
        return Ok(Vec::new());
    };
    let mut beats = Vec::new();
    while !rest.is_empty() {
        let count = rest
            .get(6..8)
            .map_or(0, |n| usize::from(u16::from_le_bytes([n[0], n[1]])));
        let length = (HEADER + RECORD * count).min(rest.len());
        beats.push(Beat::decode(&rest[..length]).map_err(|refused| error(refused.why))?);
        rest = &rest[length..];
    }
    Ok(beats)
}
