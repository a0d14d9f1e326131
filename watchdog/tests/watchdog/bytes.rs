//! The format against the golden bytes of tests/fixtures/watchdog, both ways, and what is no beat.

use std::path::Path;

use super::common::{Beat, Named, Target, cgroup};
use nodemedic_watchdog::beat::{Promise, Status, answer, check};

const SESSION: u64 = 0x1122_3344_5566_7788;

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/watchdog").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let digits: String = text.lines().filter(|l| !l.starts_with('#')).collect();
    (0..digits.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap())
        .collect()
}

fn beat(sequence: u64, sent: u64, leaving: bool, promises: Vec<Named>) -> Beat {
    Beat { session: SESSION, sequence, sent, next: 5000, leaving, promises }
}

/// As the watchdog reads it.
pub fn one(named: Named) -> Promise {
    Promise::parse(&beat(1, 1, false, vec![named]).encode()[64..]).unwrap()
}

fn both() -> Beat {
    let unit = String::from("/system.slice/system-web.slice/web@orders.service");
    let session = Target::Session(4242, 987_654_321);
    let promises = vec![
        Named { deadline: 21_000, grace: 10_000, target: session },
        Named { deadline: 36_000, grace: 12_500, target: Target::Cgroup(unit) },
    ];
    beat(2, 6000, false, promises)
}

#[test]
fn golden_beats_are_beats_and_mean_what_they_say() {
    for (name, value) in [
        ("beat-empty.hex", beat(1, 1000, false, vec![])),
        ("beat-leaving.hex", beat(9, 77_000, true, vec![])),
        ("beat-session-and-cgroup.hex", both()),
    ] {
        assert_eq!(check(&golden(name)), Ok(()), "{name}");
        assert_eq!(value.encode(), golden(name), "{name}: the encoder of these tests");
    }
    let bytes = golden("beat-session-and-cgroup.hex");
    let [session, group] = [64, 64 + 512].map(|at| Promise::parse(&bytes[at..at + 512]).unwrap());
    let unit = "/system.slice/system-web.slice/web@orders.service";
    for promise in [session, group] {
        let other = one(cgroup("/x", promise.deadline(), 0));
        assert!(!promise.is_about(&other) && promise.is_about(&promise));
    }
    let other_times = one(cgroup(unit, 1, 2));
    assert!(group.is_about(&other_times) && !group.is_about(&session));
    assert_eq!((session.deadline(), group.deadline()), (21_000, 36_000));
    assert_eq!(
        (session.leader(), session.path(), session.due()),
        ((4242, 987_654_321), None, 31_000)
    );
    assert_eq!((group.leader(), group.path(), group.due()), ((0, 0), Some(unit), 48_500));
    assert_eq!(
        (session.to_string(), group.to_string()),
        ("session 4242".into(), format!("cgroup {unit}"))
    );
}

#[test]
fn golden_answers_are_what_is_sent() {
    let software = answer(Status::Taken, 2, [SESSION, 2, 10_000, 6001], [2, 0, 1, 0]);
    assert_eq!(software[..], golden("answer-software.hex"));
    let hardware = answer(Status::Taken, 1, [SESSION, 3, 14_000, 11_002], [2, 1, 3, 0x20]);
    assert_eq!(hardware[..], golden("answer-hardware.hex"));
    let dry = answer(Status::Taken, 3, [SESSION, 4, 10_000, 16_003], [1, 0, 0, 0]);
    assert_eq!(dry[..], golden("answer-dry-run.hex"));
    let reboots = answer(Status::Taken, 2, [SESSION, 5, 10_000, 21_004], [1, 0, 3 | 16, 0]);
    assert_eq!(reboots[..], golden("answer-last-resort.hex"));
    let nowayout = answer(Status::Taken, 1, [SESSION, 6, 14_000, 26_005], [0, 0, 3 | 8, 0]);
    assert_eq!(nowayout[..], golden("answer-nowayout.hex"));
    let stale = answer(Status::Stale, 2, [SESSION, 1, 10_000, 12_000], [0; 4]);
    assert_eq!(stale[..], golden("answer-stale.hex"));
    let malformed = answer(Status::Malformed, 2, [0, 0, 10_000, 13_000], [0; 4]);
    assert_eq!(malformed[..], golden("answer-malformed.hex"));
}

#[test]
fn every_cut_and_every_longer_datagram_is_malformed() {
    let whole = golden("beat-session-and-cgroup.hex");
    for length in 0..whole.len() {
        assert!(check(&whole[..length]).is_err(), "{length} bytes were taken");
    }
    assert!(check(&[whole, vec![0]].concat()).is_err());
}

#[test]
fn what_the_format_forbids_is_refused() {
    let whole = golden("beat-session-and-cgroup.hex");
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = whole.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        check(&bad)
    };
    let second = 64 + 512;
    for (at, bytes, what) in [
        (0, &b"X"[..], "another magic"),
        (5, &[2], "an answer"),
        (6, &[1, 0], "fewer promises than records"),
        (6, &[255, 255], "more promises than fit"),
        (8, &[0; 8], "session 0"),
        (16, &[0; 8], "sequence 0"),
        (32, &[0; 8], "next 0"),
        (32, &[255; 8], "next in half a billion years"),
        (40, &[2], "an unknown flag"),
        (41, &[1], "an unknown flag"),
        (44, &[1], "a reserved byte of the header"),
        (64 + 16, &[3], "an unknown target"),
        (64 + 16, &[2], "a cgroup without a path"),
        (64 + 17, &[1], "a reserved byte of a promise"),
        (64 + 20, &[1, 0, 0, 0], "init"),
        (64 + 24, &[0; 8], "a leader without a start time"),
        (64 + 32, b"/", "a session with a path"),
        (second + 18, &[225, 1], "a path longer than its room"),
        (second + 18, &[1, 0], "a path shorter than its bytes"),
        (second + 20, &[5], "a cgroup with a leader"),
        (second + 24, &[5], "a cgroup with a start time"),
        (second + 32, b"x", "a relative path"),
        (second + 32, b"/../", "a path that climbs"),
        (second + 32, b"//", "a path with an empty part"),
        (second + 33, b"\n", "a path that no log can show"),
        (second + 33, &[0xff], "a path that is no text"),
    ] {
        assert_eq!(with(at, bytes), Err(Status::Malformed), "{what}");
    }
    assert_eq!(with(4, &[1]), Err(Status::OtherVersion));
    let mut twice = both();
    twice.promises[1] = twice.promises[0].clone();
    assert!(check(&twice.encode()).is_err(), "a target named twice was taken");
}
