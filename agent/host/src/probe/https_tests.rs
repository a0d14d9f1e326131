//! The probe `http` over TLS, against servers with certificates of several authorities.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nodemedic_agent_core::Verdict;
use nodemedic_edge::files::write_atomic;
use nodemedic_protocol::Millis;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::http::Http;

const LONG: Millis = Millis(20_000);

/// An authority, with its certificate in a file.
struct Authority {
    file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(file: PathBuf) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        write_atomic(&file, pem.as_bytes(), 0o644).unwrap();
        Authority {
            file,
            issuer: Issuer::new(params, key),
        }
    }

    fn file(&self) -> Option<&str> {
        self.file.to_str()
    }

    /// A server of this name that gives every connection this answer; its port.
    async fn serve(&self, name: &str, answer: &'static [u8]) -> u16 {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut asked = [0; 4096];
                let _peer_is_gone = stream.read(&mut asked).await;
                let _peer_is_gone = stream.write_all(answer).await;
                let _peer_is_gone = stream.shutdown().await;
            }
        });
        port
    }
}

fn authority(dir: &Path, name: &str) -> Authority {
    Authority::new(dir.join(name))
}

const WELL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const ILL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

fn unknown(verdict: Verdict) -> String {
    match verdict {
        Verdict::Unknown(text) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_answer_counts_once_the_certificate_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), "ca.pem");
    let well = ca.serve("localhost", WELL).await;
    let ill = ca.serve("localhost", ILL).await;
    let mut probe = Http::default();
    let url = format!("https://localhost:{well}/health");
    assert_eq!(probe.ask(&url, ca.file(), None, LONG).await, Verdict::Pass);
    assert_eq!(probe.ask(&url, ca.file(), None, LONG).await, Verdict::Pass);
    let url = format!("https://localhost:{ill}/");
    let verdict = probe.ask(&url, ca.file(), None, LONG).await;
    assert_eq!(
        verdict,
        Verdict::Fail(format!("http probe of {url}: status 503"))
    );
}

#[tokio::test]
async fn a_certificate_that_does_not_verify_is_no_failure_of_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, foreign) = (
        authority(dir.path(), "ca"),
        authority(dir.path(), "foreign"),
    );
    let port = ca.serve("localhost", WELL).await;
    let url = format!("https://localhost:{port}/");
    let ask = async |ca: Option<&str>, url: &str| Http::default().ask(url, ca, None, LONG).await;
    let said = unknown(ask(foreign.file(), &url).await);
    assert!(said.contains("does not verify"), "{said}");
    let said = unknown(ask(ca.file(), &format!("https://127.0.0.1:{port}/")).await);
    assert!(said.contains("a name that it has"), "{said}");
    let absent = dir.path().join("absent");
    let said = unknown(ask(absent.to_str(), &url).await);
    assert!(said.contains("there is no such file"), "{said}");
}

#[tokio::test]
async fn a_public_name_is_asked_on_this_host() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), "ca");
    let port = ca.serve("shop.example", WELL).await;
    let address = format!("127.0.0.1:{port}");
    let mut probe = Http::default();
    let url = "https://shop.example/health";
    let verdict = probe.ask(url, ca.file(), Some(&address), LONG).await;
    assert_eq!(verdict, Verdict::Pass);
}

#[tokio::test]
async fn a_renewed_authority_is_found_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let old = authority(dir.path(), "ca");
    let mut probe = Http::default();
    let port = old.serve("localhost", WELL).await;
    let url = format!("https://localhost:{port}/");
    assert_eq!(probe.ask(&url, old.file(), None, LONG).await, Verdict::Pass);
    let new = authority(dir.path(), "ca");
    let port = new.serve("localhost", WELL).await;
    let url = format!("https://localhost:{port}/");
    unknown(probe.ask(&url, new.file(), None, LONG).await);
    assert_eq!(probe.ask(&url, new.file(), None, LONG).await, Verdict::Pass);
}

#[tokio::test]
async fn who_accepts_and_shows_no_certificate_fails() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), "ca");
    let hung = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", hung.local_addr().unwrap());
    let verdict = Http::default().ask(&url, ca.file(), None, Millis(50)).await;
    let text = format!("http probe of {url}: no answer within 50ms");
    assert_eq!(verdict, Verdict::Fail(text));
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", plain.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        let _peer_is_gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let verdict = Http::default().ask(&url, ca.file(), None, LONG).await;
    assert!(matches!(verdict, Verdict::Fail(_)), "{verdict:?}");
}
