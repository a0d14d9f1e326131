//! Debian's kernel and the few of its modules that the test machine needs, fetched once and kept in
//! `target/testbed`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use super::{run, text};
use crate::tool::bounded;

/// What is loaded, with what it needs: the bus, the state disk, its file system (which asks the
/// kernel for crc32c by name, so no dependency tells), the network, and the watchdog.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "crc32c_generic",
    "ext4",
    "virtio_net",
    "i6300esb",
];
/// 70 MB over a slow line.
const FETCH_LIMIT: Duration = Duration::from_secs(600);
/// Unpacking 400 MB takes 2 s.
const UNPACK_LIMIT: Duration = Duration::from_secs(120);

/// A kernel with its modules.
pub struct Kernel {
    /// What QEMU boots.
    pub image: PathBuf,
    /// In the order in which they are loaded.
    pub modules: Vec<PathBuf>,
}

impl Kernel {
    /// The newest kernel of this Debian; fetched when it is not there yet.
    ///
    /// # Panics
    /// When it cannot be fetched.
    #[must_use]
    pub fn get() -> Kernel {
        let testbed = (crate::binaries().parent())
            .expect("the target folder")
            .join("testbed");
        fs::create_dir_all(&testbed).expect("make target/testbed");
        let lock = File::create(testbed.join("kernel.lock")).expect("make a lock file");
        let _lock = Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, e)| e)
            .expect("lock");
        let kept = testbed.join(format!("kernel-{}", MODULES.join("-")));
        if !kept.exists() {
            fetch(&testbed, &kept);
        }
        let order = fs::read_to_string(kept.join("order")).expect("read the order of modules");
        Kernel {
            image: kept.join("vmlinuz"),
            modules: order.lines().map(|name| kept.join(name)).collect(),
        }
    }
}

fn fetch(testbed: &Path, kept: &Path) {
    let new = testbed.join("kernel-new");
    let _ = fs::remove_dir_all(&new);
    fs::create_dir(&new).expect("make a folder for the kernel");
    if !download(&new) {
        // No package lists yet, or old ones that name files which the mirror has replaced.
        let mut update = Command::new("apt-get");
        update.args(["-qq", "update"]);
        run(update, FETCH_LIMIT);
        assert!(download(&new), "apt cannot fetch linux-image-amd64");
    }
    let deb = only_file_with("deb", &new);
    let mut unpack = Command::new("dpkg-deb");
    unpack.args(["-x", text(&deb), text(&new.join("all"))]);
    run(unpack, UNPACK_LIMIT);

    let all = walk(&new.join("all"));
    let of_kernel = |path: &&PathBuf| name(path).starts_with("vmlinuz-");
    let image = all.iter().find(of_kernel).expect("a kernel in its package");
    fs::copy(image, new.join("vmlinuz")).expect("keep the kernel");
    let mut order = Vec::new();
    for module in MODULES {
        load_order(module, &all, &mut order, &mut BTreeSet::new());
    }
    for module in &order {
        fs::copy(module, new.join(name(module))).expect("keep a module");
    }
    let names: Vec<&str> = order.iter().map(|path| name(path)).collect();
    fs::write(new.join("order"), names.join("\n") + "\n").expect("keep the order");
    fs::remove_dir_all(new.join("all")).expect("remove what is not needed");
    fs::remove_file(deb).expect("remove the package");
    fs::rename(&new, kept).expect("keep the kernel");
}

/// Fetches the package that Debian's `linux-image-amd64` stands for today.
fn download(to: &Path) -> bool {
    let mut depends = Command::new("apt-cache");
    depends.args(["depends", "linux-image-amd64"]);
    let said = bounded(depends, FETCH_LIMIT).output;
    let mut names = said
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    let Some(package) = names.find(|name| name.starts_with("linux-image-")) else {
        return false;
    };
    let mut command = Command::new("apt-get");
    command
        .args(["-qq", "-o", "APT::Sandbox::User=root", "download", package])
        .current_dir(to);
    bounded(command, FETCH_LIMIT).status.success()
}

fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default()
}

fn only_file_with(ending: &str, folder: &Path) -> PathBuf {
    walk(folder)
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == ending))
        .unwrap_or_else(|| panic!("no .{ending} in {}", folder.display()))
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(walk(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Adds a module after everything that it depends on.
fn load_order(
    module: &str,
    all: &[PathBuf],
    order: &mut Vec<PathBuf>,
    seen: &mut BTreeSet<String>,
) {
    if !seen.insert(module.to_owned()) {
        return;
    }
    // The kernel takes `-` and `_` in a name for the same.
    let file = format!("{module}.ko");
    let found = all.iter().find(|path| name(path).replace('-', "_") == file);
    let path = found.unwrap_or_else(|| panic!("no module {file} in the kernel's package"));
    if order.contains(path) {
        return;
    }
    let bytes = fs::read(path).expect("read a module");
    for needed in depends(&bytes) {
        load_order(&needed, all, order, seen);
    }
    order.push(path.clone());
}

/// What a module's own `.modinfo` section says that it depends on.
fn depends(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = module.windows(key.len()).position(|bytes| bytes == key) else {
        return Vec::new();
    };
    let value = &module[at + key.len()..];
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&value[..end])
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::depends;

    #[test]
    fn a_module_says_what_it_depends_on() {
        let section = b"ELF..\0license=GPL\0depends=crc16,mb-cache\0name=ext4\0";
        assert_eq!(depends(section), ["crc16", "mb_cache"]);
        assert!(depends(b"\0depends=\0").is_empty());
        assert!(depends(b"nothing").is_empty());
    }
}
