//! How much may be out at once, in sentences for people: the budget and the storm brake.

use nodemedic_protocol::api::{BrakeChange, BrakeState, BrakeView, BudgetView, Purpose};
use nodemedic_protocol::{Millis, WallTime};

use crate::out::{Cell, Paint, ago};

/// Whether the storm brake holds, in a sentence.
pub fn brake(brake: &BrakeView, now: WallTime) -> Cell {
    let since = brake
        .since
        .map_or_else(|| "-".to_owned(), |at| ago(now, at));
    let (text, paint) = match (brake.state, &brake.release) {
        (BrakeState::Off, _) => ("off".to_owned(), Paint::Good),
        (BrakeState::Released, Some(release)) => {
            let left = Millis(release.until.0.saturating_sub(now.0));
            let text = format!("released by a person, for another {left}; engaged {since}");
            (text, Paint::Warn)
        }
        (BrakeState::Engaged | BrakeState::Released, _) => {
            let text = format!("ENGAGED {since}: nothing is taken out on silence");
            (text, Paint::Bad)
        }
    };
    Cell::painted(text, paint)
}

/// What the storm brake counts, in a sentence.
pub fn counted(brake: &BrakeView) -> String {
    let silent = brake.silent.len();
    let are = if silent == 1 { "is" } else { "are" };
    format!(
        "{silent} of {} hosts {are} silent; {} engage it",
        brake.hosts, brake.threshold
    )
}

/// How many hosts are out, in a sentence.
pub fn budget(budget: &BudgetView) -> Cell {
    let out: Vec<String> = budget
        .out
        .iter()
        .map(|out| format!("{} ({})", out.node, out.why))
        .collect();
    let mut text = format!("{} of at most {} hosts are out", out.len(), budget.limit);
    if !out.is_empty() {
        text.push_str(&format!(": {}", out.join(", ")));
    }
    if !budget.waiting.is_empty() {
        let waiting: Vec<&str> = budget.waiting.iter().map(|node| node.as_str()).collect();
        text.push_str(&format!("; waiting to be drained: {}", waiting.join(", ")));
    }
    let paint = match (out.is_empty(), budget.waiting.is_empty()) {
        (true, true) => Paint::Plain,
        _ => Paint::Warn,
    };
    Cell::painted(text, paint)
}

/// A place that was taken, as an event.
pub fn reserved(purpose: Purpose, out: u32, limit: u32, overridden: &[String]) -> (String, Paint) {
    let room = format!("{purpose}: {out} of at most {limit} hosts are out with it");
    match overridden {
        [] => (format!("has a place for its {room}"), Paint::Plain),
        reasons => (
            format!(
                "is taken out over the budget, as a person wants, for its {room} ({})",
                reasons.join("; ")
            ),
            Paint::Warn,
        ),
    }
}

/// What became of the storm brake, as an event.
pub fn change(change: &BrakeChange) -> (String, Paint) {
    match change {
        BrakeChange::Engaged {
            silent,
            threshold,
            hosts,
        } => (
            format!(
                "storm brake engaged: {silent} of {hosts} hosts are silent at once, {threshold} \
                 engage it"
            ),
            Paint::Bad,
        ),
        BrakeChange::Lifted => ("storm brake lifted".to_owned(), Paint::Good),
        BrakeChange::Released { span, reason } => (
            format!("storm brake released by a person for {span}: {reason}"),
            Paint::Warn,
        ),
        BrakeChange::ReleaseEnded => (
            "the release of the storm brake has ended".to_owned(),
            Paint::Warn,
        ),
    }
}
