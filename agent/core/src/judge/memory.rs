//! Memory that is left, and stalls for memory and storage by the kernel's pressure counters.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use nodemedic_protocol::health::Reason;
use nodemedic_protocol::sample::{PerMille, Sample};
use nodemedic_protocol::{Component, Severity};

use super::{History, Look, Reading};
use crate::conditions::Finding;
use crate::config::Rules;

pub(super) fn check(rules: &Rules, s: &Sample, _: &mut History, into: &mut Vec<Reading>) {
    let mut say = |component, reason, look| {
        into.push(Reading {
            component,
            reason,
            look,
            windows: rules.memory_windows,
        });
    };
    if let Some(memory) = &s.memory
        && let Some(available) = memory.available_bytes
        && let Some(share) = share(available, memory.total_bytes)
    {
        let severity = severity(share, rules.memory_warning, rules.memory_critical);
        let look = severity.map_or(Look::Good, |severity| {
            Look::Bad(Finding {
                severity,
                message: format!(
                    "{} MiB of {} MiB memory are available",
                    available >> 20,
                    memory.total_bytes >> 20
                ),
                evidence: BTreeMap::from([
                    ("available_bytes".to_string(), available.to_string()),
                    ("total_bytes".to_string(), memory.total_bytes.to_string()),
                ]),
            })
        });
        if rules.memory_warning.is_some() || rules.memory_critical.is_some() {
            say(Component::Memory, Reason::MemoryLow, look);
        }
    }
    let Some(pressure) = &s.pressure else { return };
    if let (Some(limit), Some(stall)) = (rules.memory_pressure, &pressure.memory) {
        let look = stalls(stall.some_avg10, limit, "memory");
        say(Component::Memory, Reason::MemoryPressure, look);
    }
    if let (Some(limit), Some(stall)) = (rules.io_pressure, &pressure.io)
        && let Some(full) = stall.full_avg10
    {
        say(
            Component::Host,
            Reason::IoPressure,
            stalls(full, limit, "storage"),
        );
    }
}

fn stalls(share: PerMille, limit: PerMille, what: &str) -> Look {
    if share < limit {
        return Look::Good;
    }
    Look::Bad(Finding {
        severity: Severity::Warning,
        message: format!("tasks stall for {what} {} % of the time", share.0 / 10),
        evidence: BTreeMap::from([("avg10_per_mille".to_string(), share.0.to_string())]),
    })
}

/// `part` of `whole` in thousandths; `None` of nothing.
pub(super) fn share(part: u64, whole: u64) -> Option<PerMille> {
    let share = u128::from(part) * 1000 / core::num::NonZeroU128::new(u128::from(whole))?;
    Some(PerMille(u32::try_from(share).unwrap_or(u32::MAX)))
}

/// How bad a share is that must not fall to these limits.
pub(super) fn severity(
    share: PerMille,
    warning: Option<PerMille>,
    critical: Option<PerMille>,
) -> Option<Severity> {
    if critical.is_some_and(|limit| share <= limit) {
        Some(Severity::Critical)
    } else if warning.is_some_and(|limit| share <= limit) {
        Some(Severity::Warning)
    } else {
        None
    }
}
