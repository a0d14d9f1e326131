//! Remedies of the host for real: files and hostile links, a filesystem that is read-only, an
//! interface that goes down and up. Those that need root are left out for who is not.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic is the error message of a test, and nothing of it must survive a crash"
)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nodemedic_helper::deeds::{Clean, Rebind};
use nodemedic_helper::hands::Allowed;
use nodemedic_helper::{
    Allow, Answer, Deed, Hands, Places, Request, links, mounts, restart, sysfs,
};
use nodemedic_protocol::Millis;

fn clean(directories: &[&Path]) -> Deed {
    Deed::Clean(Clean {
        directories: directories.iter().map(PathBuf::from).collect(),
        pattern: "*.gz".into(),
        older_than: Millis::from_secs(3600),
    })
}

fn hands(places: Places, deeds: &[(&str, Deed)]) -> Hands {
    let named = |(name, deed): &(&str, Deed)| ((*name).to_owned(), deed.clone());
    let allow = Allow {
        remedies: deeds.iter().map(named).collect(),
        ..Allow::default()
    };
    Hands::new(places, Allowed::Given(Mutex::new(allow)))
}

async fn cleaned(deed: Deed, dry_run: bool) -> Answer {
    let places = Places::of_host("/nowhere".into());
    let remedy = "logs".to_owned();
    let request = Request::Clean { remedy, dry_run };
    hands(places, &[("logs", deed)]).act(&request).await
}

/// A file that was written two hours ago.
fn old(path: &Path) {
    fs::write(path, "x").unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    let then = Millis(nodemedic_edge::clock::wall().0) - Millis::from_secs(7200);
    let then = std::time::UNIX_EPOCH + then.to_duration();
    file.set_modified(then).unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.unwrap().file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = fs::read_dir(directory).unwrap().map(name).collect();
    names.sort();
    names
}

#[tokio::test]
async fn only_old_files_of_that_name_in_that_directory_go() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let logs = dir.join("logs");
    let below = logs.join("below.gz");
    fs::create_dir_all(&below).unwrap();
    let precious = dir.join("precious.gz");
    for path in [
        &logs.join("a.gz"),
        &logs.join("b.gz"),
        &logs.join(".hidden.gz"),
        &logs.join("c.log"),
        &below.join("d.gz"),
        &precious,
    ] {
        old(path);
    }
    fs::write(logs.join("young.gz"), "x").unwrap();
    symlink(&precious, logs.join("link.gz")).unwrap();
    symlink(&dir, logs.join("linked-dir.gz")).unwrap();
    fs::hard_link(&precious, logs.join("hard.gz")).unwrap();
    let before = names(&logs);
    let Answer::Done(text) = cleaned(clean(&[&logs]), true).await else {
        panic!("a dry run failed");
    };
    assert!(text.starts_with("would remove 3 files"), "{text}");
    assert_eq!(names(&logs), before);
    let Answer::Done(text) = cleaned(clean(&[&logs]), false).await else {
        panic!("it failed");
    };
    assert!(text.starts_with("removed 3 files"), "{text}");
    assert_eq!(
        names(&logs),
        [
            ".hidden.gz",
            "below.gz",
            "c.log",
            "link.gz",
            "linked-dir.gz",
            "young.gz"
        ]
    );
    assert_eq!(names(&below), ["d.gz"]);
    assert!(precious.exists(), "only a name of it is gone");
}

#[tokio::test]
async fn a_directory_that_became_a_link_is_not_entered() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let real = dir.join("real");
    fs::create_dir_all(real.join("deep")).unwrap();
    old(&real.join("a.gz"));
    old(&real.join("deep/a.gz"));
    symlink(&real, dir.join("logs")).unwrap();
    for hostile in ["logs", "logs/deep", "real/a.gz"] {
        let answer = cleaned(clean(&[&dir.join(hostile)]), false).await;
        let Answer::Failed(text) = answer else {
            panic!("{hostile}: {answer:?}");
        };
        assert!(text.contains("links are not followed"), "{text}");
    }
    // One that cannot be entered does not keep the others from being cleaned.
    let answer = cleaned(clean(&[&dir.join("logs"), &real]), false).await;
    assert!(matches!(answer, Answer::Failed(_)), "{answer:?}");
    assert_eq!(names(&real), ["deep"]);
    assert_eq!(names(&real.join("deep")), ["a.gz"]);
}

fn program(dir: &Path, name: &str, script: &str) -> PathBuf {
    let path = dir.join(name);
    let mut options = fs::OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o755)
        .open(&path);
    writeln!(file.unwrap(), "#!/bin/sh\n{script}").unwrap();
    path
}

#[tokio::test]
async fn a_reboot_and_every_other_deed_need_their_own_declaration() {
    let dir = tempfile::tempdir().unwrap();
    let said = dir.path().join("said");
    let script = format!("echo \"$*\" >> {}", said.display());
    let places = Places {
        systemctl: program(dir.path(), "systemctl", &script),
        ..Places::of_host(dir.path().join("state"))
    };
    let none = hands(places.clone(), &[("srv", Deed::Remount("/srv".into()))]);
    let srv = || "srv".to_owned();
    for request in [
        Request::Reboot {},
        Request::Bounce { remedy: srv() },
        Request::Rebind { remedy: srv() },
        Request::Clean {
            remedy: srv(),
            dry_run: true,
        },
        Request::Remount {
            remedy: "other".to_owned(),
        },
    ] {
        let answer = none.act(&request).await;
        assert!(
            matches!(answer, Answer::Refused(_)),
            "{request}: {answer:?}"
        );
    }
    assert!(!said.exists());
    let one = hands(places, &[("reboot", Deed::Reboot)]);
    let answer = one.act(&Request::Reboot {}).await;
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    assert_eq!(
        fs::read_to_string(&said).unwrap(),
        "--system --no-ask-password --no-wall reboot\n"
    );
}

#[tokio::test]
async fn what_must_see_the_host_is_done_by_a_unit_of_its_own_and_its_answer_is_that_of_now() {
    let dir = tempfile::tempdir().unwrap();
    let answer = dir.path().join("remedy-srv.json");
    let act = async |script: &str| {
        let script = format!("[ \"$5\" = nodemedic-remedy@srv.service ] || exit 9\n{script}");
        let places = Places {
            apart: Some(dir.path().into()),
            systemctl: program(dir.path(), "systemctl", &script),
            ..Places::of_host(dir.path().join("state"))
        };
        let remedy = "srv".to_owned();
        let one = hands(places, &[("srv", Deed::Remount("/srv".into()))]);
        one.act(&Request::Remount { remedy }).await
    };
    let leave = |text: &str| format!("echo '{text}' > {}", answer.display());
    let done = act(&leave(r#"{"done":"it is read-write again"}"#)).await;
    assert_eq!(done, Answer::Done("it is read-write again".into()));
    let failed = act(&leave(r#"{"failed":"no such device"}"#)).await;
    assert_eq!(failed, Answer::Failed("no such device".into()));
    // What the answer of before was does not count.
    let Answer::Failed(text) = act("exit 1").await else {
        panic!("a unit that failed was believed");
    };
    assert!(text.contains("failed with status 1"), "{text}");
    assert!(!answer.exists());
}

#[tokio::test]
async fn units_are_restarted_in_order_and_not_beyond_one_that_fails() {
    let dir = tempfile::tempdir().unwrap();
    let said = dir.path().join("said");
    let script = format!(
        "echo \"$3 $5\" >> {}\ncase \"$3 $5\" in 'restart app.service') exit 1;; esac",
        said.display()
    );
    let systemctl = program(dir.path(), "systemctl", &script);
    let units = ["db.service", "app.service", "web.service"].map(str::to_owned);
    let error = restart::restart(&systemctl, &units).await.unwrap_err();
    assert!(
        error.contains("restart -- app.service failed with status 1"),
        "{error}"
    );
    assert_eq!(
        fs::read_to_string(&said).unwrap(),
        "reset-failed db.service\nrestart db.service\nreset-failed app.service\n\
         restart app.service\n"
    );
}

#[test]
fn a_device_is_taken_from_its_own_driver_only() {
    let dir = tempfile::tempdir().unwrap();
    let bus = dir.path().join("bus/pci");
    let device = bus.join("devices/0000:03:00.0");
    for directory in [
        &device,
        &bus.join("drivers/good"),
        &bus.join("drivers/other"),
    ] {
        fs::create_dir_all(directory).unwrap();
    }
    for file in ["good/bind", "good/unbind", "other/bind", "other/unbind"] {
        fs::write(bus.join("drivers").join(file), "").unwrap();
    }
    symlink(bus.join("drivers/good"), device.join("driver")).unwrap();
    let rebind = |driver: &str| Rebind {
        device: "/sys/bus/pci/devices/0000:03:00.0".into(),
        driver: driver.to_owned(),
    };
    let error = sysfs::rebind(dir.path(), &rebind("other")).unwrap_err();
    assert!(error.ends_with("belongs to good, not to other"), "{error}");
    let written = |file: &str| fs::read_to_string(bus.join("drivers").join(file)).unwrap();
    assert_eq!(written("other/unbind") + &written("good/unbind"), "");
    sysfs::rebind(dir.path(), &rebind("good")).unwrap();
    assert_eq!(written("good/unbind"), "0000:03:00.0");
    assert_eq!(written("good/bind"), "0000:03:00.0");
    // One that nobody took back is given to the driver that is named, and seen not to be taken.
    fs::remove_file(device.join("driver")).unwrap();
    let error = sysfs::rebind(dir.path(), &rebind("good")).unwrap_err();
    assert!(error.ends_with("was not taken by good"), "{error}");
}

/// On a thread of its own, which alone has the new namespace; absent without the right to make one.
fn apart<T: Send + 'static>(
    namespace: CloneFlags,
    act: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let thread = std::thread::spawn(move || unshare(namespace).ok().map(|()| act()));
    thread.join().unwrap()
}

#[test]
fn what_became_read_only_is_read_write_again_with_its_other_options() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().canonicalize().unwrap();
    let done = apart(CloneFlags::CLONE_NEWNS, move || {
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        mount(Some("tmpfs"), &place, Some("tmpfs"), flags, Some("size=1m")).unwrap();
        assert!(
            mounts::remount(&place)
                .unwrap()
                .contains("read-write already")
        );
        let read_only = flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, &place, none, read_only, none).unwrap();
        fs::write(place.join("x"), "x").unwrap_err();
        mounts::remount(&place).unwrap();
        fs::write(place.join("x"), "x").unwrap();
        let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let line = text
            .lines()
            .find(|line| line.contains(place.to_str().unwrap()));
        let line = line.unwrap();
        assert!(line.contains("nosuid") && line.contains("noexec"), "{line}");
        let error = mounts::remount(&place.join("below")).unwrap_err();
        assert!(error.starts_with("nothing is mounted on"), "{error}");
    });
    if done.is_none() {
        println!("left out: no right to make a mount namespace");
    }
}

fn ip(words: &str) -> String {
    let ran = std::process::Command::new("ip")
        .args(words.split(' '))
        .output()
        .unwrap();
    assert!(ran.status.success(), "ip {words}: {ran:?}");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

#[test]
fn an_interface_goes_down_and_up_and_one_that_is_down_is_left() {
    let done = apart(CloneFlags::CLONE_NEWNET, || {
        ip("link add test-7 type veth peer name test-6");
        ip("link set test-6 up");
        ip("address add 192.0.2.1/24 dev test-7");
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        let error = runtime.block_on(links::bounce("test-7")).unwrap_err();
        assert!(error.contains("left as it is"), "{error}");
        ip("link set test-7 up");
        ip("route add 198.51.100.0/24 via 192.0.2.2");
        runtime.block_on(links::bounce("test-7")).unwrap();
        assert!(ip("link show test-7").contains("UP"));
        // The kernel forgets such a route when the link goes down: so it was.
        assert!(!ip("route show").contains("198.51.100.0"));
        let error = runtime.block_on(links::bounce("test-8")).unwrap_err();
        assert!(
            error.starts_with("cannot find the interface test-8"),
            "{error}"
        );
    });
    if done.is_none() {
        println!("left out: no right to make a network namespace");
    }
}
