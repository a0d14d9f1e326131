//! `[fencing]`, `[fence.NAME]` and `[fence_node.NAME]`: fence devices, and which nodes they fence.

use std::collections::BTreeMap;
use std::path::Path;

use nodemedic_coordinator_core::fencing::settings::{DeviceSettings, FencingSettings, NodeFencing};
use nodemedic_edge::config::{ConfigError, Place};
use nodemedic_edge::files::read_capped;
use nodemedic_protocol::api::FenceThen;
use nodemedic_protocol::{DeviceName, Millis, NodeId};

use super::raw;
use crate::fence::{Devices, FenceDevice};

/// A password is one line; more is a wrong file.
const SECRET_FILE_MAX_BYTES: usize = 4096;

/// A call that takes longer helps nobody to fail over.
const TIMEOUT_MAX: Millis = Millis::from_secs(600);

/// A device that is asked more often has no time for a fence.
const MONITOR_MIN: Millis = Millis::from_secs(10);

/// What the coordinator says itself to an agent, by all its names.
const OURS: [&str; 5] = ["action", "option", "plug", "port", "nodename"];

/// Options that hold secrets, by all their names.
const SECRET: [&str; 3] = ["password", "passwd", "snmp_priv_passwd"];

/// Agents that take no power away: their `off` cuts a host off from its storage, or only watches
/// it, and then the old boot runs on and `status` speaks of something else.
const NO_POWER: [&str; 11] = [
    "fence_brocade",
    "fence_cisco_mds",
    "fence_ifmib",
    "fence_sanbox2",
    "fence_scsi",
    "fence_mpath",
    "fence_kdump",
    "fence_sbd",
    "fence_watchdog",
    "fence_heuristics_ping",
    "fence_ssh",
];

pub(super) fn check(
    fencing: &raw::Fencing,
    devices: BTreeMap<String, raw::Fence>,
    nodes: BTreeMap<String, raw::FenceNode>,
    place: &Place<'_>,
) -> Result<(FencingSettings, Devices), ConfigError> {
    let mut settings = FencingSettings::default();
    let mut checked = Devices::new();
    for (text, raw) in devices {
        let name = DeviceName::new(text.as_str())
            .map_err(|error| place.error(&["fence", &text], error.to_string()))?;
        settings
            .devices
            .insert(name.clone(), timeouts(&text, &raw, place)?);
        checked.insert(name, device(&text, raw, place)?);
    }
    for (text, raw) in &nodes {
        let (name, fencing) = node(text, raw, &checked, place)?;
        settings.nodes.insert(name, fencing);
    }
    settings
        .nodes
        .extend(unlisted(&checked, &settings.nodes, place)?);
    set_times(fencing, &mut settings, place)?;
    Ok((settings, checked))
}

fn set_times(
    raw: &raw::Fencing,
    settings: &mut FencingSettings,
    place: &Place<'_>,
) -> Result<(), ConfigError> {
    super::check::set(&mut settings.retry_first, raw.retry_first);
    super::check::set(&mut settings.retry_max, raw.retry_max);
    super::check::set(&mut settings.monitor_every, raw.monitor_every);
    if settings.retry_first == Millis::ZERO || settings.retry_max < settings.retry_first {
        return Err(place.error(
            &["fencing", "retry_max"],
            format!(
                "a fence that failed is tried again after {}, at most after {}; make the first \
                 above zero and the second not less",
                settings.retry_first, settings.retry_max
            ),
        ));
    }
    if settings.monitor_every < MONITOR_MIN {
        return Err(place.error(
            &["fencing", "monitor_every"],
            format!(
                "{} is less than {MONITOR_MIN}: a device that is asked so often has no time for a \
                 fence; 10m is ample",
                settings.monitor_every
            ),
        ));
    }
    Ok(())
}

fn timeouts(
    name: &str,
    raw: &raw::Fence,
    place: &Place<'_>,
) -> Result<DeviceSettings, ConfigError> {
    let mut settings = DeviceSettings::default();
    if let Some(all) = raw.timeout {
        settings = DeviceSettings {
            off: all,
            status: all,
            on: all,
            monitor: all,
        };
    }
    super::check::set(&mut settings.off, raw.off_timeout);
    super::check::set(&mut settings.status, raw.status_timeout);
    super::check::set(&mut settings.on, raw.on_timeout);
    super::check::set(&mut settings.monitor, raw.monitor_timeout);
    let all = [settings.off, settings.status, settings.on, settings.monitor];
    if all.iter().any(|t| *t == Millis::ZERO || *t > TIMEOUT_MAX) {
        return Err(place.error(
            &["fence", name],
            format!(
                "each timeout of a fence device must be above zero and at most {TIMEOUT_MAX}; \
                 60s is what Pacemaker gives them"
            ),
        ));
    }
    Ok(settings)
}

fn device(name: &str, raw: raw::Fence, place: &Place<'_>) -> Result<FenceDevice, ConfigError> {
    agent(name, &raw.agent, place)?;
    let mut options = BTreeMap::new();
    for (key, value) in raw.options {
        let (key, value) = option(name, key, value, place)?;
        options.insert(key, value);
    }
    let mut files = raw.secret_files;
    if let Some(file) = raw.password_file {
        files.insert("password".to_owned(), file);
    }
    let mut secrets = BTreeMap::new();
    for (key, file) in files {
        let value = secret(name, &place.path(file), place)?;
        secrets.insert(option_name(&key), value);
    }
    let mut plugs = BTreeMap::new();
    for (node, plug) in raw.nodes {
        let key = ["fence", name, "nodes", node.as_str()];
        let node_name =
            NodeId::new(node.as_str()).map_err(|error| place.error(&key, error.to_string()))?;
        one_line(&plug, &key, place)?;
        plugs.insert(node_name, plug);
    }
    if plugs.is_empty() {
        return Err(place.error(
            &["fence", name],
            "this device fences no node; write nodes = { \"node-1\" = \"PLUG\" }, with \"\" as the \
             plug of a device that has only one host",
        ));
    }
    Ok(FenceDevice {
        agent: raw.agent,
        options,
        secrets,
        plugs,
    })
}

fn agent(name: &str, agent: &Path, place: &Place<'_>) -> Result<(), ConfigError> {
    let key = ["fence", name, "agent"];
    let program = agent.file_name().unwrap_or_default().to_string_lossy();
    if NO_POWER.contains(&program.as_ref()) {
        return Err(place.error(
            &key,
            format!(
                "{program} takes no power away, so the host would run on while its work starts \
                 elsewhere; name an agent that switches power, such as fence_ipmilan or \
                 fence_apc_snmp"
            ),
        ));
    }
    if !agent.is_absolute() {
        return Err(place.error(
            &key,
            "write the whole path, such as /usr/sbin/fence_ipmilan",
        ));
    }
    if !agent.is_file() {
        return Err(place.error(
            &key,
            format!(
                "there is no file {}; install it (Debian and Fedora call the package \
                 fence-agents) or correct the path",
                agent.display()
            ),
        ));
    }
    Ok(())
}

/// Agents take `-` and `_` for the same.
fn option_name(key: &str) -> String {
    key.replace('-', "_")
}

fn option(
    name: &str,
    key: String,
    value: raw::Scalar,
    place: &Place<'_>,
) -> Result<(String, String), ConfigError> {
    let at = ["fence", name, "options", key.as_str()];
    let plain = option_name(&key);
    let value = match value {
        raw::Scalar::Text(text) => text,
        raw::Scalar::Number(number) => number.to_string(),
        raw::Scalar::Flag(flag) => u8::from(flag).to_string(),
    };
    if plain.is_empty()
        || !plain
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_')
    {
        return Err(place.error(&at, "an option's name has only letters, digits, - and _"));
    }
    if OURS.contains(&plain.as_str()) {
        return Err(place.error(
            &at,
            "the coordinator says this itself; the plug of a host goes into nodes = { \"node-1\" = \
             \"PLUG\" }",
        ));
    }
    if SECRET.contains(&plain.as_str()) {
        return Err(place.error(
            &at,
            format!(
                "a secret does not belong into this file; put it into one that only this service \
                 can read, and write password_file = \"FILE\" or secret_files = {{ {plain} = \
                 \"FILE\" }}"
            ),
        ));
    }
    if plain == "method" && value.trim().eq_ignore_ascii_case("cycle") {
        return Err(place.error(
            &at,
            "with \"cycle\" no agent can read OFF in between, so nothing would be proved; leave it \
             out, \"onoff\" is the default",
        ));
    }
    one_line(&value, &at, place)?;
    Ok((plain, value))
}

/// A line break in a value would be a key of its own to the agent.
fn one_line(value: &str, key: &[&str], place: &Place<'_>) -> Result<(), ConfigError> {
    if value.contains(['\n', '\r', '\0']) {
        let text = "a value for a fence agent is one line, without line breaks or NUL";
        return Err(place.error(key, text));
    }
    Ok(())
}

fn secret(name: &str, file: &Path, place: &Place<'_>) -> Result<String, ConfigError> {
    let key = ["fence", name];
    let bytes = read_capped(file, SECRET_FILE_MAX_BYTES)
        .map_err(|error| place.error(&key, error.to_string()))?
        .ok_or_else(|| {
            place.error(
                &key,
                format!(
                    "there is no file {}; put the secret into it, readable by this service only",
                    file.display()
                ),
            )
        })?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() || text.contains(['\n', '\r', '\0']) {
        let text = format!("{} must hold the secret as one line", file.display());
        return Err(place.error(&key, text));
    }
    Ok(text.to_owned())
}

fn node(
    text: &str,
    raw: &raw::FenceNode,
    devices: &Devices,
    place: &Place<'_>,
) -> Result<(NodeId, NodeFencing), ConfigError> {
    let key = ["fence_node", text, "levels"];
    let name = NodeId::new(text).map_err(|error| place.error(&key[..2], error.to_string()))?;
    let mut levels = Vec::new();
    for level in &raw.levels {
        let mut named = Vec::new();
        for device in level {
            let known = devices.keys().find(|d| d.as_str() == device);
            let Some(known) = known.filter(|d| devices[d].plugs.contains_key(&name)) else {
                return Err(place.error(
                    &key,
                    format!(
                        "there is no device {device:?} that fences {text}; a level names devices \
                         [fence.NAME] whose nodes have {text}"
                    ),
                ));
            };
            named.push(known.clone());
        }
        levels.push(named);
    }
    if levels.is_empty() || levels.iter().any(Vec::is_empty) {
        let text = "write at least one level, and at least one device in each, such as levels = \
                    [[\"ipmi-1\"], [\"pdu-a\", \"pdu-b\"]]";
        return Err(place.error(&key, text));
    }
    let then = match raw.then.as_deref() {
        None | Some("on") => FenceThen::On,
        Some("stay_off") => FenceThen::StayOff,
        Some(other) => {
            let key = ["fence_node", text, "then"];
            let text = format!(
                "{other:?} is not known; write \"on\" (the power comes back once the proof is \
                 stored) or \"stay_off\""
            );
            return Err(place.error(&key, text));
        }
    };
    let automatic = raw.automatic.unwrap_or(true);
    let fencing = NodeFencing {
        levels,
        automatic,
        then,
    };
    Ok((name, fencing))
}

/// A node that is named by one device and by no table of its own is fenced by that one.
fn unlisted(
    devices: &Devices,
    listed: &BTreeMap<NodeId, NodeFencing>,
    place: &Place<'_>,
) -> Result<BTreeMap<NodeId, NodeFencing>, ConfigError> {
    let mut nodes: BTreeMap<NodeId, NodeFencing> = BTreeMap::new();
    for (device, settings) in devices {
        for node in settings.plugs.keys().filter(|n| !listed.contains_key(n)) {
            let one = NodeFencing {
                levels: vec![vec![device.clone()]],
                automatic: true,
                then: FenceThen::On,
            };
            if nodes.insert(node.clone(), one).is_some() {
                return Err(place.error(
                    &["fence", device.as_str(), "nodes", node.as_str()],
                    format!(
                        "more than one device fences {node}, and nothing says how they go \
                         together; write [fence_node.{node}] with levels: all devices of one level \
                         must confirm (two power supplies), the next level is tried when one fails"
                    ),
                ));
            }
        }
    }
    Ok(nodes)
}
