//! TLS on both sides, and each way in which it is refused.

use std::path::PathBuf;

use tempfile::TempDir;

use super::broker::Broker;
use super::*;
use crate::testing::Authority;
use crate::tls::client_config;

/// A broker that demands certificates of `ca`, and the files for two authorities.
struct Secure {
    broker: Broker,
    ca: Authority,
    foreign: Authority,
    files: TempDir,
}

impl Secure {
    fn start() -> Secure {
        let files = tempfile::tempdir().unwrap();
        let ca = Authority::new(files.path(), "ca");
        let foreign = Authority::new(files.path(), "foreign");
        let (cert, key) = ca.issue(files.path(), "broker");
        let settings = format!(
            "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
             use_identity_as_username true\nallow_anonymous false\n",
            ca.file.display(),
            cert.display(),
            key.display()
        );
        let broker = Broker::with(&settings, tempfile::tempdir().unwrap());
        Secure {
            broker,
            ca,
            foreign,
            files,
        }
    }

    fn issue(&self, authority: &Authority, name: &str) -> (PathBuf, PathBuf) {
        authority.issue(self.files.path(), name)
    }

    fn link(&self, ca: &Authority, own: Option<&(PathBuf, PathBuf)>) -> LinkConfig {
        let own = own.map(|(cert, key)| (cert.as_path(), key.as_path()));
        LinkConfig {
            host: "localhost".to_owned(),
            tls: Some(client_config(&ca.file, own).unwrap()),
            ..config(self.broker.port, "node-1")
        }
    }

    /// Why this link does not come up, once the broker listens.
    async fn refusal(&self, link: LinkConfig) -> String {
        let mut owner = Owner::start(link);
        loop {
            let error = owner.until_down().await;
            if !error.contains("is it running there") {
                return error;
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_of_the_right_authority_connects_and_delivers() {
    let secure = Secure::start();
    let own = secure.issue(&secure.ca, "node-1");
    let mut owner = Owner::up(secure.link(&secure.ca, Some(&own))).await;
    owner.sender.try_send(tracked("x", "y", 1)).unwrap();
    assert_eq!(owner.next().await, LinkEvent::Delivered(Token(1)));
}

#[tokio::test]
async fn each_refusal_says_whose_certificate_is_wrong() {
    let secure = Secure::start();
    let rogue = secure.issue(&secure.foreign, "rogue");
    let own = secure.issue(&secure.ca, "node-1");

    let error = secure.refusal(secure.link(&secure.ca, Some(&rogue))).await;
    assert!(
        error.contains("rejected this host's certificate"),
        "{error}"
    );
    assert!(
        error.contains("an authority the broker does not know"),
        "{error}"
    );

    let error = secure.refusal(secure.link(&secure.ca, None)).await;
    assert!(
        error.contains("rejected this host's certificate"),
        "{error}"
    );
    assert!(error.contains("none was shown"), "{error}");

    let error = secure
        .refusal(secure.link(&secure.foreign, Some(&own)))
        .await;
    assert!(
        error.contains("certificate of the broker localhost"),
        "{error}"
    );
    assert!(error.contains("is not accepted here"), "{error}");

    let by_address = LinkConfig {
        host: "127.0.0.2".to_owned(),
        ..secure.link(&secure.ca, Some(&own))
    };
    // The broker listens on 127.0.0.1 only, so this one is plainly not there.
    let mut owner = Owner::start(by_address);
    assert!(
        owner.until_down().await.contains("127.0.0.2"),
        "the peer is named"
    );
}

#[tokio::test]
async fn plaintext_and_tls_that_meet_are_told_apart() {
    let secure = Secure::start();
    let plain = LinkConfig {
        tls: None,
        ..secure.link(&secure.ca, None)
    };
    let error = secure.refusal(plain).await;
    assert!(error.contains("it may expect TLS (mqtts://)"), "{error}");

    let open = Broker::start();
    let own = secure.issue(&secure.ca, "node-1");
    let to_plain = LinkConfig {
        port: open.port,
        ..secure.link(&secure.ca, Some(&own))
    };
    let error = secure.refusal(to_plain).await;
    assert!(
        error.contains("during the handshake") || error.contains("mqtts"),
        "{error}"
    );
}
