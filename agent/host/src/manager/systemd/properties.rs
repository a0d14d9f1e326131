//! Reads a unit's properties: two calls, whatever the number of properties.

use nodemedic_edge::clock;
use nodemedic_protocol::Boottime;
use zbus_systemd::zbus;

use super::bus::Attached;
use super::cgroup_path::CgroupPath;
use super::state::Properties;

/// Reads what matters.
///
/// # Errors
/// When the bus or systemd does not answer, or a property that every unit has is missing.
pub async fn read(attached: &Attached) -> Result<Properties, String> {
    let mut found = Properties::default();
    let interface = |name: &'static str| zbus::names::InterfaceName::from_static_str(name);
    let unit = interface("org.freedesktop.systemd1.Unit").map_err(|e| e.to_string())?;
    let all = attached
        .properties
        .get_all(unit)
        .await
        .map_err(|e| e.to_string())?;
    let text = |name: &str| -> Result<String, String> {
        let value = all.get(name).ok_or_else(|| format!("no property {name}"))?;
        <&str>::try_from(&**value)
            .map(str::to_owned)
            .map_err(|e| e.to_string())
    };
    found.load_state = text("LoadState")?;
    found.active_state = text("ActiveState")?;
    found.sub_state = text("SubState")?;
    let moment = |name: &str| {
        let value = all.get(name).and_then(|value| u64::try_from(&**value).ok());
        value.map(boottime_of)
    };
    let down_since = moment("InactiveEnterTimestampMonotonic");
    found.down_since = down_since.filter(|at| *at != Boottime(0));
    found.started = moment("InactiveExitTimestampMonotonic");
    found.has_job = all
        .get("Job")
        .and_then(|value| <&zbus::Structure<'_>>::try_from(&**value).ok())
        .and_then(|job| u32::try_from(job.fields().first()?).ok())
        .is_some_and(|id| id != 0);
    // Only services have these; targets, sockets and the like end without a process.
    let service = interface("org.freedesktop.systemd1.Service").map_err(|e| e.to_string())?;
    found.result = "success".to_owned();
    if let Ok(all) = attached.properties.get_all(service).await {
        let number = |name: &str| all.get(name).and_then(|v| i32::try_from(&**v).ok());
        let text = |name: &str| all.get(name).and_then(|v| <&str>::try_from(&**v).ok());
        found.main_pid = all
            .get("MainPID")
            .and_then(|value| u32::try_from(&**value).ok())
            .unwrap_or(0);
        found.exec_main_code = number("ExecMainCode").unwrap_or(0);
        found.exec_main_status = number("ExecMainStatus").unwrap_or(0);
        found.result = text("Result").unwrap_or("success").to_owned();
        found.control_group = text("ControlGroup").unwrap_or_default().to_owned();
    }
    Ok(found)
}

/// Names that are kept of each list. A unit that is ordered after more is a target.
const NAMES_MAX: usize = 256;

/// The units that start before it, and those that it requires.
///
/// # Errors
/// When systemd does not answer.
pub async fn ordering(attached: &Attached) -> Result<(Vec<String>, Vec<String>), String> {
    let unit = zbus::names::InterfaceName::from_static_str("org.freedesktop.systemd1.Unit")
        .map_err(|e| e.to_string())?;
    let all = attached.properties.get_all(unit).await;
    let all = all.map_err(|e| e.to_string())?;
    let names = |key: &str| -> Vec<String> {
        let value = all.get(key).and_then(|v| Vec::try_from(v.clone()).ok());
        let mut names: Vec<String> = value.unwrap_or_default();
        names.truncate(NAMES_MAX);
        names
    };
    let mut requires = names("Requires");
    requires.extend(names("BindsTo"));
    requires.extend(names("Requisite"));
    Ok((names("After"), requires))
}

/// What says where a unit's cgroup will be.
///
/// # Errors
/// When systemd does not answer, or the unit is of a kind without processes.
pub async fn cgroup_to_be(attached: &Attached) -> Result<CgroupPath, String> {
    let service = zbus::names::InterfaceName::from_static_str("org.freedesktop.systemd1.Service")
        .map_err(|e| e.to_string())?;
    let all = attached
        .properties
        .get_all(service)
        .await
        .map_err(|e| e.to_string())?;
    let text = |name: &str| all.get(name).and_then(|v| <&str>::try_from(&**v).ok());
    let slice = text("Slice").unwrap_or_default();
    if slice.is_empty() {
        return Err("systemd names no slice for it".to_owned());
    }
    let root = attached.manager.control_group().await;
    Ok(CgroupPath {
        root: root.map_err(|e| e.to_string())?,
        slice: slice.to_owned(),
        now: text("ControlGroup").unwrap_or_default().to_owned(),
    })
}

/// Of a moment of CLOCK_MONOTONIC, in which systemd counts. What a host slept since then moves it
/// to later, so what is said to be older than something is.
fn boottime_of(monotonic_us: u64) -> Boottime {
    if monotonic_us == 0 {
        return Boottime(0);
    }
    let ago = clock::monotonic_us().saturating_sub(monotonic_us);
    Boottime(clock::boottime_us().saturating_sub(ago) / 1000)
}
