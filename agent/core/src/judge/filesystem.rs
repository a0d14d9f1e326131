//! Filesystems: space, inodes, and a mount that became read-only.
//!
//! One that does not answer has no sizes in the sample: that is unknown, never bad.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::health::Reason;
use nodemedic_protocol::sample::{Filesystem, Sample};
use nodemedic_protocol::{Component, Severity};

use super::memory::{severity, share};
use super::{History, Look, Reading};
use crate::conditions::Finding;
use crate::config::Rules;

pub(super) fn check(rules: &Rules, s: &Sample, history: &mut History, into: &mut Vec<Reading>) {
    let mut say = |path: &str, reason, look| {
        into.push(Reading {
            component: Component::Filesystem(path.to_string()),
            reason,
            look,
            windows: rules.filesystem_windows,
        });
    };
    for fs in &s.filesystems {
        let path = fs.mount_point.as_str();
        if let Some(look) = space(rules, fs) {
            say(path, Reason::SpaceLow, look);
        }
        if let Some(look) = inodes(rules, fs) {
            say(path, Reason::InodesLow, look);
        }
        if fs.writable {
            history.was_writable.insert(fs.mount_point.clone());
            say(path, Reason::ReadOnly, Look::Good);
        } else if history.was_writable.contains(path) {
            let finding = Finding::plain(
                Severity::Critical,
                format!("{path} was writable and is mounted read-only now"),
            );
            say(path, Reason::ReadOnly, Look::Bad(finding));
        }
    }
    // An empty table means that it could not be read: every host has a root.
    if s.filesystems.is_empty() {
        return;
    }
    let there: BTreeSet<&str> = s
        .filesystems
        .iter()
        .map(|f| f.mount_point.as_str())
        .collect();
    let unread = |path: &str| {
        let source = format!("filesystem {path}");
        s.unread.iter().any(|u| u.source == source)
    };
    let gone: Vec<String> = history
        .was_writable
        .iter()
        .filter(|path| !there.contains(path.as_str()) && !unread(path))
        .cloned()
        .collect();
    for path in gone {
        for reason in [Reason::SpaceLow, Reason::InodesLow, Reason::ReadOnly] {
            say(&path, reason, Look::Gone);
        }
    }
}

fn space(rules: &Rules, fs: &Filesystem) -> Option<Look> {
    // What cannot be written to cannot be freed either: an image is full by design.
    if !fs.writable || rules.space_warning.is_none() && rules.space_critical.is_none() {
        return None;
    }
    let (available, total) = (fs.available_bytes?, fs.total_bytes?);
    let left = share(available, total)?;
    let severity = severity(left, rules.space_warning, rules.space_critical);
    Some(severity.map_or(Look::Good, |severity| {
        Look::Bad(Finding {
            severity,
            message: format!(
                "{} of {} MiB are left on {}",
                available >> 20,
                total >> 20,
                fs.mount_point
            ),
            evidence: BTreeMap::from([
                ("available_bytes".to_string(), available.to_string()),
                ("total_bytes".to_string(), total.to_string()),
            ]),
        })
    }))
}

fn inodes(rules: &Rules, fs: &Filesystem) -> Option<Look> {
    let limit = rules.inodes_warning?;
    let (free, total) = (fs.inodes_free?, fs.inodes_total?);
    let left = share(free, total)?;
    if !fs.writable {
        return None;
    }
    Some(if left <= limit {
        Look::Bad(Finding {
            severity: Severity::Warning,
            message: format!("{free} of {total} inodes are left on {}", fs.mount_point),
            evidence: BTreeMap::from([("inodes_free".to_string(), free.to_string())]),
        })
    } else {
        Look::Good
    })
}
