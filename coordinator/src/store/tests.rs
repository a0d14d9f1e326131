//! The store against real files: what is committed is there after any end, and what is wrong is
//! said.

use nodemedic_coordinator_core::stored::{
    AlertRecord, BrakeRecord, EventMark, GrantKey, NodeRecord,
};
use nodemedic_protocol::api::{AlertState, Decision, JournalEntry, JournalWhat};
use nodemedic_protocol::message::Session;
use nodemedic_protocol::work::{Run, Sharing, WorkSpec};
use nodemedic_protocol::{
    BootId, Boottime, Epoch, Generation, Millis, NodeId, Revision, Seq, SessionId, Severity,
    StreamId, WallTime, WorkName,
};
use tempfile::TempDir;

use super::*;

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn entry(number: u64, node: Option<&str>) -> Write {
    Write::Journal(JournalEntry {
        number,
        stored: WallTime(1000 + number),
        node: node.map(|name| NodeId::new(name).unwrap()),
        what: JournalWhat::Coordinator(Decision::Started {
            epoch: Epoch(number),
        }),
    })
}

fn work(name: &str) -> WorkSpec {
    WorkSpec {
        name: WorkName::new(name).unwrap(),
        sharing: Sharing::Replicated { replicas: 2 },
        run: Run::Systemd {
            unit: "web@.service".to_owned(),
        },
        probes: Vec::new(),
        priority: 0,
        needs: nodemedic_protocol::inventory::Capacity::default(),
        node_labels: std::collections::BTreeMap::new(),
        start_grace: Millis::from_secs(30),
        stop_grace: Millis::from_secs(10),
    }
}

fn node(name: &str) -> NodeRecord {
    NodeRecord {
        node: NodeId::new(name).unwrap(),
        session: Session {
            boot_id: BootId::new("b1").unwrap(),
            session_id: SessionId::new("s1").unwrap(),
        },
        session_since: Boottime(7),
        birth: None,
        revision: Revision(3),
        cordon: None,
        drain: None,
        wish_overruled: false,
        barred: std::collections::BTreeMap::new(),
        reservations: std::collections::BTreeMap::new(),
        known_down: None,
        reboot: None,
        fence: None,
        fenced: None,
        power_on: Vec::new(),
        power_on_late: Vec::new(),
        on_failed: Vec::new(),
    }
}

/// Opens once the store before it has let go: its threads end on their own after the drop.
async fn reopen(directory: &Path) -> (Store, Journal, Stored) {
    let lock = std::fs::File::open(directory.join("coordinator.lock")).unwrap();
    let free = tokio::task::spawn_blocking(move || lock.lock());
    let free = tokio::time::timeout(std::time::Duration::from_secs(10), free).await;
    free.expect("the old store never let go").unwrap().unwrap();
    Store::open(directory).unwrap()
}

#[tokio::test]
async fn what_is_committed_is_read_back_and_the_epoch_rises_with_each_start() {
    let directory = directory();
    let (store, _, first) = Store::open(directory.path()).unwrap();
    assert_eq!(
        first,
        Stored {
            epoch: Epoch(1),
            ..Stored::default()
        }
    );
    let name = WorkName::new("web").unwrap();
    let alert = AlertRecord {
        key: "node-1 down".to_owned(),
        state: AlertState::Firing,
        severity: Severity::Critical,
        node: None,
        work: None,
        summary: "s".to_owned(),
        detail: "d".to_owned(),
        since: WallTime(1),
        resolved: None,
        told: std::collections::BTreeMap::new(),
    };
    let writes = vec![
        Write::Work(work("web")),
        Write::Work(work("gone")),
        Write::HighestGeneration {
            work: name.clone(),
            generation: Generation(7),
        },
        Write::EventMark {
            node: NodeId::new("node-1").unwrap(),
            mark: EventMark {
                stream: StreamId::new("s1").unwrap(),
                seq: Seq(9),
            },
        },
        Write::Alert(alert.clone()),
        Write::Alert(AlertRecord {
            key: "other".to_owned(),
            ..alert
        }),
        entry(1, None),
        entry(2, Some("node-1")),
        Write::RemoveWork(WorkName::new("gone").unwrap()),
        Write::EndGrant(GrantKey {
            work: name,
            generation: Generation(1),
        }),
        Write::ForgetAlert("other".to_owned()),
        Write::Brake(BrakeRecord {
            since: WallTime(5),
            release: None,
        }),
    ];
    let mut expected = first;
    for write in writes.clone() {
        expected.apply(write);
    }
    store.commit(writes).await.unwrap();
    drop(store);
    let (_store, _, second) = reopen(directory.path()).await;
    expected.epoch = Epoch(2);
    assert_eq!(second, expected);
}

#[tokio::test]
async fn a_removed_node_takes_its_event_mark_along_and_no_other() {
    let directory = directory();
    let (store, _, _) = Store::open(directory.path()).unwrap();
    for name in ["node-1", "node-2"] {
        let mark = Write::EventMark {
            node: NodeId::new(name).unwrap(),
            mark: EventMark {
                stream: StreamId::new("s1").unwrap(),
                seq: Seq(4),
            },
        };
        let writes = vec![Write::Node(node(name)), mark];
        store.commit(writes).await.unwrap();
    }
    let gone = Write::RemoveNode(NodeId::new("node-2").unwrap());
    store.commit(vec![gone]).await.unwrap();
    drop(store);
    let (_store, _, stored) = reopen(directory.path()).await;
    let kept = [NodeId::new("node-1").unwrap()];
    assert!(stored.nodes.keys().eq(&kept), "{:?}", stored.nodes);
    assert!(stored.marks.keys().eq(&kept), "{:?}", stored.marks);
}

#[tokio::test]
async fn a_run_with_a_write_that_fails_leaves_no_trace() {
    let directory = directory();
    let (store, _, _) = Store::open(directory.path()).unwrap();
    store.commit(vec![entry(1, None)]).await.unwrap();
    let torn = vec![Write::Work(work("web")), entry(1, None)];
    assert!(matches!(
        store.commit(torn).await,
        Err(StoreError::Sqlite { .. })
    ));
    drop(store);
    let (_store, _, stored) = reopen(directory.path()).await;
    assert!(stored.works.is_empty());
    assert_eq!(stored.journal_last, 1);
}

#[tokio::test]
async fn the_journal_is_read_in_pages_without_gap_or_repetition() {
    let directory = directory();
    let (store, journal, _) = Store::open(directory.path()).unwrap();
    let nodes = ["node-1", "node-2", "node-3"];
    let all = (1..=50)
        .zip(nodes.iter().cycle().skip(1))
        .map(|(n, node)| entry(n, Some(node)));
    let all = all.collect();
    store.commit(all).await.unwrap();
    for node in [None, Some(NodeId::new("node-2").unwrap())] {
        let mut after = 0;
        let mut seen = Vec::new();
        loop {
            let from = Begin::After(after);
            let page = journal
                .page(JournalQuery {
                    from,
                    limit: 7,
                    node: node.clone(),
                })
                .await
                .unwrap();
            if page.entries.is_empty() {
                assert_eq!(
                    page.last, 50,
                    "the end is known also when the filter hides it"
                );
                break;
            }
            seen.extend(page.entries.iter().map(|entry| entry.number));
            after = page.last;
        }
        let expected: Vec<u64> = (1..=50).filter(|n| node.is_none() || n % 3 == 1).collect();
        assert_eq!(seen, expected);
    }
    let newest = JournalQuery {
        from: Begin::Newest,
        limit: 3,
        node: None,
    };
    let numbers: Vec<u64> = journal
        .page(newest)
        .await
        .unwrap()
        .entries
        .iter()
        .map(|e| e.number)
        .collect();
    assert_eq!(numbers, [48, 49, 50]);
}

#[tokio::test]
async fn the_journal_keeps_its_bound_and_its_count() {
    let directory = directory();
    let (store, journal, _) = Store::open(directory.path()).unwrap();
    // Numbers may start anywhere: the cut goes by number.
    let last = write::JOURNAL_KEEP + 3000;
    store
        .commit((1..=100).map(|n| entry(n, None)).collect())
        .await
        .unwrap();
    store
        .commit((last - 10..=last).map(|n| entry(n, None)).collect())
        .await
        .unwrap();
    let all = JournalQuery {
        from: Begin::After(0),
        limit: 1000,
        node: None,
    };
    let page = journal.page(all).await.unwrap();
    assert_eq!(page.entries.first().unwrap().number, last - 10);
    drop(store);
    assert_eq!(reopen(directory.path()).await.2.journal_last, last);
}

#[test]
fn a_second_coordinator_on_the_same_directory_is_refused() {
    let directory = directory();
    let _first = Store::open(directory.path()).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("another nodemedic-coordinator already uses"),
        "{text}"
    );
    assert!(text.contains("[state] directory"), "{text}");
}

#[test]
fn a_damaged_database_is_said_to_be_damaged_and_left_alone() {
    let directory = directory();
    let path = directory.path().join("coordinator.db");
    let nonsense = vec![b'x'; 20_000];
    nodemedic_edge::files::write_atomic(&path, &nonsense, 0o600).unwrap();
    let text = Store::open(directory.path()).unwrap_err().to_string();
    assert!(text.contains("coordinator.db"), "{text}");
    assert!(text.contains("Restore"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), nonsense);
}

#[test]
fn a_damaged_record_names_its_table_and_key() {
    let directory = directory();
    drop(open::open(directory.path()).unwrap());
    let database = Connection::open(directory.path().join("coordinator.db")).unwrap();
    database
        .execute("INSERT INTO work VALUES ('web', '{\"name\":')", [])
        .unwrap();
    drop(database);
    let text = Store::open(directory.path()).unwrap_err().to_string();
    assert!(text.contains("the record \"web\" in table work"), "{text}");
}

#[test]
fn a_newer_layout_is_refused_with_the_remedy() {
    let directory = directory();
    drop(open::open(directory.path()).unwrap());
    let database = Connection::open(directory.path().join("coordinator.db")).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    let text = Store::open(directory.path()).unwrap_err().to_string();
    assert!(text.contains("layout 99"), "{text}");
    assert!(text.contains("Install that version again"), "{text}");
}

#[test]
fn a_directory_that_cannot_be_written_is_said_plainly() {
    let directory = directory();
    let file = directory.path().join("file");
    nodemedic_edge::files::write_atomic(&file, b"", 0o600).unwrap();
    let text = Store::open(&file.join("state")).unwrap_err().to_string();
    assert!(text.contains("file/state"), "{text}");
}

#[test]
fn a_database_held_by_another_program_is_said_to_be_held() {
    let directory = directory();
    drop(open::open(directory.path()).unwrap());
    let path = directory.path().join("coordinator.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let text = Store::open(directory.path()).unwrap_err().to_string();
    assert!(text.contains("Another program has it open"), "{text}");
}
