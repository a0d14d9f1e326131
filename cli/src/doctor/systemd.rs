//! Is systemd there, new enough, does it start us, and does its journal outlive a crash?

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Place, Row, Said, ask, fine, missing, properties, warning};

/// What our units are written for: cgroup v2, `ExitType`, freezing.
const VERSION_MIN: u32 = 247;

/// RestartSteps; older ones ignore the key.
const VERSION_STEPS: u32 = 254;

const UNITS: [&str; 2] = ["nodemedic-agent.service", "nodemedic-watchdog.service"];

/// Looks.
pub async fn look(_place: Arc<Place>) -> Vec<Row> {
    if !Path::new("/run/systemd/system").is_dir() {
        return vec![warning(
            "manager",
            "systemd does not run here",
            "only services with `command` can be looked after, and nothing restarts the agent",
            "in a container that is as it must be; start nodemedic-agent by its supervisor",
        )];
    }
    let version = ask("systemctl", &["--version"]).await;
    let mut rows = vec![manager(&version)];
    for unit in UNITS {
        let args = [
            "show",
            unit,
            "--property=LoadState,ActiveState,UnitFileState",
        ];
        rows.push(unit_row(unit, &ask("systemctl", &args).await));
    }
    rows.push(journal(
        Path::new("/var/log/journal").is_dir(),
        &ask("journalctl", &["--lines=1", "--no-pager", "--quiet"]).await,
    ));
    rows
}

fn manager(said: &Result<Said, String>) -> Row {
    let check = "manager";
    let number = said.as_ref().ok().and_then(|said| {
        // systemd 252 (252.39-1~deb12u1)
        said.out.split_whitespace().nth(1)?.parse::<u32>().ok()
    });
    match number {
        Some(number) if number < VERSION_MIN => warning(
            check,
            format!("systemd {number}"),
            "nobody has tried it: freezing and the killing of groups may be missing",
            format!("systemd {VERSION_MIN} or later"),
        ),
        Some(number) if number < VERSION_STEPS => fine(
            check,
            format!(
                "systemd {number}; pauses between restarts of our daemons do not grow before 254"
            ),
        ),
        Some(number) => fine(check, format!("systemd {number}")),
        None => warning(
            check,
            "its version cannot be read",
            "nobody knows whether it is new enough",
            "systemctl --version",
        ),
    }
}

fn unit_row(unit: &str, said: &Result<Said, String>) -> Row {
    let said = match said {
        Ok(said) if said.code == Some(0) => said,
        Ok(Said { err, .. }) | Err(err) => {
            return warning(
                unit,
                format!("cannot be asked: {err}"),
                "nobody knows whether it runs after the next boot",
                "is D-Bus running? systemctl status dbus",
            );
        }
    };
    let found: BTreeMap<String, String> = properties(&said.out);
    let of = |key: &str| found.get(key).map_or("", String::as_str);
    let (active, file) = (of("ActiveState"), of("UnitFileState"));
    let seen = format!("{active}, {file}");
    match (of("LoadState"), active, file) {
        ("not-found", ..) => missing(
            unit,
            "is not installed",
            "nothing starts it, at boot or after a crash",
            "apt install nodemedic-agent",
        ),
        (_, "active", "enabled" | "enabled-runtime" | "static") => fine(unit, seen),
        (_, "active", _) => warning(
            unit,
            seen,
            "it does not run after the next boot",
            format!("systemctl enable {unit}"),
        ),
        _ => missing(
            unit,
            seen,
            "it does not run",
            format!("systemctl enable --now {unit}; journalctl -u {unit}"),
        ),
    }
}

fn journal(persistent: bool, said: &Result<Said, String>) -> Row {
    let check = "journal";
    match said {
        Ok(said) if said.code == Some(0) && persistent => fine(check, "kept over reboots"),
        Ok(said) if said.code == Some(0) => warning(
            check,
            "in memory only",
            "what a host said before it was reset is gone with the reset",
            "mkdir -p /var/log/journal; systemctl restart systemd-journald",
        ),
        Ok(Said { err, .. }) | Err(err) => warning(
            check,
            format!("cannot be read: {err}"),
            "diagnostics of a failed service lack what it wrote",
            "put this user into the group systemd-journal",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    fn said(out: &str) -> Result<Said, String> {
        Ok(Said {
            code: Some(0),
            out: out.to_owned(),
            err: String::new(),
        })
    }

    #[test]
    fn versions_are_read_as_systemctl_writes_them() {
        assert_eq!(
            manager(&said("systemd 257 (257.9-1)\n+PAM")).state,
            State::Ok
        );
        let old = manager(&said("systemd 252 (252.39-1~deb12u1)"));
        assert!(old.seen.contains("before 254"), "{old:?}");
        assert_eq!(manager(&said("systemd 239 (239)")).state, State::Warning);
        assert_eq!(manager(&said("")).state, State::Warning);
    }

    #[test]
    fn a_unit_must_run_now_and_after_the_next_boot() {
        let of = |active: &str, file: &str| {
            let text = format!("LoadState=loaded\nActiveState={active}\nUnitFileState={file}");
            unit_row("a.service", &said(&text)).state
        };
        assert_eq!(of("active", "enabled"), State::Ok);
        assert_eq!(of("active", "disabled"), State::Warning);
        assert_eq!(of("failed", "enabled"), State::Missing);
        let gone = said("LoadState=not-found\nActiveState=inactive\nUnitFileState=");
        assert_eq!(unit_row("a.service", &gone).state, State::Missing);
    }

    #[test]
    fn a_journal_in_memory_has_a_price() {
        assert_eq!(journal(true, &said("x")).state, State::Ok);
        assert_eq!(journal(false, &said("x")).state, State::Warning);
        assert_eq!(journal(true, &Err("no".to_owned())).state, State::Warning);
    }
}
