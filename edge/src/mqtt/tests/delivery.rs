//! What arrives, in which order, and what is never claimed to have arrived.

use std::collections::BTreeSet;

use super::broker::Broker;
use super::*;

#[tokio::test]
async fn a_message_is_delivered_and_a_retained_one_is_heard_by_who_comes_later() {
    let broker = Broker::start();
    let mut bob = Owner::up(listening(broker.port, "bob", "to/bob/#")).await;
    let mut alice = Owner::up(config(broker.port, "alice")).await;

    alice
        .sender
        .try_send(tracked("to/bob/hello", "1", 7))
        .unwrap();
    alice
        .sender
        .try_send(Outgoing {
            retain: true,
            ..tracked("to/bob/state", "2", 8)
        })
        .unwrap();
    let quick = Outgoing {
        at_least_once: false,
        ..tracked("to/bob/quick", "3", 9)
    };
    alice.sender.try_send(quick).unwrap();
    let mut delivered = BTreeSet::new();
    while delivered.len() < 3 {
        match alice.next().await {
            LinkEvent::Delivered(Token(token)) => assert!(delivered.insert(token)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(delivered, BTreeSet::from([7, 8, 9]));
    assert_eq!(
        bob.message().await,
        ("to/bob/hello".into(), "1".into(), false)
    );
    assert_eq!(
        bob.message().await,
        ("to/bob/state".into(), "2".into(), false)
    );
    assert_eq!(
        bob.message().await,
        ("to/bob/quick".into(), "3".into(), false)
    );

    let mut late = Owner::up(listening(broker.port, "late", "to/bob/#")).await;
    assert_eq!(
        late.message().await,
        ("to/bob/state".into(), "2".into(), true)
    );
}

#[tokio::test]
async fn nobody_listening_is_no_failure() {
    let broker = Broker::start();
    let mut alice = Owner::up(config(broker.port, "alice")).await;
    alice.sender.try_send(tracked("to/nobody", "x", 1)).unwrap();
    assert_eq!(alice.next().await, LinkEvent::Delivered(Token(1)));
}

#[tokio::test]
async fn the_will_fires_for_who_vanishes_and_not_for_who_says_goodbye() {
    let broker = Broker::start();
    let mut watcher = Owner::up(listening(broker.port, "watcher", "presence/#")).await;
    let with_will = |name: &str| LinkConfig {
        will: Some(Will {
            topic: format!("presence/{name}"),
            payload: Bytes::from_static(b"vanished"),
            retain: true,
            at_least_once: true,
        }),
        ..config(broker.port, name)
    };
    let polite = Owner::up(with_will("polite")).await;
    let last = Outgoing {
        retain: true,
        ..message("presence/polite", "going down")
    };
    polite
        .sender
        .try_send(message("presence/polite", "still queued"))
        .unwrap();
    polite.sender.close(Some(last), Millis::from_secs(10)).await;
    drop(Owner::up(with_will("crashed")).await);

    let said = [
        watcher.message().await,
        watcher.message().await,
        watcher.message().await,
    ];
    assert_eq!(
        said[0],
        ("presence/polite".into(), "still queued".into(), false)
    );
    assert_eq!(
        said[1],
        ("presence/polite".into(), "going down".into(), false)
    );
    assert_eq!(
        said[2],
        ("presence/crashed".into(), "vanished".into(), false)
    );
}

#[tokio::test]
async fn the_session_outlives_the_process_and_its_successor_can_publish_at_once() {
    let broker = Broker::start();
    let mut alice = Owner::up(config(broker.port, "alice")).await;
    let mut bob = Owner::start(listening(broker.port, "bob", "to/bob"));
    assert!(!bob.until_up().await, "a new client id has no session");
    bob.close().await;
    alice
        .sender
        .try_send(tracked("to/bob", "while you were out", 1))
        .unwrap();
    assert_eq!(alice.next().await, LinkEvent::Delivered(Token(1)));

    let mut bob = Owner::start(listening(broker.port, "bob", "to/bob"));
    assert!(bob.until_up().await, "the broker kept the session");
    assert_eq!(bob.message().await.1, "while you were out");
    bob.sender.try_send(tracked("from/bob", "x", 5)).unwrap();
    assert_eq!(bob.next().await, LinkEvent::Delivered(Token(5)));
}

#[tokio::test]
async fn a_broker_that_forgot_everything_is_subscribed_to_again_and_the_owner_sends_again() {
    let mut broker = Broker::start();
    let mut bob = Owner::up(listening(broker.port, "bob", "to/bob/#")).await;
    let mut alice = Owner::up(config(broker.port, "alice")).await;

    // These reach the network, but never an answer.
    broker.freeze();
    for token in 1..=3 {
        alice
            .sender
            .try_send(tracked("to/bob/x", format!("first try {token}"), token))
            .unwrap();
    }
    broker.restart();

    // No token of the lost connection is ever answered, then or later.
    let error = alice.until_down().await;
    assert!(
        error.contains("closed the connection") || error.contains("refuses"),
        "{error}"
    );
    assert!(!alice.until_up().await, "the broker lost its state");
    assert!(!bob.until_up().await);
    for token in [3, 11] {
        let again = tracked("to/bob/x", format!("second try {token}"), token);
        alice.sender.try_send(again).unwrap();
    }
    assert_eq!(alice.next().await, LinkEvent::Delivered(Token(3)));
    assert_eq!(alice.next().await, LinkEvent::Delivered(Token(11)));
    assert_eq!(
        bob.message().await.1,
        "second try 3",
        "subscribed again, and no ghost before it"
    );
    assert_eq!(bob.message().await.1, "second try 11");
}

#[tokio::test]
async fn a_frozen_broker_makes_the_queue_full_and_blocks_nobody() {
    let broker = Broker::start();
    let mut alice = Owner::up(config(broker.port, "alice")).await;
    broker.freeze();
    // More than the queue, the window and the network together can take.
    let mut sent = 0;
    while alice
        .sender
        .try_send(tracked("x", vec![0; 1000], sent))
        .is_ok()
    {
        sent += 1;
        assert!(sent < 1000, "the queue has a bound");
        tokio::task::yield_now().await;
    }
    assert_eq!(
        alice.sender.try_send(message("x", "")),
        Err(SendRefused::Full)
    );
    broker.thaw();
    let mut delivered = BTreeSet::new();
    while delivered.len() < usize::try_from(sent).unwrap() {
        match alice.next().await {
            LinkEvent::Delivered(Token(token)) => assert!(delivered.insert(token)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn closing_keeps_its_bound_with_a_frozen_broker() {
    let broker = Broker::start();
    let alice = Owner::up(config(broker.port, "alice")).await;
    broker.freeze();
    let before = crate::clock::boottime();
    alice
        .sender
        .close(Some(message("x", "never answered")), Millis(300))
        .await;
    let took = crate::clock::boottime().since(before);
    assert!((Millis(300)..Millis(5000)).contains(&took), "{took}");
}

#[tokio::test]
async fn an_owner_that_falls_behind_loses_nothing_and_can_still_send() {
    const MESSAGES: u64 = 3000;
    let broker = Broker::start();
    let mut slow = Owner::up(listening(broker.port, "slow", "flood")).await;
    let mut alice = Owner::up(config(broker.port, "alice")).await;
    let mut delivered = 0;
    for number in 0..MESSAGES {
        alice
            .send(tracked("flood", number.to_string(), number))
            .await;
        while alice.events.try_recv().is_ok() {
            delivered += 1;
        }
    }
    while delivered < MESSAGES {
        assert!(matches!(alice.next().await, LinkEvent::Delivered(_)));
        delivered += 1;
    }
    // The slow one has read nothing yet. What it sends must not wait for that either.
    assert_eq!(slow.events.len(), EVENTS_MAX, "its events are full");
    slow.sender.try_send(message("x", "y")).unwrap();
    for number in 0..MESSAGES {
        assert_eq!(slow.message().await.1, number.to_string());
    }
    let before = slow.events.len();
    assert_eq!(before, 0);
    slow.close().await;
}

#[tokio::test]
async fn the_largest_payload_passes_and_a_larger_one_is_rejected_without_harm() {
    let broker = Broker::start();
    let mut bob = Owner::up(listening(broker.port, "bob", "big")).await;
    let mut alice = Owner::up(config(broker.port, "alice")).await;
    alice
        .sender
        .try_send(tracked("big", vec![b'x'; MAX_PAYLOAD_BYTES + 1], 1))
        .unwrap();
    alice
        .sender
        .try_send(tracked("big", vec![b'x'; MAX_PAYLOAD_BYTES], 2))
        .unwrap();
    match alice.next().await {
        LinkEvent::Rejected {
            token: Token(1),
            reason,
        } => {
            assert!(reason.contains("too large"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(alice.next().await, LinkEvent::Delivered(Token(2)));
    assert_eq!(bob.message().await.1.len(), MAX_PAYLOAD_BYTES);
}

#[tokio::test]
async fn a_topic_that_cannot_be_is_rejected_without_harm() {
    let broker = Broker::start();
    let mut alice = Owner::up(config(broker.port, "alice")).await;
    alice
        .sender
        .try_send(tracked("no/wild/#/cards", "x", 1))
        .unwrap();
    assert!(matches!(
        alice.next().await,
        LinkEvent::Rejected {
            token: Token(1),
            ..
        }
    ));
    alice.sender.try_send(tracked("fine", "x", 2)).unwrap();
    assert_eq!(alice.next().await, LinkEvent::Delivered(Token(2)));
}
