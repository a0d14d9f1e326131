//! A fence by steps, on a played systemd: what is on the disk whenever a step fails, so that a
//! crash there leaves a record of what must be undone.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is the error message of a test, in its helpers too"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nodemedic_helper::hands::Allowed;
use nodemedic_helper::{Allow, Answer, Hands, Places, Request, fenced, restore};

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        World {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A program of the host that does this, whatever it is asked.
    fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        let mut options = std::fs::OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o755)
            .open(&path);
        writeln!(file.unwrap(), "#!/bin/sh\n{script}").unwrap();
        path
    }

    fn places(&self, systemctl: &str, nft: &str) -> Places {
        Places {
            state: self.dir.path().join("state"),
            units: self.dir.path().join("units"),
            cgroups: "/sys/fs/cgroup".into(),
            sys: "/sys".into(),
            apart: None,
            systemctl: self.program("systemctl", systemctl),
            nft: self.program("nft", nft),
        }
    }

    async fn act(&self, systemctl: &str, nft: &str, request: Request) -> Answer {
        let ports = BTreeSet::from(["tcp/80".parse().unwrap()]);
        let services = [("web.service", ports), ("db.service", BTreeSet::new())];
        let allow = Allow {
            services: services
                .map(|(unit, ports)| (unit.to_owned(), ports))
                .into(),
            templates: None,
            remedies: BTreeMap::new(),
        };
        let allowed = Allowed::Given(Mutex::new(allow));
        Hands::new(self.places(systemctl, nft), allowed)
            .act(&request)
            .await
    }

    fn list(&self) -> BTreeMap<String, BTreeSet<nodemedic_helper::Port>> {
        fenced::read(&self.dir.path().join("state")).unwrap().0
    }

    fn is_masked(&self, unit: &str) -> bool {
        let link = std::fs::read_link(self.dir.path().join("units").join(unit));
        link.is_ok_and(|to| to == Path::new("/dev/null"))
    }
}

fn fence(unit: &str) -> Request {
    Request::Fence {
        unit: unit.to_owned(),
    }
}

fn unfence(unit: &str) -> Request {
    Request::Unfence {
        unit: unit.to_owned(),
    }
}

fn failed(answer: Answer) -> String {
    match answer {
        Answer::Failed(text) => text,
        other => panic!("{other:?}"),
    }
}

const MASKED: &str = "echo masked";
const LOADED: &str = "echo loaded";
const NO_NFT: &str = "echo 'no such thing' >&2; exit 1";

#[tokio::test]
async fn each_step_that_fails_leaves_the_record_and_is_no_success() {
    let world = World::new();
    let text = failed(world.act("exit 1", NO_NFT, fence("web.service")).await);
    assert!(
        text.contains("daemon-reload failed with status 1"),
        "{text}"
    );
    assert!(
        world.list().contains_key("web.service"),
        "on the list before it is masked"
    );
    let text = failed(world.act(LOADED, NO_NFT, fence("web.service")).await);
    assert!(
        text.contains("but systemd says that it is loaded"),
        "{text}"
    );
    let text = failed(world.act(MASKED, NO_NFT, fence("web.service")).await);
    assert!(text.contains("no such thing"), "{text}");
    assert_eq!(
        world.list()["web.service"].len(),
        1,
        "its ports are on the list"
    );
    assert!(world.is_masked("web.service"));
    // Its ports cannot be opened: it stays on the list, masked.
    let text = failed(world.act(LOADED, NO_NFT, unfence("web.service")).await);
    assert!(text.contains("no such thing"), "{text}");
    assert!(world.list().contains_key("web.service") && world.is_masked("web.service"));
}

#[tokio::test]
async fn only_what_was_done_is_undone() {
    let world = World::new();
    std::fs::create_dir(world.dir.path().join("units")).unwrap();
    symlink("/dev/null", world.dir.path().join("units/other.service")).unwrap();
    let done = world.act(MASKED, NO_NFT, fence("db.service")).await;
    assert_eq!(done, Answer::Done("on the list, masked".into()));
    let done = world.act(MASKED, NO_NFT, fence("db.service")).await;
    assert_eq!(
        done,
        Answer::Done("on the list, masked".into()),
        "twice is once"
    );
    // Masked by an administrator too, in /etc: that stays, and is told.
    let done = world.act(MASKED, NO_NFT, unfence("db.service")).await;
    let told = "off the list, still masked, by somebody else";
    assert_eq!(done, Answer::Done(told.into()));
    assert!(!world.is_masked("db.service") && world.list().is_empty());
    assert!(world.is_masked("other.service"));
    let done = world.act(LOADED, NO_NFT, unfence("web.service")).await;
    assert_eq!(done, Answer::Done("it was not kept out".into()));
    let refused = world.act(LOADED, NO_NFT, fence("ssh.service")).await;
    assert!(
        matches!(&refused, Answer::Refused(why) if why.contains("no service")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_boot_whose_generator_found_no_disk_masks_what_is_not() {
    let world = World::new();
    world.act(MASKED, NO_NFT, fence("db.service")).await;
    std::fs::remove_dir_all(world.dir.path().join("units")).unwrap();
    let already = world.places(MASKED, NO_NFT);
    assert_eq!(restore::run(&already).await, Ok(0));
    assert!(
        !world.is_masked("db.service"),
        "masked by the generator: nothing to do"
    );
    // Says `loaded` until it is reloaded.
    let flag = world.dir.path().join("reloaded");
    let script = format!(
        "case \"$*\" in *daemon-reload*) : > {0};; \
         *) test -e {0} && echo masked || echo loaded;; esac",
        flag.display()
    );
    assert_eq!(restore::run(&world.places(&script, NO_NFT)).await, Ok(0));
    assert!(world.is_masked("db.service"));
    assert_eq!(
        restore::run(&world.places("exit 1", NO_NFT)).await,
        Ok(1),
        "told, not hidden"
    );
}
