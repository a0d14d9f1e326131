//! Which filesystems there are, from /proc/self/mountinfo (proc_pid_mountinfo(5)).
//!
//! Only what has storage behind it: a device, or a server. Size and free space come from
//! [`super::statvfs`], because asking for them can hang.

use std::collections::BTreeMap;

use super::source::Malformed;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `major:minor` of the filesystem.
    pub device: String,
    /// Which directory of the filesystem is mounted here.
    pub root: String,
    /// Where.
    pub mount_point: String,
    /// Type.
    pub kind: String,
    /// Device, or server and path.
    pub source: String,
    /// False when the mount or the filesystem says `ro`.
    pub writable: bool,
}

/// Types that keep data on a server, under a `source` that is no device.
const REMOTE: [&str; 12] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "glusterfs",
    "lustre",
    "gfs2",
    "ocfs2",
    "9p",
    "beegfs",
];

/// Types with pools of devices of their own behind them.
const POOLED: [&str; 3] = ["zfs", "btrfs", "bcachefs"];

/// Types that are full and read-only by nature: images, not storage.
const IMAGES: [&str; 5] = ["squashfs", "iso9660", "udf", "erofs", "cramfs"];

/// FUSE programs that make something up rather than store it.
const FUSE_PSEUDO: [&str; 6] = [
    "fuse.lxcfs",
    "fuse.gvfsd-fuse",
    "fuse.portal",
    "fuse.snapfuse",
    "fuse.archivemount",
    "fuse.squashfuse",
];

/// Reads mountinfo: every mount, in mount order.
///
/// # Errors
/// When a line has not the fields that proc_pid_mountinfo(5) promises.
pub fn parse(text: &str) -> Result<Vec<Mount>, Malformed> {
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| line_of(line).ok_or(Malformed("bad line of mountinfo")))
        .collect()
}

fn line_of(line: &str) -> Option<Mount> {
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(2);
    let device = fields.next()?.to_owned();
    let root = unescape(fields.next()?);
    let mount_point = unescape(fields.next()?);
    let options = fields.next()?;
    let mut fields = filesystem.split(' ');
    let kind = fields.next()?.to_owned();
    let source = unescape(fields.next()?);
    let super_options = fields.next()?;
    let is_ro = |options: &str| options.split(',').any(|o| o == "ro" || o == "emergency_ro");
    Some(Mount {
        device,
        root,
        mount_point,
        kind,
        source,
        writable: !is_ro(options) && !is_ro(super_options),
    })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 4).and_then(octal);
        match (bytes[at], code) {
            (b'\\', Some(code)) => {
                out.push(code);
                at += 4;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn octal(digits: &[u8]) -> Option<u8> {
    let value = digits.iter().try_fold(0_u32, |sum, digit| {
        matches!(digit, b'0'..=b'7').then(|| sum * 8 + u32::from(digit - b'0'))
    })?;
    u8::try_from(value).ok()
}

/// The mounts with storage behind them, each storage once, by mount point.
#[must_use]
pub fn with_storage(mounts: Vec<Mount>) -> Vec<Mount> {
    // A later mount on the same point hides the earlier one.
    let mut visible: BTreeMap<String, Mount> = BTreeMap::new();
    for mount in mounts {
        visible.insert(mount.mount_point.clone(), mount);
    }
    // A bind mount shows the same storage again; the whole filesystem, then the shortest path wins.
    let mut chosen: BTreeMap<String, Mount> = BTreeMap::new();
    for mount in visible.into_values().filter(has_storage) {
        let rank = |m: &Mount| (m.root != "/", m.mount_point.len(), m.mount_point.clone());
        match chosen.get(&mount.device) {
            Some(other) if rank(other) <= rank(&mount) => {}
            _ => {
                chosen.insert(mount.device.clone(), mount);
            }
        }
    }
    let mut mounts: Vec<Mount> = chosen.into_values().collect();
    mounts.sort_by(|a, b| a.mount_point.cmp(&b.mount_point));
    mounts
}

/// Source of a scratch filesystem that is filled on purpose: it is to be seen like storage.
pub const INJECTED: &str = "nodemedic-inject";

fn has_storage(mount: &Mount) -> bool {
    let kind = mount.kind.as_str();
    if IMAGES.contains(&kind) || FUSE_PSEUDO.contains(&kind) {
        return false;
    }
    mount.source.starts_with("/dev/")
        || (kind == "tmpfs" && mount.source == INJECTED)
        || REMOTE.contains(&kind)
        || POOLED.contains(&kind)
        || kind.starts_with("fuse.")
        // In a container the root is an overlay, and it is all the storage that can be seen.
        || (kind == "overlay" && mount.mount_point == "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(text: &str) -> Vec<String> {
        let mounts = with_storage(parse(text).unwrap());
        mounts.into_iter().map(|m| m.mount_point).collect()
    }

    #[test]
    fn only_storage_counts_and_each_storage_once() {
        let text = "\
22 27 0:21 / /proc rw - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
30 27 254:0 /srv/data /data rw - ext4 /dev/vda rw
31 27 0:50 / /mnt/nfs rw - nfs4 server:/export rw,vers=4.2
32 27 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro
33 27 0:51 / /run rw - tmpfs tmpfs rw
34 27 0:52 / /var/lib/lxcfs rw - fuse.lxcfs lxcfs rw
35 27 0:53 / /mnt/ssh rw - fuse.sshfs user@host:/ rw
36 27 0:54 / /tank rw - zfs tank rw
";
        assert_eq!(points(text), ["/", "/mnt/nfs", "/mnt/ssh", "/tank"]);
    }

    #[test]
    fn a_mount_hides_what_was_mounted_there_before() {
        let text = "\
27 1 8:1 / / rw - ext4 /dev/sda1 rw
30 27 8:2 / /mnt rw - ext4 /dev/sdb1 rw
31 27 0:9 / /mnt rw - tmpfs tmpfs rw
";
        assert_eq!(points(text), ["/"]);
    }

    #[test]
    fn read_only_is_seen_in_either_place_and_escapes_are_undone() {
        let text = "\
1 1 8:1 / /a\\040b rw shared:3 master:2 - ext4 /dev/sda1 ro,errors=remount-ro
2 1 8:2 / /c\\134\\1 ro - xfs /dev/sda2 rw
3 1 8:3 / /d rw - ext4 /dev/sda3 rw,emergency_ro
4 1 8:4 / /e rw - ext4 /dev/sda4 rw,errors=remount-ro
";
        let mounts = parse(text).unwrap();
        assert_eq!(mounts[0].mount_point, "/a b");
        assert_eq!(mounts[1].mount_point, "/c\\\\1");
        let writable: Vec<_> = mounts.iter().map(|m| m.writable).collect();
        assert_eq!(writable, [false, false, false, true]);
    }

    #[test]
    fn broken_lines_are_refused() {
        for bad in [
            "x\n",
            "1 1 8:1 / /a rw\n",
            "1 1 8:1 / /a rw - ext4\n",
            "- - -\n",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
