//! Probe `http`: a GET answers with a status below 400.
//!
//! Plain HTTP/1.1 is a dozen lines on a socket of the event loop. For TLS ureq does the work on a
//! helper thread. The certificate is not verified: a probe asks whether the service answers, and
//! carries no secret.

use std::sync::Arc;

use nodemedic_agent_core::Verdict;
use nodemedic_protocol::Millis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::tcp::{Failure, connect};

/// The head of an answer; servers refuse requests with longer ones as well.
const HEAD_MAX_BYTES: usize = 16 << 10;

/// Probes over TLS at once: each keeps a helper thread for as long as its deadline allows.
const TLS_AT_ONCE: usize = 4;

static TLS_SLOTS: Semaphore = Semaphore::const_new(TLS_AT_ONCE);

/// Asks once.
pub async fn ask(url: &str, within: Millis) -> Verdict {
    let asked = timeout(within.to_duration(), get(url, within)).await;
    let status =
        asked.unwrap_or_else(|_| Err(Failure::Service(format!("no answer within {within}"))));
    match status {
        Ok(status) if (100..400).contains(&status) => Verdict::Pass,
        Ok(status) => Verdict::Fail(format!("http probe of {url}: status {status}")),
        Err(Failure::Service(text)) => Verdict::Fail(format!("http probe of {url}: {text}")),
        Err(Failure::Probe(text)) => Verdict::Unknown(format!("http probe of {url}: {text}")),
    }
}

async fn get(url: &str, within: Millis) -> Result<u16, Failure> {
    if url.starts_with("https://") {
        return get_tls(url, within).await;
    }
    let target = parse(url)
        .ok_or_else(|| Failure::Probe("not a URL of the form http://host:port/path".to_owned()))?;
    let mut stream = connect(&target.address, within).await?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: nodemedic\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n",
        target.path, target.host
    );
    let fail = |error: std::io::Error| Failure::Service(error.to_string());
    stream.write_all(request.as_bytes()).await.map_err(fail)?;
    let mut head = Vec::with_capacity(1024);
    loop {
        let ended = stream.read_buf(&mut head).await.map_err(fail)? == 0;
        if ended || head.windows(4).any(|end| end == b"\r\n\r\n") || head.len() > HEAD_MAX_BYTES {
            break;
        }
    }
    status_of(&head).ok_or_else(|| Failure::Service("the answer is not HTTP".to_owned()))
}

struct Target {
    address: String,
    host: String,
    path: String,
}

fn parse(url: &str) -> Option<Target> {
    let rest = url.strip_prefix("http://")?;
    let cut = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(cut);
    let safe = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    if host.is_empty() || host.contains('@') || !safe(rest) {
        return None;
    }
    let has_port = match host.rfind(':') {
        Some(colon) => !host[colon..].contains(']'),
        None => false,
    };
    let path = path.split('#').next().unwrap_or_default();
    Some(Target {
        address: if has_port {
            host.to_owned()
        } else {
            format!("{host}:80")
        },
        host: host.to_owned(),
        path: if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        },
    })
}

/// `HTTP/1.1 204 No Content` as 204.
fn status_of(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    words.next()?.strip_prefix("HTTP/1.")?;
    let status: u16 = words.next()?.parse().ok()?;
    (100..600).contains(&status).then_some(status)
}

async fn get_tls(url: &str, within: Millis) -> Result<u16, Failure> {
    let slot = TLS_SLOTS
        .acquire()
        .await
        .map_err(|_| Failure::Probe("no helper thread".to_owned()))?;
    let url = url.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        // Kept until the thread is free again, even when nobody waits for the answer any more.
        let _slot = slot;
        get_tls_blocking(&url, within)
    });
    match asked.await {
        Ok(result) => result,
        Err(error) => Err(Failure::Probe(format!(
            "the helper thread broke off: {error}"
        ))),
    }
}

fn get_tls_blocking(url: &str, within: Millis) -> Result<u16, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ureq::tls::TlsConfig::builder()
        .disable_verification(true)
        .root_certs(ureq::tls::RootCerts::new_with_certs(&[]))
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let agent = ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(within.to_duration()))
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent("nodemedic")
        .build()
        .new_agent();
    match agent.get(url).call() {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error @ (ureq::Error::BadUri(_) | ureq::Error::Http(_))) => {
            Err(Failure::Probe(error.to_string()))
        }
        Err(error) => Err(Failure::Service(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const LONG: Millis = Millis(20_000);

    /// Answers one connection with these bytes and gives back what it was asked.
    async fn serve(answer: &'static [u8]) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let length = stream.read(&mut asked).await.unwrap();
            stream.write_all(answer).await.unwrap();
            asked.truncate(length);
            String::from_utf8(asked).unwrap()
        });
        (format!("http://{address}/health?deep=1#x"), served)
    }

    #[tokio::test]
    async fn statuses_below_400_pass() {
        for (answer, passes) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], true),
            (b"HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n", true),
            (b"HTTP/1.1 404 Not Found\r\n\r\n", false),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
            (b"SSH-2.0-OpenSSH_9.2\r\n", false),
            (b"HTTP/1.1 99999 Absurd\r\n\r\n", false),
            (b"", false),
        ] {
            let (url, served) = serve(answer).await;
            let verdict = ask(&url, LONG).await;
            let what = String::from_utf8_lossy(answer);
            assert_eq!(verdict == Verdict::Pass, passes, "{what}: {verdict:?}");
            assert!(passes || matches!(verdict, Verdict::Fail(_)), "{what}");
            let asked = served.await.unwrap();
            assert!(
                asked.starts_with("GET /health?deep=1 HTTP/1.1\r\n"),
                "{asked}"
            );
        }
    }

    #[tokio::test]
    async fn a_service_that_hangs_fails_within_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let Verdict::Fail(text) = ask(&url, Millis(50)).await else {
            panic!("a hanging service passed");
        };
        assert!(text.ends_with("no answer within 50ms"), "{text}");
    }

    #[tokio::test]
    async fn a_server_without_tls_fails_a_probe_over_tls() {
        let (url, _served) = serve(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let verdict = ask(&url.replace("http:", "https:"), LONG).await;
        assert!(matches!(verdict, Verdict::Fail(_)), "{verdict:?}");
    }

    #[tokio::test]
    async fn what_is_no_url_is_no_failure_of_the_service() {
        for bad in [
            "",
            "ftp://x/",
            "http://",
            "http://a b/",
            "http://u@h/",
            "http://h/\r\nx",
        ] {
            let verdict = ask(bad, LONG).await;
            assert!(
                matches!(verdict, Verdict::Unknown(_)),
                "{bad:?}: {verdict:?}"
            );
        }
    }

    #[test]
    fn addresses_get_the_default_port() {
        let address = |url| parse(url).unwrap().address;
        assert_eq!(address("http://host"), "host:80");
        assert_eq!(address("http://host:8080/x"), "host:8080");
        assert_eq!(address("http://[::1]/"), "[::1]:80");
        assert_eq!(address("http://[::1]:81/"), "[::1]:81");
        assert_eq!(parse("http://h?q").unwrap().path, "/?q");
    }
}
