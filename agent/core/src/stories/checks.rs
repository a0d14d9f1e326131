//! The properties that hold at every moment of every story.

use super::*;

impl World {
    /// The properties that hold at every moment.
    pub(super) fn check(&self) {
        self.check_budgets();
        self.check_leases();
    }

    /// Never more restarts in a window than the budget, whatever happened to agent and host.
    fn check_budgets(&self) {
        for (key, thing) in &self.things {
            let _ = thing;
            let policy = match key {
                UnitKey::Service(name) => match self.config.services.get(name) {
                    Some(service) => service.restart,
                    None => continue,
                },
                UnitKey::Work(_) => self.config.work_restart,
            };
            let restarts: Vec<Millis> = self
                .done
                .iter()
                .filter(|(_, a)| a.unit == *key && a.verb.restarts())
                .filter(|(_, a)| !self.shut.contains(&a.action))
                .map(|(at, _)| *at)
                .collect();
            for (i, first) in restarts.iter().enumerate() {
                let within = restarts[i..]
                    .iter()
                    .filter(|at| **at - *first < policy.window)
                    .count();
                assert!(
                    within <= policy.max as usize,
                    "{within} restarts of {key} within {}: {restarts:?}",
                    policy.window
                );
            }
        }
    }

    /// Never an exclusive work that runs beyond what the coordinator reckons with, unless nobody
    /// can stop it, which is the watchdog's case.
    fn check_leases(&self) {
        for (key, thing) in &self.things {
            let (UnitKey::Work(name), Some(Some(generation)), false) =
                (key, thing.runs, thing.stuck)
            else {
                continue;
            };
            let of_this = (name.clone(), generation);
            if let Some(reckoned) = self.reckoned.get(&of_this).filter(|r| r.stops) {
                let over = reckoned.deadline + reckoned.grace;
                assert!(
                    self.now.boot <= over,
                    "{key} runs under {generation} at {:?}, and should be over at {over:?}",
                    self.now.boot
                );
            }
        }
    }
}
