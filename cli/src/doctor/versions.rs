//! Are the programs of one version, and does the one that runs match the one that is installed?

use std::sync::Arc;

use super::place::program;
use super::{Place, Row, ask, fine, missing, warning};

/// What is installed together belongs together.
const PROGRAMS: [&str; 2] = ["nodemedic-agent", "nodemedic-watchdog"];

/// Version of this command line.
const OWN: &str = env!("CARGO_PKG_VERSION");

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    installed: Vec<(&'static str, Option<String>)>,
    running: Option<String>,
}

/// Looks.
pub async fn look(place: Arc<Place>) -> Vec<Row> {
    let mut installed = Vec::new();
    for name in PROGRAMS {
        let version = match program(name) {
            Some(path) => version_of(&path.display().to_string()).await,
            None => None,
        };
        installed.push((name, version));
    }
    let running = place.agent.as_ref().ok().map(|a| a.status.version.clone());
    judge(&Facts { installed, running })
}

async fn version_of(program: &str) -> Option<String> {
    let said = ask(program, &["--version"]).await.ok()?;
    said.out.split_whitespace().last().map(str::to_owned)
}

fn judge(facts: &Facts) -> Vec<Row> {
    let mut rows = vec![fine("nodemedic", format!("this command line is {OWN}"))];
    for (name, version) in &facts.installed {
        rows.push(match version.as_deref() {
            Some(OWN) => fine(name, OWN),
            Some(other) => warning(
                name,
                format!("{other}, this command line is {OWN}"),
                "what one asks the other may not understand",
                "install the packages of one version",
            ),
            None => missing(
                name,
                "not installed, or it does not say its version",
                "this host is not looked after",
                "apt install nodemedic-agent",
            ),
        });
    }
    let installed = facts.installed.first().and_then(|(_, v)| v.clone());
    if let (Some(running), Some(installed)) = (&facts.running, installed)
        && *running != installed
    {
        rows.push(warning(
            "running agent",
            format!("{running} runs, {installed} is installed"),
            "an upgrade is not in force yet",
            "systemctl restart nodemedic-agent (services and works go on)",
        ));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn one_version_is_well_and_each_difference_is_named() {
        let facts = |watchdog: Option<&str>, running: &str| Facts {
            installed: vec![
                (PROGRAMS[0], Some(OWN.to_owned())),
                (PROGRAMS[1], watchdog.map(str::to_owned)),
            ],
            running: Some(running.to_owned()),
        };
        let worst = |facts: &Facts| judge(facts).iter().map(|row| row.state).max().unwrap();
        assert_eq!(worst(&facts(Some(OWN), OWN)), State::Ok);
        assert_eq!(worst(&facts(Some("0.0.9"), OWN)), State::Warning);
        assert_eq!(worst(&facts(Some(OWN), "0.0.9")), State::Warning);
        assert_eq!(worst(&facts(None, OWN)), State::Missing);
    }
}
