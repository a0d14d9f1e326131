//! Probe `unix`: a stream socket of this host accepts, and answers what is asked.
//!
//! The kernel accepts for a process that hangs until its backlog is full, so only an answer tells
//! that somebody is at home.

use std::io::{self, ErrorKind};
use std::time::Duration;

use nodemedic_agent_core::Verdict;
use nodemedic_protocol::Millis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::tcp::Failure;

/// Of an answer, so much is read; what is expected stands in its first lines.
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// A full backlog is told at once, without waiting: it is tried again this soon, because a busy
/// server empties it in microseconds.
const BACKLOG_PAUSE: Duration = Duration::from_millis(10);

/// Asks once.
pub async fn ask(path: &str, send: Option<&str>, expect: Option<&str>, within: Millis) -> Verdict {
    let asked = timeout(within.to_duration(), talk(path, send, expect)).await;
    match asked {
        Ok(Ok(())) => Verdict::Pass,
        Ok(Err(Failure::Service(text))) => Verdict::Fail(format!("unix probe of {path}: {text}")),
        Ok(Err(Failure::Probe(text))) => Verdict::Unknown(format!("unix probe of {path}: {text}")),
        Err(_) => Verdict::Fail(format!("unix probe of {path}: no answer within {within}")),
    }
}

async fn talk(path: &str, send: Option<&str>, expect: Option<&str>) -> Result<(), Failure> {
    let mut stream = connect(path).await?;
    let fail = |error: io::Error| Failure::Service(error.to_string());
    if let Some(send) = send {
        stream.write_all(send.as_bytes()).await.map_err(fail)?;
    }
    let Some(expect) = expect.map(str::as_bytes) else {
        return Ok(());
    };
    let mut answer = Vec::new();
    loop {
        if answer.windows(expect.len()).any(|part| part == expect) {
            return Ok(());
        }
        if answer.len() >= ANSWER_MAX_BYTES {
            let text = format!("what is expected is not in the first {ANSWER_MAX_BYTES} bytes");
            return Err(Failure::Service(text));
        }
        if stream.read_buf(&mut answer).await.map_err(fail)? == 0 {
            let text = format!("it hung up after {} bytes without it", answer.len());
            return Err(Failure::Service(text));
        }
    }
}

async fn connect(path: &str) -> Result<UnixStream, Failure> {
    // As tokio names an abstract socket.
    let name = match path.strip_prefix('@') {
        Some(name) => format!("\0{name}"),
        None => path.to_owned(),
    };
    loop {
        let error = match UnixStream::connect(&name).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::WouldBlock => sleep(BACKLOG_PAUSE).await,
            ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => {
                return Err(Failure::Service(error.to_string()));
            }
            _ => {
                let remedy = "is it a stream socket that this agent may use?";
                return Err(Failure::Probe(format!("{error}; {remedy}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    const LONG: Millis = Millis(20_000);

    /// Answers each line with the same line.
    fn echo(listener: UnixListener) {
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut from, mut to) = stream.split();
                let _peer_hangs_up = tokio::io::copy(&mut from, &mut to).await;
            }
        });
    }

    #[tokio::test]
    async fn what_answers_passes_and_another_answer_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s").display().to_string();
        let gone = ask(&path, None, None, LONG).await;
        assert!(matches!(gone, Verdict::Fail(_)), "{gone:?}");
        echo(UnixListener::bind(&path).unwrap());
        assert_eq!(ask(&path, None, None, LONG).await, Verdict::Pass);
        let asked = ask(&path, Some("PING\n"), Some("PING"), LONG).await;
        assert_eq!(asked, Verdict::Pass);
        let Verdict::Fail(text) = ask(&path, Some("PING\n"), Some("PONG"), Millis(100)).await
        else {
            panic!("another answer passed");
        };
        assert!(text.ends_with("no answer within 100ms"), "{text}");
    }

    #[tokio::test]
    async fn an_abstract_socket_and_one_that_hangs_up() {
        let name = format!("nodemedic-test-{}", std::process::id());
        let listener = UnixListener::bind(format!("\0{name}")).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _peer_is_gone = stream.write_all(b"busy").await;
            }
        });
        let path = format!("@{name}");
        let met = ask(&path, None, Some("busy"), LONG).await;
        assert_eq!(met, Verdict::Pass);
        let Verdict::Fail(text) = ask(&path, None, Some("ready"), LONG).await else {
            panic!("a server that hangs up passed");
        };
        assert!(
            text.ends_with("it hung up after 4 bytes without it"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_full_backlog_is_waited_out_and_then_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s").display().to_string();
        // With a backlog of zero a second connection that nobody accepts finds no place.
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            None,
        )
        .unwrap();
        let address = rustix::net::SocketAddrUnix::new(path.as_str()).unwrap();
        rustix::net::bind(&socket, &address).unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let first = ask(&path, None, None, LONG).await;
        assert_eq!(first, Verdict::Pass);
        let full = ask(&path, None, None, Millis(50)).await;
        assert!(matches!(full, Verdict::Fail(_)), "{full:?}");
    }

    #[tokio::test]
    async fn what_is_no_stream_socket_is_no_failure_of_the_service() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d").display().to_string();
        let _datagrams = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let long = format!("/{}", "x".repeat(200));
        for bad in [path, long] {
            let verdict = ask(&bad, None, None, LONG).await;
            assert!(matches!(verdict, Verdict::Unknown(_)), "{verdict:?}");
        }
    }
}
