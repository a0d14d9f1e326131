//! The real agent with one service by command: what it writes down before it fences, and faults on
//! purpose that are taken back whatever becomes of the agent.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is the error message of a test, in its helpers too"
)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use nodemedic_agent_host::sampler::pid_stat::stat_of;
use nodemedic_edge::{clock, files};
use nodemedic_protocol::Millis;
use nodemedic_protocol::diagnose::{Bundle, DiagnoseRequest};
use nodemedic_protocol::event::{Event, EventKind, Verb};
use nodemedic_protocol::inject::{Fault, InjectRequest, Injection};
use nodemedic_protocol::local::{LocalRequest, LocalResponse};

/// Far beyond what a loaded machine needs; a test that gets here has failed.
const BOUND: Millis = Millis::from_secs(60);

/// How often a level is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// An agent that works alone, with the service `web`, which says in a file that it began.
struct Alone {
    dir: tempfile::TempDir,
    child: Child,
}

impl Alone {
    fn new(then: &str, more: &str) -> Alone {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let text = format!(
            "node = \"alone\"\n[paths]\nstate = \"{at}/state\"\nrun = \"{at}/run\"\n\
             last_words = \"{at}/last-words\"\n[service.web]\n\
             command = [\"/bin/sh\", \"-c\", \"echo $$ >> {at}/ran; echo out of cheese; {then}\"]\n\
             environment = {{ TOKEN = \"hunter2\" }}\n\
             restart = {{ max = 1, window = \"10m\", backoff = \"10ms\" }}\n{more}"
        );
        files::write_atomic(&dir.path().join("agent.toml"), text.as_bytes(), 0o644).unwrap();
        let child = Alone::spawn(dir.path());
        Alone { dir, child }
    }

    fn spawn(dir: &Path) -> Child {
        common::spawn(&[common::AGENT], dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    fn began(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(self.path("ran")).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    fn is(&self, state: u8) -> bool {
        let last = self.began().last().copied();
        let stat = last.and_then(|pid| stat_of(Path::new("/proc"), pid).unwrap());
        stat.is_some_and(|stat| stat.state == state)
    }

    fn until(&self, what: &str, mut is: impl FnMut(&Alone) -> bool) {
        let began = clock::boottime();
        while !is(self) {
            let since = clock::boottime().since(began);
            assert!(since < BOUND, "{what}\n{}", self.log());
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    fn ask(&self, request: &LocalRequest) -> LocalResponse {
        let socket = self.path("run/agent.sock");
        self.until("it does not answer", |_| {
            UnixStream::connect(&socket).is_ok()
        });
        let mut stream = UnixStream::connect(&socket).unwrap();
        let line = serde_json::to_string(request).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    fn events(&self) -> Vec<Event> {
        match self.ask(&LocalRequest::Events { last: 200 }) {
            LocalResponse::Events(events) => events,
            other => panic!("{other:?}"),
        }
    }

    fn bundle(&self, request: DiagnoseRequest) -> Bundle {
        match self.ask(&LocalRequest::Diagnose(request)) {
            LocalResponse::Bundle(bundle) => *bundle,
            other => panic!("{other:?}"),
        }
    }

    fn inject(&self, request: InjectRequest) -> Result<Vec<Injection>, String> {
        match self.ask(&LocalRequest::Inject(request)) {
            LocalResponse::Injections(faults) => Ok(faults),
            LocalResponse::Error(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    fn hang(&self) -> Result<Vec<Injection>, String> {
        self.inject(InjectRequest::Begin {
            fault: Fault::Hang {
                of: "web".to_owned(),
            },
            span: Millis::from_secs(600),
        })
    }

    /// Why each fault ended.
    fn undone(&self) -> Vec<String> {
        let because = |event: Event| match event.kind {
            EventKind::FaultUndone { because, .. } => Some(because),
            _ => None,
        };
        self.events().into_iter().filter_map(because).collect()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in self.began() {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
            let _ = nix::sys::signal::killpg(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

#[test]
fn what_is_fenced_is_written_down_before() {
    let agent = Alone::new("exit 3", "when_spent = \"fence\"\n");
    let fenced = |event: &Event| match &event.kind {
        EventKind::Action(record) => record.verb == Verb::Fence,
        _ => false,
    };
    agent.until("it is not fenced", |agent| {
        agent.events().iter().any(fenced)
    });
    let taken =
        |event: &Event| matches!(&event.kind, EventKind::BundleTaken { why, .. } if why == "fence");
    agent.until("nothing was written down", |agent| {
        agent.events().iter().any(taken)
    });
    let bundle = agent.bundle(DiagnoseRequest::Show {
        name: "web".to_owned(),
    });
    let fence = agent
        .events()
        .into_iter()
        .find(|event| fenced(event))
        .unwrap();
    assert!(
        bundle.at + bundle.took <= fence.at,
        "{} {}",
        bundle.at.0,
        fence.at.0
    );
    let section = |name: &str| {
        let found = bundle.sections.iter().find(|section| section.name == name);
        found.unwrap().text.clone()
    };
    assert!(section("journal").contains("out of cheese"), "{bundle:?}");
    assert!(
        section("processes").contains("no process of it is left"),
        "{bundle:?}"
    );
    assert!(!format!("{bundle:?}").contains("hunter2"), "{bundle:?}");
    // One more, by hand.
    let by_hand = agent.bundle(DiagnoseRequest::Take {
        of: "web".to_owned(),
    });
    assert_eq!(by_hand.name, "service.web-2");
    let none = LocalRequest::Diagnose(DiagnoseRequest::Take {
        of: "moon".to_owned(),
    });
    let LocalResponse::Error(error) = agent.ask(&none) else {
        panic!("a bundle of the moon");
    };
    assert!(error.contains("this host has: service web"), "{error}");
}

#[test]
fn nothing_is_broken_where_that_is_not_allowed() {
    let agent = Alone::new("while sleep 1; do :; done", "");
    agent.until("it does not begin", |agent| agent.began().len() == 1);
    let refused = agent.hang().unwrap_err();
    assert!(refused.contains("[inject] allow = true"), "{refused}");
    assert!(!agent.is(b'T'));
    assert_eq!(agent.inject(InjectRequest::List), Ok(Vec::new()));
}

#[test]
fn a_fault_is_taken_back_by_the_agent_that_ends_and_by_the_one_after_a_kill() {
    let mut agent = Alone::new("while sleep 1; do :; done", "[inject]\nallow = true\n");
    agent.until("it does not begin", |agent| agent.began().len() == 1);
    agent.until("it is not seen to run", |agent| agent.hang().is_ok());
    agent.until("it does not hang", |agent| agent.is(b'T'));
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    assert!(agent.is(b'T'), "nobody is there to take it back");
    agent.child = Alone::spawn(agent.dir.path());
    agent.until("it still hangs", |agent| !agent.is(b'T'));
    agent.until("it is not told", |agent| {
        agent.undone() == ["the agent began again"]
    });
    assert_eq!(agent.inject(InjectRequest::List), Ok(Vec::new()));
    assert_eq!(agent.began().len(), 1, "it was not restarted for it");
    // In order this time.
    agent.until("it is not seen to run", |agent| agent.hang().is_ok());
    agent.until("it does not hang", |agent| agent.is(b'T'));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(agent.child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(agent.child.wait().unwrap().success());
    assert!(!agent.is(b'T'), "it still hangs");
    agent.child = Alone::spawn(agent.dir.path());
    agent.until("it is not told", |agent| {
        agent.undone() == ["the agent began again", "the agent ends"]
    });
}

#[test]
fn a_kill_on_purpose_is_healed() {
    let agent = Alone::new("while sleep 1; do :; done", "[inject]\nallow = true\n");
    agent.until("it does not begin", |agent| agent.began().len() == 1);
    agent.until("it is not killed", |agent| {
        let kill = Fault::Kill {
            of: "web".to_owned(),
        };
        let span = Millis::from_secs(60);
        agent
            .inject(InjectRequest::Begin { fault: kill, span })
            .is_ok()
    });
    agent.until("it is not healed", |agent| agent.began().len() == 2);
}
