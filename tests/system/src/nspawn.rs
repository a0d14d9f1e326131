//! A real systemd host: Debian booted by systemd-nspawn in namespaces and a cgroup of its own.
//!
//! Needs root, a cgroup2 hierarchy, and the packages systemd-container and mmdebstrap. The base
//! root is made once (half a minute) and kept in `target/testbed`; each host writes to a layer in
//! memory over it. A host never gets CAP_SYS_TIME: there is no namespace for the wall clock.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::tool::{Ran, bounded, tool};
use crate::wait::wait_for;

/// What the base holds; its name follows from this list, so a change makes a new one.
const PACKAGES: &str =
    "systemd,systemd-sysv,dbus,udev,iproute2,procps,iputils-ping,polkitd,nftables";
/// Units that would wait for what a host here has not, or start at odd hours.
const MASKED: &[&str] = &[
    "systemd-timesyncd.service",
    "systemd-firstboot.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "console-getty.service",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
];
/// Measured: 30 s; the rest is a slow line.
const BASE_LIMIT: Duration = Duration::from_secs(600);
/// Measured: 0.3 s to 3 s under load.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// What systemd-nspawn ends with when the host asks for a reboot.
const REBOOT: i32 = 133;
/// One command in a host.
const RUN_LIMIT: Duration = Duration::from_secs(60);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A booted host. Dropping it pulls the plug and removes every trace.
pub struct Host {
    name: String,
    state: PathBuf,
    cgroup: PathBuf,
    leader: u32,
    nspawn: Option<Child>,
}

impl Host {
    /// Boots a fresh host and waits until its services run.
    ///
    /// # Panics
    /// When this machine cannot boot one, with what is missing.
    #[must_use]
    pub fn boot() -> Host {
        assert!(
            nix::unistd::geteuid().is_root(),
            "booting a systemd host needs root: run the tests as root"
        );
        let base = base();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("nm{}-{number}", std::process::id());
        let state = std::env::temp_dir().join(&name);
        let mut host = Host {
            cgroup: cgroup_root().join(format!("nodemedic-test-{name}")),
            name,
            state,
            leader: 0,
            nspawn: None,
        };
        host.layers(&base);
        host.start();
        host.until_up();
        host
    }

    fn root(&self) -> PathBuf {
        self.state.join("root")
    }

    /// A layer in memory over the base.
    fn layers(&self, base: &Path) {
        fs::create_dir_all(&self.state).expect("make the host's directory");
        let name = &self.name;
        tool(
            "mount",
            &["-t", "tmpfs", "-o", "size=1g", name, text(&self.state)],
        );
        for directory in ["upper", "work", "root"] {
            fs::create_dir(self.state.join(directory)).expect("make a layer");
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            base.display(),
            self.state.join("upper").display(),
            self.state.join("work").display()
        );
        tool(
            "mount",
            &["-t", "overlay", "-o", &options, name, text(&self.root())],
        );
        self.write("/etc/hostname", &format!("{name}\n"));
        self.write("/etc/hosts", &format!("127.0.0.1 localhost {name}\n"));
        let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").expect("a random number");
        self.write("/etc/machine-id", &uuid.replace('-', ""));
    }

    fn start(&mut self) {
        fs::create_dir_all(&self.cgroup).expect("make a cgroup for the host");
        let log = File::create(self.state.join("console")).expect("make the console log");
        let error = log.try_clone().expect("share the console log");
        // The shell moves itself into the cgroup; nspawn must be born there.
        let script = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
        let child = Command::new("sh")
            .args(["-c", script, text(&self.cgroup), "systemd-nspawn"])
            .args([
                "--quiet",
                "--register=no",
                "--keep-unit",
                "--boot",
                "--private-network",
            ])
            .args(["--console=read-only", "--link-journal=no", "--timezone=off"])
            .args(["--resolv-conf=off", "--capability=CAP_IPC_LOCK,CAP_SYSLOG"])
            .args(["--drop-capability=CAP_SYS_TIME,CAP_SYS_MODULE,CAP_MKNOD"])
            .args(["-M", &self.name, "-D", text(&self.root())])
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(error)
            .spawn()
            .expect("start systemd-nspawn");
        self.nspawn = Some(child);
    }

    fn until_up(&mut self) {
        let first = self.cgroup.join("payload/init.scope/cgroup.procs");
        let console = self.state.join("console");
        let said = || fs::read_to_string(&console).unwrap_or_default();
        let (leader, _) = wait_for("the host's init appears", BOOT_LIMIT, || {
            let pids = fs::read_to_string(&first).unwrap_or_default();
            let pid = pids.lines().next().and_then(|pid| pid.parse().ok());
            pid.ok_or_else(said)
        });
        self.leader = leader;
        wait_for("the host is up", BOOT_LIMIT, || {
            let ran = self.try_run(&["systemctl", "is-system-running"]);
            let state = ran.output.trim().to_owned();
            if state == "running" || state == "degraded" {
                Ok(())
            } else {
                Err(format!("{state}\n{}", said()))
            }
        });
    }

    /// Reboots it, as a person would, and waits until its services run. What is on its disk stays.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn reboot(&mut self) {
        // The answer may be lost with the host.
        let _ = self.try_run(&["systemctl", "--no-block", "reboot"]);
        self.until_rebooted(BOOT_LIMIT);
    }

    /// Waits until it reboots by itself, and until its services run again.
    ///
    /// # Panics
    /// When it does not go down in time, or does not come back.
    pub fn until_rebooted(&mut self, within: Duration) {
        let mut nspawn = self.nspawn.take().expect("a host that runs");
        let (status, _) = wait_for("the host goes down", within, || match nspawn.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        });
        assert_eq!(status.code(), Some(REBOOT), "the host ended otherwise");
        self.start();
        self.until_up();
    }

    /// Runs a program in the host, with a bound.
    ///
    /// # Panics
    /// When it does not end in time.
    #[must_use]
    pub fn try_run(&self, words: &[&str]) -> Ran {
        let leader = self.leader.to_string();
        let mut command = Command::new("nsenter");
        command
            .args([
                "-t", &leader, "-m", "-u", "-i", "-n", "-p", "-C", "--root", "--wd", "--",
            ])
            .args(["setpriv", "--bounding-set=-sys_time,-sys_module"])
            .args(words);
        bounded(command, RUN_LIMIT)
    }

    /// Runs a program in the host that must succeed; gives its output.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, words: &[&str]) -> String {
        let ran = self.try_run(words);
        assert!(
            ran.status.success(),
            "{words:?} in the host: {}\n{}",
            ran.status,
            ran.output
        );
        ran.output
    }

    /// Writes a file in the host.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: &str, content: &str) {
        let place = self.root().join(path.trim_start_matches('/'));
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).expect("make a directory in the host");
        }
        fs::write(&place, content).unwrap_or_else(|e| panic!("write {path} in the host: {e}"));
    }

    /// Reads a file on the host's disk; one that is not there is empty.
    #[must_use]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path.trim_start_matches('/'))).unwrap_or_default()
    }

    /// The processes of a unit of the host, by their numbers on this machine.
    #[must_use]
    pub fn processes(&self, unit: &str) -> Vec<u32> {
        let list = format!("payload/system.slice/{unit}/cgroup.procs");
        let text = fs::read_to_string(self.cgroup.join(list)).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Its service manager stands still: it answers nobody, and reaps nobody.
    ///
    /// # Panics
    /// When it is not there.
    pub fn freeze_init(&self) {
        self.signal_init(Signal::SIGSTOP);
    }

    /// And goes on.
    ///
    /// # Panics
    /// When it is not there.
    pub fn thaw_init(&self) {
        self.signal_init(Signal::SIGCONT);
    }

    fn signal_init(&self, signal: Signal) {
        kill(Pid::from_raw(self.leader.cast_signed()), signal).expect("signal the host's init");
    }

    /// Copies a file into the host.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn copy_in(&self, from: &Path, to: &str) {
        let place = self.root().join(to.trim_start_matches('/'));
        fs::copy(from, place).unwrap_or_else(|e| panic!("copy {} in: {e}", from.display()));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The whole host at once, as if its plug was pulled.
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        if let Some(mut nspawn) = self.nspawn.take() {
            let _ = nspawn.kill();
            let _ = nspawn.wait();
        }
        for place in [self.root(), self.state.clone()] {
            let mut command = Command::new("umount");
            command.arg("-l").arg(place);
            let _ = bounded(command, RUN_LIMIT);
        }
        let _ = fs::remove_dir(&self.state);
        let name = self.cgroup.file_name().unwrap_or_default();
        // On machines with both hierarchies systemd-nspawn makes its twin.
        let twin = Path::new("/sys/fs/cgroup/systemd").join(name);
        // What was killed leaves its cgroup a moment later.
        for _ in 0..1000 {
            remove_cgroups(&self.cgroup);
            remove_cgroups(&twin);
            if !self.cgroup.exists() && !twin.exists() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

fn remove_cgroups(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_cgroups(&entry.path());
    }
    let _ = fs::remove_dir(directory);
}

fn cgroup_root() -> PathBuf {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .map(PathBuf::from)
        .find(|root| root.join("cgroup.controllers").exists())
        .expect("booting a systemd host needs a cgroup2 hierarchy at /sys/fs/cgroup")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours is text")
}

/// The base root, made when it is not there yet.
fn base() -> PathBuf {
    let target = crate::binaries()
        .parent()
        .expect("the target folder")
        .to_path_buf();
    let testbed = target.join("testbed");
    fs::create_dir_all(&testbed).expect("make target/testbed");
    let release = fs::read_to_string("/etc/os-release").expect("read /etc/os-release");
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .expect("this Debian's code name")
        .to_owned();
    let base = testbed.join(format!("{codename}-{}", PACKAGES.replace(',', "-")));
    let lock = File::create(testbed.join("lock")).expect("make a lock file");
    // Only one test makes it; the others wait here.
    let _lock = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, e)| e)
        .expect("lock");
    if base.exists() {
        return base;
    }
    let new = testbed.join("new");
    let _ = fs::remove_dir_all(&new);
    let mut command = Command::new("mmdebstrap");
    command
        .args([
            "--quiet",
            "--variant=minbase",
            "--aptopt=APT::Install-Recommends \"false\"",
        ])
        .args(["--dpkgopt=path-exclude=/usr/share/man/*"])
        .args(["--dpkgopt=path-exclude=/usr/share/locale/*"])
        .arg(format!("--include={PACKAGES}"))
        .args([codename.as_str(), text(&new)]);
    // This machine's own package sources, wherever they are.
    let sources = [
        "/etc/apt/sources.list.d/debian.sources",
        "/etc/apt/sources.list",
    ];
    let source = sources.into_iter().find(|path| Path::new(path).exists());
    command.arg(source.expect("this machine's package sources"));
    let ran = bounded(command, BASE_LIMIT);
    assert!(ran.status.success(), "mmdebstrap failed:\n{}", ran.output);
    for unit in MASKED {
        let place = new.join("etc/systemd/system").join(unit);
        std::os::unix::fs::symlink("/dev/null", place).expect("mask a unit");
    }
    fs::rename(&new, &base).expect("keep the base root");
    base
}
