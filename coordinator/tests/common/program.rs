//! The program in a process of its own.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStderr, Command};

use super::{BOUND, Place};

/// The program itself, of which only the log and the API are seen.
pub struct Program {
    pub child: tokio::process::Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Program {
    pub fn start(place: &Place) -> Program {
        place.config();
        let mut child = Command::new(env!("CARGO_BIN_EXE_nodemedic-coordinator"))
            .arg("--config")
            .arg(place.config_file())
            .env("NODEMEDIC_LOG", "info")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Program { child, log }
    }

    /// Reads its log up to the line that says this.
    pub async fn says(&mut self, what: &str) -> String {
        let reading = async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                if line.contains(what) {
                    return line;
                }
            }
            panic!("it ended without: {what}");
        };
        let said = tokio::time::timeout(BOUND, reading).await;
        said.unwrap_or_else(|_| panic!("it never said: {what}"))
    }
}
