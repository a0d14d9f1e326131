//! The notifier against a real receiver on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use nodemedic_protocol::api::{AlertState, AlertView};
use nodemedic_protocol::{Severity, SiteId, WallTime};

use super::*;

fn body() -> WebhookBody {
    WebhookBody {
        version: 1,
        site: SiteId::new("home").unwrap(),
        alert: AlertView {
            key: "node-1 lost".to_owned(),
            state: AlertState::Firing,
            severity: Severity::Critical,
            node: None,
            work: None,
            summary: "node-1 is lost".to_owned(),
            detail: String::new(),
            since: WallTime(1),
            resolved: None,
            delivered: false,
            undelivered: Vec::new(),
        },
    }
}

/// Answers one request with `answer`, and hands back what was asked.
fn receiver(answer: &'static str) -> (String, std::thread::JoinHandle<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?secret=hush", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(
                reader.read_line(&mut head).unwrap() > 0,
                "the request broke off"
            );
        }
        let length = head.to_ascii_lowercase();
        let length = length.split("content-length: ").nth(1).unwrap();
        let mut body = vec![0; length.lines().next().unwrap().trim().parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
        (head, body)
    });
    (url, thread)
}

async fn tell(url: String) -> Result<(), NotifyFailure> {
    let hook = Webhook {
        url,
        token: Some("a-token-of-the-receiver".to_owned()),
    };
    let (notifier, mut told) = Notifier::new([("ops".to_owned(), hook)].into());
    notifier.tell(NotifyId(7), "ops", &body());
    let told = tokio::time::timeout(Duration::from_secs(20), told.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(told.id, NotifyId(7));
    told.result
}

#[tokio::test]
async fn a_receiver_gets_the_alert_and_its_token() {
    let (url, thread) = receiver("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
    tell(url).await.unwrap();
    let (head, posted) = thread.join().unwrap();
    assert!(
        head.starts_with("POST /hook?secret=hush HTTP/1.1"),
        "{head}"
    );
    assert!(
        head.to_lowercase()
            .contains("authorization: bearer a-token-of-the-receiver")
    );
    assert_eq!(
        serde_json::from_slice::<WebhookBody>(&posted).unwrap(),
        body()
    );
}

#[tokio::test]
async fn a_refusal_says_whether_trying_again_can_help_and_keeps_secrets() {
    for (answer, permanent, verdict) in [
        (
            "HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\nno hook",
            true,
            "for good",
        ),
        (
            "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n",
            false,
            "for now",
        ),
        (
            "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n",
            false,
            "for now",
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
            false,
            "for now",
        ),
        (
            "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n",
            true,
            "for good",
        ),
    ] {
        let (url, thread) = receiver(answer);
        let failure = tell(url).await.unwrap_err();
        let error = failure.text;
        thread.join().unwrap();
        assert_eq!(failure.permanent, permanent, "{error}");
        assert!(error.contains(verdict), "{error}");
        assert!(
            !error.contains("hush") && !error.contains("a-token"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_an_error_and_keeps_secrets() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let failure = tell(format!("http://user:pass@{address}/hook?secret=hush"))
        .await
        .unwrap_err();
    let error = failure.text;
    assert!(!failure.permanent, "it may come back: {error}");
    assert!(error.contains(&address.to_string()), "{error}");
    assert!(
        !error.contains("hush") && !error.contains("pass"),
        "{error}"
    );
}
