//! The real agent helps its host: a plugin finds something wrong, a declared clean-up ends it, and
//! what was done is an event with its cause, evidence, budget and outcome.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is the error message of a test, in its helpers too"
)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use nodemedic_edge::{clock, files};
use nodemedic_protocol::Millis;
use nodemedic_protocol::event::{EventKind, Outcome};
use nodemedic_protocol::local::{LocalRequest, LocalResponse};
use nodemedic_protocol::remedy::{RemedyRecord, RemedyStep};

/// Far beyond what a loaded machine needs; a test that gets here has failed.
const BOUND: Millis = Millis::from_secs(60);

/// How often a level is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Says that something is wrong for as long as there is an old file.
const PLUGIN: &str = r#"#!/bin/sh
if ls "$1"/*.gz >/dev/null 2>&1; then
    echo '{"version":1,"findings":[{"part":"spool","reason":"space low","severity":"critical",'
    echo '"message":"the spool is full","evidence":{"left_percent":"1"}}]}'
else
    echo '{"version":1}'
fi
"#;

struct Host {
    dir: tempfile::TempDir,
    child: Child,
}

impl Host {
    fn new(mode: &str) -> Host {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        let at = real.display();
        let text = format!(
            "node = \"alone\"\n[paths]\nstate = \"{at}/state\"\nrun = \"{at}/run\"\n\
             last_words = \"{at}/last-words\"\n[plugin.probe]\n\
             command = [\"/bin/sh\", \"{at}/plugin\", \"{at}/spool\"]\n\
             interval = \"1s\"\ntimeout = \"1s\"\n[remedy.spool]\n\
             when = [{{ component = \"probe spool\", reason = \"space low\" }}]\n\
             clean = {{ directories = [\"{at}/spool\"], pattern = \"*.gz\", \
             older_than = \"1h\" }}\n\
             after = \"1s\"\nsettle = \"5s\"\nmode = \"{mode}\"\n"
        );
        let path = |name: &str| dir.path().join(name);
        files::write_atomic(&path("agent.toml"), text.as_bytes(), 0o644).unwrap();
        files::write_atomic(&path("plugin"), PLUGIN.as_bytes(), 0o755).unwrap();
        files::ensure_dir(&path("spool"), 0o755).unwrap();
        for (name, old) in [("a.gz", true), ("b.gz", true), ("kept.log", true)] {
            fill(&path("spool").join(name), old);
        }
        let child = common::spawn(&[common::AGENT], dir.path());
        Host { dir, child }
    }

    fn has(&self, name: &str) -> bool {
        self.dir.path().join("spool").join(name).exists()
    }

    fn ask(&self, request: &LocalRequest) -> Option<LocalResponse> {
        let mut stream = UnixStream::connect(self.dir.path().join("run/agent.sock")).ok()?;
        let line = serde_json::to_string(request).unwrap();
        writeln!(stream, "{line}").ok()?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).ok()?;
        serde_json::from_str(&answer).ok()
    }

    fn records(&self) -> Vec<RemedyRecord> {
        let Some(LocalResponse::Events(events)) = self.ask(&LocalRequest::Events { last: 200 })
        else {
            return Vec::new();
        };
        let records = events.into_iter().filter_map(|event| match event.kind {
            EventKind::Remedy(record) => Some(record),
            _ => None,
        });
        records.collect()
    }

    fn until(&self, what: &str, is: impl Fn(&Host) -> bool) {
        let began = clock::boottime();
        while !is(self) {
            let since = clock::boottime().since(began);
            let log = std::fs::read_to_string(self.dir.path().join("agent.log"));
            assert!(since < BOUND, "{what}\n{}", log.unwrap_or_default());
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// A file that was written now, or two hours ago.
fn fill(path: &Path, old: bool) {
    files::write_atomic(path, b"x", 0o644).unwrap();
    if old {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        let then = Millis(clock::wall().0) - Millis::from_secs(7200);
        let then = std::time::UNIX_EPOCH + then.to_duration();
        file.set_modified(then).unwrap();
    }
}

#[test]
fn a_declared_clean_up_is_done_once_and_told_with_all_that_it_takes_to_judge_it() {
    let host = Host::new("act");
    host.until("old files stay", |host| {
        !host.has("a.gz") && !host.has("b.gz")
    });
    host.until("it is not told", |host| !host.records().is_empty());
    assert!(host.has("kept.log"));
    let record = host.records().remove(0);
    assert_eq!(record.step, RemedyStep::Ended(Outcome::Done));
    assert!(record.command.contains("removed 2 files"), "{record}");
    assert!(record.cause.contains("the spool is full"), "{record}");
    assert_eq!(record.evidence["left_percent"], "1");
    let budget = record.budget.unwrap();
    assert_eq!((budget.used, budget.of), (1, 3));
    // The condition ends with what it was about.
    host.until("it is still ill", |host| {
        let Some(LocalResponse::Status(status)) = host.ask(&LocalRequest::Status) else {
            return false;
        };
        status
            .conditions
            .iter()
            .all(|c| c.message != "the spool is full")
    });
    assert_eq!(host.records().len(), 1);
}

#[test]
fn advice_removes_nothing() {
    let host = Host::new("advise");
    host.until("nothing is advised", |host| !host.records().is_empty());
    let record = host.records().remove(0);
    assert_eq!(record.step, RemedyStep::Advised);
    assert!(
        record
            .command
            .starts_with("remove files *.gz older than 1h in ")
    );
    assert!(host.has("a.gz") && host.has("b.gz"));
}
