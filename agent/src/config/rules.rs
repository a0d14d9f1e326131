//! Rules: percentages to thousandths, with what the core has for what nothing is said of.

use nodemedic_agent_core::config::{Rules, Windows};
use nodemedic_protocol::Millis;
use nodemedic_protocol::sample::PerMille;

use super::Mistake;
use super::raw::{RawCpuRules, RawFilesystemRules, RawMemoryRules, RawNicRules, RawRules};

pub(super) fn rules(raw: &RawRules) -> Result<Rules, Mistake> {
    let mut rules = Rules::default();
    processors(&raw.cpu, &mut rules)?;
    memory(&raw.memory, &mut rules)?;
    filesystems(&raw.filesystem, &mut rules)?;
    interfaces(&raw.nic, &mut rules);
    ordered(&rules)?;
    Ok(rules)
}

fn processors(raw: &RawCpuRules, rules: &mut Rules) -> Result<(), Mistake> {
    let key = ["rules", "cpu", "busy_warning_percent"];
    set(&key, raw.busy_warning_percent, &mut rules.cpu_busy)?;
    if let Some(load) = raw.load_per_cpu_warning {
        rules.load_per_cpu_milli = Some(u64::from(load) * 1000);
    }
    if raw.enabled == Some(false) {
        rules.cpu_busy = None;
        rules.load_per_cpu_milli = None;
    }
    rules.cpu_windows = windows(raw.bad_for, raw.clear_for, rules.cpu_windows);
    Ok(())
}

fn memory(raw: &RawMemoryRules, rules: &mut Rules) -> Result<(), Mistake> {
    for (key, percent, rule) in [
        (
            "available_warning_percent",
            raw.available_warning_percent,
            &mut rules.memory_warning,
        ),
        (
            "available_critical_percent",
            raw.available_critical_percent,
            &mut rules.memory_critical,
        ),
        (
            "pressure_warning_percent",
            raw.pressure_warning_percent,
            &mut rules.memory_pressure,
        ),
        (
            "io_pressure_warning_percent",
            raw.io_pressure_warning_percent,
            &mut rules.io_pressure,
        ),
    ] {
        set(&["rules", "memory", key], percent, rule)?;
        if raw.enabled == Some(false) {
            *rule = None;
        }
    }
    rules.memory_windows = windows(raw.bad_for, raw.clear_for, rules.memory_windows);
    Ok(())
}

fn filesystems(raw: &RawFilesystemRules, rules: &mut Rules) -> Result<(), Mistake> {
    for (key, percent, rule) in [
        (
            "space_warning_percent",
            raw.space_warning_percent,
            &mut rules.space_warning,
        ),
        (
            "space_critical_percent",
            raw.space_critical_percent,
            &mut rules.space_critical,
        ),
        (
            "inodes_warning_percent",
            raw.inodes_warning_percent,
            &mut rules.inodes_warning,
        ),
    ] {
        set(&["rules", "filesystem", key], percent, rule)?;
        if raw.enabled == Some(false) {
            *rule = None;
        }
    }
    rules.filesystem_windows = windows(raw.bad_for, raw.clear_for, rules.filesystem_windows);
    Ok(())
}

fn interfaces(raw: &RawNicRules, rules: &mut Rules) {
    let enabled = raw.enabled != Some(false);
    rules.link_down = raw.link_down.unwrap_or(rules.link_down) && enabled;
    rules.nic_errors_per_minute = raw
        .errors_per_minute
        .or(rules.nic_errors_per_minute)
        .filter(|_| enabled);
    rules.nic_windows = windows(raw.bad_for, raw.clear_for, rules.nic_windows);
}

/// Takes a percentage, if there is one.
fn set(key: &[&str], percent: Option<u32>, rule: &mut Option<PerMille>) -> Result<(), Mistake> {
    match percent {
        None => {}
        Some(percent @ 0..=100) => *rule = Some(PerMille(percent * 10)),
        Some(percent) => {
            return Err(Mistake::at(
                key,
                format!("{percent} is no share: use 0 to 100"),
            ));
        }
    }
    Ok(())
}

fn windows(bad_for: Option<Millis>, clear_for: Option<Millis>, default: Windows) -> Windows {
    Windows {
        bad_for: bad_for.unwrap_or(default.bad_for),
        clear_for: clear_for.unwrap_or(default.clear_for),
    }
}

/// What is critical is worse than what is a warning.
fn ordered(rules: &Rules) -> Result<(), Mistake> {
    for (table, key, warning, critical) in [
        (
            "memory",
            "available_critical_percent",
            rules.memory_warning,
            rules.memory_critical,
        ),
        (
            "filesystem",
            "space_critical_percent",
            rules.space_warning,
            rules.space_critical,
        ),
    ] {
        if let (Some(warning), Some(critical)) = (warning, critical)
            && critical > warning
        {
            return Err(Mistake::at(
                &["rules", table, key],
                format!(
                    "{} % is above the warning at {} %: what is critical must be less",
                    critical.0 / 10,
                    warning.0 / 10
                ),
            ));
        }
    }
    Ok(())
}
