//! `cargo xtask setup`, and the set-up that every other command does by itself: Debian packages,
//! only those that are missing, only as root; otherwise it says what to install.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process;

/// A Debian package, what it is for, and a file that shows that it is there.
pub struct Need {
    package: &'static str,
    shows: &'static str,
    why: &'static str,
}

const fn need(package: &'static str, shows: &'static str, why: &'static str) -> Need {
    Need {
        package,
        shows,
        why,
    }
}

/// For every build: ring and SQLite are compiled from C.
pub const BUILD: &[Need] = &[
    need(
        "gcc",
        "/usr/bin/cc",
        "compiles the C parts of ring and SQLite",
    ),
    need(
        "libc6-dev",
        "/usr/include/stdio.h",
        "headers for the C parts of ring and SQLite",
    ),
];

/// For the system tests.
pub const TEST: &[Need] = &[
    need(
        "mosquitto",
        "/usr/sbin/mosquitto",
        "the broker that most fleets already run",
    ),
    need(
        "systemd-container",
        "/usr/bin/systemd-nspawn",
        "boots real systemd hosts",
    ),
    need(
        "mmdebstrap",
        "/usr/bin/mmdebstrap",
        "makes the root of those hosts",
    ),
    need(
        "chrony",
        "/usr/sbin/chronyd",
        "the clock daemon that its plugin asks",
    ),
    need(
        "fence-agents",
        "/usr/sbin/fence_dummy",
        "the fence agents that fleets already have",
    ),
    need("zstd", "/usr/bin/zstd", "keeps that root between runs"),
    need("iproute2", "/usr/sbin/ip", "networks between those hosts"),
    need("nftables", "/usr/sbin/nft", "partitions those networks"),
    need(
        "qemu-system-x86",
        "/usr/bin/qemu-system-x86_64",
        "emulates a machine with a watchdog device",
    ),
    need("busybox-static", "/bin/busybox", "the root of that machine"),
    need("e2fsprogs", "/usr/sbin/mke2fs", "the disk of that machine"),
    need(
        "binutils",
        "/usr/bin/strip",
        "makes programs small enough to boot from memory",
    ),
];

/// For the comparison in `cargo xtask bench`.
pub const BENCH: &[Need] = &[
    need(
        "prometheus-node-exporter",
        "/usr/bin/prometheus-node-exporter",
        "compared in the benchmark",
    ),
    need(
        "collectd-core",
        "/usr/sbin/collectd",
        "compared in the benchmark",
    ),
    need("monit", "/usr/bin/monit", "compared in the benchmark"),
];

/// For `cargo xtask bench watchdog`.
pub const STRESS: &[Need] = &[
    need("stress-ng", "/usr/bin/stress-ng", "loads the machine"),
    need("util-linux", "/usr/bin/setpriv", "takes rights away"),
];

/// Fetching the package lists over a slow line.
const UPDATE_LIMIT: Duration = Duration::from_secs(600);
/// Downloading and unpacking; includes waiting for another apt, see `LOCK`.
const INSTALL_LIMIT: Duration = Duration::from_secs(1200);
/// Unattended upgrades of a freshly started machine hold the lock for minutes.
const LOCK: &str = "DPkg::Lock::Timeout=300";

/// Installs everything that any command needs.
pub fn run() -> Result<()> {
    ensure(&[BUILD, TEST, BENCH, STRESS])?;
    println!("everything is there");
    Ok(())
}

/// Installs what is missing.
///
/// # Errors
/// When something is missing and cannot be installed, with the command to type.
pub fn ensure(needs: &[&[Need]]) -> Result<()> {
    let missing: Vec<&Need> = needs
        .iter()
        .copied()
        .flatten()
        .filter(|need| !Path::new(need.shows).exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        println!("missing: {} ({})", need.package, need.why);
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let by_hand = format!("apt-get install {}", packages.join(" "));
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("there is no apt-get here; install the equivalents of: {by_hand}");
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("installing packages needs root; run as root: {by_hand}");
    }
    if lists_are_empty() {
        apt(&["update"], UPDATE_LIMIT, &by_hand)?;
    }
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    if apt(&arguments, INSTALL_LIMIT, &by_hand).is_err() {
        // Old lists name package files that the mirror has replaced.
        apt(&["update"], UPDATE_LIMIT, &by_hand)?;
        apt(&arguments, INSTALL_LIMIT, &by_hand)?;
    }
    match missing.iter().find(|need| !Path::new(need.shows).exists()) {
        None => Ok(()),
        Some(need) => bail!(
            "{} is installed but {} is not there; this is not a Debian that we know",
            need.package,
            need.shows
        ),
    }
}

fn apt(arguments: &[&str], limit: Duration, by_hand: &str) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(["-o", LOCK, "--quiet"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    let status = process::run(&mut command, limit)?;
    if !status.success() {
        bail!(
            "{} ended with {status}; by hand: {by_hand}",
            process::words(&command)
        );
    }
    Ok(())
}

fn lists_are_empty() -> bool {
    let Ok(entries) = std::fs::read_dir("/var/lib/apt/lists") else {
        return true;
    };
    !entries.flatten().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.contains("_Packages")
    })
}
