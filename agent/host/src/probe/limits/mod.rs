//! Probe `limits`: the processes of a unit take no more than they may.
//!
//! [`read`] looks at the processes, [`judge`] says what that means. Each process is judged by
//! itself: memory that several share would count several times in a sum.

mod judge;
mod read;

use nodemedic_agent_core::Verdict;
use nodemedic_edge::clock;
use nodemedic_protocol::Millis;
use nodemedic_protocol::work::Limits;

use self::judge::Judge;
use self::read::{Found, Wants};
use super::Whose;
use super::look::Looks;

/// What one such probe remembers.
#[derive(Debug)]
pub struct Watch {
    judge: Judge,
    looks: Looks<Result<Found, String>>,
}

impl Watch {
    /// Knows nothing yet.
    pub fn new(limits: &Limits, interval: Millis, timeout: Millis) -> Watch {
        Watch {
            judge: Judge::new(limits.clone(), interval, timeout),
            looks: Looks::default(),
        }
    }

    /// Looks once.
    pub async fn ask(&mut self, whose: &Whose, within: Millis) -> Verdict {
        let wants = Wants::of(self.judge.limits());
        let (target, pid) = (whose.target.clone(), whose.pid);
        let root = whose.cgroup_root.clone();
        let look = move || {
            let members = match (&target, pid) {
                (Some(target), _) => target.members(&root)?,
                (None, Some(pid)) => vec![pid],
                (None, None) => return Err("no process of it is known".to_owned()),
            };
            read::all(&members, wants, clock::boottime())
        };
        let found = self.looks.look(within, look).await;
        match found.and_then(|found| found) {
            Ok(found) => self.judge.look(&found),
            Err(why) => Verdict::Unknown(format!("limits probe: {why}")),
        }
    }
}

#[cfg(test)]
mod tests;
