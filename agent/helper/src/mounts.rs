//! Mounts a filesystem read-write again that the kernel made read-only: once, with all of its other
//! options as they are, and read back.

use std::os::fd::AsRawFd as _;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use rustix::fs::OFlags;

use crate::walk;

/// A mount point, as `/proc/thread-self/mountinfo` has it (proc(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mounted {
    /// Of the mount.
    options: String,
    /// Of the filesystem.
    filesystem: String,
}

impl Mounted {
    fn is_read_only(&self) -> bool {
        [&self.options, &self.filesystem]
            .iter()
            .any(|options| options.split(',').any(|option| option == "ro"))
    }

    /// What a remount would switch off unless it is said again.
    fn flags(&self) -> MsFlags {
        let all = self.options.split(',').chain(self.filesystem.split(','));
        all.fold(MsFlags::empty(), |flags, option| {
            flags
                | match option {
                    "nosuid" => MsFlags::MS_NOSUID,
                    "nodev" => MsFlags::MS_NODEV,
                    "noexec" => MsFlags::MS_NOEXEC,
                    "noatime" => MsFlags::MS_NOATIME,
                    "nodiratime" => MsFlags::MS_NODIRATIME,
                    "relatime" => MsFlags::MS_RELATIME,
                    "sync" => MsFlags::MS_SYNCHRONOUS,
                    "dirsync" => MsFlags::MS_DIRSYNC,
                    "mand" => MsFlags::MS_MANDLOCK,
                    "lazytime" => MsFlags::MS_LAZYTIME,
                    _ => MsFlags::empty(),
                }
        })
    }
}

/// What is mounted there now: the last line that names it is the one on top.
fn find(text: &str, place: &Path) -> Option<Mounted> {
    let of_line = |line: &str| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(4);
        let (at, options) = (mount.next()?, mount.next()?);
        let filesystem = filesystem.split(' ').nth(2)?;
        (Path::new(&unescape(at)) == place).then(|| Mounted {
            options: options.to_owned(),
            filesystem: filesystem.to_owned(),
        })
    };
    text.lines().filter_map(of_line).next_back()
}

/// Blanks and the like stand there as `\040`.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let digits = more.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(|_| *first == b'\\') {
            Some(code) => {
                out.push(code);
                rest = &more[3..];
            }
            None => {
                out.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn look(place: &Path) -> Result<Mounted, String> {
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo")
        .map_err(|error| format!("cannot read /proc/thread-self/mountinfo: {error}"))?;
    find(&text, place).ok_or_else(|| format!("nothing is mounted on {}", place.display()))
}

/// Tries once. It blocks while the kernel writes.
///
/// # Errors
/// When nothing is mounted there, or it stays read-only: then the kernel's log says why.
pub fn remount(place: &Path) -> Result<String, String> {
    let before = look(place)?;
    if !before.is_read_only() {
        return Ok(format!("{} is read-write already", place.display()));
    }
    let open = walk::open(place, OFlags::PATH)?;
    let target = format!("/proc/self/fd/{}", open.as_raw_fd());
    let flags = MsFlags::MS_REMOUNT | before.flags();
    mount(
        None::<&str>,
        target.as_str(),
        None::<&str>,
        flags,
        None::<&str>,
    )
    .map_err(|error| {
        format!(
            "cannot mount {} read-write: {error}; see the kernel's log, and check the filesystem",
            place.display()
        )
    })?;
    if look(place)?.is_read_only() {
        return Err(format!(
            "{} is still read-only after the remount",
            place.display()
        ));
    }
    Ok(format!("{} is mounted read-write again", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
41 22 8:17 / /srv rw,nosuid,noatime shared:9 - ext4 /dev/sdb1 ro,errors=remount-ro
42 22 0:44 / /mnt/a\\040b ro,nodev - tmpfs tmpfs rw
43 22 8:18 / /srv rw - ext4 /dev/sdb2 rw,sync
";

    #[test]
    fn the_mount_on_top_is_found_with_all_that_must_be_said_again() {
        let root = find(TEXT, Path::new("/")).unwrap();
        assert!(!root.is_read_only());
        assert_eq!(root.flags(), MsFlags::MS_RELATIME);
        let srv = find(TEXT, Path::new("/srv")).unwrap();
        assert!(!srv.is_read_only());
        assert_eq!(srv.flags(), MsFlags::MS_SYNCHRONOUS);
        let below = TEXT.lines().take(2).collect::<Vec<_>>().join("\n");
        let srv = find(&below, Path::new("/srv")).unwrap();
        assert!(srv.is_read_only(), "the kernel said so of the filesystem");
        assert_eq!(srv.flags(), MsFlags::MS_NOSUID | MsFlags::MS_NOATIME);
        let blank = find(TEXT, Path::new("/mnt/a b")).unwrap();
        assert!(blank.is_read_only(), "somebody said so of the mount");
        assert_eq!(find(TEXT, Path::new("/sr")), None);
    }
}
