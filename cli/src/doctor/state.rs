//! Is there a place for what must survive, with room, and closed to others?

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::statvfs::statvfs;

use super::{Place, Row, fine, gather, missing, warning};
use crate::out::bytes;

/// Spool, bundles, logs of commands: what the agent itself may fill.
const ROOM_MIN_BYTES: u64 = 128 << 20;

/// Without any, nothing is restarted: a restart must be written down first.
const ROOM_NONE_BYTES: u64 = 4 << 20;

/// Each file needs one.
const INODES_MIN: u64 = 1000;

/// One directory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    name: &'static str,
    path: PathBuf,
    /// Mode and owner; absent when it is not there.
    mode: Option<(u32, u32)>,
    /// Bytes and inodes that are left.
    room: Option<(u64, u64)>,
    /// The agent's user, where it runs.
    agent: Option<u32>,
}

/// Looks.
pub async fn look(place: Arc<Place>) -> Vec<Row> {
    let seen = gather(place, |place| {
        let agent = place.agent_uid();
        let directories = [("state", place.state()), ("run", place.run())];
        directories.map(|(name, path)| see(name, path, agent))
    });
    let seen = seen.await;
    let rows = seen.iter().flatten().flat_map(judge);
    rows.collect()
}

fn see(name: &'static str, path: PathBuf, agent: Option<u32>) -> Seen {
    let meta = std::fs::metadata(&path)
        .ok()
        .filter(std::fs::Metadata::is_dir);
    Seen {
        name,
        mode: meta.map(|meta| (meta.permissions().mode() & 0o7777, meta.uid())),
        room: room(&path),
        path,
        agent,
    }
}

fn room(path: &Path) -> Option<(u64, u64)> {
    let space = statvfs(path).ok()?;
    let bytes = space
        .blocks_available()
        .saturating_mul(space.fragment_size());
    // Filesystems without a table of inodes say that there are none at all.
    let inodes = match space.files() {
        0 => u64::MAX,
        _ => space.files_available(),
    };
    Some((bytes, inodes))
}

fn judge(seen: &Seen) -> Vec<Row> {
    let path = seen.path.display();
    let Some((mode, owner)) = seen.mode else {
        return vec![missing(
            seen.name,
            format!("{path} is not there, or may not be looked into"),
            "the agent does not start",
            "start the agent, which makes it; or see [paths]",
        )];
    };
    let mut rows = vec![match seen.agent {
        Some(agent) if agent != 0 && agent != owner => missing(
            seen.name,
            format!("{path} belongs to user {owner}, the agent is user {agent}"),
            "restarts cannot be written down, so nothing is restarted",
            format!("chown -R {agent} {path}"),
        ),
        _ if mode & 0o002 != 0 && mode & 0o1000 == 0 => missing(
            seen.name,
            format!("{path} has mode {mode:04o}"),
            "every user of this host can change what the agent remembers",
            format!("chmod o-w {path}"),
        ),
        _ => fine(seen.name, format!("{path}, mode {mode:04o}")),
    }];
    let Some((left, inodes)) = seen.room else {
        rows.push(warning(
            "room",
            format!("{path} cannot be asked how much is left"),
            "nobody knows whether it fills up",
            format!("df {path}"),
        ));
        return rows;
    };
    let text = format!("{} left for {path}", bytes(left));
    rows.push(match (left, inodes) {
        (..ROOM_NONE_BYTES, _) | (_, ..10) => missing(
            "room",
            text,
            "restarts cannot be written down, so nothing is restarted; events are kept in memory",
            "free space on that filesystem",
        ),
        // What is in memory is small.
        _ if seen.name == "run" => fine("room", text),
        (..ROOM_MIN_BYTES, _) | (_, ..INODES_MIN) => warning(
            "room",
            text,
            "events and diagnostics of a long night may not fit",
            "free space on that filesystem",
        ),
        _ => fine("room", text),
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn owner_mode_and_room_are_judged() {
        let seen = Seen {
            name: "state",
            path: "/s".into(),
            mode: Some((0o750, 990)),
            room: Some((1 << 40, 1 << 20)),
            agent: Some(990),
        };
        let worst = |seen: Seen| judge(&seen).iter().map(|row| row.state).max().unwrap();
        assert_eq!(worst(seen.clone()), State::Ok);
        for (bad, state) in [
            (
                Seen {
                    mode: None,
                    ..seen.clone()
                },
                State::Missing,
            ),
            (
                Seen {
                    agent: Some(5),
                    ..seen.clone()
                },
                State::Missing,
            ),
            (
                Seen {
                    mode: Some((0o777, 990)),
                    ..seen.clone()
                },
                State::Missing,
            ),
            (
                Seen {
                    room: Some((1 << 20, 1 << 20)),
                    ..seen.clone()
                },
                State::Missing,
            ),
            (
                Seen {
                    room: Some((64 << 20, 1 << 20)),
                    ..seen.clone()
                },
                State::Warning,
            ),
            (
                Seen {
                    room: Some((1 << 40, 20)),
                    ..seen.clone()
                },
                State::Warning,
            ),
            (
                Seen {
                    room: None,
                    ..seen.clone()
                },
                State::Warning,
            ),
        ] {
            assert_eq!(worst(bad.clone()), state, "{bad:?}");
        }
    }
}
