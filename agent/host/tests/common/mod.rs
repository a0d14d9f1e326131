//! The agent's hands on real processes, without the core: what the tests of this crate and those of
//! the agent order them to do, and how both wait for what the kernel says.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nodemedic_agent_core::effect::{Act, ActionId, Gate, Watch};
use nodemedic_agent_core::{Input, Seen, UnitKey};
use nodemedic_agent_host::helper::Helper;
use nodemedic_agent_host::manager::{UnitSettings, Units};
use nodemedic_agent_host::sampler::pid_stat::{Stat, stat_of};
use nodemedic_agent_host::watchdog::confirm::{self, Questions};
use nodemedic_protocol::event::{Outcome, Verb};
use nodemedic_protocol::work::{ProbeSpec, Run};
use nodemedic_protocol::{BootId, Boottime, Generation, Millis, WorkName};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Far beyond what a loaded machine needs; a test that gets here has failed.
pub const BOUND: Duration = Duration::from_secs(60);

pub const GENERATION: Generation = Generation(7);

/// Services and works of one agent, for the one work of these tests.
pub struct Hands {
    pub dir: tempfile::TempDir,
    pub units: Units,
    pub inputs: mpsc::Receiver<Input>,
    actions: u64,
}

/// What differs between orders.
pub struct Order<'a> {
    pub verb: Verb,
    pub run: &'a Run,
    pub generation: Generation,
    pub stop_grace: Millis,
    pub begin_by: Option<Boottime>,
    pub gate: Option<Gate>,
}

impl Hands {
    /// In this directory; with what a client of the watchdog needs of them.
    pub fn on(
        dir: tempfile::TempDir,
        boot: &str,
        gate_program: &str,
    ) -> (Hands, Questions, mpsc::Sender<Input>) {
        let (outbox, inputs) = mpsc::channel(64);
        let settings = UnitSettings {
            state: dir.path().join("state"),
            run: dir.path().join("run"),
            boot_id: BootId::new(boot).unwrap(),
            bus_address: Some("unix:path=/nonexistent".into()),
            cgroup_root: "/sys/fs/cgroup".into(),
            seed: 1,
            gate_program: gate_program.into(),
            helper: Helper::here(
                dir.path().join("helper"),
                "/sys/fs/cgroup".into(),
                Default::default(),
            ),
        };
        let (confirmer, questions) = confirm::questions();
        let hands = Hands {
            dir,
            units: Units::new(settings, confirmer, outbox.clone()),
            inputs,
            actions: 0,
        };
        (hands, questions, outbox)
    }

    pub async fn next(&mut self) -> Input {
        timeout(BOUND, self.inputs.recv())
            .await
            .expect("nothing came within the bound")
            .expect("the queue ended")
    }

    pub async fn observed(&mut self) -> Seen {
        loop {
            if let Input::Observed { seen, .. } = self.next().await {
                return seen;
            }
        }
    }

    pub async fn watch(&mut self, run: &Run, probes: Vec<ProbeSpec>) -> Seen {
        self.units.watch(Watch {
            unit: unit(),
            run: run.clone(),
            probes,
            generation: Some(GENERATION),
        });
        self.observed().await
    }

    pub fn order(&mut self, order: Order<'_>) -> ActionId {
        self.actions += 1;
        let action = ActionId(self.actions);
        self.units.act(Act {
            action,
            unit: unit(),
            verb: order.verb,
            run: order.run.clone(),
            generation: Some(order.generation),
            environment: BTreeMap::from([("NODEMEDIC_NODE".into(), "node-1".into())]),
            stop_grace: order.stop_grace,
            timeout: Millis(40_000),
            begin_by: order.begin_by,
            gate: order.gate,
            hooks: None,
        });
        action
    }

    pub async fn ended(&mut self, wanted: ActionId) -> (Outcome, Seen) {
        loop {
            if let Input::ActionEnded {
                action,
                outcome,
                seen,
                ..
            } = self.next().await
                && action == wanted
            {
                return (outcome, seen);
            }
        }
    }

    /// In the work's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("state/work/db").join(name)
    }

    /// Waits until the work, which was started, has written this file of its own.
    pub async fn file(&self, name: &str) -> String {
        let path = self.path(name);
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let mut watching = inotify::init(flags).unwrap();
        let directory = path.parent().unwrap();
        inotify::add_watch(&watching, directory, inotify::WatchFlags::CLOSE_WRITE).unwrap();
        loop {
            if let Ok(text) = std::fs::read_to_string(&path)
                && text.ends_with('\n')
            {
                return text.trim().to_owned();
            }
            watching = readable(watching, "the file is not written").await;
            // What it says in detail is of no interest: the file is looked at again.
            while rustix::io::read(&watching, &mut [0; 4096]).is_ok() {}
        }
    }
}

pub fn unit() -> UnitKey {
    UnitKey::Work(WorkName::new("db").unwrap())
}

pub fn command(words: &[&str]) -> Run {
    Run::Command {
        start: words.iter().map(|word| (*word).to_owned()).collect(),
        stop: Vec::new(),
        environment: BTreeMap::new(),
    }
}

pub fn sh(script: &str) -> Run {
    command(&["/bin/sh", "-c", script])
}

pub fn stat(pid: u32) -> Option<Stat> {
    stat_of(Path::new("/proc"), pid).unwrap()
}

pub fn lives(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !stat.is_over())
}

/// Waits until the kernel has something to say through this descriptor.
pub async fn readable(fd: OwnedFd, what: &str) -> OwnedFd {
    let waiting = tokio::task::spawn_blocking(move || {
        let within = Timespec::try_from(BOUND).unwrap();
        let mut wanted = [PollFd::new(&fd, PollFlags::IN)];
        (poll(&mut wanted, Some(&within)).unwrap() == 1).then_some(fd)
    });
    waiting.await.unwrap().expect(what)
}
