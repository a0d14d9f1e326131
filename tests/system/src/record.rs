//! Proofs from records that nodemedic does not write: the services' own, and the journal's numbers.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nodemedic_protocol::api::{JournalEntry, JournalWhat};
use nodemedic_protocol::event::EventKind;
use serde::Deserialize;

use crate::fleet::Fleet;
use crate::wait::wait_for;

/// One run of a sample service, as it wrote it down itself.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Run {
    pub(crate) node: String,
    pub(crate) generation: u64,
    /// CLOCK_BOOTTIME, in the record's unit; all nodes of a test share one kernel, so they compare.
    pub(crate) started: u64,
    pub(crate) last: u64,
    /// It saw another holder alive.
    pub(crate) met: bool,
}

fn runs(fleet: &Fleet, work: &str) -> Vec<Run> {
    let path = fleet.record(work);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// What is wrong with a history of one exclusive work; empty when nothing is.
pub(crate) fn flaws(mut runs: Vec<Run>) -> Vec<String> {
    runs.sort_by_key(|run| run.started);
    let mut flaws = Vec::new();
    for run in &runs {
        if run.met {
            flaws.push(format!("{run:?} met another holder"));
        }
    }
    for (index, later) in runs.iter().enumerate() {
        for earlier in &runs[..index] {
            if earlier.last >= later.started {
                flaws.push(format!("{earlier:?} still ran when {later:?} began"));
            }
            let moved = earlier.node != later.node;
            if later.generation < earlier.generation
                || (moved && later.generation == earlier.generation)
            {
                flaws.push(format!(
                    "the generation did not rise from {earlier:?} to {later:?}"
                ));
            }
        }
    }
    flaws
}

/// Proves that an exclusive work never had two holders, and that its generations rose with every
/// move.
///
/// # Panics
/// When it had, or when it never ran.
pub fn no_two_holders(fleet: &Fleet, work: &str) {
    let runs = runs(fleet, work);
    assert!(!runs.is_empty(), "{work} never ran, so nothing is proved");
    let count = runs.len();
    let found = flaws(runs);
    assert!(
        found.is_empty(),
        "{} flaws in {count} runs:\n{}",
        found.len(),
        found.join("\n")
    );
    println!("{work}: {count} runs, one after the other");
}

/// Proves that every event that a node numbered is in the journal exactly once, and in order.
///
/// # Panics
/// When one is missing or doubled, or when the last ones do not arrive.
pub fn journal_is_complete(fleet: &Fleet) {
    let bound = Duration::from_secs(30);
    let (journal, _) = wait_for("the journal does not grow any more", bound, || {
        let first = fleet.journal()?;
        std::thread::park_timeout(Duration::from_secs(2));
        let second = fleet.journal()?;
        if first.len() == second.len() {
            Ok(second)
        } else {
            Err(format!("{}", second.len()))
        }
    });
    let streams = check_numbers(&journal);
    assert!(!streams.is_empty(), "no node reported anything");
    for (node, last) in &streams {
        let spool = fleet.spooled_events(node);
        assert_eq!(
            spool, 0,
            "{node} still holds {spool} events; the journal ends at {last}"
        );
    }
    println!(
        "journal: {} entries, last numbers {streams:?}",
        journal.len()
    );
}

/// The last number of each node, after having checked that none is missing before it.
fn check_numbers(journal: &[JournalEntry]) -> BTreeMap<String, u64> {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for (index, entry) in journal.iter().enumerate() {
        let (Some(node), JournalWhat::Node(event)) = (&entry.node, &entry.what) else {
            continue;
        };
        let node = node.to_string();
        let before = last.get(&node).copied().unwrap_or(0);
        let dropped = matches!(event.kind, EventKind::Dropped { .. });
        assert!(
            event.seq.0 == before + 1 || (dropped && event.seq.0 > before),
            "{node}: event {} follows {before} at entry {index}",
            event.seq
        );
        last.insert(node, event.seq.0);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(node: &str, generation: u64, started: u64, last: u64) -> Run {
        Run {
            node: node.into(),
            generation,
            started,
            last,
            met: false,
        }
    }

    #[test]
    fn the_proof_can_fail() {
        assert!(flaws(vec![run("a", 1, 10, 20), run("b", 2, 30, 40)]).is_empty());
        assert_eq!(
            flaws(vec![run("a", 1, 10, 30), run("b", 2, 30, 40)]).len(),
            1
        );
        assert_eq!(
            flaws(vec![run("a", 1, 10, 20), run("b", 1, 30, 40)]).len(),
            1
        );
        let met = Run {
            met: true,
            ..run("a", 1, 10, 20)
        };
        assert_eq!(flaws(vec![met]).len(), 1);
        // A long run must not hide behind a short one.
        let hidden = vec![
            run("a", 1, 10, 100),
            run("b", 2, 20, 25),
            run("c", 3, 50, 60),
        ];
        assert_eq!(flaws(hidden).len(), 2);
    }
}
