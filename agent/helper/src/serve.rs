//! The socket: one JSON request in a line, one JSON answer in a line, of those who may ask.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nodemedic_protocol::Millis;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::hands::Hands;
use crate::request::{Answer, Request};

/// The agent asks from one task for each unit, and acts come one after the other anyway.
const CLIENTS_MAX: usize = 64;

/// The longest request names a unit and its cgroup.
const REQUEST_MAX_BYTES: usize = 8192;

/// One that says or takes nothing for so long is let go.
const CLIENT_WAIT: Millis = Millis::from_secs(30);

/// One who may not ask is not waited for.
const STRANGER_WAIT: Millis = Millis(200);

/// With nothing to do for so long it ends; systemd starts it again with the next request.
const IDLE: Millis = Millis::from_secs(300);

/// Serves on the listening socket that systemd gives as standard input, until nobody asks for a
/// while. `uid` is the one user besides root that may.
///
/// # Errors
/// When standard input is no listening socket.
pub async fn run(hands: Hands, uid: Option<u32>) -> io::Result<()> {
    let stdin: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let listener = std::os::unix::net::UnixListener::from(stdin);
    listener.set_nonblocking(true)?;
    serve(
        UnixListener::from_std(listener)?,
        Arc::new(hands),
        uid,
        IDLE,
    )
    .await
}

async fn serve(
    listener: UnixListener,
    hands: Arc<Hands>,
    uid: Option<u32>,
    idle: Millis,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let stream = match timeout(idle.to_duration(), listener.accept()).await {
            Ok(accepted) => accepted?.0,
            Err(_) if slots.available_permits() == CLIENTS_MAX => return Ok(()),
            Err(_) => continue,
        };
        // More wait in the socket.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return Ok(());
        };
        let hands = Arc::clone(&hands);
        tokio::spawn(async move {
            // One that goes in the middle is its own affair.
            let _gone = talk(stream, &hands, uid).await;
            drop(slot);
        });
    }
}

async fn talk(stream: UnixStream, hands: &Hands, uid: Option<u32>) -> io::Result<()> {
    let asker = stream.peer_cred()?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    if asker.uid() != 0 && Some(asker.uid()) != uid {
        tracing::error!(
            uid = asker.uid(),
            pid = asker.pid(),
            "refused: neither agent nor root"
        );
        // What was sent is read first: an answer before that would be lost with the connection.
        let _unread = timeout(STRANGER_WAIT.to_duration(), line_of(&mut reader)).await;
        let why = format!("user {} may not ask here", asker.uid());
        return say(&mut writer, &Answer::Refused(why)).await;
    }
    loop {
        let Ok(Ok(line)) = timeout(CLIENT_WAIT.to_duration(), line_of(&mut reader)).await else {
            return Ok(());
        };
        if line.is_empty() {
            return Ok(());
        }
        if line.len() > REQUEST_MAX_BYTES {
            let why = format!("a request has at most {REQUEST_MAX_BYTES} bytes");
            return say(&mut writer, &Answer::Refused(why)).await;
        }
        let answer = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => hands.act(&request).await,
            Err(error) => {
                tracing::error!(uid = asker.uid(), pid = asker.pid(), %error, "not a request");
                Answer::Refused(format!("not a request: {error}"))
            }
        };
        say(&mut writer, &answer).await?;
    }
}

/// A line, or its beginning when it is too long; empty at the end.
async fn line_of<R: AsyncBufRead + Unpin>(reader: &mut R) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut limited = reader.take(REQUEST_MAX_BYTES as u64 + 1);
    limited.read_until(b'\n', &mut line).await?;
    Ok(line)
}

async fn say<W: tokio::io::AsyncWrite + Unpin>(writer: &mut W, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer).map_err(io::Error::other)?;
    line.push(b'\n');
    timeout(CLIENT_WAIT.to_duration(), writer.write_all(&line))
        .await
        .map_err(io::Error::from)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hands::{Allowed, Places};
    use std::path::Path;

    fn hands(dir: &Path) -> Arc<Hands> {
        let allowed = Allowed::File(dir.join("allowed.json"));
        Arc::new(Hands::new(Places::of_host(dir.join("state")), allowed))
    }

    async fn asked(path: &Path, text: &str) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.unwrap();
        line
    }

    #[tokio::test]
    async fn only_the_vocabulary_is_understood_and_without_a_list_nothing_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("helper.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let own = rustix::process::getuid().as_raw();
        let served = tokio::spawn(serve(listener, hands(dir.path()), Some(own), Millis(300)));
        assert!(
            asked(&path, "{\"run\":\"sh\"}\n")
                .await
                .contains("not a request")
        );
        let long = format!("{}\n", "x".repeat(REQUEST_MAX_BYTES + 10));
        assert!(asked(&path, &long).await.contains("at most 8192 bytes"));
        let fence = "{\"fence\":{\"unit\":\"web.service\"}}\n";
        let answer = asked(&path, fence).await;
        assert!(answer.starts_with("{\"refused\":"), "{answer}");
        assert!(answer.contains("is not there"), "{answer}");
        served.await.unwrap().unwrap();
    }
}
