//! Does polkit let an agent that is not root start and stop the units it looks after?

use std::path::Path;
use std::sync::Arc;

use super::{Place, Row, fine, gather, missing, warning};

const DAEMONS: [&str; 3] = [
    "/usr/lib/polkit-1/polkitd",
    "/usr/libexec/polkitd",
    "/usr/lib/policykit-1/polkitd",
];

const RULES: [&str; 4] = [
    "/etc/polkit-1/rules.d",
    "/run/polkit-1/rules.d",
    "/usr/local/share/polkit-1/rules.d",
    "/usr/share/polkit-1/rules.d",
];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    uid: Option<u32>,
    daemon: Option<&'static str>,
    /// Files with our name.
    rules: Vec<String>,
    /// Directories that may not be listed.
    closed: Vec<&'static str>,
}

/// Looks.
pub async fn look(place: Arc<Place>) -> Vec<Row> {
    let facts = gather(place, |place| {
        let mut facts = Facts {
            uid: place.agent_uid(),
            daemon: DAEMONS.into_iter().find(|path| Path::new(path).exists()),
            ..Facts::default()
        };
        for directory in RULES {
            match std::fs::read_dir(directory) {
                Ok(entries) => facts.rules.extend(
                    entries
                        .flatten()
                        .map(|entry| entry.path().display().to_string())
                        .filter(|path| path.contains("nodemedic") && path.ends_with(".rules")),
                ),
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    facts.closed.push(directory);
                }
                Err(_) => {}
            }
        }
        facts
    });
    facts
        .await
        .map_or_else(Vec::new, |facts| vec![judge(&facts)])
}

fn judge(facts: &Facts) -> Row {
    let check = "rules";
    let costs = "units cannot be started, stopped or killed: nothing under systemd is healed";
    match facts {
        Facts { uid: Some(0), .. } => fine(check, "not needed: the agent runs as root"),
        Facts { daemon: None, .. } => missing(
            check,
            "polkit is not installed",
            costs,
            "apt install polkitd",
        ),
        Facts { rules, .. } if !rules.is_empty() => fine(check, rules.join(", ")),
        Facts { closed, .. } if !closed.is_empty() => warning(
            check,
            format!("{} may not be listed", closed.join(", ")),
            "nobody knows whether units may be started",
            "sudo nodemedic doctor",
        ),
        Facts { uid: None, .. } => warning(
            check,
            "there is no rule for nodemedic, and no agent says whether it needs one",
            costs,
            "start the agent, then ask again",
        ),
        _ => missing(
            check,
            "no rule names nodemedic",
            costs,
            "install the package nodemedic-agent again: its rule is missing",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn a_rule_is_needed_by_an_agent_that_is_not_root() {
        let facts = |uid, rules: &[&str], closed: &[&'static str]| Facts {
            uid,
            daemon: Some(DAEMONS[0]),
            rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
            closed: closed.to_vec(),
        };
        assert_eq!(judge(&facts(Some(0), &[], &[])).state, State::Ok);
        assert_eq!(judge(&facts(Some(9), &["n.rules"], &[])).state, State::Ok);
        assert_eq!(
            judge(&facts(Some(9), &[], &[RULES[0]])).state,
            State::Warning
        );
        assert_eq!(judge(&facts(Some(9), &[], &[])).state, State::Missing);
        let no_polkit = Facts {
            daemon: None,
            ..facts(Some(9), &["n.rules"], &[])
        };
        assert_eq!(judge(&no_polkit).state, State::Missing);
    }
}
