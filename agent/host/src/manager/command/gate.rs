//! The gate of a command: a process that is the command already, but for its program.
//!
//! The agent starts itself anew behind the hidden argument [`ARGUMENT`], in the session, directory
//! and environment of the command, with one end of a socket as standard input. There it waits. One
//! byte opens it, and it becomes the command: number and start time stay, so what was promised to
//! the watchdog before is what runs afterwards. The end of the agent closes the socket, and the
//! gate ends without having run anything.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// First argument of a gate; the words of the command follow.
pub const ARGUMENT: &str = "--be-a-start-gate";

/// Its name in a list of processes.
pub const NAME: &str = "nodemedic-gate";

/// The byte that opens it.
const OPEN: u8 = b'o';

/// A program is loaded in milliseconds from a warm disk; from a dying one it may take seconds. What
/// takes longer is seen by its probe, or by its end.
const EXEC_WAIT: Duration = Duration::from_secs(5);

/// What a gate says when it cannot become its command is one line.
const COMPLAINT_MAX_BYTES: u64 = 4096;

/// Waits for the word, then becomes the command. `Ok(None)` when nobody gives the word.
///
/// # Errors
/// Why it could not wait, or not become the command.
pub fn run(mut words: impl Iterator<Item = OsString>) -> Result<Option<Infallible>, String> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let mut agent = UnixStream::from(stdin.map_err(|error| error.to_string())?);
    let mut word = [0];
    loop {
        match agent.read(&mut word) {
            Ok(1) if word[0] == OPEN => break,
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The agent's end was closed with something unread in it.
            Err(_) => return Ok(None),
        }
    }
    let program = words.next().ok_or("the command is empty")?;
    let error = Command::new(&program)
        .args(words)
        .stdin(Stdio::null())
        .exec();
    let text = format!(
        "cannot start {}: {error}; see that it is there and may be executed",
        program.to_string_lossy()
    );
    // The agent may be gone; the log says it too.
    let _ = agent.write_all(text.as_bytes());
    Err(text)
}

/// The agent's end of a gate that is shut. Dropping it sends the gate away.
#[derive(Debug)]
pub struct Latch(UnixStream);

/// A latch and what its gate gets as standard input.
pub fn latch() -> std::io::Result<(Latch, OwnedFd)> {
    // Both are closed in whatever else this process starts meanwhile.
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((Latch(ours), theirs.into()))
}

impl Latch {
    /// Opens the gate and sees that the command runs.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn open(self) -> Result<(), String> {
        let text = |error: std::io::Error| format!("cannot open the gate: {error}");
        let mut gate = tokio::net::UnixStream::from_std(self.0).map_err(text)?;
        gate.write_all(&[OPEN]).await.map_err(text)?;
        let mut complaint = String::new();
        let mut said = gate.take(COMPLAINT_MAX_BYTES);
        // The end of the socket is the moment in which the gate became its command, or ended.
        match timeout(EXEC_WAIT, said.read_to_string(&mut complaint)).await {
            Ok(Ok(_)) if !complaint.is_empty() => Err(complaint),
            _ => Ok(()),
        }
    }
}
