//! Debian's Mosquitto on a loopback port or in a network namespace, with or without a memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::netns;
use crate::process::Process;
use crate::wait::wait_for;

/// A Mosquitto that a test owns.
pub struct Mosquitto {
    process: Option<Process>,
    /// Where it listens.
    pub port: u16,
    address: Ipv4Addr,
    namespace: Option<String>,
    dir: PathBuf,
}

impl Mosquitto {
    /// Starts one. `extra` goes into its configuration after the listener and the persistence.
    ///
    /// # Panics
    /// When mosquitto is not installed or does not start.
    #[must_use]
    pub fn start(dir: &Path, port: u16, extra: &str) -> Mosquitto {
        Mosquitto::start_at(dir, (Ipv4Addr::LOCALHOST, port), None, extra)
    }

    /// Starts one at an address of a network namespace.
    ///
    /// # Panics
    /// As [`Mosquitto::start`].
    #[must_use]
    pub fn start_at(
        dir: &Path,
        (address, port): (Ipv4Addr, u16),
        namespace: Option<String>,
        extra: &str,
    ) -> Mosquitto {
        let dir = dir.join("mosquitto");
        std::fs::create_dir_all(&dir).expect("broker folder");
        let config = format!(
            "listener {port} {address}\nallow_anonymous true\nuser root\nset_tcp_nodelay true\n\
             persistence true\npersistence_location {}/\nautosave_interval 1\n\
             max_queued_messages 10000\n{extra}\n",
            dir.display()
        );
        std::fs::write(dir.join("mosquitto.conf"), config).expect("broker configuration");
        let mut broker = Mosquitto {
            process: None,
            port,
            address,
            namespace,
            dir,
        };
        broker.restart();
        broker
    }

    /// Starts it again with what it has on disk.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub fn restart(&mut self) {
        let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"]
            .into_iter()
            .map(Path::new)
            .find(|path| path.exists())
            .expect("mosquitto is not installed: `cargo xtask test` installs it");
        let mut command = match &self.namespace {
            Some(namespace) => netns::command(namespace, program),
            None => Command::new(program),
        };
        command.arg("-c").arg(self.dir.join("mosquitto.conf"));
        self.process = Some(Process::start("mosquitto", command, &self.dir.join("log")));
        let at = SocketAddr::from((self.address, self.port));
        let connect = || std::net::TcpStream::connect(at).map_err(|e| e.to_string());
        wait_for(
            "mosquitto listens",
            Duration::from_secs(10),
            || match &self.namespace {
                Some(namespace) => netns::within(namespace, connect),
                None => connect(),
            },
        );
    }

    /// kill -9.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// Forgets every session and every retained message.
    pub fn forget(&self) {
        let _ = std::fs::remove_file(self.dir.join("mosquitto.db"));
    }
}
