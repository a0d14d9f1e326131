//! The real agent on a disk that refuses, and on files that it did not write like that.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is the error message of a test, in its helpers too"
)]

mod common;

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use nodemedic_edge::{clock, files};
use nodemedic_protocol::Millis;

/// Far beyond what a loaded machine needs; a test that gets here has failed.
const BOUND: Millis = Millis::from_secs(60);

/// How often a level is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// An agent that works alone, with one service that says in a file that it began.
struct Alone {
    dir: tempfile::TempDir,
    child: Child,
}

impl Alone {
    fn new(prepare: impl FnOnce(&Path)) -> Alone {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let script = format!("echo $$ >> {at}/ran; while sleep 1; do :; done");
        let text = format!(
            "node = \"alone\"\n[paths]\nstate = \"{at}/state\"\nrun = \"{at}/run\"\n\
             last_words = \"{at}/last-words\"\n[service.web]\n\
             command = [\"/bin/sh\", \"-c\", \"{script}\"]\nstop_grace = \"1s\"\n"
        );
        put(&dir.path().join("agent.toml"), text.as_bytes());
        for sub in ["state", "run"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        prepare(dir.path());
        let child = common::spawn(&[common::AGENT], dir.path());
        Alone { dir, child }
    }

    fn again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = common::spawn(&[common::AGENT], self.dir.path());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// Numbers of the processes that began.
    fn began(&self) -> Vec<i32> {
        let text = std::fs::read_to_string(self.path("ran")).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    fn until(&self, what: &str, mut is: impl FnMut(&Alone) -> bool) {
        let began = clock::boottime();
        while !is(self) {
            assert!(
                clock::boottime().since(began) < BOUND,
                "{what}\n{}",
                self.log()
            );
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Waits until it answers, and gives its newest events as text.
    fn events(&self) -> String {
        use std::io::{BufRead, BufReader, Write};
        let socket = self.path("run/agent.sock");
        self.until("it does not answer", |_| {
            UnixStream::connect(&socket).is_ok()
        });
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(b"{\"events\":{\"last\":200}}\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    }
}

fn put(path: &Path, bytes: &[u8]) {
    files::write_atomic(path, bytes, 0o644).unwrap();
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in self.began() {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::killpg(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

#[test]
fn nothing_is_restarted_while_its_restart_cannot_be_written_down() {
    let agent = Alone::new(|_| {});
    agent.until("it does not begin", |agent| agent.began().len() == 1);
    // A disk that is gone is as good as one that is full: no write succeeds.
    std::fs::rename(agent.path("state"), agent.path("away")).unwrap();
    let pid = nix::unistd::Pid::from_raw(agent.began()[0]);
    nix::sys::signal::killpg(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    agent.until("it does not say that it waits", |agent| {
        agent
            .log()
            .contains("was not begun: its restart cannot be written down")
    });
    let since = clock::boottime();
    agent.until("the clock stands", |agent| {
        assert_eq!(agent.began().len(), 1, "a restart that nobody counts");
        clock::boottime().since(since) > Millis::from_secs(2)
    });
    std::fs::rename(agent.path("away"), agent.path("state")).unwrap();
    agent.until("it does not begin again", |agent| agent.began().len() == 2);
    let memory = std::fs::read_to_string(agent.path("state/memory.json")).unwrap();
    assert!(memory.contains("\"uses\":[{"), "{memory}");
}

#[test]
fn a_state_that_is_emptied_under_a_running_host_forgets_neither_what_runs_nor_its_restarts() {
    let mut agent = Alone::new(|_| {});
    agent.until("it does not begin", |agent| agent.began().len() == 1);
    let pid = nix::unistd::Pid::from_raw(agent.began()[0]);
    nix::sys::signal::killpg(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    agent.until("it does not begin again", |agent| agent.began().len() == 2);
    let used = |agent: &Alone| {
        let memory = std::fs::read_to_string(agent.path("state/memory.json"));
        memory.is_ok_and(|text| {
            text.matches("\"unit\":{\"service\":\"web\"},\"boot_id\"")
                .count()
                == 1
        })
    };
    agent.until("the restart is not written down", used);
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    std::fs::remove_dir_all(agent.path("state")).unwrap();
    agent.child = common::spawn(&[common::AGENT], agent.dir.path());
    agent.until("it says nothing of it", |agent| {
        agent.log().contains("older than what this boot knows")
    });
    agent.until("the use is forgotten", used);
    let pid = nix::unistd::Pid::from_raw(agent.began()[1]);
    nix::sys::signal::killpg(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    // It holds what ran: its end is seen, and there is one of it again.
    agent.until("it does not begin again", |agent| agent.began().len() == 3);
}

#[test]
fn torn_and_foreign_files_are_set_aside_and_named() {
    let agent = Alone::new(|dir| {
        put(&dir.join("state/memory.json"), b"{\"version\":1,\"boot");
        put(&dir.join("run/leases.json"), &[0, 159, 146, 150]);
        put(&dir.join("last-words"), b"\x1b[2J\nparty\n");
    });
    agent.until("it does not begin", |agent| agent.began().len() == 1);
    for wanted in [
        "memory.json cannot be understood",
        "lost are restart budgets",
        "leases.json cannot be understood",
        "which all count as over",
        "last-words does not hold last words of nodemedic-watchdog",
    ] {
        agent.until(wanted, |agent| agent.log().contains(wanted));
    }
    assert!(agent.path("state/memory.damaged").exists());
    assert!(agent.path("run/leases.damaged").exists());
}

#[test]
fn last_words_are_told_once_over_restarts_of_the_agent() {
    let words = "version=1\nboot_id=before\nboottime_ms=71000\nwall_ms=1700000000000\n\
                 verdict=reset\ntarget=session 4242\nwhy=the agent is frozen\n";
    let mut agent = Alone::new(|dir| put(&dir.join("last-words"), words.as_bytes()));
    let told = |agent: &Alone| agent.events().matches("watchdog_acted").count();
    agent.until("it is not told", |agent| told(agent) == 1);
    assert!(agent.events().contains("the agent is frozen"));
    let durable = |agent: &Alone| {
        let memory = std::fs::read_to_string(agent.path("state/memory.json"));
        memory.is_ok_and(|text| text.contains("\"words\":[\"before\",71000]"))
    };
    agent.until("it is not remembered", durable);
    agent.again();
    // Longer than the wait for what the device says.
    let since = clock::boottime();
    agent.until("the clock stands", |_| {
        clock::boottime().since(since) > Millis::from_secs(12)
    });
    assert_eq!(told(&agent), 1, "{}", agent.events());
}
