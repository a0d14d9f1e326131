//! What is left in a cgroup: the proof that a unit is empty, and the last means to empty it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::manager::process::Process;

/// Cgroups below one unit; a unit with more delegates them and is not emptied by hand.
const GROUPS_MAX: usize = 10_000;

/// Where the groups of systemd are: unified, hybrid, or the named hierarchy of version 1.
const HIERARCHIES: [&str; 3] = ["", "unified", "systemd"];

/// The processes in a cgroup and below it. One that is gone is empty.
///
/// # Errors
/// When no hierarchy is there, or a group cannot be read: then nobody may say that it is empty.
pub fn members(root: &Path, group: &str) -> Result<Vec<u32>, String> {
    let group = group.trim_start_matches('/');
    if group.is_empty() {
        return Ok(Vec::new());
    }
    let hierarchies: Vec<PathBuf> = HIERARCHIES
        .iter()
        .map(|name| root.join(name))
        .filter(|path| path.join("cgroup.procs").exists())
        .collect();
    if hierarchies.is_empty() {
        return Err(format!(
            "no cgroup hierarchy of systemd under {}: mount it there, or nothing can be proved",
            root.display()
        ));
    }
    let mut found = Vec::new();
    for hierarchy in hierarchies {
        let mut groups = VecDeque::from([hierarchy.join(group)]);
        let mut seen = 0;
        while let Some(path) = groups.pop_front() {
            seen += 1;
            if seen > GROUPS_MAX {
                return Err(format!("more than {GROUPS_MAX} cgroups below {group}"));
            }
            read_group(&path, &mut found, &mut groups)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn read_group(
    path: &Path,
    found: &mut Vec<u32>,
    groups: &mut VecDeque<PathBuf>,
) -> std::io::Result<()> {
    let gone = |error: &std::io::Error| {
        // ENODEV: the group went away after it was opened.
        error.kind() == std::io::ErrorKind::NotFound
            || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
    };
    match std::fs::read_to_string(path.join("cgroup.procs")) {
        Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok())),
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        match entry {
            Ok(entry) if entry.file_type()?.is_dir() => groups.push_back(entry.path()),
            Ok(_) => {}
            Err(error) if gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Kills those that are still in it.
///
/// # Errors
/// When the group cannot be read or the right is missing.
pub fn kill(root: &Path, group: &str) -> Result<(), String> {
    for pid in members(root, group)? {
        let held = Process::open(pid, None).map_err(|error| error.to_string())?;
        // Held first, then looked again: the number cannot have become another's in between.
        if let Some(held) = held
            && members(root, group)?.contains(&pid)
        {
            held.signal(Signal::KILL)
                .map_err(|error| format!("cannot signal process {pid}: {error}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &Path, text: &str) {
        std::fs::create_dir_all(path).unwrap();
        let mut file = std::fs::File::create(path.join("cgroup.procs")).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    #[test]
    fn processes_below_a_group_count_and_a_gone_group_is_empty() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "1\n");
        put(&root.path().join("system.slice/web.service"), "7\n");
        put(&root.path().join("system.slice/web.service/sub"), "9\n");
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
