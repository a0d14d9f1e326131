//! Real processes that are stopped and go on, real files and mounts, and agents that end in
//! between.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nodemedic_agent_core::UnitKey;
use nodemedic_protocol::event::EventKind;
use nodemedic_protocol::inject::{SPAN_MAX, SPAN_MIN};
use nodemedic_protocol::work::Run;
use nodemedic_protocol::{Component, ServiceName, Severity};
use tokio::time::sleep;

use super::record::{Record, Records, Undo};
use super::task::STANDING_MAX;
use super::*;
use crate::manager::target::Target;
use crate::sampler::pid_stat::stat_of;

/// Far beyond what a loaded machine needs; a test that gets here has failed.
const LIMIT: Duration = Duration::from_secs(60);

const LONG: Millis = Millis::from_secs(600);

struct World {
    dir: tempfile::TempDir,
    boot: &'static str,
}

/// One run of an agent.
struct Running {
    injector: Injector,
    inputs: mpsc::Receiver<Input>,
}

impl World {
    fn new() -> World {
        World::in_directory(std::env::temp_dir())
    }

    fn in_directory(parent: impl AsRef<Path>) -> World {
        World {
            dir: tempfile::tempdir_in(parent).unwrap(),
            boot: "boot-1",
        }
    }

    fn run(&self) -> Running {
        let (outbox, inputs) = mpsc::channel(64);
        let settings = Settings {
            records: self.dir.path().join("inject"),
            scratch: self.dir.path().join("run"),
            boot_id: BootId::new(self.boot).unwrap(),
            cgroup_root: "/sys/fs/cgroup".into(),
        };
        Running {
            injector: Injector::start(settings, outbox),
            inputs,
        }
    }

    fn records(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("inject")).map_or(0, Iterator::count)
    }
}

impl Running {
    async fn ask(&self, order: Order) -> Answer {
        let answered = self.injector.ask(order).unwrap();
        timeout(LIMIT, answered).await.unwrap().unwrap()
    }

    async fn begin(&self, fault: Fault, span: Millis, subject: Option<Subject>) -> Answer {
        let order = Order::Begin {
            fault,
            span,
            subject: subject.map(Box::new),
            fill_paths: Vec::new(),
        };
        self.ask(order).await
    }

    /// The next input as one line.
    async fn told(&mut self) -> String {
        let input = timeout(LIMIT, self.inputs.recv()).await.unwrap().unwrap();
        match input {
            Input::Noted { component, kind } => match kind {
                EventKind::FaultInjected { id, fault, .. } => {
                    format!("{component}: injected {id}: {fault}")
                }
                EventKind::FaultUndone { id, because, .. } => {
                    format!("{component}: undone {id}: {because}")
                }
                other => format!("{other:?}"),
            },
            Input::Pretended { id, condition, .. } => {
                format!("pretended {id}: {}", condition.is_some())
            }
            other => format!("{other:?}"),
        }
    }

    /// The agent is killed: nothing is taken back.
    async fn kill(self) {
        self.injector.task.abort();
        let _ended = self.injector.task.await;
    }
}

struct Victim(Child);

impl Victim {
    fn new() -> Victim {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new("/bin/sleep");
        command.arg("1000").stdin(Stdio::null());
        #[expect(
            unsafe_code,
            reason = "a session of its own is made between fork and exec"
        )]
        // SAFETY: setsid is async-signal-safe.
        unsafe {
            command.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into))
        };
        Victim(command.spawn().unwrap())
    }

    fn subject(&self) -> Subject {
        Subject {
            key: UnitKey::Service(ServiceName::new("web").unwrap()),
            run: Run::Command {
                start: vec!["/bin/sleep".to_owned()],
                stop: Vec::new(),
                environment: BTreeMap::new(),
            },
            probes: Vec::new(),
            target: Some(Target::Session {
                leader: self.0.id(),
                start_ticks: 0,
            }),
            unit_name: None,
            log: PathBuf::new(),
        }
    }

    fn is(&self, state: u8) -> bool {
        let stat = stat_of(Path::new("/proc"), self.0.id()).unwrap();
        stat.is_some_and(|stat| stat.state == state)
    }

    async fn until(&self, state: u8) {
        let seen = async {
            while !self.is(state) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, seen).await.unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hang() -> Fault {
    Fault::Hang {
        of: "web".to_owned(),
    }
}

#[tokio::test]
async fn what_hangs_goes_on_when_its_time_is_over() {
    let world = World::new();
    let mut agent = world.run();
    let victim = Victim::new();
    let begun = agent.begin(hang(), SPAN_MIN, Some(victim.subject())).await;
    let begun = begun.unwrap();
    assert!(begun[0].detail.contains("stopped process"), "{begun:?}");
    victim.until(b'T').await;
    assert_eq!(world.records(), 1);
    assert_eq!(agent.told().await, "service web: injected 1: hang web");
    assert_eq!(
        agent.told().await,
        "service web: undone 1: its time is over"
    );
    victim.until(b'S').await;
    assert_eq!(world.records(), 0);
    assert_eq!(agent.ask(Order::List).await.unwrap(), []);
}

#[tokio::test]
async fn an_agent_that_was_killed_takes_back_at_its_next_start_what_it_had_broken() {
    let world = World::new();
    let mut agent = world.run();
    let victim = Victim::new();
    agent
        .begin(hang(), LONG, Some(victim.subject()))
        .await
        .unwrap();
    victim.until(b'T').await;
    assert_eq!(agent.told().await, "service web: injected 1: hang web");
    agent.kill().await;
    assert!(victim.is(b'T'));
    let mut agent = world.run();
    assert_eq!(
        agent.told().await,
        "service web: undone 1: the agent began again"
    );
    victim.until(b'S').await;
    assert_eq!(world.records(), 0);
}

#[tokio::test]
async fn an_agent_that_ends_in_order_takes_everything_back_before() {
    let world = World::new();
    let agent = world.run();
    let victim = Victim::new();
    agent
        .begin(hang(), LONG, Some(victim.subject()))
        .await
        .unwrap();
    victim.until(b'T').await;
    let Running {
        injector,
        mut inputs,
    } = agent;
    injector.end(Millis::from_secs(60)).await;
    victim.until(b'S').await;
    let mut undone = false;
    while let Ok(input) = inputs.try_recv() {
        undone |= matches!(
            input,
            Input::Noted { kind: EventKind::FaultUndone { because, .. }, .. }
                if because == "the agent ends"
        );
    }
    assert!(undone);
}

#[tokio::test]
async fn a_process_that_a_person_stopped_stays_stopped_and_another_boot_continues_nobody() {
    let mut world = World::new();
    let victim = Victim::new();
    let pid = rustix::process::Pid::from_child(&victim.0);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    victim.until(b'T').await;
    let agent = world.run();
    let refused = agent.begin(hang(), LONG, Some(victim.subject())).await;
    assert!(refused.unwrap_err().contains("is stopped already"));
    // On record, but of an earlier boot: the number is another's now.
    let record = Record {
        id: 9,
        boot_id: BootId::new("boot-1").unwrap(),
        fault: hang(),
        since: nodemedic_protocol::WallTime(1),
        undo: Undo::Continue {
            of: Component::Host,
            processes: vec![(
                victim.0.id(),
                stat_of(Path::new("/proc"), victim.0.id())
                    .unwrap()
                    .unwrap()
                    .start_ticks,
            )],
        },
        detail: String::new(),
    };
    Records::new(world.dir.path().join("inject"))
        .keep(&record)
        .unwrap();
    agent.kill().await;
    world.boot = "boot-2";
    let mut agent = world.run();
    assert_eq!(agent.told().await, "host: undone 9: the agent began again");
    assert!(victim.is(b'T'));
}

/// A newer agent takes back what an older one broke.
#[test]
fn a_record_of_an_older_agent_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let text = concat!(
        r#"{"id":3,"boot_id":"b","fault":{"hang":{"of":"web"}},"since":7,"#,
        r#""undo":{"continue":{"of":{"service":"web"},"processes":[[12,34]]}},"#,
        r#""detail":"stopped process 12"}"#
    );
    let path = dir.path().join("fault-3.json");
    nodemedic_edge::files::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
    let all = Records::new(dir.path().to_owned()).all().unwrap();
    let Undo::Continue { processes, .. } = &all[0].undo else {
        panic!("{all:?}");
    };
    assert_eq!(processes, &[(12, 34)]);
    assert_eq!(serde_json::to_string(&all[0]).unwrap(), text);
}

#[tokio::test]
async fn a_kill_is_over_at_once_and_leaves_nothing_on_record() {
    let world = World::new();
    let mut agent = world.run();
    let mut victim = Victim::new();
    let kill = Fault::Kill {
        of: "web".to_owned(),
    };
    agent
        .begin(kill, LONG, Some(victim.subject()))
        .await
        .unwrap();
    assert_eq!(agent.told().await, "service web: injected 1: kill web");
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(victim.0.wait().unwrap().signal(), Some(9));
    assert_eq!(
        (world.records(), agent.ask(Order::List).await.unwrap()),
        (0, vec![])
    );
}

#[tokio::test]
async fn a_condition_is_pretended_and_taken_back_by_a_person() {
    let world = World::new();
    let mut agent = world.run();
    let fault = Fault::Condition {
        component: Component::Cpu,
        severity: Severity::Critical,
        message: "it burns".to_owned(),
    };
    agent.begin(fault, LONG, None).await.unwrap();
    assert_eq!(agent.told().await, "pretended 1: true");
    let injected = "cpu: injected 1: critical condition on cpu: it burns";
    assert_eq!(agent.told().await, injected);
    let other = agent.ask(Order::Undo { id: Some(7) }).await.unwrap_err();
    assert!(other.contains("no fault 7"), "{other}");
    agent.ask(Order::Undo { id: Some(1) }).await.unwrap();
    assert_eq!(agent.told().await, "pretended 1: false");
    assert_eq!(agent.told().await, "cpu: undone 1: a person says so");
}

#[tokio::test]
async fn only_a_directory_that_is_allowed_is_filled_and_it_is_given_back() {
    // In memory: on a disk that is nearly full nothing more may be filled.
    let world = World::in_directory("/dev/shm");
    let agent = world.run();
    let (allowed, other) = (world.dir.path().join("a"), world.dir.path().join("b"));
    for dir in [&allowed, &other] {
        std::fs::create_dir(dir).unwrap();
    }
    // A way out of what is allowed.
    std::os::unix::fs::symlink(&other, allowed.join("out")).unwrap();
    let fill = |path: &Path, bytes| {
        let fault = Fault::FillDisk {
            bytes,
            path: Some(path.display().to_string()),
        };
        agent.ask(Order::Begin {
            fault,
            span: LONG,
            subject: None,
            fill_paths: vec![allowed.clone()],
        })
    };
    for (path, bytes, why) in [
        (&other, 4096, "is not allowed"),
        (&allowed.join("out"), 4096, "is not allowed"),
        (&allowed.join("gone"), 4096, "cannot use"),
        (&allowed, u64::MAX, "stays free"),
    ] {
        let refused = fill(path, bytes).await.unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let before = std::fs::read_dir(&allowed).unwrap().count();
    let begun = fill(&allowed, 1 << 20).await.unwrap();
    let file = allowed.join(format!("nodemedic-inject-{}.fill", begun[0].id));
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 1 << 20);
    agent.ask(Order::Undo { id: None }).await.unwrap();
    assert_eq!(std::fs::read_dir(&allowed).unwrap().count(), before);
}

/// Where this may be done it is done and taken back, elsewhere the error names the right.
#[tokio::test]
async fn a_scratch_filesystem_is_filled_seen_and_gone_again() {
    let world = World::new();
    let agent = world.run();
    let fault = Fault::FillDisk {
        bytes: 1 << 20,
        path: None,
    };
    let begun = match agent.begin(fault, LONG, None).await {
        Ok(begun) => begun,
        Err(why) => {
            assert!(why.contains("CAP_SYS_ADMIN"), "{why}");
            assert_eq!(world.records(), 0, "half of it is left");
            return;
        }
    };
    let path = world
        .dir
        .path()
        .join(format!("run/scratch-{}", begun[0].id));
    let space = rustix::fs::statvfs(&path).unwrap();
    assert_eq!(
        (space.f_bavail, space.f_blocks * space.f_frsize),
        (0, 1 << 20)
    );
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let seen =
        crate::sampler::mounts::with_storage(crate::sampler::mounts::parse(&mounts).unwrap());
    assert!(
        seen.iter()
            .any(|mount| Path::new(&mount.mount_point) == path)
    );
    agent.ask(Order::Undo { id: None }).await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn an_interface_flaps_and_is_deleted() {
    let world = World::new();
    let agent = world.run();
    let every = Millis(100);
    let begun = match agent.begin(Fault::FlapNic { every }, LONG, None).await {
        Ok(begun) => begun,
        Err(why) => {
            assert!(why.contains("CAP_NET_ADMIN"), "{why}");
            assert_eq!(world.records(), 0, "half of it is left");
            return;
        }
    };
    let name = begun[0].detail.strip_prefix("made ").unwrap();
    let carrier = Path::new("/sys/class/net").join(name).join("carrier");
    for wanted in ["1\n", "0\n", "1\n"] {
        let seen = async {
            while std::fs::read_to_string(&carrier).is_ok_and(|text| text != wanted) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, seen).await.unwrap();
    }
    agent.ask(Order::Undo { id: None }).await.unwrap();
    assert!(!carrier.exists());
}

#[tokio::test]
async fn spans_and_numbers_are_bounded() {
    let world = World::new();
    let agent = world.run();
    let fault = || Fault::Condition {
        component: Component::Host,
        severity: Severity::Info,
        message: "x".to_owned(),
    };
    for span in [Millis(1), SPAN_MAX + Millis(1)] {
        let refused = agent.begin(fault(), span, None).await.unwrap_err();
        assert!(refused.contains("lasts from"), "{refused}");
    }
    for _ in 0..STANDING_MAX {
        agent.begin(fault(), LONG, None).await.unwrap();
    }
    let refused = agent.begin(fault(), LONG, None).await.unwrap_err();
    assert!(refused.contains("stand already"), "{refused}");
}
