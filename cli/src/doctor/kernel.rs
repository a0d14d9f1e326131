//! What of the kernel is used: cgroup v2 with kill and freeze, pidfd, pressure, nftables.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Place, Row, fine, gather, missing, warning, word};

/// pidfd_open(2).
const PIDFD: (u32, u32) = (5, 3);

/// cgroup.kill and cgroup.freeze, for where no group shows its files.
const KILL: (u32, u32) = (5, 14);
const FREEZE: (u32, u32) = (5, 2);

/// Programs are looked for here, whatever PATH this user has.
const SBIN: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    release: String,
    /// Mount point of cgroup v2.
    unified: Option<PathBuf>,
    /// It holds the controllers too.
    controllers: bool,
    kill: bool,
    freeze: bool,
    pressure: bool,
    nft: bool,
}

/// Looks.
pub async fn look(place: Arc<Place>) -> Vec<Row> {
    let facts = gather(place, |_| {
        let mounts = word("/proc/self/mountinfo").unwrap_or_default();
        let unified = unified(&mounts);
        let osrelease = word("/proc/sys/kernel/osrelease").unwrap_or_default();
        let since = |version| release(&osrelease).is_some_and(|now| now >= version);
        // The root group has neither; any other has both or none.
        let group = unified.as_deref().and_then(a_group);
        let has = |file: &str, version| match (&unified, &group) {
            (_, Some(group)) => group.join(file).exists(),
            (Some(_), None) => since(version),
            (None, _) => false,
        };
        let controllers = unified.as_ref().map(|root| root.join("cgroup.controllers"));
        let controllers = controllers.and_then(|path| word(&path.display().to_string()));
        Facts {
            controllers: controllers.is_some_and(|text| text.contains("memory")),
            kill: has("cgroup.kill", KILL),
            freeze: has("cgroup.freeze", FREEZE),
            unified,
            release: osrelease,
            pressure: word("/proc/pressure/memory").is_some(),
            nft: SBIN.iter().any(|dir| Path::new(dir).join("nft").exists()),
        }
    });
    facts.await.map_or_else(Vec::new, |facts| judge(&facts))
}

/// Where cgroup v2 is mounted, from mountinfo.
fn unified(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        filesystem.starts_with("cgroup2 ").then_some(())?;
        mount.split(' ').nth(4).map(PathBuf::from)
    })
}

fn a_group(root: &Path) -> Option<PathBuf> {
    let groups = std::fs::read_dir(root).ok()?.flatten();
    groups.map(|entry| entry.path()).find(|path| path.is_dir())
}

fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']).map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn judge(facts: &Facts) -> Vec<Row> {
    let mut rows = Vec::new();
    rows.push(match release(&facts.release) {
        Some(version) if version >= PIDFD => fine("pidfd", format!("kernel {}", facts.release)),
        Some(_) => missing(
            "pidfd",
            format!("kernel {}", facts.release),
            "the end of a process is no event, and a signal may reach another one",
            "kernel 5.3 or later",
        ),
        None => warning(
            "pidfd",
            "the kernel's version cannot be read",
            "nobody knows",
            "uname -r",
        ),
    });
    rows.push(groups(facts));
    let group = |check: &str, there: bool, since: &str, costs: &str| match there {
        true => fine(check, "there"),
        false => warning(
            check,
            "not there",
            costs,
            format!("kernel {since} with cgroup v2"),
        ),
    };
    rows.push(group(
        "cgroup.kill",
        facts.kill,
        "5.14",
        "what is fenced is killed process by process, which one that forks fast can outrun",
    ));
    rows.push(group(
        "freezer",
        facts.freeze,
        "5.2",
        "a group cannot be stood still while it is emptied",
    ));
    rows.push(match facts.pressure {
        true => fine("pressure", "/proc/pressure"),
        false => warning(
            "pressure",
            "/proc/pressure is not there",
            "a host that stalls for memory or storage is not seen to stall",
            "a kernel with CONFIG_PSI; where it is off by default, boot with psi=1",
        ),
    });
    rows.push(match facts.nft {
        true => fine("nftables", "nft is installed"),
        false => warning(
            "nftables",
            "nft is not installed",
            "the ports of a fenced service cannot be blocked (only used where block_ports is set)",
            "apt install nftables",
        ),
    });
    rows
}

/// The one hierarchy, or what there is of it.
fn groups(facts: &Facts) -> Row {
    match (&facts.unified, facts.controllers) {
        (Some(path), true) => fine("cgroup v2", path.display().to_string()),
        (Some(path), false) => warning(
            "cgroup v2",
            format!("{}, without the memory controller", path.display()),
            "an OOM kill within a unit is not counted, and memory of units is not seen",
            "boot with systemd.unified_cgroup_hierarchy=1",
        ),
        (None, _) => warning(
            "cgroup v2",
            "not mounted",
            "what is fenced is killed process by process, which one that forks fast can outrun",
            "boot with systemd.unified_cgroup_hierarchy=1",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn each_feature_that_is_not_there_is_a_row_with_its_price() {
        let all = Facts {
            release: "6.1.0-28-amd64".into(),
            unified: Some("/sys/fs/cgroup".into()),
            controllers: true,
            kill: true,
            freeze: true,
            pressure: true,
            nft: true,
        };
        assert!(judge(&all).iter().all(|row| row.state == State::Ok));
        let none = Facts {
            release: "4.19.0".into(),
            ..Facts::default()
        };
        let rows = judge(&none);
        assert!(
            rows.iter()
                .all(|row| row.state > State::Ok && row.costs.is_some())
        );
        assert_eq!(rows[0].state, State::Missing);
    }

    #[test]
    fn the_unified_hierarchy_is_found_in_a_hybrid_one() {
        let text = "30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                    31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(unified(text), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(unified("30 24 0:26 / /x ro - cgroup cgroup ro"), None);
        assert_eq!(release("6.18.2"), Some((6, 18)));
    }
}
