//! Golden bytes: what was once sent or stored must be read for ever, and what is written must not
//! drift.
//!
//! `NODEMEDIC_BLESS=1 cargo test -p nodemedic-protocol` writes the files anew; read the difference
//! before keeping it, and walk docs/howto/change-a-message.md when it is not empty.

#![expect(
    clippy::unwrap_used,
    reason = "this is a test: a panic is its error message"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use nodemedic_protocol::diagnose::{Bundle, Section};
use nodemedic_protocol::event::*;
use nodemedic_protocol::inventory::*;
use nodemedic_protocol::message::*;
use nodemedic_protocol::reboot::{RebootWanted, RebootWord};
use nodemedic_protocol::remedy::{HostReboot, RemedyRecord, RemedyStep};
use nodemedic_protocol::sample::*;
use nodemedic_protocol::topic::{Kind, Topic};
use nodemedic_protocol::work::*;
use nodemedic_protocol::*;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/messages")
        .join(name)
}

fn node() -> NodeId {
    NodeId::new("node-1").unwrap()
}

fn session() -> Session {
    Session {
        boot_id: BootId::new("5f0c6a1e-6f3a-4a43-9a0b-1d2c3b4a5968").unwrap(),
        session_id: SessionId::new("9b1deb4d3b7d").unwrap(),
    }
}

fn condition() -> Condition {
    Condition {
        component: Component::Filesystem("/var".into()),
        reason: health::Reason::SpaceLow,
        severity: Severity::Warning,
        since: Boottime(90_000),
        since_wall: WallTime(1_795_000_000_000),
        seen: true,
        message: "8 % of /var is left".into(),
        evidence: BTreeMap::from([("available_bytes".into(), "858993459".into())]),
    }
}

fn statuses() -> Vec<WorkStatus> {
    vec![
        WorkStatus {
            work: WorkName::new("ledger").unwrap(),
            generation: Generation(7),
            state: WorkState::Running,
            since: Boottime(61_000),
            pid: Some(4242),
            detail: String::new(),
        },
        WorkStatus {
            work: WorkName::new("web").unwrap(),
            generation: Generation(3),
            state: WorkState::Stopped(StopCause::Fenced),
            since: Boottime(62_000),
            pid: None,
            detail: "5 restarts in 10m00s".into(),
        },
    ]
}

fn spec() -> WorkSpec {
    WorkSpec {
        name: WorkName::new("ledger").unwrap(),
        sharing: Sharing::Exclusive {
            on_lease_loss: OnLeaseLoss::Stop,
        },
        run: Run::Command {
            start: vec!["/usr/bin/ledger".into(), "--port={vars.port}".into()],
            stop: vec![],
            environment: BTreeMap::from([("LANG".into(), "C".into())]),
        },
        probes: vec![ProbeSpec {
            check: Check::Http {
                url: "http://127.0.0.1:{vars.port}/".into(),
                ca: None,
                address: None,
            },
            interval: Millis(1000),
            timeout: Millis(500),
            fail_for: Millis(3000),
            within: None,
        }],
        priority: 10,
        needs: Capacity {
            cpu_milli: 500,
            memory_bytes: 1 << 28,
        },
        node_labels: BTreeMap::from([("disk".into(), "nvme".into())]),
        start_grace: Millis(30_000),
        stop_grace: Millis(10_000),
    }
}

fn sample() -> Sample {
    Sample {
        at: Boottime(123_456),
        wall: WallTime(1_795_000_000_000),
        took_us: 840,
        cpu: Some(Cpu {
            online: 2,
            busy: Some(PerMille(125)),
            user: Some(PerMille(100)),
            system: Some(PerMille(25)),
            iowait: Some(PerMille(0)),
            steal: None,
            per_core_busy: vec![PerMille(150), PerMille(100)],
            busy_ms: 5000,
        }),
        load: Some(Load {
            one_milli: 250,
            five_milli: 100,
            fifteen_milli: 50,
            runnable: 1,
        }),
        filesystems: vec![Filesystem {
            mount_point: "/mnt/nfs".into(),
            source: "server:/export".into(),
            kind: "nfs4".into(),
            writable: true,
            ..Filesystem::default()
        }],
        unread: vec![Unread {
            source: "filesystem /mnt/nfs".into(),
            error: "no answer within 2.0s".into(),
        }],
        ..Sample::default()
    }
}

fn events() -> Vec<Event> {
    let event = |seq, kind| Event {
        seq: Seq(seq),
        boot_id: session().boot_id,
        at: Boottime(70_000),
        wall: WallTime(1_795_000_000_000),
        component: Component::Work(WorkName::new("web").unwrap()),
        kind,
    };
    vec![
        event(
            41,
            EventKind::Down {
                cause: "killed by signal 9".into(),
            },
        ),
        event(
            42,
            EventKind::Action(ActionRecord {
                verb: Verb::Restart,
                cause: "killed by signal 9".into(),
                command: "/usr/bin/web".into(),
                outcome: Outcome::Failed("exited with status 1 after 12ms".into()),
                took: Millis(12),
                budget: Some(BudgetUse {
                    used: 1,
                    of: 5,
                    window: Millis(600_000),
                }),
                evidence: BTreeMap::new(),
                hooks: Vec::new(),
            }),
        ),
        event(
            43,
            EventKind::Dropped {
                first: Seq(1),
                last: Seq(40),
            },
        ),
        event(
            44,
            EventKind::Action(ActionRecord {
                verb: Verb::Kill,
                cause: "killed by signal 9".into(),
                command: "SIGKILL to its session, then /usr/bin/web".into(),
                outcome: Outcome::Done,
                took: Millis(12),
                budget: None,
                evidence: BTreeMap::from([("seen".into(), "does not run: gone".into())]),
                hooks: vec![HookRecord {
                    hook: Hook::BeforeRestart,
                    command: "/usr/bin/clear-spool".into(),
                    outcome: Outcome::TimedOut,
                    took: Millis(30_000),
                }],
            }),
        ),
        event(
            45,
            EventKind::Advised {
                verb: Verb::Restart,
                cause: "killed by signal 9".into(),
                command: "/usr/bin/web".into(),
            },
        ),
    ]
}

fn presence() -> Presence {
    Presence {
        session: session(),
        online: false,
        wall: WallTime(1_795_000_000_000),
        going_down: Some(GoingDown {
            reason: "host shutdown".into(),
            back_within: Millis(300_000),
        }),
    }
}

fn birth() -> Birth {
    Birth {
        session: session(),
        seq: Seq(1),
        version: "0.1.0".into(),
        at: Boottime(60_000),
        wall: WallTime(1_795_000_000_000),
        inventory: Inventory {
            hostname: "node-1".into(),
            cpus: 2,
            memory_bytes: 1 << 34,
            disks: vec![InventoryDisk {
                name: "nvme0n1".into(),
                size_bytes: Some(1 << 40),
                model: None,
                rotational: Some(false),
            }],
            ..Inventory::default()
        },
        capacity: Capacity {
            cpu_milli: 2000,
            memory_bytes: 1 << 34,
        },
        labels: BTreeMap::from([("disk".into(), "nvme".into())]),
        zone: Some("rack-7".into()),
        enforcement: Enforcement::Hardware {
            timeout: Millis(10_000),
        },
        epoch_seen: Epoch(4),
        revision: Revision(9),
        stream: StreamId::new("a1b2c3d4").unwrap(),
        reboot: None,
        works: statuses(),
    }
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        session: session(),
        n: 17,
        sent_at: Boottime(65_000),
        seq_sent: Seq(4),
        revision: Revision(9),
        epoch_seen: Epoch(4),
        level: Level::Degraded,
        drain_wanted: Some("service web is fenced".into()),
        reboot: None,
        works: statuses(),
    }
}

fn health() -> Health {
    Health {
        session: session(),
        seq: Seq(2),
        level: Level::Degraded,
        conditions: vec![condition()],
        drain_wanted: None,
    }
}

fn event_batch() -> EventBatch {
    EventBatch {
        stream: StreamId::new("a1b2c3d4").unwrap(),
        events: events(),
    }
}

/// Diagnostics, and faults on purpose.
fn hands_batch() -> EventBatch {
    let kinds = [
        EventKind::BundleTaken {
            name: "work.web-17".into(),
            why: "fence".into(),
            left_out: vec!["stacks".into()],
        },
        EventKind::FaultInjected {
            id: 3,
            fault: "hang web".into(),
            span: Millis(60_000),
        },
        EventKind::FaultUndone {
            id: 3,
            fault: "hang web".into(),
            because: "its time is over".into(),
        },
    ];
    let mut batch = event_batch();
    batch.events.truncate(kinds.len());
    for (event, kind) in batch.events.iter_mut().zip(kinds) {
        event.kind = kind;
    }
    batch
}

/// As a bundle lies on the disk of its host.
fn bundle() -> Bundle {
    Bundle {
        version: diagnose::VERSION,
        name: "work.web-17".into(),
        component: Component::Work(WorkName::new("web").unwrap()),
        why: "fence".into(),
        host: "node-1".into(),
        boot_id: session().boot_id,
        at: Boottime(70_000),
        wall: WallTime(1_795_000_000_000),
        took: Millis(412),
        sections: vec![
            Section {
                name: "probe".into(),
                title: "What its probe says now".into(),
                text: "it works\n".into(),
                left_out: None,
            },
            Section {
                name: "stacks".into(),
                title: "Tasks that hang in the kernel".into(),
                text: String::new(),
                left_out: Some("that needs root".into()),
            },
        ],
    }
}

fn work() -> WorkReport {
    WorkReport {
        session: session(),
        seq: Seq(3),
        at: Boottime(64_000),
        revision: Revision(9),
        works: statuses(),
    }
}

fn command() -> Command {
    Command {
        id: CommandId::new("4-12").unwrap(),
        node: node(),
        boot_id: session().boot_id,
        epoch: Epoch(4),
        not_after: Boottime(95_000),
        body: CommandBody::Assign(Assignment {
            revision: Revision(10),
            works: vec![Assigned {
                spec: spec(),
                generation: Generation(7),
                desired: Desired::Run,
            }],
        }),
    }
}

fn ack() -> Ack {
    Ack {
        session: session(),
        id: CommandId::new("4-12").unwrap(),
        answer: Answer::Refused(Refusal::OlderEpoch { seen: Epoch(5) }),
    }
}

fn lease() -> LeaseAck {
    LeaseAck {
        epoch: Epoch(4),
        session: session(),
        n: 17,
        term: Millis(30_000),
        grants: vec![GrantRef {
            work: WorkName::new("ledger").unwrap(),
            generation: Generation(7),
        }],
        stream: Some(StreamId::new("a1b2c3d4").unwrap()),
        events_stored: Seq(43),
    }
}

fn coordinator_state() -> CoordinatorState {
    CoordinatorState {
        epoch: Epoch(4),
        online: true,
        wall: WallTime(1_795_000_000_000),
        version: "0.1.0".into(),
    }
}

/// What a host says that wants a reboot.
fn heartbeat_reboot() -> Heartbeat {
    Heartbeat {
        reboot: Some(RebootWord::Wanted(RebootWanted {
            why: "filesystem /srv: read-only".into(),
            since: WallTime(1_795_000_000_000),
            stay_out: Millis(600_000),
        })),
        ..heartbeat()
    }
}

/// The answer to it.
fn command_reboot() -> Command {
    Command {
        body: CommandBody::Reboot,
        ..command()
    }
}

/// Remedies, and a reboot of the host's own.
fn remedies_batch() -> EventBatch {
    let budget = BudgetUse {
        used: 1,
        of: 3,
        window: Millis(3_600_000),
    };
    let kinds = [
        EventKind::Remedy(RemedyRecord {
            remedy: RemedyName::new("old-logs").unwrap(),
            step: RemedyStep::Ended(Outcome::Done),
            cause: "filesystem /var: space low: 4% left".into(),
            command: "remove files *.gz older than 7d in /var/log/app: removed 3 files".into(),
            took: Millis(12),
            evidence: BTreeMap::from([("available_percent".into(), "4".into())]),
            budget: Some(budget),
        }),
        EventKind::Reboot(HostReboot::Begun {
            permit: Some(CommandId::new("c4-17").unwrap()),
            why: "filesystem /srv: read-only".into(),
            budget,
        }),
        EventKind::Reboot(HostReboot::Well {
            well_for: Millis(600_000),
        }),
    ];
    let mut batch = event_batch();
    batch.events.truncate(kinds.len());
    for (event, kind) in batch.events.iter_mut().zip(kinds) {
        event.kind = kind;
    }
    batch
}

fn messages() -> Vec<(&'static str, Message)> {
    vec![
        ("presence", Message::Presence(presence())),
        ("birth", Message::Birth(Box::new(birth()))),
        ("heartbeat", Message::Heartbeat(heartbeat())),
        ("heartbeat-reboot", Message::Heartbeat(heartbeat_reboot())),
        ("health", Message::Health(health())),
        ("sample", Message::Sample(Box::new(sample()))),
        ("event", Message::Event(event_batch())),
        ("event-hands", Message::Event(hands_batch())),
        ("event-remedies", Message::Event(remedies_batch())),
        ("work", Message::Work(work())),
        ("command", Message::Command(command())),
        ("command-reboot", Message::Command(command_reboot())),
        ("ack", Message::Ack(ack())),
        ("lease", Message::Lease(lease())),
        ("coordinator", Message::Coordinator(coordinator_state())),
    ]
}

fn topic_of(message: &Message) -> Topic {
    message
        .kind()
        .map_or(Topic::Coordinator, |kind| Topic::Node(node(), kind))
}

#[test]
fn every_message_has_golden_bytes_and_reads_back() {
    for (name, message) in messages() {
        let bytes = message.encode().unwrap();
        let path = fixture(&format!("{name}.json"));
        if std::env::var_os("NODEMEDIC_BLESS").is_some() {
            #[expect(clippy::disallowed_methods, reason = "a developer blesses a fixture")]
            std::fs::write(&path, &bytes).unwrap();
        }
        let golden = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            String::from_utf8_lossy(&golden),
            "{name} is written differently than before: see docs/howto/change-a-message.md"
        );
        assert_eq!(
            Message::decode(&topic_of(&message), &golden).unwrap(),
            message,
            "{name}"
        );
    }
}

#[test]
fn a_bundle_has_golden_bytes_and_reads_back() {
    let bytes = serde_json::to_vec(&bundle()).unwrap();
    let path = fixture("bundle.json");
    if std::env::var_os("NODEMEDIC_BLESS").is_some() {
        #[expect(clippy::disallowed_methods, reason = "a developer blesses a fixture")]
        std::fs::write(&path, &bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        String::from_utf8_lossy(&golden)
    );
    assert_eq!(serde_json::from_slice::<Bundle>(&golden).unwrap(), bundle());
}

#[test]
fn every_kind_of_topic_has_a_golden_message() {
    let seen: Vec<Kind> = messages().iter().filter_map(|(_, m)| m.kind()).collect();
    for kind in Kind::ALL {
        assert!(seen.contains(&kind), "{kind:?} has no golden message");
    }
}

#[test]
fn a_field_of_a_newer_writer_is_ignored() {
    let (_, message) = messages().remove(0);
    let text = String::from_utf8(message.encode().unwrap()).unwrap();
    let newer = text.replacen("\"online\"", "\"color\":\"green\",\"online\"", 1);
    assert_ne!(text, newer);
    assert_eq!(
        Message::decode(&topic_of(&message), newer.as_bytes()).unwrap(),
        message
    );
}

#[test]
fn another_version_is_refused_and_named() {
    let error = Message::decode(&Topic::Coordinator, b"{\"v\":2,\"m\":{}}").unwrap_err();
    assert_eq!(error, codec::DecodeError::Version { found: 2 });
    assert!(
        error.to_string().contains("upgrade the older side"),
        "{error}"
    );
}

#[test]
fn an_oversized_message_is_refused_before_it_is_parsed() {
    let bytes = vec![b' '; codec::MESSAGE_MAX_BYTES + 1];
    let error = Message::decode(&Topic::Coordinator, &bytes).unwrap_err();
    assert!(
        matches!(error, codec::DecodeError::TooLarge { .. }),
        "{error}"
    );
}

mod hostile {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A broken message is an error, never a crash and never another message.
        #[test]
        fn any_change_of_a_byte_is_refused_or_reads_as_some_message(
            which in 0usize..11, at in 0usize..4096, byte in any::<u8>()
        ) {
            let (_, message) = messages().remove(which);
            let mut bytes = message.encode().unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Message::decode(&topic_of(&message), &bytes);
        }

        #[test]
        fn any_cut_of_a_message_is_refused(which in 0usize..11, keep in 0usize..4096) {
            let (_, message) = messages().remove(which);
            let bytes = message.encode().unwrap();
            let keep = keep % bytes.len();
            prop_assert!(Message::decode(&topic_of(&message), &bytes[..keep]).is_err());
        }
    }
}
