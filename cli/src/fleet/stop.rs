//! Stopping a fleet so that no process is left: works first, through the coordinator, then agents,
//! watchdogs and the coordinator; and whatever was recorded and still lives, by its number.

use std::time::Duration;

use nodemedic_edge::clock;
use nodemedic_protocol::{Millis, WorkName};

use super::daemon::kill_recorded;
use super::run::{Fleet, Part};
use super::works::{LEDGER, WEB};
use crate::client::Client;
use crate::failure::Failure;
use crate::sample::{self, Instance};

/// Works stop within their grace; the rest is for the messages.
const WORKS_GONE_WITHIN: Millis = Millis::from_secs(8);

/// A daemon that is asked to end has nothing to wait for.
const DAEMON_GONE_WITHIN: Millis = Millis::from_secs(5);

/// After SIGKILL only the kernel is waited for.
const KILLED_WITHIN: Millis = Millis::from_secs(5);

/// Between two looks at what is left.
const LOOK_EVERY: Duration = Duration::from_millis(25);

impl Fleet {
    /// Stops everything. What had to be forced is told, and is no failure; something that cannot
    /// be ended is.
    pub async fn stop(mut self) -> Result<Vec<String>, Failure> {
        let mut forced = Vec::new();
        if self.parts.contains_key(&Part::Coordinator) {
            self.stop_works(&mut forced).await;
        }
        let order: [fn(&Part) -> bool; 3] = [
            |part| matches!(part, Part::Agent(_)),
            |part| matches!(part, Part::Watchdog(_)),
            |part| matches!(part, Part::Coordinator),
        ];
        let mut left = Vec::new();
        for group in order {
            self.stop_group(group, &mut forced, &mut left).await;
        }
        // Works end by themselves once the lock is free; one that hangs is killed by its number.
        self.lock = None;
        self.end_recorded(&mut forced, &mut left).await;
        if left.is_empty() {
            Ok(forced)
        } else {
            Err(Failure::failed(format!(
                "could not be ended: {}",
                left.join(", ")
            )))
        }
    }

    async fn stop_works(&self, forced: &mut Vec<String>) {
        for name in [LEDGER, WEB] {
            let Ok(work) = WorkName::new(name) else {
                continue;
            };
            let removed = self
                .ask(move |client: &Client| client.remove_work(&work))
                .await;
            if let Err(failure) = removed
                && failure.kind != crate::failure::Kind::NotFound
            {
                forced.push(format!("{name}: {}", failure.message));
                return;
            }
        }
        let began = clock::boottime();
        while !self.living().is_empty() {
            if clock::boottime().since(began) >= WORKS_GONE_WITHIN {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn stop_group(
        &mut self,
        group: fn(&Part) -> bool,
        forced: &mut Vec<String>,
        left: &mut Vec<String>,
    ) {
        let parts: Vec<Part> = self.parts.keys().copied().filter(group).collect();
        for part in &parts {
            if let Some(daemon) = self.parts.get_mut(part) {
                daemon.ask_to_end();
            }
        }
        for part in parts {
            let Some(mut daemon) = self.parts.remove(&part) else {
                continue;
            };
            if daemon.gone(DAEMON_GONE_WITHIN).await.is_ok() {
                continue;
            }
            forced.push(format!("{part} had to be killed"));
            if let Err(failure) = daemon.kill(KILLED_WITHIN).await {
                left.push(failure.message);
            }
        }
    }

    async fn end_recorded(&self, forced: &mut Vec<String>, left: &mut Vec<String>) {
        let began = clock::boottime();
        let by_themselves = Millis::from_secs(1);
        let mut killed = false;
        loop {
            let living = self.living();
            if living.is_empty() {
                return;
            }
            let waited = clock::boottime().since(began);
            if waited >= by_themselves && !killed {
                killed = true;
                for one in &living {
                    if kill_recorded(one.pid, one.start_ticks) {
                        forced.push(format!("a work, process {}, had to be killed", one.pid));
                    }
                }
            }
            if waited >= KILLED_WITHIN {
                left.extend(
                    living
                        .iter()
                        .map(|one| format!("a work, process {}", one.pid)),
                );
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The instances of both works whose processes live, by their own records.
    pub fn living(&self) -> Vec<Instance> {
        [LEDGER, WEB]
            .iter()
            // A record that cannot be read names nobody; the lock still ends them.
            .flat_map(|work| sample::read(&self.layout.record(work)).unwrap_or_default())
            .filter(|one| sample::start_ticks(one.pid) == Some(one.start_ticks))
            .collect()
    }

    /// Ends works that an earlier fleet in this directory left behind, and starts fresh records.
    pub async fn clear_leftovers(&self) -> Result<Vec<String>, Failure> {
        let mut forced = Vec::new();
        let mut left = Vec::new();
        // They cannot end by themselves: the lock they wait for is held again, by us.
        for one in self.living() {
            if kill_recorded(one.pid, one.start_ticks) {
                forced.push(format!(
                    "killed process {} that an earlier fleet left",
                    one.pid
                ));
            }
        }
        self.end_recorded(&mut forced, &mut left).await;
        if !left.is_empty() {
            return Err(Failure::failed(format!(
                "left by an earlier fleet: {}",
                left.join(", ")
            )));
        }
        for work in [LEDGER, WEB] {
            let record = self.layout.record(work);
            if record.exists() {
                std::fs::rename(&record, record.with_extension("old.jsonl")).map_err(|error| {
                    Failure::failed(format!("cannot put {} aside: {error}", record.display()))
                })?;
            }
        }
        Ok(forced)
    }
}
