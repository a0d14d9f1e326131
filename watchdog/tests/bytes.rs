//! The format against the golden bytes of tests/fixtures/watchdog, both ways, and what is no beat.
#![cfg(test)]

use std::path::Path;

use nodemedic_watchdog::beat::{Answer, Beat, Promise, Status, Target};

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/watchdog")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let digits: String = text.lines().filter(|l| !l.starts_with('#')).collect();
    (0..digits.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap())
        .collect()
}

fn beat(sequence: u64, sent: u64, leaving: bool, promises: Vec<Promise>) -> Beat {
    Beat {
        session: 0x1122_3344_5566_7788,
        sequence,
        sent,
        next: 5000,
        leaving,
        promises,
    }
}

fn both() -> Beat {
    let unit = String::from("/system.slice/system-web.slice/web@orders.service");
    let session = Target::Session {
        leader: 4242,
        start: 987_654_321,
    };
    let promises = vec![
        Promise {
            deadline: 21_000,
            grace: 10_000,
            target: session,
        },
        Promise {
            deadline: 36_000,
            grace: 12_500,
            target: Target::Cgroup(unit),
        },
    ];
    beat(2, 6000, false, promises)
}

#[test]
fn golden_beats_mean_what_they_say_both_ways() {
    for (name, value) in [
        ("beat-empty.hex", beat(1, 1000, false, vec![])),
        ("beat-leaving.hex", beat(9, 77_000, true, vec![])),
        ("beat-session-and-cgroup.hex", both()),
    ] {
        assert_eq!(Beat::decode(&golden(name)), Ok(value.clone()), "{name}");
        assert_eq!(value.encode(), golden(name), "{name}");
    }
}

#[test]
fn golden_answers_are_what_is_sent() {
    let software = Answer {
        status: Status::Taken,
        hardware: false,
        session: 0x1122_3344_5566_7788,
        sequence: 2,
        timeout: 10_000,
        now: 6001,
        live: 2,
        broken: 0,
        flags: 1,
        boot_status: 0,
    };
    assert_eq!(software.encode()[..], golden("answer-software.hex"));
    let hardware = Answer {
        hardware: true,
        sequence: 3,
        timeout: 14_000,
        now: 11_002,
        broken: 1,
        flags: 3,
        boot_status: 0x20,
        ..software
    };
    assert_eq!(hardware.encode()[..], golden("answer-hardware.hex"));
    let base = Answer {
        live: 0,
        flags: 0,
        ..software
    };
    let stale = Answer {
        status: Status::Stale,
        sequence: 1,
        now: 12_000,
        ..base
    };
    assert_eq!(stale.encode()[..], golden("answer-stale.hex"));
    let malformed = Answer {
        status: Status::Malformed,
        session: 0,
        sequence: 0,
        now: 13_000,
        ..base
    };
    assert_eq!(malformed.encode()[..], golden("answer-malformed.hex"));
}

#[test]
fn every_cut_and_every_longer_datagram_is_malformed() {
    let whole = golden("beat-session-and-cgroup.hex");
    for length in 0..whole.len() {
        assert!(
            Beat::decode(&whole[..length]).is_err(),
            "{length} bytes were taken"
        );
    }
    assert!(Beat::decode(&[whole, vec![0]].concat()).is_err());
}

#[test]
fn what_the_format_forbids_is_refused() {
    let whole = golden("beat-session-and-cgroup.hex");
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = whole.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        Beat::decode(&bad).map_err(|refused| refused.status)
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
        (second + 32, b"x", "a relative path"),
        (second + 32, b"/../", "a path that climbs"),
        (second + 32, b"//", "a path with an empty part"),
        (second + 33, &[0xff], "a path that is no text"),
    ] {
        assert_eq!(with(at, bytes), Err(Status::Malformed), "{what}");
    }
    assert_eq!(with(4, &[2]), Err(Status::OtherVersion));
    let mut twice = both();
    twice.promises[1] = twice.promises[0].clone();
    assert!(
        Beat::decode(&twice.encode()).is_err(),
        "a target named twice was taken"
    );
}
