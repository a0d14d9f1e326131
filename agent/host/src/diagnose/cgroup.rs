//! The cgroup of the unit: what the kernel counts of it (cgroup-v2.rst).

use std::fmt::Write as _;

use super::processes::{members, word};
use super::{Found, Look};
use crate::manager::target::Target;

/// What is worth a look after a failure. Controllers that are not there leave no file.
const FILES: [&str; 14] = [
    "cgroup.events",
    "cgroup.freeze",
    "pids.current",
    "pids.max",
    "pids.events",
    "memory.current",
    "memory.high",
    "memory.max",
    "memory.swap.current",
    "memory.events",
    "cpu.stat",
    "cpu.pressure",
    "memory.pressure",
    "io.pressure",
];

/// Reads it.
pub fn read(look: &Look) -> Result<Found, String> {
    let path = match &look.subject.target {
        Some(Target::Cgroup { path }) => path.trim_start_matches('/'),
        Some(Target::Session { leader, .. }) => {
            return Ok(Found::from(format!(
                "it has no group of its own; it is session {leader}\n"
            )));
        }
        None => return Ok(Found::from("nothing of it runs\n".to_owned())),
    };
    let count = members(look)?.len();
    let mut text = format!("/{path}\nprocesses {count}\n");
    let hierarchies = ["", "unified", "systemd"].map(|name| look.cgroup_root.join(name));
    let group = hierarchies.iter().map(|root| root.join(path));
    let Some(group) = group.into_iter().find(|group| group.is_dir()) else {
        text.push_str("the group is gone\n");
        return Ok(Found::from(text));
    };
    for file in FILES {
        if let Some(value) = word(&group, file) {
            let value = value.replace('\n', "\n    ");
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{file}\n    {value}");
        }
    }
    Ok(Found::from(text))
}
