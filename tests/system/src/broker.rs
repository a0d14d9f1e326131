//! Debian's Mosquitto on a loopback port, with or without a memory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::Process;
use crate::wait::wait_for;

/// A Mosquitto that a test owns.
pub struct Mosquitto {
    process: Option<Process>,
    /// Where it listens.
    pub port: u16,
    dir: PathBuf,
}

impl Mosquitto {
    /// Starts one. `extra` goes into its configuration after the listener and the persistence.
    ///
    /// # Panics
    /// When mosquitto is not installed or does not start.
    #[must_use]
    pub fn start(dir: &Path, port: u16, extra: &str) -> Mosquitto {
        let dir = dir.join("mosquitto");
        std::fs::create_dir_all(&dir).expect("broker folder");
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nset_tcp_nodelay true\n\
             persistence true\npersistence_location {}/\nautosave_interval 1\n\
             max_queued_messages 10000\n{extra}\n",
            dir.display()
        );
        std::fs::write(dir.join("mosquitto.conf"), config).expect("broker configuration");
        let mut broker = Mosquitto {
            process: None,
            port,
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
            .find(|path| Path::new(path).exists())
            .expect("mosquitto is not installed: `cargo xtask test` installs it");
        let mut command = Command::new(program);
        command.arg("-c").arg(self.dir.join("mosquitto.conf"));
        self.process = Some(Process::start("mosquitto", command, &self.dir.join("log")));
        let port = self.port;
        wait_for("mosquitto listens", Duration::from_secs(10), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())
        });
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
