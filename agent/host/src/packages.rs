//! Whether packages are being installed or removed: by the lock that every front end of dpkg and
//! rpm holds while it is at work.
//!
//! Nobody announces such a lock, so it is looked at in the moment in which something is to be done,
//! and again while that waits; never otherwise. The kernel's own list of locks is read, which needs
//! no right on the lock's file.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nodemedic_edge::files;

/// apt, aptitude and unattended-upgrades hold the first for a whole run; dpkg alone the second.
const LOCKS: [&str; 4] = [
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/lock",
    "var/lib/rpm/.rpm.lock",
    "usr/lib/sysimage/rpm/.rpm.lock",
];

/// A host with ten thousand locks has a list of this size.
const LIST_MAX_BYTES: usize = 1 << 20;

/// Where to look.
#[derive(Clone, Debug)]
pub struct PackageLocks {
    root: PathBuf,
    list: PathBuf,
}

impl Default for PackageLocks {
    fn default() -> PackageLocks {
        PackageLocks::new(Path::new("/"), Path::new("/proc/locks"))
    }
}

/// A file, as the kernel names it in its list of locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File {
    major: u32,
    minor: u32,
    inode: u64,
}

impl PackageLocks {
    /// Locks below another root, by another list.
    #[must_use]
    pub fn new(root: &Path, list: &Path) -> PackageLocks {
        PackageLocks {
            root: root.to_owned(),
            list: list.to_owned(),
        }
    }

    /// Whether somebody holds one now. What cannot be read holds nothing up: a host whose list of
    /// locks is hidden is healed as one without a package manager.
    #[must_use]
    pub fn held(&self) -> bool {
        let files: Vec<File> = LOCKS
            .iter()
            .filter_map(|lock| std::fs::metadata(self.root.join(lock)).ok())
            .map(|meta| File {
                major: rustix::fs::major(meta.dev()),
                minor: rustix::fs::minor(meta.dev()),
                inode: meta.ino(),
            })
            .collect();
        if files.is_empty() {
            return false;
        }
        match files::read_capped(&self.list, LIST_MAX_BYTES) {
            Ok(Some(list)) => {
                let list = String::from_utf8_lossy(&list);
                files.iter().any(|file| is_locked(&list, *file))
            }
            Ok(None) => false,
            Err(error) => {
                tracing::debug!("cannot see the package manager's lock: {error}");
                false
            }
        }
    }
}

/// Reads the list of proc_locks(5): `1: POSIX  ADVISORY  WRITE 4242 08:01:1234 0 EOF`. Who waits
/// for a lock has a line with `->`.
fn is_locked(list: &str, file: File) -> bool {
    list.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        if words.next() == Some("->") {
            return false;
        }
        let place = words.find(|word| word.matches(':').count() == 2);
        place.and_then(parse).is_some_and(|locked| {
            // A file of btrfs or overlayfs has a number of device of its own, with major 0, and the
            // list has that of its filesystem.
            let same = (locked.major, locked.minor) == (file.major, file.minor);
            locked.inode == file.inode && (same || file.major == 0)
        })
    })
}

fn parse(place: &str) -> Option<File> {
    let mut parts = place.split(':');
    Some(File {
        major: u32::from_str_radix(parts.next()?, 16).ok()?,
        minor: u32::from_str_radix(parts.next()?, 16).ok()?,
        inode: parts.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, fcntl};

    const LIST: &str = "\
1: POSIX  ADVISORY  WRITE 4242 08:01:1234 0 EOF
1: -> POSIX  ADVISORY  WRITE 4300 08:01:77 0 EOF
2: FLOCK  ADVISORY  WRITE 900 00:1a:55 0 EOF
";

    #[test]
    fn the_kernels_list_is_read_by_device_and_inode() {
        let file = |major, minor, inode| File {
            major,
            minor,
            inode,
        };
        assert!(is_locked(LIST, file(8, 1, 1234)));
        assert!(!is_locked(LIST, file(8, 2, 1234)), "another device");
        assert!(!is_locked(LIST, file(8, 1, 77)), "only waits");
        assert!(is_locked(LIST, file(0, 99, 55)), "as on btrfs");
        assert!(!is_locked("", file(8, 1, 1234)));
    }

    #[test]
    fn a_lock_that_is_held_is_seen_and_its_end_too() {
        let root = tempfile::tempdir().unwrap();
        let locks = PackageLocks::new(root.path(), Path::new("/proc/locks"));
        assert!(!locks.held(), "no package manager");
        std::fs::create_dir_all(root.path().join("var/lib/dpkg")).unwrap();
        let path = root.path().join("var/lib/dpkg/lock-frontend");
        let file = std::fs::File::create(&path).unwrap();
        assert!(!locks.held(), "it is there and nobody holds it");
        let mut whole = nix::libc::flock {
            l_type: i16::try_from(nix::libc::F_WRLCK).unwrap(),
            l_whence: i16::try_from(nix::libc::SEEK_SET).unwrap(),
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(&file, FcntlArg::F_SETLK(&whole)).unwrap();
        assert!(locks.held());
        whole.l_type = i16::try_from(nix::libc::F_UNLCK).unwrap();
        fcntl(&file, FcntlArg::F_SETLK(&whole)).unwrap();
        assert!(!locks.held());
    }
}
