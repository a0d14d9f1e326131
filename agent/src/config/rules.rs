//! Rules: percentages to thousandths, with what the core has for what nothing is said of.

use nodemedic_agent_core::config::{Rules, Windows};
use nodemedic_protocol::Millis;
use nodemedic_protocol::sample::PerMille;

use super::Mistake;
use super::raw::RawRules;

pub(super) fn rules(raw: &RawRules) -> Result<Rules, Mistake> {
    let d = Rules::default();
    let (cpu, memory, fs, nic) = (&raw.cpu, &raw.memory, &raw.filesystem, &raw.nic);
    let percent = |table: &str, key: &str, enabled: Option<bool>, value, default| {
        let share = per_mille(&["rules", table, key], value, default)?;
        Ok::<_, Mistake>(share.filter(|_| enabled != Some(false)))
    };
    let rules = Rules {
        cpu_busy: percent(
            "cpu",
            "busy_warning_percent",
            cpu.enabled,
            cpu.busy_warning_percent,
            d.cpu_busy,
        )?,
        load_per_cpu_milli: cpu
            .load_per_cpu_warning
            .map(|load| u64::from(load) * 1000)
            .or(d.load_per_cpu_milli)
            .filter(|_| cpu.enabled != Some(false)),
        cpu_windows: windows(cpu.bad_for, cpu.clear_for, d.cpu_windows),
        memory_warning: percent(
            "memory",
            "available_warning_percent",
            memory.enabled,
            memory.available_warning_percent,
            d.memory_warning,
        )?,
        memory_critical: percent(
            "memory",
            "available_critical_percent",
            memory.enabled,
            memory.available_critical_percent,
            d.memory_critical,
        )?,
        memory_pressure: percent(
            "memory",
            "pressure_warning_percent",
            memory.enabled,
            memory.pressure_warning_percent,
            d.memory_pressure,
        )?,
        io_pressure: percent(
            "memory",
            "io_pressure_warning_percent",
            memory.enabled,
            memory.io_pressure_warning_percent,
            d.io_pressure,
        )?,
        memory_windows: windows(memory.bad_for, memory.clear_for, d.memory_windows),
        space_warning: percent(
            "filesystem",
            "space_warning_percent",
            fs.enabled,
            fs.space_warning_percent,
            d.space_warning,
        )?,
        space_critical: percent(
            "filesystem",
            "space_critical_percent",
            fs.enabled,
            fs.space_critical_percent,
            d.space_critical,
        )?,
        inodes_warning: percent(
            "filesystem",
            "inodes_warning_percent",
            fs.enabled,
            fs.inodes_warning_percent,
            d.inodes_warning,
        )?,
        filesystem_windows: windows(fs.bad_for, fs.clear_for, d.filesystem_windows),
        link_down: nic.link_down.unwrap_or(d.link_down) && nic.enabled != Some(false),
        nic_errors_per_minute: nic
            .errors_per_minute
            .or(d.nic_errors_per_minute)
            .filter(|_| nic.enabled != Some(false)),
        nic_windows: windows(nic.bad_for, nic.clear_for, d.nic_windows),
    };
    ordered(&rules)?;
    Ok(rules)
}

fn per_mille(
    key: &[&str],
    percent: Option<u32>,
    default: Option<PerMille>,
) -> Result<Option<PerMille>, Mistake> {
    match percent {
        None => Ok(default),
        Some(percent @ 0..=100) => Ok(Some(PerMille(percent * 10))),
        Some(percent) => Err(Mistake::at(
            key,
            format!("{percent} is no share: use 0 to 100"),
        )),
    }
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
