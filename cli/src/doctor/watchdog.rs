//! Who keeps the agent's promises when the agent cannot, and by what?

use std::path::Path;
use std::sync::Arc;

use nodemedic_protocol::work::Enforcement;

use super::{Place, Row, ask, fine, gather, missing, properties, warning, word};

const DEFAULTS: &str = "/etc/default/nodemedic-watchdog";
const CLASS: &str = "/sys/class/watchdog";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    /// Devices: name, and what the driver calls itself.
    devices: Vec<(String, String)>,
    /// The configuration wants one.
    wants_device: bool,
    socket: Option<String>,
    /// What the agent says.
    enforcement: Option<Enforcement>,
    /// systemd feeds a device itself.
    systemd_feeds: bool,
}

/// Looks.
pub async fn look(place: Arc<Place>) -> Vec<Row> {
    let args = ["show", "--property=RuntimeWatchdogUSec"];
    let said = ask("systemctl", &args)
        .await
        .map(|said| properties(&said.out));
    let feeds = said.is_ok_and(|found| {
        let span = found.get("RuntimeWatchdogUSec").map_or("", String::as_str);
        !matches!(span, "" | "0" | "infinity")
    });
    let facts = gather(place, move |place| {
        let agent = place.agent.as_ref().ok();
        let sockets = [
            place.wanted().paths.watchdog,
            Some("/run/nodemedic-watchdog/watchdog.sock".into()),
            Some(place.run().join("watchdog.sock")),
        ];
        let socket = sockets.into_iter().flatten().find(|path| path.exists());
        Facts {
            devices: devices(Path::new(CLASS)),
            wants_device: word(DEFAULTS).is_some_and(|text| wants_device(&text)),
            socket: socket.map(|path| path.display().to_string()),
            enforcement: agent.map(|agent| agent.status.enforcement),
            systemd_feeds: feeds,
        }
    });
    facts.await.map_or_else(Vec::new, |facts| judge(&facts))
}

fn devices(class: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(class).into_iter().flatten().flatten();
    let of = |path: &Path| word(&path.join("identity").display().to_string());
    let mut found: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, of(&entry.path()).unwrap_or_default())
        })
        .collect();
    found.sort();
    found
}

/// `NODEMEDIC_WATCHDOG="--device ..."`, commented lines apart.
fn wants_device(defaults: &str) -> bool {
    let live = |line: &&str| line.trim_start().starts_with("NODEMEDIC_WATCHDOG=");
    let last = defaults.lines().rfind(live);
    last.is_some_and(|line| line.contains("--device"))
}

fn judge(facts: &Facts) -> Vec<Row> {
    let mut rows = vec![match &facts.socket {
        Some(path) => fine("daemon", path.as_str()),
        None => missing(
            "daemon",
            "nodemedic-watchdog does not listen",
            "nobody ends exclusive work when the agent cannot: none is placed here by time alone",
            "systemctl enable --now nodemedic-watchdog",
        ),
    }];
    rows.push(match facts.enforcement {
        Some(Enforcement::Hardware { timeout }) => fine(
            "enforcement",
            format!("hardware: the host is reset within {timeout}"),
        ),
        Some(Enforcement::Software { .. }) => warning(
            "enforcement",
            "software: promises are kept by killing",
            "a kernel that hangs keeps no promise: its exclusive work may run on beside its \
             successor until it reboots",
            format!("where there is a device, name it in {DEFAULTS}"),
        ),
        Some(Enforcement::None) => missing(
            "enforcement",
            "none",
            "exclusive work that ran here starts elsewhere only after a fence or a person's word",
            "see that nodemedic-watchdog runs, and without --dry-run",
        ),
        None => warning(
            "enforcement",
            "no agent says",
            "nobody knows who keeps promises",
            "start the agent, then ask again",
        ),
    });
    rows.push(device(facts));
    if facts.systemd_feeds && facts.wants_device {
        rows.push(missing(
            "owner",
            "systemd feeds a watchdog itself (RuntimeWatchdogSec)",
            "only one program may hold the device: either nodemedic-watchdog does not start, or \
             the host is reset for other reasons",
            "RuntimeWatchdogSec=off in /etc/systemd/system.conf; systemctl daemon-reexec",
        ));
    }
    rows
}

/// Is there a device, and is it used?
fn device(facts: &Facts) -> Row {
    let names: Vec<String> = facts
        .devices
        .iter()
        .map(|(n, i)| format!("{n} ({i})"))
        .collect();
    match (facts.devices.is_empty(), facts.wants_device) {
        (false, true) => fine("device", names.join(", ")),
        (false, false) => warning(
            "device",
            format!("{} is there and not used", names.join(", ")),
            "a kernel that hangs is not reset",
            format!("NODEMEDIC_WATCHDOG=\"--device /dev/watchdog0 --timeout 30s\" in {DEFAULTS}"),
        ),
        (true, true) => missing(
            "device",
            format!("{DEFAULTS} names one, and there is none"),
            "the watchdog does not start",
            "load its driver (modprobe; softdog is better than none), or set --no-device",
        ),
        (true, false) => warning(
            "device",
            "none",
            "a kernel that hangs is not reset",
            "load the driver of the board's watchdog (iTCO_wdt, sp5100_tco, ipmi_watchdog; softdog \
             is better than none)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use nodemedic_protocol::Millis;

    #[test]
    fn hardware_is_well_software_has_a_price_and_none_is_missing() {
        let timeout = Millis(10_000);
        let with = |enforcement, wants_device| Facts {
            devices: vec![("watchdog0".into(), "iTCO_wdt".into())],
            wants_device,
            socket: Some("/run/w.sock".into()),
            enforcement: Some(enforcement),
            systemd_feeds: false,
        };
        let worst = |facts: &Facts| judge(facts).iter().map(|row| row.state).max().unwrap();
        assert_eq!(
            worst(&with(Enforcement::Hardware { timeout }, true)),
            State::Ok
        );
        assert_eq!(
            worst(&with(Enforcement::Software { timeout }, false)),
            State::Warning
        );
        assert_eq!(worst(&with(Enforcement::None, true)), State::Missing);
        let fed = Facts {
            systemd_feeds: true,
            ..with(Enforcement::Hardware { timeout }, true)
        };
        assert_eq!(worst(&fed), State::Missing);
        assert_eq!(worst(&Facts::default()), State::Missing);
    }

    #[test]
    fn a_commented_device_is_none() {
        let text = "#NODEMEDIC_WATCHDOG=\"--device /dev/w\"\nNODEMEDIC_WATCHDOG=\"--no-device\"";
        assert!(!wants_device(text));
        assert!(wants_device(
            "NODEMEDIC_WATCHDOG=\"--device /dev/watchdog0\""
        ));
    }
}
