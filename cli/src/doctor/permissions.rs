//! May the agent do what it is for: as root, or as its own user with its helper?

use std::path::Path;
use std::sync::Arc;

use nix::unistd::{Group, Uid, User};

use super::{Place, Row, fine, gather, missing, warning};

/// Where the helper listens, as docs/reference/packages.md has it.
const HELPER: &str = "/run/nodemedic-helper/helper.sock";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    /// Of the agent that runs.
    uid: Option<u32>,
    name: Option<String>,
    /// Effective capabilities, as /proc/PID/status has them.
    capabilities: Option<u64>,
    helper: bool,
    /// It is in the group that may read the journal.
    journal: bool,
    /// This command runs as root.
    we_are_root: bool,
}

/// Looks.
pub async fn look(place: Arc<Place>) -> Vec<Row> {
    let facts = gather(place, |place| {
        let process = place.agent.as_ref().ok().and_then(|agent| agent.process);
        let uid = process.map(|(_, uid)| uid);
        let user = uid.and_then(|uid| User::from_uid(Uid::from_raw(uid)).ok().flatten());
        Facts {
            uid,
            name: user.map(|user| user.name),
            capabilities: process.and_then(|(pid, _)| capabilities(pid)),
            journal: process.is_some_and(|(pid, _)| reads_journal(pid)),
            helper: Path::new(HELPER).exists(),
            we_are_root: nix::unistd::geteuid().is_root(),
        }
    });
    facts.await.map_or_else(Vec::new, |facts| judge(&facts))
}

fn capabilities(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn reads_journal(pid: i32) -> bool {
    let group = Group::from_name("systemd-journal").ok().flatten();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    let mut groups = groups.unwrap_or_default().split_whitespace();
    group.is_some_and(|group| groups.any(|gid| gid == group.gid.to_string()))
}

fn judge(facts: &Facts) -> Vec<Row> {
    let mut rows = Vec::new();
    if !facts.we_are_root {
        rows.push(warning(
            "this command",
            "does not run as root",
            "some checks cannot see everything, and may say so",
            "sudo nodemedic doctor",
        ));
    }
    let name = facts.name.clone().unwrap_or_else(|| "?".to_owned());
    match facts.uid {
        None => rows.push(warning(
            "agent's user",
            "no agent answers, so its user is not known",
            "nobody knows what it may do",
            "start the agent, then ask again",
        )),
        Some(0) => rows.push(fine("agent's user", "root: it may do everything")),
        Some(_) => {
            let capabilities = facts.capabilities.unwrap_or(0);
            let text = format!("{name}, effective capabilities {capabilities:#x}");
            rows.push(fine("agent's user", text));
            rows.push(if facts.helper {
                fine("helper", HELPER)
            } else {
                missing(
                    "helper",
                    format!("{HELPER} is not there"),
                    "no service can be fenced for good: its group is not killed, it is not masked, \
                     its ports are not blocked",
                    "systemctl enable --now nodemedic-helper.socket",
                )
            });
            rows.push(if facts.journal {
                fine("journal", "the agent may read it")
            } else {
                warning(
                    "journal",
                    "the agent is not in the group systemd-journal",
                    "what is written down before a fence lacks what the service logged",
                    "systemctl edit nodemedic-agent: [Service] SupplementaryGroups=systemd-journal",
                )
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn an_agent_of_its_own_user_needs_its_helper_and_root_does_not() {
        let facts = |uid, helper| Facts {
            uid,
            helper,
            journal: true,
            we_are_root: true,
            ..Facts::default()
        };
        let worst = |facts: &Facts| judge(facts).iter().map(|row| row.state).max().unwrap();
        assert_eq!(worst(&facts(Some(0), false)), State::Ok);
        assert_eq!(worst(&facts(Some(990), true)), State::Ok);
        assert_eq!(worst(&facts(Some(990), false)), State::Missing);
        assert_eq!(worst(&facts(None, false)), State::Warning);
        let deaf = Facts {
            journal: false,
            ..facts(Some(990), true)
        };
        assert_eq!(worst(&deaf), State::Warning);
    }
}
