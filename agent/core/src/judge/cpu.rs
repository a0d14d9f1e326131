//! Processors: saturation and run queue.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use nodemedic_protocol::health::Reason;
use nodemedic_protocol::sample::Sample;
use nodemedic_protocol::{Component, Severity};

use super::{History, Look, Reading};
use crate::conditions::Finding;
use crate::config::Rules;

pub(super) fn check(rules: &Rules, s: &Sample, _: &mut History, into: &mut Vec<Reading>) {
    let mut say = |reason, look| {
        into.push(Reading {
            component: Component::Cpu,
            reason,
            look,
            windows: rules.cpu_windows,
        });
    };
    let Some(cpu) = &s.cpu else { return };
    if let (Some(limit), Some(busy)) = (rules.cpu_busy, cpu.busy) {
        let look = if busy >= limit {
            Look::Bad(Finding {
                severity: Severity::Warning,
                message: format!("processors are {} % busy", busy.0 / 10),
                evidence: BTreeMap::from([("busy_per_mille".to_string(), busy.0.to_string())]),
            })
        } else {
            Look::Good
        };
        say(Reason::CpuSaturated, look);
    }
    if let (Some(limit), Some(load)) = (rules.load_per_cpu_milli, &s.load)
        && cpu.online > 0
    {
        let per_cpu = load.five_milli / u64::from(cpu.online);
        let look = if per_cpu >= limit {
            Look::Bad(Finding {
                severity: Severity::Warning,
                message: format!(
                    "load {}.{:02} on {} processors",
                    load.five_milli / 1000,
                    load.five_milli % 1000 / 10,
                    cpu.online
                ),
                evidence: BTreeMap::from([(
                    "load_5m_milli".to_string(),
                    load.five_milli.to_string(),
                )]),
            })
        } else {
            Look::Good
        };
        say(Reason::LoadHigh, look);
    }
}
