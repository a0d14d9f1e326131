//! What the owner is told when the broker is not there or says no.

use std::net::TcpListener;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::broker::{Broker, free_port};
use super::*;
use crate::files::write_atomic;

#[tokio::test]
async fn nobody_listening_is_said_and_the_link_comes_up_when_the_broker_does() {
    let mut broker = Broker::start();
    broker.kill();
    let mut alice = Owner::start(config(broker.port, "alice"));
    let error = alice.until_down().await;
    let expected = format!(
        "the broker 127.0.0.1:{} refuses connections; is it running there?",
        broker.port
    );
    assert_eq!(error, expected);
    assert_eq!(
        alice.sender.try_send(message("x", "")),
        Err(SendRefused::Down)
    );
    broker.restart();
    // Whatever attempts failed in between: the next word is good news.
    assert!(matches!(
        alice.next().await,
        LinkEvent::Up {
            session_present: false
        }
    ));
}

#[tokio::test]
async fn a_reason_that_stays_the_same_is_said_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut alice = Owner::start(config(listener.local_addr().unwrap().port(), "alice"));
    for _ in 0..6 {
        // Accepted, read from, and hung up on.
        let (mut socket, _) = listener.accept().await.unwrap();
        assert!(socket.read(&mut [0; 1000]).await.unwrap() > 0);
    }
    let error = alice.until_down().await;
    assert!(
        error.contains("closed the connection before it accepted us"),
        "{error}"
    );
    assert!(
        alice.events.try_recv().is_err(),
        "five attempts later nothing more was said"
    );
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_told_as_such() {
    let mut alice = Owner::start(LinkConfig {
        host: "no-such-broker.invalid".to_owned(),
        ..config(1883, "alice")
    });
    let error = alice.until_down().await;
    assert!(
        error.contains("no-such-broker.invalid:1883 cannot be resolved"),
        "{error}"
    );
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut alice = Owner::start(config(port, "alice"));
    let error = alice.until_down().await;
    assert!(error.contains("did not answer within 5 s"), "{error}");
}

#[tokio::test]
async fn a_broker_that_goes_silent_is_noticed_by_the_keep_alive() {
    let broker = Broker::start();
    let mut alice = Owner::up(LinkConfig {
        keep_alive_s: 1,
        ..config(broker.port, "alice")
    })
    .await;
    broker.freeze();
    let before = crate::clock::boottime();
    let error = alice.until_down().await;
    assert!(error.contains("went silent"), "{error}");
    assert!(crate::clock::boottime().since(before) < Millis::from_secs(5));
}

#[tokio::test]
async fn what_an_access_list_forbids_is_rejected_and_what_it_allows_is_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("acl");
    write_atomic(&list, b"topic readwrite own/#\n", 0o600).unwrap();
    let settings = format!("allow_anonymous true\nacl_file {}\n", list.display());
    let broker = Broker::with(&settings, dir);
    let mut alice = Owner::up(config(broker.port, "alice")).await;
    alice.sender.try_send(tracked("foreign/x", "1", 1)).unwrap();
    alice.sender.try_send(tracked("own/x", "2", 2)).unwrap();
    assert_eq!(
        alice.next().await,
        LinkEvent::Rejected {
            token: Token(1),
            reason: "this client may not publish to the topic".to_owned(),
        }
    );
    assert_eq!(alice.next().await, LinkEvent::Delivered(Token(2)));
}

#[tokio::test]
async fn a_broker_that_does_not_know_us_is_told_apart_from_one_that_is_down() {
    let broker = Broker::with("allow_anonymous false\n", tempfile::tempdir().unwrap());
    let mut alice = Owner::start(LinkConfig {
        credentials: Some(("alice".to_owned(), "secret".to_owned())),
        ..config(broker.port, "alice")
    });
    let mut error = alice.until_down().await;
    if error.contains("is it running there") {
        // The first attempt may come before the broker listens.
        error = alice.until_down().await;
    }
    assert!(
        error.contains("not authorised") && !error.contains("secret"),
        "{error}"
    );
}

/// A broker that accepts each client and at once tells it that another took its place.
async fn taking_over(listener: tokio::net::TcpListener, attempts: mpsc::Sender<Millis>) {
    const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];
    const DISCONNECT_SESSION_TAKEN_OVER: [u8; 4] = [0xE0, 2, 0x8E, 0];
    let mut last = crate::clock::boottime();
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        let now = crate::clock::boottime();
        attempts.send(now.since(last)).await.unwrap();
        last = now;
        let mut connect = [0; 1000];
        assert!(socket.read(&mut connect).await.unwrap() > 0);
        socket.write_all(&CONNACK).await.unwrap();
        socket
            .write_all(&DISCONNECT_SESSION_TAKEN_OVER)
            .await
            .unwrap();
        // Until the client has gone.
        while socket
            .read(&mut connect)
            .await
            .is_ok_and(|length| length > 0)
        {}
    }
}

#[tokio::test]
async fn two_clients_of_one_name_are_told_and_do_not_fight_without_a_pause() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (attempts, mut seen) = mpsc::channel(100);
    let broker = tokio::spawn(taking_over(listener, attempts));
    let mut twin = Owner::start(config(port, "twin"));
    let error = twin.until_down().await;
    assert!(
        error.contains("another client has connected with the same client id"),
        "{error}"
    );
    let mut gaps = Vec::new();
    while gaps.len() < 6 {
        // The owner reads along, or the link would wait for it.
        tokio::select! {
            _ = twin.next() => {}
            gap = seen.recv() => gaps.push(gap.unwrap()),
        }
    }
    // 20, 40, 80, 160, 200 ms, each but for a fifth: a connection that ends at once was no success.
    assert!(gaps[5] >= Millis(160), "{gaps:?}");
    broker.abort();
}

#[tokio::test]
async fn a_goodbye_that_the_client_cannot_read_counts_as_hanging_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut alice = Owner::start(config(listener.local_addr().unwrap().port(), "alice"));
    let (mut socket, _) = listener.accept().await.unwrap();
    assert!(socket.read(&mut [0; 1000]).await.unwrap() > 0);
    // CONNACK, then DISCONNECT in its short form: valid MQTT 5 (3.14.2.2.1), and what Mosquitto
    // sends, but the client library waits for a property length after it.
    socket
        .write_all(&[0x20, 3, 0, 0, 0, 0xE0, 1, 0x8E])
        .await
        .unwrap();
    alice.until_up().await;
    drop(socket);
    let error = alice.until_down().await;
    assert!(error.ends_with("closed the connection"), "{error}");
}

#[tokio::test]
async fn closing_a_link_that_never_came_up_is_quick() {
    let mut alice = Owner::start(config(free_port(), "alice"));
    alice.until_down().await;
    let before = crate::clock::boottime();
    alice.close().await;
    assert!(crate::clock::boottime().since(before) < Millis::from_secs(3));
}
