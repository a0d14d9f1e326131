//! Debian's Mosquitto, one per test, on a port and in a directory of its own.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::files::write_atomic;

const PROGRAM: &str = "/usr/sbin/mosquitto";

/// A running broker; killed when dropped.
pub struct Broker {
    pub port: u16,
    pub dir: TempDir,
    process: Child,
}

impl Broker {
    /// With open doors.
    pub fn start() -> Broker {
        Broker::with("allow_anonymous true\n", tempfile::tempdir().unwrap())
    }

    /// With more settings, and a directory in which their files lie.
    pub fn with(settings: &str, dir: TempDir) -> Broker {
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is not there: `cargo xtask test` installs it (Debian package mosquitto)"
        );
        let port = free_port();
        let mut text = format!("listener {port} 127.0.0.1\nset_tcp_nodelay true\n");
        // It would leave root's rights behind and then be shut out of the directory.
        text.push_str("user root\npersistence false\nmax_queued_messages 5000\n");
        write!(text, "{settings}").unwrap();
        write_atomic(&dir.path().join("mosquitto.conf"), text.as_bytes(), 0o600).unwrap();
        let process = launch(&dir);
        Broker { port, dir, process }
    }

    /// Gone at once, with everything it knew.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Back on the same port, knowing nothing.
    pub fn restart(&mut self) {
        self.kill();
        self.process = launch(&self.dir);
    }

    /// Still connected, and deaf and dumb.
    pub fn freeze(&self) {
        kill(self.pid(), Signal::SIGSTOP).unwrap();
    }

    pub fn thaw(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(dir: &TempDir) -> Child {
    Command::new(PROGRAM)
        .arg("-c")
        .arg(dir.path().join("mosquitto.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A port on which nobody listens.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
