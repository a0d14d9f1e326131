//! Golden bytes of probes: one is written as it always was, several as a list, and what nobody set
//! is not written.

#![expect(
    clippy::unwrap_used,
    reason = "this is a test: a panic is its error message"
)]

use std::path::PathBuf;

use nodemedic_protocol::work::{Check, Limits, ProbeSpec, Run, Sharing, WorkSpec};
use nodemedic_protocol::{Millis, WorkName};

fn work(probes: Vec<ProbeSpec>) -> WorkSpec {
    WorkSpec {
        name: WorkName::new("web").unwrap(),
        sharing: Sharing::Replicated { replicas: 2 },
        run: Run::Systemd {
            unit: "web@.service".into(),
        },
        probes,
        priority: 0,
        needs: Default::default(),
        node_labels: Default::default(),
        start_grace: Millis(30_000),
        stop_grace: Millis(10_000),
    }
}

fn probe(check: Check) -> ProbeSpec {
    ProbeSpec {
        check,
        interval: Millis(5_000),
        timeout: Millis(2_000),
        fail_for: Millis(15_000),
        within: None,
    }
}

fn every_check() -> Vec<ProbeSpec> {
    vec![
        probe(Check::Process),
        probe(Check::Tcp {
            address: "127.0.0.1:80".into(),
        }),
        probe(Check::Http {
            url: "http://127.0.0.1/".into(),
            ca: None,
            address: None,
        }),
        ProbeSpec {
            within: Some(Millis(60_000)),
            ..probe(Check::Http {
                url: "https://shop.example/health".into(),
                ca: Some("/etc/ssl/own-ca.pem".into()),
                address: Some("127.0.0.1:443".into()),
            })
        },
        probe(Check::Exec {
            command: vec!["/usr/bin/true".into()],
        }),
        probe(Check::Unix {
            path: "/run/web.sock".into(),
            send: Some("PING\n".into()),
            expect: Some("PONG".into()),
        }),
        probe(Check::Watchdog {
            max_age: Millis(30_000),
        }),
        probe(Check::Log {
            max_age: Millis(300_000),
            file: None,
        }),
        probe(Check::Limits(Limits {
            rss_bytes: Some(2 << 30),
            fds: Some(10_000),
            fds_percent: Some(90),
            cpu_spin: Some(Millis(30_000)),
            cpu_percent: Some(95),
            d_state: Some(Millis(60_000)),
        })),
    ]
}

#[test]
fn every_probe_has_golden_bytes_and_reads_back() {
    let work = work(every_check());
    let bytes = serde_json::to_vec(&work).unwrap();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/messages")
        .join("probes.json");
    if std::env::var_os("NODEMEDIC_BLESS").is_some() {
        #[expect(clippy::disallowed_methods, reason = "a developer blesses a fixture")]
        std::fs::write(&path, &bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        String::from_utf8_lossy(&golden)
    );
    assert_eq!(serde_json::from_slice::<WorkSpec>(&golden).unwrap(), work);
}

/// A coordinator is upgraded before its agents, and a database outlives both: one probe of a kind
/// that there always was has the bytes that it always had.
#[test]
fn one_probe_is_written_and_read_as_before_there_were_several() {
    let old = concat!(
        r#"{"name":"web","sharing":{"replicated":{"replicas":2}},"#,
        r#""run":{"systemd":{"unit":"web@.service"}},"#,
        r#""probe":{"check":{"http":{"url":"http://127.0.0.1/"}},"#,
        r#""interval":5000,"timeout":2000,"fail_for":15000},"#,
        r#""priority":0,"needs":{"cpu_milli":0,"memory_bytes":0},"#,
        r#""start_grace":30000,"stop_grace":10000}"#,
    );
    let one = work(vec![probe(Check::Http {
        url: "http://127.0.0.1/".into(),
        ca: None,
        address: None,
    })]);
    assert_eq!(serde_json::to_string(&one).unwrap(), old);
    assert_eq!(serde_json::from_str::<WorkSpec>(old).unwrap(), one);
    let none = serde_json::to_string(&work(Vec::new())).unwrap();
    assert!(!none.contains("probe"), "{none}");
    assert_eq!(
        serde_json::from_str::<WorkSpec>(&none).unwrap(),
        work(Vec::new())
    );
    let null = none.replacen("\"priority\"", "\"probe\":null,\"priority\"", 1);
    assert_eq!(
        serde_json::from_str::<WorkSpec>(&null).unwrap(),
        work(Vec::new())
    );
}

#[test]
fn a_mistake_in_a_probe_is_named() {
    let whole = serde_json::to_string(&work(every_check())).unwrap();
    let wrong = whole.replacen("\"expect\"", "\"expects\"", 1);
    let error = serde_json::from_str::<WorkSpec>(&wrong)
        .unwrap_err()
        .to_string();
    assert!(error.contains("unknown field `expects`"), "{error}");
    let wrong = whole.replacen("\"fds_percent\"", "\"fd_percent\"", 1);
    let error = serde_json::from_str::<WorkSpec>(&wrong)
        .unwrap_err()
        .to_string();
    assert!(error.contains("unknown field `fd_percent`"), "{error}");
}
