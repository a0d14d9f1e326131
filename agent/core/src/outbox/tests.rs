//! Stories of the outbox: nothing is lost while there is room, and what is lost is said.

use alloc::string::ToString;

use nodemedic_protocol::{Now, WallTime};

use super::*;

fn out(second: u64) -> Out {
    Out::new(Now {
        boot: Boottime(second * 1000),
        wall: WallTime(0),
    })
}

fn outbox() -> Outbox {
    let spool = Spooled {
        stream: StreamId::new("s1").unwrap(),
        trimmed: Seq(0),
        events: Vec::new(),
    };
    Outbox::new(BootId::new("boot").unwrap(), spool, 0)
}

fn push(outbox: &mut Outbox, count: usize, max: usize) -> Vec<Effect> {
    let mut effects = Vec::new();
    for _ in 0..count {
        outbox.push(
            &out(1),
            &mut effects,
            Component::Host,
            EventKind::ConfigReloaded,
            max,
        );
    }
    effects
}

fn push_critical(outbox: &mut Outbox, max: usize) {
    let kind = EventKind::LeaseLost {
        generation: nodemedic_protocol::Generation(1),
    };
    outbox.push(&out(1), &mut Vec::new(), Component::Host, kind, max);
}

/// The sequence numbers of the batch that leaves now, and its token.
fn pump(outbox: &mut Outbox, second: u64) -> Option<(u64, u64, Token)> {
    let mut out = out(second);
    outbox.pump(&mut out);
    let (message, token) = out.messages.pop()?;
    let Message::Event(batch) = message else {
        panic!("not an event batch: {message:?}");
    };
    let first = batch.events.first().unwrap().seq.0;
    let last = batch.events.last().unwrap().seq.0;
    Some((first, last, token.unwrap()))
}

fn stored(outbox: &mut Outbox, second: u64, through: u64) -> Vec<Effect> {
    let stream = StreamId::new("s1").unwrap();
    outbox.stored(Boottime(second * 1000), &stream, Seq(through))
}

#[test]
fn batches_leave_one_after_the_other_and_are_kept_until_stored() {
    let mut o = outbox();
    push(&mut o, 100, 6000);
    o.link_up(Boottime(1000));
    let (first, last, token) = pump(&mut o, 1).unwrap();
    assert_eq!((first, last), (1, 64));
    assert_eq!(pump(&mut o, 1), None, "one at a time");
    o.delivered(token);
    assert_eq!(pump(&mut o, 1).map(|b| (b.0, b.1)), Some((65, 100)));
    assert_eq!(o.waiting(), 100, "the broker's word frees nothing");
    assert_eq!(
        stored(&mut o, 2, 64),
        [Effect::SpoolTrim { through: Seq(64) }]
    );
    assert_eq!(o.waiting(), 36);
}

#[test]
fn a_new_link_and_a_long_silence_send_again() {
    let mut o = outbox();
    push(&mut o, 3, 6000);
    o.link_up(Boottime(1000));
    assert_eq!(pump(&mut o, 1).map(|b| (b.0, b.1)), Some((1, 3)));
    o.link_down();
    o.link_up(Boottime(2000));
    assert_eq!(pump(&mut o, 2).map(|b| (b.0, b.1)), Some((1, 3)));
    assert_eq!(pump(&mut o, 16), None);
    assert_eq!(pump(&mut o, 17).map(|b| (b.0, b.1)), Some((1, 3)));
    assert_eq!(pump(&mut o, 46), None, "the wait doubled");
    assert_eq!(pump(&mut o, 47).map(|b| (b.0, b.1)), Some((1, 3)));
    stored(&mut o, 48, 3);
    assert_eq!(o.resend_at(), None);
    assert_eq!(pump(&mut o, 9000), None);
}

#[test]
fn the_coordinators_word_replaces_the_brokers() {
    let mut o = outbox();
    push(&mut o, 3, 6000);
    o.link_up(Boottime(1000));
    pump(&mut o, 1).unwrap();
    stored(&mut o, 2, 3);
    push(&mut o, 1, 6000);
    assert_eq!(pump(&mut o, 3).map(|b| (b.0, b.1)), Some((4, 4)));
}

#[test]
fn a_coordinator_that_lost_its_store_is_told_what_is_gone() {
    let mut o = outbox();
    push(&mut o, 5, 6000);
    o.link_up(Boottime(1000));
    pump(&mut o, 1).unwrap();
    stored(&mut o, 2, 5);
    push(&mut o, 2, 6000);
    assert_eq!(pump(&mut o, 3).map(|b| (b.0, b.1)), Some((6, 7)));
    stored(&mut o, 4, 0);
    assert_eq!(pump(&mut o, 10), None, "an ack may only be late");
    assert_eq!(pump(&mut o, 18).map(|b| (b.0, b.1)), Some((5, 7)));
    let EventKind::Dropped { first, last } = o.events[0].kind else {
        panic!("{:?}", o.events[0]);
    };
    assert_eq!((first, last), (Seq(1), Seq(5)));
    stored(&mut o, 19, 7);
    assert_eq!((o.waiting(), o.resend_at()), (0, None));
}

#[test]
fn the_word_for_another_stream_or_for_the_future_frees_nothing() {
    let mut o = outbox();
    push(&mut o, 3, 6000);
    let other = StreamId::new("s2").unwrap();
    assert_eq!(o.stored(Boottime(1), &other, Seq(3)), []);
    assert_eq!(stored(&mut o, 1, 4), []);
    assert_eq!(o.waiting(), 3);
}

#[test]
fn a_full_spool_drops_the_oldest_that_is_not_critical_and_says_so_once() {
    let mut o = outbox();
    push_critical(&mut o, 32);
    push(&mut o, 31, 32);
    for _ in 0..100 {
        push(&mut o, 1, 32);
    }
    assert!(o.events.len() <= 32);
    let dropped: Vec<&Event> = o.events.iter().filter(|e| is_dropped(e)).collect();
    assert_eq!(dropped.len(), 1, "one run, one record");
    let EventKind::Dropped { first, last } = dropped[0].kind else {
        panic!();
    };
    assert_eq!(first, Seq(2));
    assert_eq!(last, dropped[0].seq);
    assert_eq!(o.dropped(), last.0 - first.0 + 1);
    assert_eq!(o.events[0].seq, Seq(1), "the critical one is still there");
    let seqs: Vec<u64> = o.events.iter().map(|e| e.seq.0).collect();
    assert!(seqs.windows(2).all(|w| w[0] < w[1]), "{seqs:?}");
    assert_eq!(seqs.last(), Some(&132));
}

#[test]
fn a_spool_full_of_critical_events_is_bounded_too() {
    let mut o = outbox();
    for _ in 0..200 {
        push_critical(&mut o, 32);
    }
    assert!(o.events.len() <= 32, "{}", o.events.len());
    assert!(o.events.iter().any(is_dropped));
}

#[test]
fn a_restart_goes_on_in_the_same_stream() {
    let mut o = outbox();
    push(&mut o, 5, 6000);
    stored(&mut o, 1, 5);
    let spool = Spooled {
        stream: StreamId::new("s1").unwrap(),
        trimmed: Seq(5),
        events: Vec::new(),
    };
    let mut again = Outbox::new(BootId::new("boot".to_string()).unwrap(), spool, 0);
    push(&mut again, 1, 6000);
    assert_eq!(again.events[0].seq, Seq(6));
}

#[test]
fn large_events_make_small_batches() {
    let mut o = outbox();
    for _ in 0..6 {
        let kind = EventKind::ConfigRefused {
            error: "x".repeat(100_000),
        };
        o.push(&out(1), &mut Vec::new(), Component::Host, kind, 6000);
    }
    o.link_up(Boottime(1000));
    let (first, last, _) = pump(&mut o, 1).unwrap();
    assert_eq!((first, last), (1, 2));
}
