//! Files that a crash cannot tear, and reads that cannot fill the memory.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A file operation that failed: what was tried, on which path, why, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {cause}; {remedy}", path.display())]
pub struct FileError {
    /// What was tried, as a verb: `write`, `read`, `create the directory`.
    pub action: &'static str,
    /// On which path.
    pub path: PathBuf,
    /// What the system answered.
    #[source]
    pub cause: io::Error,
    /// What a person can do about it.
    pub remedy: String,
}

/// Replaces the file at `path` by `bytes`, or leaves the old one whole: written beside it, synced,
/// renamed over it, and the rename synced. After `Ok` it survives a power cut.
///
/// One writer per path at a time: two would use the same temporary name.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = temporary_beside(path);
    let written = write_synced(&temporary, bytes, mode)
        .and_then(|()| std::fs::rename(&temporary, path))
        .and_then(|()| sync_dir(parent(path)));
    written.map_err(|cause| {
        // What is left of the attempt is of no use; that it may not be there is fine.
        let _ = std::fs::remove_file(&temporary);
        failed("write", path, cause)
    })
}

/// Replaces the file at `path` by `bytes` for every later reader on this boot, and waits for no
/// disk: after a power cut it may be gone or torn. For what means nothing after a reboot.
///
/// One writer per path at a time, as for [`write_atomic`].
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = temporary_beside(path);
    let written = write_whole(&temporary, bytes, mode)
        .map(drop)
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|cause| {
        // As above.
        let _ = std::fs::remove_file(&temporary);
        failed("write", path, cause)
    })
}

/// The whole file, or `None` when there is none; a file above `max_bytes` is an error, as is one
/// that is not a regular file.
pub fn read_capped(path: &Path, max_bytes: usize) -> Result<Option<Vec<u8>>, FileError> {
    match try_read_capped(path, max_bytes) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(failed("read", path, cause)),
    }
}

/// Makes `path` a directory with exactly `mode`, missing parents included; a directory that exists
/// is left as it is.
pub fn ensure_dir(path: &Path, mode: u32) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        // The process's umask may have taken bits away.
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(mode)));
    made.map_err(|cause| failed("create the directory", path, cause))
}

fn try_read_capped(path: &Path, max_bytes: usize) -> io::Result<Vec<u8>> {
    // Non-blocking, so that a FIFO in this place cannot hold us up; no effect on regular files.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > max_bytes {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {max_bytes} bytes"),
        ));
    }
    Ok(bytes)
}

fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_whole(path, bytes, mode)?.sync_all()
}

fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    // A left-over of a crash may carry another mode, and the umask may have taken bits away.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    Ok(file)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Hidden, in the same directory (a rename works only within one file system), and with an ending
/// that no reader of a directory takes for the real thing.
fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    parent(path).join(name)
}

fn failed(action: &'static str, path: &Path, cause: io::Error) -> FileError {
    let above = parent(path).display();
    let remedy = match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("give this user access to {}", path.display())
        }
        io::ErrorKind::NotFound => format!("create {above}"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("free space on the file system of {above}")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("mount the file system of {above} writable, or choose another path")
        }
        io::ErrorKind::FileTooLarge => "check that it is the file you meant".to_owned(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            format!("move away what stands in the way at {}", path.display())
        }
        io::ErrorKind::IsADirectory => "name a file".to_owned(),
        _ => format!("check the file system of {above}"),
    };
    FileError {
        action,
        path: path.to_owned(),
        cause,
        remedy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        write_atomic(&path, b"a much longer first content", 0o600).unwrap();
        write_atomic(&path, b"second", 0o640).unwrap();
        assert_eq!(read_capped(&path, 100).unwrap().unwrap(), b"second");
        assert_eq!(mode(&path), 0o640);
        replace(&path, b"third", 0o600).unwrap();
        assert_eq!(read_capped(&path, 100).unwrap().unwrap(), b"third");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_write_that_cannot_finish_leaves_the_old_file_and_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        std::fs::create_dir_all(path.join("by a directory")).unwrap();
        let error = write_atomic(&path, b"x", 0o600).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot write {}: ", path.display()))
        );
        assert!(path.join("by a directory").is_dir());
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "the temporary is gone"
        );

        let nowhere = dir.path().join("no/such/file");
        let error = write_atomic(&nowhere, b"x", 0o600).unwrap_err();
        assert_eq!(
            error.remedy,
            format!("create {}", nowhere.parent().unwrap().display())
        );
    }

    #[test]
    fn an_interrupted_earlier_write_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        write_atomic(&path, b"old", 0o600).unwrap();
        let left_over = temporary_beside(&path);
        File::create(&left_over)
            .unwrap()
            .write_all(b"half a wri")
            .unwrap();
        std::fs::set_permissions(&left_over, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read_capped(&path, 100).unwrap().unwrap(), b"old");
        write_atomic(&path, b"new", 0o600).unwrap();
        assert_eq!(read_capped(&path, 100).unwrap().unwrap(), b"new");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_read_tells_absent_from_too_large_from_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        assert!(read_capped(&path, 4).unwrap().is_none());
        write_atomic(&path, b"1234", 0o600).unwrap();
        assert_eq!(read_capped(&path, 4).unwrap().unwrap(), b"1234");
        let error = read_capped(&path, 3).unwrap_err().to_string();
        assert!(error.contains("larger than 3 bytes"), "{error}");
        let error = read_capped(dir.path(), 10).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        let error = read_capped(&path.join("below a file"), 10).unwrap_err();
        assert_eq!(error.cause.kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn a_fifo_in_place_of_a_file_is_an_error_and_no_hang() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let error = read_capped(&path, 10).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn a_directory_is_made_once_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        ensure_dir(&path, 0o777).unwrap();
        assert_eq!(mode(&path), 0o777, "whatever the umask is");
        std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        ensure_dir(&path, 0o755).unwrap();
        assert_eq!(mode(&path), 0o700, "an existing one is left as it is");
        let file = path.join("file");
        File::create(&file).unwrap();
        let error = ensure_dir(&file, 0o755).unwrap_err();
        assert!(error.remedy.starts_with("move away"), "{error}");
    }
}
