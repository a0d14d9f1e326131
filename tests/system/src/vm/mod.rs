//! A whole machine under emulation: Debian's kernel, a real watchdog device that resets it, and the
//! built agent and watchdog in it. Only here a reset is a reset.
//!
//! QEMU without KVM, so that it runs wherever the tests do. The machine's root is in memory; a
//! small disk with the state of both programs survives a reset. The coordinator stays outside and
//! is reached over QEMU's own network, in which 10.0.2.2 is this machine's loopback.

mod console;
mod initramfs;
mod kernel;
mod qmp;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use self::kernel::Kernel;
pub use console::{Console, Ran};
pub use qmp::{Event, Qmp};

use crate::process::Process;
use crate::tool::bounded;
use crate::wait::wait_for;

/// From power on to the control program: 5 s on an idle machine, much longer on a loaded one.
pub const BOOT_BOUND: Duration = Duration::from_secs(120);
/// One line of shell in the machine.
const RUN_BOUND: Duration = Duration::from_secs(60);
/// QEMU makes its sockets before it does anything else.
const SOCKET_BOUND: Duration = Duration::from_secs(30);
/// Making an empty file system.
const DISK_LIMIT: Duration = Duration::from_secs(30);
/// Of the state disk; what both programs keep is below one megabyte.
const DISK_BYTES: u64 = 32 << 20;
/// Of the machine's memory: the root twice while it is unpacked, and the programs.
const MEMORY_MB: &str = "384";

/// What a machine is told.
pub struct Plan {
    /// The coordinator's broker on this machine's loopback.
    pub broker_port: u16,
    /// The device's timeout.
    pub timeout: Duration,
}

/// A running machine. Dropping it pulls the plug.
pub struct Vm {
    dir: PathBuf,
    process: Process,
    qmp: Qmp,
    console: Console,
    boots: usize,
}

impl Vm {
    /// Powers a machine on and waits until it is up, with watchdog and agent started.
    ///
    /// # Panics
    /// When it does not boot, with what it said.
    #[must_use]
    pub fn boot(dir: &Path, plan: &Plan) -> Vm {
        let dir = dir.join("machine");
        fs::create_dir_all(&dir).expect("make the machine's folder");
        let kernel = Kernel::get();
        initramfs::write(&dir.join("initramfs"), &kernel, &configuration(plan));
        make_disk(&dir.join("disk"));
        let process = Process::start("QEMU", command(&dir, &kernel), &dir.join("qemu.log"));
        let qmp = Qmp::connect(&dir.join("qmp"), SOCKET_BOUND);
        let console = Console::connect(&dir.join("shell"), SOCKET_BOUND);
        let mut machine = Vm {
            dir,
            process,
            qmp,
            console,
            boots: 0,
        };
        machine.until_booted();
        machine
    }

    /// Waits for the next boot to reach the control program; gives how long that took.
    ///
    /// # Panics
    /// When it does not.
    pub fn until_booted(&mut self) -> Duration {
        self.boots += 1;
        let wanted = self.boots;
        let (_, took) = wait_for(&format!("boot {wanted}"), BOOT_BOUND, || {
            assert!(self.process.is_running(), "{}", self.process.output());
            match self.console.boots() {
                seen if seen >= wanted => Ok(()),
                seen => Err(format!("{seen} boots\n{}", self.said())),
            }
        });
        took
    }

    /// Runs a line of shell in the machine.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn try_run(&mut self, command: &str) -> Ran {
        self.console.run(command, RUN_BOUND)
    }

    /// Runs a line of shell that must succeed; gives its output without the last newline.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&mut self, command: &str) -> String {
        let ran = self.try_run(command);
        assert_eq!(ran.status, 0, "`{command}` in the machine: {}", ran.output);
        ran.output.trim_end().to_owned()
    }

    /// Everything that kernel, watchdog and agent have said, over all boots.
    #[must_use]
    pub fn said(&self) -> String {
        let bytes = fs::read(self.dir.join("console.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    }

    /// Every line that the exclusive work has written, over all boots.
    #[must_use]
    pub fn ledger(&self) -> String {
        let bytes = fs::read(self.dir.join("ledger.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    }

    /// When events of this name were heard.
    #[must_use]
    pub fn heard(&self, name: &str) -> Vec<Instant> {
        let events = self.qmp.events();
        let named = events.iter().filter(|event| event.name == name);
        named.map(|event| event.at).collect()
    }

    /// Every event of the machine.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.qmp.events()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            let tail = lines.len().saturating_sub(120);
            eprintln!("--- the machine (last 120 of {} lines)", lines.len());
            for line in &lines[tail..] {
                eprintln!("{line}");
            }
            eprintln!("--- events: {:?}", self.qmp.events());
        }
        self.qmp.quit();
    }
}

/// Runs a program of this machine that must succeed; gives both its outputs.
fn run(command: Command, bound: Duration) -> String {
    let said = format!("{command:?}");
    let ran = bounded(command, bound);
    assert!(
        ran.status.success(),
        "{said}: {}\n{}",
        ran.status,
        ran.output
    );
    ran.output
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours is text")
}

fn configuration(plan: &Plan) -> Vec<(&'static str, String)> {
    let agent = format!(
        "node = \"machine\"\nsite = \"test\"\n\
         [broker]\nurl = \"mqtt://10.0.2.2:{}\"\nallow_plaintext = true\n\
         [paths]\nstate = \"/state/agent\"\nrun = \"/run/nodemedic\"\n\
         last_words = \"/state/watchdog/last-words\"\n\
         [heartbeat]\ninterval = \"500ms\"\n[sampling]\ninterval = \"5s\"\n\
         [work]\nallow_command = true\n",
        plan.broker_port
    );
    let watchdog = format!(
        "--socket /run/nodemedic/watchdog.sock --device /dev/watchdog0 --timeout {}ms \
         --state /state/watchdog\n",
        plan.timeout.as_millis()
    );
    vec![
        ("etc/agent.toml", agent),
        (
            "etc/agent.arguments",
            "--config /etc/agent.toml\n".to_owned(),
        ),
        ("etc/watchdog.arguments", watchdog),
    ]
}

fn make_disk(path: &Path) {
    let file = fs::File::create(path).expect("make the disk");
    file.set_len(DISK_BYTES).expect("give the disk its size");
    let mut mkfs = Command::new("/usr/sbin/mke2fs");
    mkfs.args(["-q", "-F", "-t", "ext4", text(path)]);
    run(mkfs, DISK_LIMIT);
}

fn command(dir: &Path, kernel: &Kernel) -> Command {
    let file = |name: &str| dir.join(name).display().to_string();
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-name", "nodemedic-test", "-machine", "pc", "-accel", "tcg"])
        .args(["-cpu", "max", "-smp", "1", "-m", MEMORY_MB, "-nodefaults"])
        .args(["-no-user-config", "-display", "none"])
        .args(["-kernel", text(&kernel.image)])
        .args(["-initrd", &file("initramfs")])
        // A panic must not reboot by itself: only the watchdog may reset this machine.
        .args(["-append", "console=ttyS0 quiet panic=0 net.ifnames=0"])
        .args(["-serial", &format!("file:{}", file("console.log"))])
        .args([
            "-serial",
            &format!("unix:{},server=on,wait=off", file("shell")),
        ])
        .args(["-serial", &format!("file:{}", file("ledger.log"))])
        .args(["-qmp", &format!("unix:{},server=on,wait=off", file("qmp"))])
        .args(["-device", "i6300esb", "-action", "watchdog=reset"])
        .args([
            "-drive",
            &format!("file={},format=raw,if=none,id=disk", file("disk")),
        ])
        .args(["-device", "virtio-blk-pci,drive=disk"])
        .args(["-netdev", "user,id=net", "-device"])
        .arg("virtio-net-pci,netdev=net,romfile=");
    command
}
