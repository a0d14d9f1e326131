//! What the story prints while it goes, and what it says at the end.

use nodemedic_edge::clock;
use serde::Serialize;

use crate::out::{Cell, Column, Paint, Screen, Table, clean, micros};

/// A step that was not seen: what should have been, and what was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// What should have been seen.
    pub expected: String,
    /// What was seen instead.
    pub seen: String,
}

impl Unseen {
    /// Both as sentences.
    pub fn new(expected: impl Into<String>, seen: impl Into<String>) -> Unseen {
        Unseen {
            expected: expected.into(),
            seen: seen.into(),
        }
    }
}

impl From<crate::failure::Failure> for Unseen {
    fn from(failure: crate::failure::Failure) -> Unseen {
        Unseen::new("the step can be carried out", failure.to_string())
    }
}

/// One measured value of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// Of which step.
    pub step: String,
    /// What.
    pub what: String,
    /// How long, in microseconds; `None` where the value is no span.
    pub took_us: Option<u64>,
    /// The value for people.
    pub value: String,
    /// What it must stay below, or what it should be, for people.
    pub bound: Option<String>,
}

/// How one step went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepResult {
    /// Its name.
    pub step: String,
    /// Seen as it should be.
    pub passed: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What should have been seen; absent when it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was seen instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
}

/// The whole story, for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Each step was seen.
    pub passed: bool,
    /// The steps that were played, in order.
    pub steps: Vec<StepResult>,
    /// What was measured, in order.
    pub measured: Vec<Measured>,
    /// Where the logs are, if they were kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<String>,
}

/// Prints as it goes.
#[derive(Debug)]
pub struct Timeline<'a> {
    screen: &'a Screen,
    began_us: u64,
    step_began_us: u64,
    step: String,
    /// For the end.
    pub report: Report,
}

impl<'a> Timeline<'a> {
    /// Begins now.
    pub fn new(screen: &'a Screen) -> Timeline<'a> {
        let now = clock::boottime_us();
        let report = Report {
            passed: false,
            steps: Vec::new(),
            measured: Vec::new(),
            logs: None,
        };
        Timeline {
            screen,
            began_us: now,
            step_began_us: now,
            step: String::new(),
            report,
        }
    }

    /// A step begins.
    pub fn begin(&mut self, step: &str, what: &str) {
        self.step_began_us = clock::boottime_us();
        self.step = step.to_owned();
        let head = format!("{step}: {what}");
        self.line(&self.screen.paint(Paint::Bold, &head));
    }

    /// Something was done or seen.
    pub fn note(&mut self, text: &str) {
        self.line(&format!("  {}", clean(text)));
    }

    /// A span was measured, with what it must or should stay below.
    pub fn measured(&mut self, what: &str, took_us: u64, bound: Option<String>) {
        self.value(what, Some(took_us), micros(took_us), bound);
    }

    /// Something else was measured.
    pub fn counted(&mut self, what: &str, value: impl Into<String>, bound: Option<String>) {
        self.value(what, None, value.into(), bound);
    }

    fn value(&mut self, what: &str, took_us: Option<u64>, value: String, bound: Option<String>) {
        let beside = bound
            .as_ref()
            .map_or_else(String::new, |bound| format!("  ({bound})"));
        let shown = self.screen.paint(Paint::Bold, &value);
        let beside = self.screen.paint(Paint::Dim, &beside);
        self.line(&format!("  {what}: {shown}{beside}"));
        let (step, what) = (self.step.clone(), what.to_owned());
        self.report.measured.push(Measured {
            step,
            what,
            took_us,
            value,
            bound,
        });
    }

    /// The step ended.
    pub fn end(&mut self, result: &Result<(), Unseen>) {
        let took_us = clock::boottime_us().saturating_sub(self.step_began_us);
        let (word, paint) = match result {
            Ok(()) => ("seen", Paint::Good),
            Err(_) => ("NOT SEEN", Paint::Bad),
        };
        self.line(&format!(
            "  {} in {}",
            self.screen.paint(paint, word),
            micros(took_us)
        ));
        self.report.steps.push(StepResult {
            step: self.step.clone(),
            passed: result.is_ok(),
            took_ms: took_us / 1000,
            expected: result.as_ref().err().map(|unseen| unseen.expected.clone()),
            seen: result.as_ref().err().map(|unseen| unseen.seen.clone()),
        });
    }

    /// The end: one line for each step, and what was measured.
    pub fn summary(&self) {
        if self.screen.json {
            return;
        }
        self.screen.say("");
        if !self.report.measured.is_empty() {
            self.screen.table(&measured_table(&self.report.measured));
            self.screen.say("");
        }
        let (text, paint) = if self.report.passed {
            ("the story was seen from beginning to end", Paint::Good)
        } else {
            ("the story was NOT seen to its end", Paint::Bad)
        };
        let took = micros(clock::boottime_us().saturating_sub(self.began_us));
        self.screen
            .say(&format!("{}, in {took}", self.screen.paint(paint, text)));
    }

    fn line(&self, text: &str) {
        if self.screen.json {
            return;
        }
        let ms = clock::boottime_us().saturating_sub(self.began_us) / 1000;
        let stamp = format!("{:>4}.{:03}", ms / 1000, ms % 1000);
        self.screen.say(&format!(
            "{}  {text}",
            self.screen.paint(Paint::Dim, &stamp)
        ));
    }
}

fn measured_table(measured: &[Measured]) -> Table {
    let mut table = Table::new(&[
        Column::left("STEP"),
        Column::flexible("MEASURED", 24),
        Column::right("VALUE"),
        Column::flexible("BOUND", 12),
    ]);
    for one in measured {
        table.row(vec![
            one.step.as_str().into(),
            one.what.as_str().into(),
            Cell::painted(&one.value, Paint::Bold),
            Cell::painted(one.bound.as_deref().unwrap_or(""), Paint::Dim),
        ]);
    }
    table
}

/// The one in the middle; of an even number the later of the two. `None` of nothing.
pub fn median(values: &[u64]) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(&[9, 1, 5]), Some(5));
        assert_eq!(median(&[4, 1, 9, 5]), Some(5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_summary_is_aligned() {
        let one = |step: &str, what: &str, value: &str, bound: Option<&str>| Measured {
            step: step.into(),
            what: what.into(),
            took_us: None,
            value: value.into(),
            bound: bound.map(str::to_owned),
        };
        let table = measured_table(&[
            one(
                "killed",
                "answers again",
                "31.2ms",
                Some("should be below 100ms"),
            ),
            one(
                "host lost",
                "answers elsewhere",
                "5.1s",
                Some("at most 6.8s"),
            ),
        ]);
        assert_eq!(
            table.render(None, false),
            "\
STEP       MEASURED            VALUE  BOUND
killed     answers again      31.2ms  should be below 100ms
host lost  answers elsewhere    5.1s  at most 6.8s"
        );
    }
}
