//! Network interfaces: a lost carrier, and errors that rise.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::health::Reason;
use nodemedic_protocol::sample::{Nic, Sample};
use nodemedic_protocol::{Boottime, Component, Millis, Severity};

use super::{History, Look, Reading};
use crate::conditions::Finding;
use crate::config::Rules;

/// Errors are counted over at least this long: a single burst in one second is no trend.
const COUNT_OVER: Millis = Millis::from_secs(60);

/// A count of errors that is under way.
#[derive(Clone, Debug)]
pub(crate) struct ErrorCount {
    since: Boottime,
    errors: u64,
    /// Errors a minute of the count before; absent until there is one.
    per_minute: Option<u64>,
}

pub(super) fn check(rules: &Rules, s: &Sample, history: &mut History, into: &mut Vec<Reading>) {
    let mut say = |name: &str, reason, look| {
        into.push(Reading {
            component: Component::Nic(name.to_string()),
            reason,
            look,
            windows: rules.nic_windows,
        });
    };
    for nic in &s.nics {
        match nic.carrier {
            Some(true) => {
                history.had_carrier.insert(nic.name.clone());
                if rules.link_down {
                    say(&nic.name, Reason::LinkDown, Look::Good);
                }
            }
            Some(false) if rules.link_down && history.had_carrier.contains(&nic.name) => {
                let finding = Finding::plain(
                    Severity::Warning,
                    format!("{} has lost its carrier", nic.name),
                );
                say(&nic.name, Reason::LinkDown, Look::Bad(finding));
            }
            // Never had one, or is administratively down: nobody expects a link there.
            Some(false) | None => {}
        }
        if let Some(limit) = rules.nic_errors_per_minute
            && let Some(look) = errors(limit, s.at, nic, &mut history.nic_errors)
        {
            say(&nic.name, Reason::ErrorsRising, look);
        }
    }
    if s.nics.is_empty() {
        return;
    }
    let gone: Vec<String> = history
        .had_carrier
        .iter()
        .filter(|name| !s.nics.iter().any(|n| n.name == **name))
        .cloned()
        .collect();
    for name in gone {
        for reason in [Reason::LinkDown, Reason::ErrorsRising] {
            say(&name, reason, Look::Gone);
        }
        history.nic_errors.remove(&name);
    }
}

fn errors(
    limit: u64,
    at: Boottime,
    nic: &Nic,
    counts: &mut BTreeMap<String, ErrorCount>,
) -> Option<Look> {
    let count = counts.entry(nic.name.clone()).or_insert(ErrorCount {
        since: at,
        errors: nic.errors,
        per_minute: None,
    });
    if nic.errors < count.errors {
        // The counter began again with the interface; what came before says nothing.
        *count = ErrorCount {
            since: at,
            errors: nic.errors,
            per_minute: None,
        };
    }
    let span = at.since(count.since);
    if span >= COUNT_OVER {
        let more = nic.errors - count.errors;
        count.per_minute = Some(more.saturating_mul(60_000) / span.0.max(1));
        count.since = at;
        count.errors = nic.errors;
    }
    let rate = count.per_minute?;
    Some(if rate >= limit {
        Look::Bad(Finding {
            severity: Severity::Warning,
            message: format!("{} has {rate} errors a minute", nic.name),
            evidence: BTreeMap::from([("errors_per_minute".to_string(), rate.to_string())]),
        })
    } else {
        Look::Good
    })
}
