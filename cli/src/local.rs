//! The agent's local socket: one question in a line, one answer in a line, each with a deadline.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nodemedic_protocol::local::{LocalRequest, LocalResponse, LocalStatus};

use crate::failure::{Failure, Kind};

/// Where an agent that was installed from the package listens.
pub const DEFAULT_SOCKET: &str = "/run/nodemedic/agent.sock";

/// The agent answers from memory; one that does not within this hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// A bundle takes two seconds, a fault at most five to begin or to take back.
const WORK_TIMEOUT: Duration = Duration::from_secs(15);

/// A host with 1,000 disks and 500 works stays far below this.
const ANSWER_MAX_BYTES: u64 = 8 << 20;

/// Asks the agent for everything there is to see now.
pub fn status(socket: &Path) -> Result<Box<LocalStatus>, Failure> {
    match ask(socket, &LocalRequest::Status, CALL_TIMEOUT)? {
        LocalResponse::Status(status) => Ok(status),
        LocalResponse::Error(error) => Err(Failure::new(Kind::Refused, error, "")),
        _ => Err(odd(socket)),
    }
}

/// Asks for what takes the agent a few seconds; its own refusal is a failure.
pub fn call(socket: &Path, request: &LocalRequest) -> Result<LocalResponse, Failure> {
    match ask(socket, request, WORK_TIMEOUT)? {
        LocalResponse::Error(error) => Err(Failure::new(Kind::Refused, error, "")),
        response => Ok(response),
    }
}

/// An answer to another question.
pub fn odd(socket: &Path) -> Failure {
    Failure::new(
        Kind::Failed,
        format!("the agent at {} answered something else", socket.display()),
        "are agent and command line of the same version? (nodemedic --version)",
    )
}

/// Tells the agent to do something.
pub fn tell(socket: &Path, request: &LocalRequest) -> Result<(), Failure> {
    match ask(socket, request, CALL_TIMEOUT)? {
        LocalResponse::Done => Ok(()),
        LocalResponse::Error(error) => Err(Failure::new(Kind::Refused, error, "")),
        _ => Err(odd(socket)),
    }
}

fn ask(socket: &Path, request: &LocalRequest, timeout: Duration) -> Result<LocalResponse, Failure> {
    let unreachable = |error: std::io::Error| unreachable(socket, &error);
    let mut stream = UnixStream::connect(socket).map_err(unreachable)?;
    stream
        .set_read_timeout(Some(timeout))
        .map_err(unreachable)?;
    stream
        .set_write_timeout(Some(timeout))
        .map_err(unreachable)?;
    let mut line = serde_json::to_vec(request)
        .map_err(|error| Failure::failed(format!("cannot write the question: {error}")))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(unreachable)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(ANSWER_MAX_BYTES))
        .read_until(b'\n', &mut answer)
        .map_err(unreachable)?;
    serde_json::from_slice(&answer).map_err(|error| {
        Failure::new(
            Kind::Failed,
            format!(
                "the agent at {} gave an answer that cannot be read: {error}",
                socket.display()
            ),
            "are agent and command line of the same version? (nodemedic --version)",
        )
    })
}

fn unreachable(socket: &Path, error: &std::io::Error) -> Failure {
    let remedy = match error.kind() {
        std::io::ErrorKind::NotFound => {
            "is nodemedic-agent running here? Give --socket (or \
             NODEMEDIC_SOCKET); under `nodemedic up` each node has its own, printed at start"
        }
        std::io::ErrorKind::PermissionDenied => {
            "only root and the group of the socket may ask: use sudo"
        }
        _ => "is nodemedic-agent running here? systemctl status nodemedic-agent",
    };
    Failure::new(
        Kind::Unreachable,
        format!("cannot ask the agent at {}: {error}", socket.display()),
        remedy,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn no_agent_is_unreachable_and_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let failure = status(&dir.path().join("agent.sock")).unwrap_err();
        assert_eq!(failure.kind, Kind::Unreachable);
        assert!(failure.to_string().contains("--socket"), "{failure}");
    }

    #[test]
    fn an_order_reaches_the_agent_and_its_refusal_the_person() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let agent = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in ["\"done\"\n", "{\"error\":\"service web is not paused\"}\n"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap())
                    .read_line(&mut line)
                    .unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                asked.push(line);
            }
            asked
        });
        let resume = LocalRequest::Resume { service: None };
        tell(&path, &resume).unwrap();
        let failure = tell(&path, &resume).unwrap_err();
        assert_eq!(failure.kind, Kind::Refused);
        assert_eq!(failure.message, "service web is not paused");
        assert_eq!(agent.join().unwrap(), ["{\"resume\":{}}\n"; 2]);
    }

    #[test]
    fn the_agents_own_error_is_handed_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let agent = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap())
                .read_line(&mut line)
                .unwrap();
            stream
                .write_all(b"{\"error\":\"still starting\"}\n")
                .unwrap();
            line
        });
        let failure = status(&path).unwrap_err();
        assert_eq!(agent.join().unwrap(), "\"status\"\n");
        assert_eq!(failure.kind, Kind::Refused);
        assert_eq!(failure.message, "still starting");
    }
}
