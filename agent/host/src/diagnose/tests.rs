//! Bundles of real processes, and the bounds of the shelf.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use nodemedic_protocol::work::Check;
use nodemedic_protocol::{Component, ServiceName, WallTime};

use super::*;

fn key() -> UnitKey {
    UnitKey::Service(ServiceName::new("web").unwrap())
}

struct World {
    dir: tempfile::TempDir,
    diagnostics: Diagnostics,
    inputs: mpsc::Receiver<Input>,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let (outbox, inputs) = mpsc::channel(8);
        let diagnostics = Diagnostics::new(
            Arc::new(Bus::new(Some("unix:path=/nonexistent".to_owned()))),
            "/sys/fs/cgroup".into(),
            BootId::new("boot-1").unwrap(),
            Shelf::new(dir.path().join("diagnose")),
            outbox,
        );
        World {
            dir,
            diagnostics,
            inputs,
        }
    }

    fn subject(&self, target: Option<Target>) -> Subject {
        Subject {
            key: key(),
            run: Run::Command {
                start: ["/usr/bin/thing", "--password=hunter2"]
                    .map(str::to_owned)
                    .into(),
                stop: Vec::new(),
                environment: BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]),
            },
            probes: vec![ProbeSpec {
                check: Check::Tcp {
                    address: "127.0.0.1:1".to_owned(),
                },
                interval: Millis(1000),
                timeout: Millis(60_000),
                fail_for: Millis(1000),
                within: None,
            }],
            target,
            unit_name: None,
            log: self.dir.path().join("service.web.log"),
        }
    }
}

/// A session of its own with a secret in its environment and in its arguments.
struct Leader(Child);

impl Leader {
    fn new() -> Leader {
        let mut command = Command::new("/bin/sleep");
        command
            .arg("1000")
            .env("TOKEN", "hunter2")
            .stdin(Stdio::null());
        #[expect(
            unsafe_code,
            reason = "a session of its own is made between fork and exec"
        )]
        // SAFETY: setsid is async-signal-safe.
        unsafe {
            command.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into))
        };
        Leader(command.spawn().unwrap())
    }

    fn target(&self) -> Target {
        Target::Session {
            leader: self.0.id(),
            start_ticks: 0,
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text<'b>(bundle: &'b Bundle, name: &str) -> &'b str {
    let found = bundle.sections.iter().find(|s| s.name == name);
    &found.unwrap().text
}

#[tokio::test]
async fn a_fence_is_preceded_by_a_bundle_that_names_processes_and_holds_no_secret() {
    let mut world = World::new();
    let leader = Leader::new();
    let log = world.dir.path().join("service.web.log");
    nodemedic_edge::files::write_atomic(&log, b"first\nout of cheese\n", 0o600).unwrap();
    let subject = world.subject(Some(leader.target()));
    let began = clock::boottime();
    world.diagnostics.before(Verb::Fence, || subject).await;
    assert!(clock::boottime().since(began) < BOUND + Millis(1000));
    let Some(Input::Noted { component, kind }) = world.inputs.recv().await else {
        panic!("no event");
    };
    assert_eq!(component, key().component());
    let EventKind::BundleTaken { name, why, .. } = kind else {
        panic!("{kind:?}");
    };
    assert_eq!((name.as_str(), why.as_str()), ("service.web-1", "fence"));
    let bundle = world.diagnostics.shelf().get("web").unwrap();
    let names: Vec<&str> = bundle.sections.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, SECTIONS.map(|row| row.name));
    assert!(text(&bundle, "journal").contains("out of cheese"));
    assert!(text(&bundle, "processes").contains("sleep"), "{bundle:?}");
    assert!(text(&bundle, "files").contains("0 /dev/null"), "{bundle:?}");
    assert!(text(&bundle, "probe").contains("it fails"), "{bundle:?}");
    assert!(text(&bundle, "top").contains("largest"), "{bundle:?}");
    assert!(text(&bundle, "pressure").contains("MemTotal"), "{bundle:?}");
    let path = world.dir.path().join("diagnose/service.web-1.json");
    let bytes = std::fs::read_to_string(&path).unwrap();
    assert!(!bytes.contains("hunter2"), "{bytes}");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[tokio::test]
async fn what_is_killed_hard_is_written_down_before() {
    let mut world = World::new();
    let subject = world.subject(None);
    world.diagnostics.before(Verb::Kill, || subject).await;
    let told = world.inputs.recv().await;
    assert!(
        matches!(&told, Some(Input::Noted { kind: EventKind::BundleTaken { why, .. }, .. })
            if why == "kill and restart"),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_stop_takes_no_bundle_and_a_fence_that_is_tried_again_none_either() {
    let mut world = World::new();
    for verb in [Verb::Stop, Verb::Start, Verb::Restart, Verb::Unfence] {
        world.diagnostics.before(verb, || unreachable!()).await;
    }
    for _ in 0..2 {
        let subject = world.subject(None);
        world.diagnostics.before(Verb::Fence, || subject).await;
    }
    assert!(matches!(
        world.inputs.recv().await,
        Some(Input::Noted { .. })
    ));
    assert!(world.inputs.try_recv().is_err());
    assert_eq!(world.diagnostics.shelf().list(None).unwrap().len(), 1);
}

#[tokio::test]
async fn what_hangs_is_left_out_within_the_bound_and_said_so() {
    let world = World::new();
    // A name that resolves, and an address that takes the connection and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut subject = world.subject(None);
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (ca, address) = (None, None);
    subject.probes[0].check = Check::Http { url, ca, address };
    // A FIFO that nobody writes to in place of the log: its reader hangs.
    nix::unistd::mkfifo(&subject.log, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let log = subject.log.clone();
    let bundle = world.diagnostics.take(subject).await.unwrap();
    assert!(bundle.took < BOUND + Millis(1000), "{}", bundle.took);
    let missing: BTreeMap<_, _> = bundle
        .sections
        .iter()
        .filter_map(|s| Some((s.name.as_str(), s.left_out.as_deref()?)))
        .collect();
    assert_eq!(missing.get("journal"), Some(&"not there within 2.0s"));
    assert!(text(&bundle, "probe").contains("it fails"), "{bundle:?}");
    // Lets the thread that hangs go.
    drop(std::fs::File::options().write(true).open(log));
}

fn bundle(about: &str, padding: usize) -> Bundle {
    Bundle {
        version: VERSION,
        name: String::new(),
        component: Component::Service(ServiceName::new(about).unwrap()),
        why: "fence".to_owned(),
        host: "h".to_owned(),
        boot_id: BootId::new("b").unwrap(),
        at: Boottime(1),
        wall: WallTime(1),
        took: Millis(1),
        sections: vec![Section {
            name: "unit".to_owned(),
            title: "x".to_owned(),
            text: "x".repeat(padding),
            left_out: None,
        }],
    }
}

#[test]
fn the_shelf_is_bounded_for_each_unit_for_all_and_in_bytes_and_numbers_rise() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(dir.path().to_owned());
    shelf.put(bundle("quiet", 1)).unwrap();
    for _ in 0..shelf::OF_ONE_MAX + 5 {
        shelf.put(bundle("loud", 1)).unwrap();
    }
    let names = |of| {
        let all = shelf.list(of).unwrap();
        all.into_iter().map(|b| b.name).collect::<Vec<_>>()
    };
    assert_eq!(names(Some("loud")).len(), shelf::OF_ONE_MAX);
    assert_eq!(names(Some("quiet")), ["service.quiet-1"]);
    assert_eq!(shelf.get("loud").unwrap().name, "service.loud-16");
    assert_eq!(shelf.get("service.loud-9").unwrap().name, "service.loud-9");
    let gone = shelf.get("service.loud-2").unwrap_err();
    assert!(gone.contains("diagnose --list"), "{gone}");
    for about in 0..shelf::BUNDLES_MAX {
        shelf.put(bundle(&format!("s{about}"), 1)).unwrap();
    }
    assert_eq!(names(None).len(), shelf::BUNDLES_MAX);
    for about in 0..12 {
        shelf.put(bundle(&format!("big{about}"), 3 << 20)).unwrap();
    }
    let bytes: u64 = shelf.list(None).unwrap().iter().map(|b| b.bytes).sum();
    assert!(bytes <= shelf::BYTES_MAX, "{bytes}");
}

#[test]
fn of_a_long_text_the_end_is_kept_from_a_whole_line_on() {
    assert_eq!(tail("short".to_owned(), 10), ("short".to_owned(), None));
    let (kept, word) = tail("one\ntwo\nthrée\n".to_owned(), 9);
    assert_eq!(kept, "thrée\n");
    assert_eq!(word.unwrap(), "only the last 7 of 15 bytes");
}
