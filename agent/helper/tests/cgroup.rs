//! Real processes in real cgroups of this machine, killed by each means that its kernel has. Needs
//! root, as a fence does.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is the error message of a test, in its helpers too"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nodemedic_helper::cgroup;

/// Forks for as long as it lives: what is killed one by one escapes.
const BREEDER: &str = "while :; do sleep 1000 & sleep 0.01; done";

struct Group(PathBuf);

impl Group {
    fn new(hierarchy: &Path, name: &str) -> Group {
        let path = hierarchy.join(format!("nodemedic-test-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("below")).unwrap();
        Group(path)
    }

    /// Starts it as a member.
    fn start(&self, place: &str, script: &str) -> Child {
        let procs = self.0.join(place).join("cgroup.procs");
        let enter = format!("echo $$ > {}; {script}", procs.display());
        let mut command = Command::new("sh");
        command.args(["-c", &enter]).process_group(0);
        command.spawn().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for path in [self.0.join("below"), self.0.clone()] {
            let _ = fs::remove_dir(path);
        }
    }
}

/// Waits until there are some, by looking.
fn until_there_are(root: &Path, group: &str, count: usize) {
    for _ in 0..1000 {
        if cgroup::members(root, group).unwrap().len() >= count {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    panic!("no {count} processes in {group}");
}

async fn breeds_and_dies(root: &Path, hierarchy: &Path, name: &str) {
    let group = Group::new(hierarchy, name);
    let path = format!("/{}", group.0.file_name().unwrap().to_str().unwrap());
    let mut children = [group.start(".", BREEDER), group.start("below", BREEDER)];
    until_there_are(root, &path, 8);
    let killed = cgroup::kill(root, &path).await.unwrap();
    assert!(killed >= 8, "{killed}");
    assert_eq!(cgroup::members(root, &path).unwrap(), [0_u32; 0]);
    for child in &mut children {
        child.wait().unwrap();
    }
    assert_eq!(cgroup::kill(root, &path).await.unwrap(), 0, "empty already");
}

fn unified() -> Option<PathBuf> {
    let all = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    all.into_iter()
        .find(|path| path.join("cgroup.controllers").exists())
}

#[tokio::test]
async fn a_group_of_version_2_is_killed_while_it_breeds() {
    let Some(hierarchy) = unified().filter(|_| rustix::process::geteuid().is_root()) else {
        println!("needs root and a cgroup hierarchy of version 2");
        return;
    };
    breeds_and_dies(&hierarchy, &hierarchy, "v2").await;
}

#[tokio::test]
async fn a_group_of_version_1_is_frozen_and_killed_while_it_breeds() {
    let named = Path::new("/sys/fs/cgroup/systemd");
    let freezer = Path::new("/sys/fs/cgroup/freezer");
    if !named.join("cgroup.procs").exists() || !rustix::process::geteuid().is_root() {
        println!("needs root and the cgroup hierarchies of version 1");
        return;
    }
    // As on a host that has version 1 alone.
    let root = tempfile::tempdir().unwrap();
    symlink(named, root.path().join("systemd")).unwrap();
    symlink(freezer, root.path().join("freezer")).unwrap();
    breeds_and_dies(root.path(), named, "v1").await;
    let left = freezer.join(format!("nodemedic-{}", std::process::id()));
    assert!(!left.exists(), "the frozen group is gone with its last");
}
