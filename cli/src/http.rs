//! As much of HTTP/1.1 (RFC 9112) as the sample service, the story's webhook receiver and the
//! story's questions need: one request per connection, everything bounded, everything in time.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A request line and a handful of headers; browsers stay below it.
const HEAD_MAX_BYTES: usize = 16 << 10;

/// An alert with its evidence stays far below this.
const BODY_MAX_BYTES: usize = 1 << 20;

/// Who connects and then says nothing holds one of few places; this is when it loses it.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// `/path`.
    pub path: String,
    /// Empty when there is none.
    pub body: Vec<u8>,
}

/// Reads one request; an error is a sentence.
pub async fn read_request(stream: &mut TcpStream) -> Result<Request, String> {
    let (head, body) = timeout(PATIENCE, read_message(stream))
        .await
        .map_err(|_| format!("no whole request within {} ms", PATIENCE.as_millis()))??;
    let mut words = head.split_ascii_whitespace();
    match (words.next(), words.next()) {
        (Some(method), Some(path)) => Ok(Request {
            method: method.to_owned(),
            path: path.to_owned(),
            body,
        }),
        _ => Err("a request without a request line".to_owned()),
    }
}

/// Answers and closes.
pub async fn answer(stream: &mut TcpStream, status: &str, body: &str) -> Result<(), String> {
    let bytes = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let send = async {
        stream.write_all(bytes.as_bytes()).await?;
        stream.shutdown().await
    };
    timeout(PATIENCE, send)
        .await
        .map_err(|_| "the peer does not read its answer".to_owned())?
        .map_err(|error| error.to_string())
}

/// Asks `GET /` and gives status and body; an error is a sentence.
pub async fn get(address: SocketAddr, within: Duration) -> Result<(u16, Vec<u8>), String> {
    let ask = async {
        let mut stream = TcpStream::connect(address)
            .await
            .map_err(|error| error.to_string())?;
        let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .map_err(|error| error.to_string())?;
        let (head, body) = read_message(&mut stream).await?;
        let status = head
            .split_ascii_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok());
        status
            .map(|status| (status, body))
            .ok_or_else(|| "an answer without a status".to_owned())
    };
    timeout(within, ask)
        .await
        .map_err(|_| format!("no answer within {} ms", within.as_millis()))?
}

/// The head, and as much body as its content-length says.
async fn read_message(stream: &mut TcpStream) -> Result<(String, Vec<u8>), String> {
    let mut bytes = Vec::with_capacity(1024);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > HEAD_MAX_BYTES {
            return Err(format!("a head of more than {HEAD_MAX_BYTES} bytes"));
        }
        more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = content_length(&head)?;
    if length > BODY_MAX_BYTES {
        return Err(format!(
            "a body of {length} bytes is longer than {BODY_MAX_BYTES}"
        ));
    }
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        more(stream, &mut body).await?;
    }
    body.truncate(length);
    Ok((head, body))
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), String> {
    match stream.read_buf(bytes).await {
        Ok(0) => Err("the connection was closed in the middle".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn content_length(head: &str) -> Result<usize, String> {
    let value = head.lines().skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim())
    });
    value.map_or(Ok(0), |value| {
        value
            .parse()
            .map_err(|_| format!("a content-length of {value:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn a_question_and_its_answer_cross_whole() {
        block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read_request(&mut stream).await.unwrap();
                answer(&mut stream, "200 OK", "{\"a\":1}").await.unwrap();
                request
            };
            let (request, got) = tokio::join!(serve, get(address, PATIENCE));
            assert_eq!(
                (request.method.as_str(), request.path.as_str()),
                ("GET", "/")
            );
            assert_eq!(got, Ok((200, b"{\"a\":1}".to_vec())));
        });
    }

    #[test]
    fn a_body_comes_whole_though_in_pieces_and_too_much_is_refused() {
        block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let send = async {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream
                    .write_all(b"POST /x HTTP/1.1\r\nContent-Length: 4\r\n\r\nab")
                    .await
                    .unwrap();
                tokio::task::yield_now().await;
                stream.write_all(b"cd").await.unwrap();
                stream
            };
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_request(&mut stream).await
            };
            let (_stream, request) = tokio::join!(send, serve);
            assert_eq!(request.unwrap().body, b"abcd");

            let send = async {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let head = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n", u64::MAX);
                stream.write_all(head.as_bytes()).await.unwrap();
                stream
            };
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_request(&mut stream).await
            };
            let (_stream, request) = tokio::join!(send, serve);
            assert!(request.unwrap_err().contains("longer than"));
        });
    }
}
