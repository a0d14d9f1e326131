//! What is left in a cgroup: the proof that a unit is empty, and the last means to empty it.
//!
//! Version 2 has `cgroup.kill` since Linux 5.14; before that the group is frozen, so that nothing
//! in it can fork away, and each process is sent SIGKILL. With version 1 the freezer is a hierarchy
//! of its own, into which the processes are moved first. Each way ends by looking again.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::sleep;

/// Cgroups below one unit; a unit with more delegates them and is not emptied by hand.
const GROUPS_MAX: usize = 10_000;

/// Where the groups of systemd are: unified, hybrid, or the named hierarchy of version 1.
const HIERARCHIES: [&str; 3] = ["", "unified", "systemd"];

/// How long what was sent SIGKILL may take to leave its cgroup. The kernel ends it at once, unless
/// it hangs in a system call that cannot be interrupted; then nobody can end it.
const ROUNDS: u32 = 30;
const ROUND: Duration = Duration::from_millis(100);

/// A process dies in less than this most times; the first looks are quicker.
const FIRST_ROUND: Duration = Duration::from_millis(5);

/// Looks at whether a group is frozen by now; each is a read of one file.
const FREEZE_LOOKS: u32 = 1000;

/// The processes in a cgroup and below it. One that is gone is empty.
///
/// # Errors
/// When no hierarchy is there, or a group cannot be read: then nobody may say that it is empty.
pub fn members(root: &Path, group: &str) -> Result<Vec<u32>, String> {
    let mut found = Vec::new();
    for group in places(root, group)? {
        found.extend(members_of(&group)?);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Kills everything in it and sees it empty; gives how many were there.
///
/// # Errors
/// When something is left, or cannot be seen or killed.
pub async fn kill(root: &Path, group: &str) -> Result<usize, String> {
    let first = members(root, group)?.len();
    let mut left = Vec::new();
    for round in 0..ROUNDS {
        let (in_root, of_group) = (root.to_owned(), group.to_owned());
        let struck = tokio::task::spawn_blocking(move || strike(&in_root, &of_group));
        struck.await.map_err(|error| error.to_string())??;
        sleep(if round < 5 { FIRST_ROUND } else { ROUND }).await;
        left = members(root, group)?;
        if left.is_empty() {
            let _none_of_version_1 = std::fs::remove_dir(ice(&root.join("freezer")));
            return Ok(first);
        }
    }
    Err(format!("still in {group} after SIGKILL: {left:?}"))
}

/// The directories of a group, one in each hierarchy.
fn places(root: &Path, group: &str) -> Result<Vec<PathBuf>, String> {
    let group = group.trim_start_matches('/');
    if group.is_empty() {
        return Ok(Vec::new());
    }
    let found: Vec<PathBuf> = HIERARCHIES
        .iter()
        .map(|name| root.join(name))
        .filter(|path| path.join("cgroup.procs").exists())
        .map(|path| path.join(group))
        .collect();
    if found.is_empty() {
        return Err(format!(
            "no cgroup hierarchy of systemd under {}: mount it there, or nothing can be proved",
            root.display()
        ));
    }
    Ok(found)
}

fn members_of(group: &Path) -> Result<Vec<u32>, String> {
    let mut found = Vec::new();
    let mut groups = VecDeque::from([group.to_owned()]);
    let mut seen = 0;
    while let Some(path) = groups.pop_front() {
        seen += 1;
        if seen > GROUPS_MAX {
            return Err(format!(
                "more than {GROUPS_MAX} cgroups below {}",
                group.display()
            ));
        }
        read_group(&path, &mut found, &mut groups)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    }
    Ok(found)
}

fn is_gone(error: &io::Error) -> bool {
    // ENODEV: the group went away after it was opened.
    error.kind() == ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

fn read_group(path: &Path, found: &mut Vec<u32>, groups: &mut VecDeque<PathBuf>) -> io::Result<()> {
    match std::fs::read_to_string(path.join("cgroup.procs")) {
        Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok())),
        Err(error) if is_gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        match entry {
            Ok(entry) if entry.file_type()?.is_dir() => groups.push_back(entry.path()),
            Ok(_) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// One blow, by the best means there is.
fn strike(root: &Path, group: &str) -> Result<(), String> {
    for place in places(root, group)?.iter().filter(|place| place.exists()) {
        let struck = if place.join("cgroup.kill").exists() {
            put(&place.join("cgroup.kill"), "1")
        } else if place.join("cgroup.freeze").exists() {
            frozen(&place.join("cgroup.freeze"), "1", "0", || kill_each(place))
        } else {
            in_freezer(&root.join("freezer"), place)
        };
        match struck {
            Err(error) if is_gone(&error) => {}
            other => other
                .map_err(|error| format!("cannot kill what is in {}: {error}", place.display()))?,
        }
    }
    Ok(())
}

/// Into a file of the kernel's, which takes no replacement.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

/// Does something while a group is frozen, and thaws it whatever came of it.
fn frozen(
    switch: &Path,
    freeze: &str,
    thaw: &str,
    act: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    put(switch, freeze)?;
    let done = act();
    // What is killed dies when it thaws: a group that stays frozen would keep it for ever.
    let thawed = put(switch, thaw);
    done.and(thawed)
}

/// Version 1: the processes are moved into a frozen group of our own. What they fork meanwhile is
/// found by looking again until nothing new is there.
fn in_freezer(hierarchy: &Path, place: &Path) -> io::Result<()> {
    if !hierarchy.join("cgroup.procs").exists() {
        return kill_each(place);
    }
    let ice = ice(hierarchy);
    match std::fs::create_dir(&ice) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let switch = ice.join("freezer.state");
    frozen(&switch, "FROZEN", "THAWED", || {
        let mut caught = std::collections::BTreeSet::new();
        for _ in 0..FREEZE_LOOKS {
            let members = members_of(place).map_err(io::Error::other)?;
            let fresh: Vec<u32> = (members.into_iter())
                .filter(|pid| caught.insert(*pid))
                .collect();
            for pid in &fresh {
                match put(&ice.join("cgroup.procs"), &pid.to_string()) {
                    // It ended meanwhile.
                    Err(error) if error.raw_os_error() == Some(ESRCH) => {}
                    other => other?,
                }
            }
            let state = std::fs::read_to_string(&switch)?;
            if fresh.is_empty() && state.trim() == "FROZEN" {
                break;
            }
        }
        kill_each(place)
    })
}

/// Where processes are frozen with version 1; it goes when the last of them has gone.
fn ice(hierarchy: &Path) -> PathBuf {
    hierarchy.join(format!("nodemedic-{}", std::process::id()))
}

/// No such process.
const ESRCH: i32 = rustix::io::Errno::SRCH.raw_os_error();

/// SIGKILL to each, held first: its number cannot become another's in between.
fn kill_each(place: &Path) -> io::Result<()> {
    for pid in members_of(place).map_err(io::Error::other)? {
        let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            continue;
        };
        let held = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(held) => held,
            // Ended, or its number is a thread's by now: the next look tells.
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => {
                continue;
            }
            Err(errno) => return Err(errno.into()),
        };
        if !members_of(place).map_err(io::Error::other)?.contains(&pid) {
            continue;
        }
        match pidfd_send_signal(&held, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &Path, text: &str) {
        std::fs::create_dir_all(path).unwrap();
        let mut file = std::fs::File::create(path.join("cgroup.procs")).unwrap();
        io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    #[test]
    fn processes_below_a_group_count_and_a_gone_group_is_empty() {
        let root = tempfile::tempdir().unwrap();
        place(root.path(), "1\n");
        place(&root.path().join("system.slice/web.service"), "7\n");
        place(&root.path().join("system.slice/web.service/sub"), "9\n");
        let all = members(root.path(), "/system.slice/web.service").unwrap();
        assert_eq!(all, [7, 9]);
        assert_eq!(
            members(root.path(), "/system.slice/gone").unwrap(),
            [0_u32; 0]
        );
        assert_eq!(members(root.path(), "").unwrap(), [0_u32; 0]);
    }

    #[test]
    fn without_a_hierarchy_nothing_is_proved() {
        let root = tempfile::tempdir().unwrap();
        let error = members(root.path(), "/x").unwrap_err();
        assert!(error.contains("nothing can be proved"), "{error}");
    }
}
