//! Probe `http`: a GET answers with a status below 400.
//!
//! HTTP/1.1 is a dozen lines on a socket of the event loop; over TLS the same lines go through
//! rustls. The certificate is verified. One that does not verify makes the probe Unknown and never
//! the service failed: who shows a certificate does not hang, and the fault may be in the clock of
//! this host or in the file of authorities.

use std::path::PathBuf;
use std::sync::Arc;

use nodemedic_agent_core::Verdict;
use nodemedic_edge::tls::{self, TlsError};
use nodemedic_protocol::Millis;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, Error as Tls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::look::Looks;
use super::tcp::{Failure, connect};

/// The head of an answer; servers refuse requests with longer ones as well.
const HEAD_MAX_BYTES: usize = 16 << 10;

/// What one such probe keeps: whom it trusts. Read again after each failure, so that a renewed
/// authority is found.
#[derive(Debug, Default)]
pub struct Http {
    trust: Option<Arc<ClientConfig>>,
    looks: Looks<Result<Arc<ClientConfig>, TlsError>>,
}

impl Http {
    /// Asks once.
    pub async fn ask(
        &mut self,
        url: &str,
        ca: Option<&str>,
        address: Option<&str>,
        within: Millis,
    ) -> Verdict {
        let Some(target) = parse(url) else {
            let form = "not a URL of the form http://host:port/path";
            return Verdict::Unknown(format!("http probe of {url}: {form}"));
        };
        let trust = if target.tls {
            match self.trust(ca, within).await {
                Ok(trust) => Some(trust),
                Err(why) => return Verdict::Unknown(format!("http probe of {url}: {why}")),
            }
        } else {
            None
        };
        let asked = get(&target, address, trust, within);
        let asked = timeout(within.to_duration(), asked).await;
        let status =
            asked.unwrap_or_else(|_| Err(Failure::Service(format!("no answer within {within}"))));
        if status.is_err() {
            self.trust = None;
        }
        match status {
            Ok(status) if (100..400).contains(&status) => Verdict::Pass,
            Ok(status) => Verdict::Fail(format!("http probe of {url}: status {status}")),
            Err(Failure::Service(text)) => Verdict::Fail(format!("http probe of {url}: {text}")),
            Err(Failure::Probe(text)) => Verdict::Unknown(format!("http probe of {url}: {text}")),
        }
    }

    async fn trust(
        &mut self,
        ca: Option<&str>,
        within: Millis,
    ) -> Result<Arc<ClientConfig>, String> {
        if let Some(trust) = &self.trust {
            return Ok(Arc::clone(trust));
        }
        let ca = ca.map(PathBuf::from);
        let read = move || match ca {
            Some(ca) => tls::client_config(&ca, None),
            None => tls::client_config_of_host(),
        };
        let read = self.looks.look(within, read).await?;
        let trust = read.map_err(|error| error.to_string())?;
        self.trust = Some(Arc::clone(&trust));
        Ok(trust)
    }
}

async fn get(
    target: &Target,
    address: Option<&str>,
    trust: Option<Arc<ClientConfig>>,
    within: Millis,
) -> Result<u16, Failure> {
    let stream = connect(address.unwrap_or(&target.address), within).await?;
    let Some(trust) = trust else {
        return ask_on(stream, target).await;
    };
    let name = target.name.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(name)
        .map_err(|_| Failure::Probe(format!("{:?} is no name of a server", target.name)))?;
    let stream = TlsConnector::from(trust).connect(name, stream).await;
    ask_on(stream.map_err(|error| tls_failure(&error))?, target).await
}

async fn ask_on<S>(mut stream: S, target: &Target) -> Result<u16, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: nodemedic\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n",
        target.path, target.host
    );
    let fail = |error: std::io::Error| tls_failure(&error);
    stream.write_all(request.as_bytes()).await.map_err(fail)?;
    stream.flush().await.map_err(fail)?;
    let mut head = Vec::with_capacity(1024);
    loop {
        let ended = stream.read_buf(&mut head).await.map_err(fail)? == 0;
        if ended || head.windows(4).any(|end| end == b"\r\n\r\n") || head.len() > HEAD_MAX_BYTES {
            break;
        }
    }
    status_of(&head).ok_or_else(|| Failure::Service("the answer is not HTTP".to_owned()))
}

/// Whose fault an error on the way is.
fn tls_failure(error: &std::io::Error) -> Failure {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Tls>());
    match inner {
        Some(Tls::InvalidCertificate(why)) => {
            let remedy = "set ca to its authority, and the URL to a name that it has";
            Failure::Probe(format!("its certificate does not verify ({why}); {remedy}"))
        }
        Some(Tls::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::AccessDenied,
        )) => Failure::Probe("it asks for a certificate of the client".to_owned()),
        _ => Failure::Service(error.to_string()),
    }
}

struct Target {
    tls: bool,
    /// `host:port`, to connect to.
    address: String,
    /// As the header `Host` has it.
    host: String,
    /// Without the port, as the certificate has it.
    name: String,
    path: String,
}

fn parse(url: &str) -> Option<Target> {
    let (tls, rest) = match url.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, url.strip_prefix("http://")?),
    };
    let cut = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(cut);
    let safe = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    if host.is_empty() || host.contains('@') || !safe(rest) {
        return None;
    }
    let colon = host.rfind(':').filter(|at| !host[*at..].contains(']'));
    let name = &host[..colon.unwrap_or(host.len())];
    let port = if tls { 443 } else { 80 };
    let path = path.split('#').next().unwrap_or_default();
    Some(Target {
        tls,
        address: if colon.is_some() {
            host.to_owned()
        } else {
            format!("{host}:{port}")
        },
        host: host.to_owned(),
        name: name.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const LONG: Millis = Millis(20_000);

    async fn ask(url: &str, within: Millis) -> Verdict {
        Http::default().ask(url, None, None, within).await
    }

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
        assert_eq!(address("https://host"), "host:443");
        assert_eq!(address("https://[::1]/"), "[::1]:443");
        assert_eq!(parse("http://h?q").unwrap().path, "/?q");
        assert_eq!(parse("https://[::1]:81/").unwrap().name, "[::1]");
        assert_eq!(parse("https://host:81").unwrap().name, "host");
    }
}
