//! Short-lived programs that a test runs to their end: with a bound, and with their words kept.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

/// `ip`, `nft`, `mount` and the like: measured in thousandths of a second.
const TOOL_LIMIT: Duration = Duration::from_secs(60);

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// Its end.
    pub status: ExitStatus,
    /// Both outputs, one after the other.
    pub output: String,
}

/// Runs a program of this machine that must succeed; gives its output.
///
/// # Panics
/// When it fails, or does not end in time.
pub fn tool(program: &str, words: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(words);
    let ran = bounded(command, TOOL_LIMIT);
    assert!(
        ran.status.success(),
        "{program} {words:?}: {}\n{}",
        ran.status,
        ran.output
    );
    ran.output
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started, or does not end within the bound.
#[must_use]
pub fn bounded(mut command: Command, bound: Duration) -> Ran {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("start {command:?}: {e}; is its package installed?"));
    let outputs = (collect(child.stdout.take()), collect(child.stderr.take()));
    let began = std::time::Instant::now();
    let status = loop {
        match child.try_wait().expect("wait for a command") {
            Some(status) => break status,
            None if began.elapsed() < bound => {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            None => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{command:?} did not end within {bound:?}");
            }
        }
    };
    let read = |thread: JoinHandle<String>| thread.join().unwrap_or_default();
    Ran {
        status,
        output: read(outputs.0) + &read(outputs.1),
    }
}
