//! Rules over samples: what is measured becomes conditions, with windows in real time.
//!
//! Each check is one file and one row in [`CHECKS`]. A check says of each thing that it knows
//! `Bad`, `Good` or `Gone`; of what it cannot see it says nothing, and nothing then begins or ends.

mod cpu;
mod filesystem;
mod memory;
mod nic;
mod window;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use nodemedic_protocol::health::Reason;
use nodemedic_protocol::sample::Sample;
use nodemedic_protocol::{Component, Condition};

use crate::conditions::{Book, Finding};
use crate::config::{Rules, Windows};
use crate::out::Out;
use window::{Turn, Window};

/// One look at one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub component: Component,
    pub reason: Reason,
    pub look: Look,
    pub windows: Windows,
}

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Wrong.
    Bad(Finding),
    /// Well.
    Good,
    /// The thing itself is no longer there, for certain.
    Gone,
}

/// What checks may remember from one sample to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Interfaces that have had a carrier.
    pub had_carrier: BTreeSet<alloc::string::String>,
    /// Filesystems that have been writable.
    pub was_writable: BTreeSet<alloc::string::String>,
    /// Interface errors at the beginning of the current minute of counting.
    pub nic_errors: BTreeMap<alloc::string::String, nic::ErrorCount>,
}

/// One check: what it reads from a sample.
type Check = fn(&Rules, &Sample, &mut History, &mut Vec<Reading>);

/// All checks over samples.
const CHECKS: [(&str, Check); 4] = [
    ("cpu", cpu::check),
    ("memory", memory::check),
    ("filesystem", filesystem::check),
    ("nic", nic::check),
];

/// The state of all rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judge {
    windows: BTreeMap<(Component, Reason), Window>,
    history: History,
}

/// True for what samples judge, as opposed to units, plugins and the agent itself.
fn is_sampled(component: &Component) -> bool {
    matches!(
        component,
        Component::Host
            | Component::Cpu
            | Component::Memory
            | Component::Disk(_)
            | Component::Filesystem(_)
            | Component::Nic(_)
    )
}

impl Judge {
    /// Rules that go on where an earlier run stopped: what has a condition was once seen well, so
    /// its disappearance counts too.
    pub(crate) fn restored(conditions: &[Condition]) -> Judge {
        let mut judge = Judge::default();
        for condition in conditions {
            match &condition.component {
                Component::Nic(name) => {
                    judge.history.had_carrier.insert(name.clone());
                }
                Component::Filesystem(path) => {
                    judge.history.was_writable.insert(path.clone());
                }
                _ => {}
            }
        }
        judge
    }

    /// Judges one sample.
    pub(crate) fn sample(&mut self, out: &mut Out, book: &mut Book, rules: &Rules, s: &Sample) {
        let mut readings = Vec::new();
        for (_, check) in CHECKS {
            check(rules, s, &mut self.history, &mut readings);
        }
        let mut looked_at = BTreeSet::new();
        for reading in readings {
            let key = (reading.component.clone(), reading.reason.clone());
            looked_at.insert(key);
            self.weigh(out, book, reading);
        }
        self.lose_sight(book, |key| !looked_at.contains(key));
    }

    fn weigh(&mut self, out: &mut Out, book: &mut Book, reading: Reading) {
        let Reading {
            component,
            reason,
            look,
            windows,
        } = reading;
        let stands = book.get(&component, &reason).is_some();
        let window = self
            .windows
            .entry((component.clone(), reason.clone()))
            .or_default();
        let bad = matches!(look, Look::Bad(_));
        let turn = window.look(out.now.boot, bad, stands, windows);
        book.set_seen(&component, &reason, true);
        match (turn, look) {
            (Turn::Raise | Turn::Stand, Look::Bad(finding)) => {
                book.raise(out, &component, &reason, finding);
            }
            (Turn::Clear, Look::Gone) => book.clear(out, &component, &reason, "it is gone"),
            (Turn::Clear, _) => {
                book.clear(out, &component, &reason, "measured well for long enough");
            }
            _ => {}
        }
        if !stands && !bad {
            self.windows.remove(&(component, reason));
        }
    }

    /// Nobody looks at these any more: windows start again, conditions stand unseen.
    fn lose_sight(&mut self, book: &mut Book, lost: impl Fn(&(Component, Reason)) -> bool) {
        self.windows.retain(|key, _| !lost(key));
        for component in book.components(is_sampled) {
            for reason in book.reasons_of(&component) {
                let key = (component.clone(), reason);
                if lost(&key) {
                    book.set_seen(&key.0, &key.1, false);
                }
            }
        }
    }

    /// Samples stopped coming.
    pub(crate) fn blind(&mut self, book: &mut Book) {
        self.lose_sight(book, |_| true);
    }
}

#[cfg(test)]
mod tests;
