//! The book of what is wrong: one row for each component and reason, with an event for each
//! beginning and each end.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::event::EventKind;
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::{Boottime, Component, Condition, Severity};

use crate::out::Out;

/// What is said of a condition when it begins or changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub severity: Severity,
    pub message: String,
    pub evidence: BTreeMap<String, String>,
}

impl Finding {
    pub(crate) fn plain(severity: Severity, message: impl Into<String>) -> Finding {
        Finding {
            severity,
            message: message.into(),
            evidence: BTreeMap::new(),
        }
    }
}

/// All conditions that stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    rows: BTreeMap<(Component, Reason), Condition>,
}

impl Book {
    /// What an earlier run knew. Nobody has looked since, hence `seen` is false. Times of another
    /// boot mean nothing on this one: they become its beginning.
    pub(crate) fn restored(conditions: Vec<Condition>, same_boot: bool) -> Book {
        let rows = conditions
            .into_iter()
            .map(|mut c| {
                c.seen = false;
                if !same_boot {
                    c.since = Boottime(0);
                }
                ((c.component.clone(), c.reason.clone()), c)
            })
            .collect();
        Book { rows }
    }

    pub(crate) fn all(&self) -> Vec<Condition> {
        self.rows.values().cloned().collect()
    }

    pub(crate) fn get(&self, component: &Component, reason: &Reason) -> Option<&Condition> {
        self.rows.get(&(component.clone(), reason.clone()))
    }

    /// Begins a condition, or says that it still stands. A new severity is told like a beginning,
    /// because who was told the old one must hear of it.
    pub(crate) fn raise(
        &mut self,
        out: &mut Out,
        component: &Component,
        reason: &Reason,
        finding: Finding,
    ) {
        let key = (component.clone(), reason.clone());
        if let Some(row) = self.rows.get_mut(&key)
            && row.severity == finding.severity
        {
            row.seen = true;
            return;
        }
        let (since, since_wall) = match self.rows.get(&key) {
            Some(row) => (row.since, row.since_wall),
            None => (out.now.boot, out.now.wall),
        };
        out.event(
            component.clone(),
            EventKind::ConditionRaised {
                reason: reason.clone(),
                severity: finding.severity,
                message: finding.message.clone(),
                evidence: finding.evidence.clone(),
            },
        );
        self.rows.insert(
            key,
            Condition {
                component: component.clone(),
                reason: reason.clone(),
                severity: finding.severity,
                since,
                since_wall,
                seen: true,
                message: finding.message,
                evidence: finding.evidence,
            },
        );
    }

    /// Ends a condition, if it stands.
    pub(crate) fn clear(
        &mut self,
        out: &mut Out,
        component: &Component,
        reason: &Reason,
        because: &str,
    ) {
        let Some(row) = self.rows.remove(&(component.clone(), reason.clone())) else {
            return;
        };
        out.event(
            row.component,
            EventKind::ConditionCleared {
                reason: row.reason,
                after: out.now.boot.since(row.since),
                because: because.to_string(),
            },
        );
    }

    /// Ends every condition of a component.
    pub(crate) fn clear_component(&mut self, out: &mut Out, component: &Component, because: &str) {
        for reason in self.reasons_of(component) {
            self.clear(out, component, &reason, because);
        }
    }

    pub(crate) fn reasons_of(&self, component: &Component) -> Vec<Reason> {
        self.rows
            .keys()
            .filter(|(c, _)| c == component)
            .map(|(_, r)| r.clone())
            .collect()
    }

    /// Whether somebody looks at it now.
    pub(crate) fn set_seen(&mut self, component: &Component, reason: &Reason, seen: bool) {
        if let Some(row) = self.rows.get_mut(&(component.clone(), reason.clone())) {
            row.seen = seen;
        }
    }

    /// The components for which `wanted` is true.
    pub(crate) fn components(&self, wanted: impl Fn(&Component) -> bool) -> Vec<Component> {
        let mut found: Vec<Component> = self
            .rows
            .keys()
            .map(|(c, _)| c.clone())
            .filter(|c| wanted(c))
            .collect();
        found.dedup();
        found
    }
}
