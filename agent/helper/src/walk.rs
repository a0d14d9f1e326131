//! Opens a directory without following a symbolic link anywhere on the way: whoever may write in
//! one of its parents cannot turn it into another place.

use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, openat};

/// Opens it, for reading or as a place only.
///
/// # Errors
/// When a part of it is not there, or is no directory itself.
pub fn open(path: &Path, how: OFlags) -> Result<OwnedFd, String> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fail = |part: &Path, error: rustix::io::Errno| match error {
        rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => format!(
            "{}: {} is no directory, or a link to one; links are not followed: name the place \
             itself",
            path.display(),
            part.display()
        ),
        other => format!(
            "cannot open {} of {}: {other}",
            part.display(),
            path.display()
        ),
    };
    let root = Path::new("/");
    let mut at = openat(CWD, root, flags | OFlags::PATH, Mode::empty())
        .map_err(|error| fail(root, error))?;
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    for part in parts {
        at = openat(&at, part, flags | OFlags::PATH, Mode::empty())
            .map_err(|error| fail(Path::new(part), error))?;
    }
    openat(&at, ".", flags | how, Mode::empty()).map_err(|error| fail(path, error))
}
