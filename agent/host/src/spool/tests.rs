//! The spool on a real disk: order, torn ends, damage, size.

use super::*;
use nodemedic_protocol::event::EventKind;
use nodemedic_protocol::{BootId, Boottime, Component, WallTime};
use proptest::prelude::*;

fn event(seq: u64) -> Event {
    Event {
        seq: Seq(seq),
        boot_id: BootId::new("boot-1").unwrap(),
        at: Boottime(seq),
        wall: WallTime(seq),
        component: Component::Host,
        kind: EventKind::AgentStopping {
            reason: format!("reason {seq}"),
        },
    }
}

fn seqs(spooled: &Spooled) -> Vec<u64> {
    spooled.events.iter().map(|event| event.seq.0).collect()
}

fn open(dir: &Path) -> (Spool, Spooled) {
    let (spool, spooled, complaint) = Spool::open(dir).unwrap();
    assert_eq!(complaint, None);
    (spool, spooled)
}

#[test]
fn events_come_back_in_order_and_in_the_same_stream() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, first) = open(dir.path());
    for seq in 1..=5 {
        spool.append(&event(seq)).unwrap();
    }
    spool.trim(Seq(2)).unwrap();
    drop(spool);
    let (mut spool, again) = open(dir.path());
    assert_eq!(
        (again.stream.clone(), again.trimmed),
        (first.stream, Seq(2))
    );
    assert_eq!(seqs(&again), [3, 4, 5]);
    spool.replace(Seq(3), Seq(4), &event(4)).unwrap();
    assert_eq!(spool.len(), 2);
    drop(spool);
    assert_eq!(seqs(&open(dir.path()).1), [4, 5]);
}

#[test]
fn a_torn_end_is_cut_off_wherever_it_tears() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, first) = open(dir.path());
    spool.append(&event(1)).unwrap();
    let whole = spool.bytes();
    spool.append(&event(2)).unwrap();
    drop(spool);
    let path = dir.path().join("events");
    let bytes = std::fs::read(&path).unwrap();
    for cut in usize::try_from(whole).unwrap()..bytes.len() {
        files::write_atomic(&path, &bytes[..cut], FILE_MODE).unwrap();
        let (_, spooled) = open(dir.path());
        assert_eq!(seqs(&spooled), [1], "cut at {cut}");
        assert_eq!(spooled.stream, first.stream);
    }
}

#[test]
fn damage_before_the_end_is_told_set_aside_and_begins_a_new_stream() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, first) = open(dir.path());
    for seq in 1..=3 {
        spool.append(&event(seq)).unwrap();
    }
    drop(spool);
    let path = dir.path().join("events");
    let mut bytes = std::fs::read(&path).unwrap();
    let second = bytes.windows(8).position(|w| w == b"reason 2").unwrap();
    bytes[second] ^= 1;
    files::write_atomic(&path, &bytes, FILE_MODE).unwrap();
    let (_, spooled, complaint) = Spool::open(dir.path()).unwrap();
    assert!(complaint.unwrap().contains("events.damaged"));
    assert_eq!(seqs(&spooled), [1]);
    assert_ne!(spooled.stream, first.stream);
    assert_eq!(
        std::fs::read(dir.path().join("events.damaged")).unwrap(),
        bytes
    );
}

#[test]
fn history_does_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    let mut long = event(0);
    long.kind = EventKind::AgentStopping {
        reason: "x".repeat(50_000),
    };
    for seq in 1..=200 {
        long.seq = Seq(seq);
        spool.append(&long).unwrap();
        spool.trim(Seq(seq - 1)).unwrap();
        assert!(spool.bytes() < 2 * HISTORY_MIN_BYTES, "{}", spool.bytes());
    }
    drop(spool);
    assert_eq!(seqs(&open(dir.path()).1), [200]);
}

#[test]
fn an_event_without_bounds_leaves_its_number_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    let mut absurd = event(1);
    absurd.kind = EventKind::ConfigRefused {
        error: "x".repeat(LINE_MAX_BYTES),
    };
    spool.append(&absurd).unwrap();
    spool.append(&event(2)).unwrap();
    assert_eq!(spool.through(), Seq(2));
    drop(spool);
    let (mut spool, spooled) = open(dir.path());
    assert_eq!(seqs(&spooled), [1, 2]);
    let (first, last) = (Seq(1), Seq(1));
    assert_eq!(spooled.events[0].kind, EventKind::Dropped { first, last });
    spool.trim(Seq(2)).unwrap();
    drop(spool);
    assert_eq!(
        open(dir.path()).0.through(),
        Seq(2),
        "trimmed is durable too"
    );
}

proptest! {
    // Each case waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_the_file_holds_it_opens(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let dir = tempfile::tempdir().unwrap();
        files::write_atomic(&dir.path().join("events"), &bytes, FILE_MODE).unwrap();
        let (_, spooled, _) = Spool::open(dir.path()).unwrap();
        prop_assert!(spooled.events.is_empty());
    }
}

#[test]
fn the_checksum_is_the_standard_one() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}
