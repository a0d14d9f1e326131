//! What systemd says about a unit, as text for people: a chosen list of properties. What a unit
//! is started with (its environment, its command line) is not on the list: it may hold secrets.

use zbus_systemd::systemd1::ManagerProxy;
use zbus_systemd::zbus;
use zbus_systemd::zbus::Variant;
use zbus_systemd::zbus::fdo::PropertiesProxy;

use super::bus::Bus;

const UNIT: [&str; 22] = [
    "Id",
    "Description",
    "LoadState",
    "LoadError",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "FragmentPath",
    "DropInPaths",
    "NeedDaemonReload",
    "Job",
    "ConditionResult",
    "AssertResult",
    "StateChangeTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
    "InactiveEnterTimestampMonotonic",
    "StartLimitBurst",
    "StartLimitIntervalUSec",
    "Requires",
    "BindsTo",
    "RequiredBy",
    "TriggeredBy",
];

const SERVICE: [&str; 27] = [
    "Type",
    "Restart",
    "NRestarts",
    "Result",
    "ReloadResult",
    "MainPID",
    "ControlPID",
    "ExecMainPID",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
    "StatusErrno",
    "WatchdogUSec",
    "WatchdogTimestampMonotonic",
    "TimeoutStartUSec",
    "TimeoutStopUSec",
    "User",
    "Slice",
    "ControlGroup",
    "OOMPolicy",
    "MemoryCurrent",
    "MemoryPeak",
    "MemoryMax",
    "TasksCurrent",
    "TasksMax",
    "CPUUsageNSec",
];

impl Bus {
    /// The chosen properties of a unit, one in a line.
    ///
    /// # Errors
    /// When systemd does not answer; the deadline is the caller's.
    pub async fn describe(&self, unit: &str) -> Result<String, String> {
        let connection = self.connection().await.map_err(|e| e.to_string())?;
        let manager = ManagerProxy::builder(&connection)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build();
        let manager = manager.await.map_err(|e| e.to_string())?;
        let path = manager.load_unit(unit.to_owned()).await;
        let path = path.map_err(|e| e.to_string())?;
        let properties = PropertiesProxy::builder(&connection)
            .destination("org.freedesktop.systemd1")
            .path(path)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build();
        let properties = properties.await.map_err(|e| e.to_string())?;
        let mut text = String::new();
        let interfaces = [
            ("org.freedesktop.systemd1.Unit", &UNIT[..]),
            ("org.freedesktop.systemd1.Service", &SERVICE[..]),
        ];
        for (interface, names) in interfaces {
            let interface = zbus::names::InterfaceName::from_static_str(interface);
            let interface = interface.map_err(|e| e.to_string())?;
            // Only services have the second one.
            let Ok(all) = properties.get_all(interface).await else {
                continue;
            };
            for name in names {
                if let Some(value) = all.get(*name) {
                    text.push_str(&format!("{name}={}\n", word(value)));
                }
            }
        }
        Ok(text)
    }
}

/// As `systemctl show` writes it.
fn word(value: &Variant<'_>) -> String {
    match value {
        Variant::Str(text) => text.to_string(),
        Variant::ObjectPath(path) => path.to_string(),
        Variant::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Variant::U32(number) => number.to_string(),
        Variant::I32(number) => number.to_string(),
        Variant::U64(u64::MAX) => "infinity".to_owned(),
        Variant::U64(number) => number.to_string(),
        Variant::Array(values) => {
            let words: Vec<String> = values.iter().map(word).collect();
            words.join(" ")
        }
        Variant::Structure(parts) => {
            let words: Vec<String> = parts.fields().iter().map(word).collect();
            words.join(" ")
        }
        other => other.to_string(),
    }
}
