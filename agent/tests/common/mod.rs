//! The agent as a process of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};

pub const AGENT: &str = env!("CARGO_BIN_EXE_nodemedic-agent");

/// Starts it by these words on `agent.toml` in this directory; what it says goes to `agent.log`.
pub fn spawn(words: &[&str], dir: &Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("agent.log"))
        .unwrap();
    Command::new(words[0])
        .args(&words[1..])
        .arg("--config")
        .arg(dir.join("agent.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}
