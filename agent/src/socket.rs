//! The local socket: one JSON request in a line, one JSON answer in a line. Its file mode says who
//! may connect.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use nodemedic_protocol::Millis;
use nodemedic_protocol::local::{LocalRequest, LocalResponse, REQUEST_MAX_BYTES};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

/// Clients at the same time; each is a person or a script on this host.
const CLIENTS_MAX: usize = 16;

/// A client that says or takes nothing for so long is let go.
const CLIENT_WAIT: Millis = Millis::from_secs(30);

/// Requests that wait for the event loop.
const REQUESTS_MAX: usize = 16;

/// Owner and group may ask.
const MODE: u32 = 0o660;

/// One request and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: LocalRequest,
    /// Where the answer goes.
    pub answer: oneshot::Sender<LocalResponse>,
}

/// The socket. Its file goes when this is dropped.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    task: JoinHandle<()>,
    requests: mpsc::Receiver<Asked>,
}

impl Socket {
    /// Listens. A socket file that an earlier agent left is replaced: the lock on the state
    /// directory says that it is nobody's.
    ///
    /// # Errors
    /// When the path cannot be used.
    pub fn open(path: &Path) -> anyhow::Result<Socket> {
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot replace {}", path.display()));
            }
        }
        let listener = UnixListener::bind(path).with_context(|| {
            format!(
                "cannot listen on {}: see that [paths] run is a directory of the agent's own and \
                 its path is below 100 bytes",
                path.display()
            )
        })?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))
            .with_context(|| format!("cannot set the mode of {}", path.display()))?;
        let (asked, requests) = mpsc::channel(REQUESTS_MAX);
        Ok(Socket {
            path: path.to_owned(),
            task: tokio::spawn(accept(listener, asked)),
            requests,
        })
    }

    /// Waits for a request.
    pub async fn asked(&mut self) -> Asked {
        match self.requests.recv().await {
            Some(asked) => asked,
            // Only when the listener's task ended, which it does not.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
        // Nobody needs to hear that it is gone already.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    let slots = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot accept on the local socket: {error}");
                // Out of file descriptors: some come free when clients go.
                tokio::time::sleep(Millis(100).to_duration()).await;
                continue;
            }
        };
        let asked = asked.clone();
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                tokio::spawn(async move {
                    // A client that goes in the middle is its own affair.
                    let _ = serve(stream, asked).await;
                    drop(slot);
                });
            }
            Err(_) => drop(tokio::spawn(refuse(stream))),
        }
    }
}

async fn refuse(mut stream: UnixStream) {
    let answer = LocalResponse::Error(format!(
        "{CLIENTS_MAX} clients are connected already: try again later"
    ));
    // Said if it can be said at once; nothing is held open for it.
    let _ = say(&mut stream, &answer).await;
}

async fn serve(stream: UnixStream, asked: mpsc::Sender<Asked>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(REQUEST_MAX_BYTES as u64 + 1);
        let read = limited.read_until(b'\n', &mut line);
        let Ok(read) = tokio::time::timeout(CLIENT_WAIT.to_duration(), read).await else {
            return Ok(());
        };
        if read? == 0 {
            return Ok(());
        }
        if line.len() > REQUEST_MAX_BYTES {
            let error = format!("a request has at most {REQUEST_MAX_BYTES} bytes");
            return say(&mut writer, &LocalResponse::Error(error)).await;
        }
        let answer = match serde_json::from_slice::<LocalRequest>(&line) {
            Ok(request) => ask(request, &asked).await,
            Err(error) => LocalResponse::Error(format!("not a request: {error}")),
        };
        say(&mut writer, &answer).await?;
    }
}

async fn ask(request: LocalRequest, asked: &mpsc::Sender<Asked>) -> LocalResponse {
    let (answer, answered) = oneshot::channel();
    let gone = || LocalResponse::Error("the agent is ending".to_owned());
    if asked.send(Asked { request, answer }).await.is_err() {
        return gone();
    }
    answered.await.unwrap_or_else(|_| gone())
}

async fn say<W: tokio::io::AsyncWrite + Unpin>(
    writer: &mut W,
    answer: &LocalResponse,
) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(answer).map_err(std::io::Error::other)?;
    line.push(b'\n');
    tokio::time::timeout(CLIENT_WAIT.to_duration(), writer.write_all(&line))
        .await
        .map_err(std::io::Error::from)?
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn talk(path: &Path, text: &str) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.unwrap();
        line
    }

    #[tokio::test]
    async fn a_request_is_answered_and_nonsense_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let mut socket = Socket::open(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert!(talk(&path, "nonsense\n").await.contains("not a request"));
        let long = format!("{}\n", "x".repeat(REQUEST_MAX_BYTES + 10));
        assert!(talk(&path, &long).await.contains("at most 4096 bytes"));
        let client = tokio::spawn({
            let path = path.clone();
            async move { talk(&path, "{\"events\":{\"last\":3}}\n").await }
        });
        let asked = socket.asked().await;
        assert_eq!(asked.request, LocalRequest::Events { last: 3 });
        asked.answer.send(LocalResponse::Done).unwrap();
        assert_eq!(client.await.unwrap(), "\"done\"\n");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn clients_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let _socket = Socket::open(&path).unwrap();
        let mut held = Vec::new();
        for _ in 0..CLIENTS_MAX {
            held.push(UnixStream::connect(&path).await.unwrap());
        }
        let mut line = String::new();
        let stream = UnixStream::connect(&path).await.unwrap();
        BufReader::new(stream).read_line(&mut line).await.unwrap();
        assert!(line.contains("clients are connected already"), "{line}");
    }

    #[tokio::test]
    async fn a_left_over_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let left = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(left);
        assert!(path.exists());
        Socket::open(&path).unwrap();
    }
}
