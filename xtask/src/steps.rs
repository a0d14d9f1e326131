//! A run of named steps: each says its name and how long it took, a failed one does not keep the
//! others from running, and the end is a table of all.

use std::time::Duration;

use anyhow::{Result, bail};
use nix::time::{ClockId, clock_gettime};

/// How a step ended.
enum Ended {
    Passed,
    Failed(String),
    /// It did less than it says, and why.
    Partly(String),
}

/// The steps so far.
pub struct Steps {
    began: Duration,
    rows: Vec<(String, Duration, Ended)>,
}

/// What a step that did its job has to say.
pub enum Verdict {
    /// All of it.
    Whole,
    /// Less than all of it, for this reason.
    Partial(String),
}

impl Steps {
    /// None yet.
    pub fn new() -> Steps {
        Steps {
            began: now(),
            rows: Vec::new(),
        }
    }

    /// Does one step; `true` when it passed.
    pub fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> bool {
        self.verdict(name, || work().map(|()| Verdict::Whole))
    }

    /// Does one step that may do less than all; `true` unless it failed.
    pub fn verdict(&mut self, name: &str, work: impl FnOnce() -> Result<Verdict>) -> bool {
        println!("\n== {name}");
        let from = now();
        let ended = match work() {
            Ok(Verdict::Whole) => Ended::Passed,
            Ok(Verdict::Partial(why)) => Ended::Partly(why),
            Err(error) => Ended::Failed(format!("{error:#}")),
        };
        let took = now().saturating_sub(from);
        let passed = !matches!(ended, Ended::Failed(_));
        println!("== {name}: {} in {:.1} s", word(&ended), took.as_secs_f64());
        self.rows.push((name.to_owned(), took, ended));
        passed
    }

    /// Prints the table.
    ///
    /// # Errors
    /// When a step failed.
    pub fn finish(self) -> Result<()> {
        println!("\n{:<34} {:>8}  result", "step", "seconds");
        let mut failed = 0;
        for (name, took, ended) in &self.rows {
            println!("{name:<34} {:>8.1}  {}", took.as_secs_f64(), word(ended));
            match ended {
                Ended::Passed => {}
                Ended::Partly(why) => println!("{:<34} {:>8}  {why}", "", ""),
                Ended::Failed(why) => {
                    failed += 1;
                    println!("{:<34} {:>8}  {why}", "", "");
                }
            }
        }
        let total = now().saturating_sub(self.began).as_secs_f64();
        println!("{:<34} {total:>8.1}", "all");
        if failed > 0 {
            bail!("{failed} of {} steps failed", self.rows.len());
        }
        Ok(())
    }
}

fn word(ended: &Ended) -> &'static str {
    match ended {
        Ended::Passed => "ok",
        Ended::Partly(_) => "ok, in part",
        Ended::Failed(_) => "FAILED",
    }
}

/// Monotonic time; a developer's stopwatch, no part of the product.
pub fn now() -> Duration {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Seconds since 1970, to name a report.
pub fn wall_s() -> u64 {
    read(ClockId::CLOCK_REALTIME).as_secs()
}

fn read(clock: ClockId) -> Duration {
    // Both clocks exist in every Linux, and the kernel cannot fail to read them.
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_does_not_stop_the_next_but_fails_the_run() {
        let mut steps = Steps::new();
        assert!(!steps.step("first", || bail!("broken")));
        let mut ran = false;
        assert!(steps.step("second", || {
            ran = true;
            Ok(())
        }));
        assert!(ran);
        assert_eq!(
            steps.finish().unwrap_err().to_string(),
            "1 of 2 steps failed"
        );
    }

    #[test]
    fn a_step_done_in_part_passes() {
        let mut steps = Steps::new();
        assert!(steps.verdict("part", || Ok(Verdict::Partial("no network".to_owned()))));
        assert!(steps.finish().is_ok());
    }
}
