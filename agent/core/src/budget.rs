//! Restart budgets: at most `max` uses in any `window` of real time, over restarts of the agent and
//! of the host.
//!
//! Time is counted on the boot clock only. A use of another boot is older than this boot, and how
//! much older only a wall clock could say, which may jump; so its age counts from the beginning of
//! this boot. That can hold a use for longer than the window, never for shorter.

use alloc::vec::Vec;

use nodemedic_protocol::event::BudgetUse;
use nodemedic_protocol::{BootId, Millis, Now};

use crate::config::RestartPolicy;
use crate::memory::Use;
use crate::unit::UnitKey;

/// Longest window that a configuration may ask for: a week. Older uses are forgotten.
pub const WINDOW_MAX: Millis = Millis::from_secs(7 * 24 * 3600);

/// A restart begins at most so long after it was decided, or it is decided anew. Its use counts
/// from the end of that time, so none ever counts from before it was done. A disk that needs longer
/// to keep a few kilobytes is ill.
pub(crate) const BEGIN_WITHIN: Millis = Millis::from_secs(10);

/// All budgets of one sort: those of units, or those of remedies.
#[derive(Clone, Debug)]
pub(crate) struct Budget<K = UnitKey> {
    boot_id: BootId,
    uses: Vec<Use<K>>,
}

impl<K: Clone + PartialEq> Budget<K> {
    pub(crate) const fn new(boot_id: BootId, uses: Vec<Use<K>>) -> Budget<K> {
        Budget { boot_id, uses }
    }

    /// At least how long ago a use was.
    fn age(&self, now: Now, used: &Use<K>) -> Millis {
        if used.boot_id == self.boot_id {
            now.boot.since(used.at)
        } else {
            Millis(now.boot.0)
        }
    }

    /// Uses of a unit within the window.
    pub(crate) fn used(&self, now: Now, unit: &K, window: Millis) -> u32 {
        let count = self
            .uses
            .iter()
            .filter(|u| u.unit == *unit && self.age(now, u) < window)
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Takes one use, for a restart that begins within [`BEGIN_WITHIN`].
    ///
    /// # Errors
    /// The budget as it stands, when it is spent.
    pub(crate) fn take(
        &mut self,
        now: Now,
        unit: &K,
        policy: &RestartPolicy,
    ) -> Result<BudgetUse, BudgetUse> {
        self.forget_old(now);
        let used = self.used(now, unit, policy.window);
        let stand = |used| BudgetUse {
            used,
            of: policy.max,
            window: policy.window,
        };
        if used >= policy.max {
            return Err(stand(used));
        }
        self.uses.push(Use {
            unit: unit.clone(),
            boot_id: self.boot_id.clone(),
            at: now.boot + BEGIN_WITHIN,
            wall: now.wall,
        });
        Ok(stand(used + 1))
    }

    /// The newest use of this unit on this boot was none: nothing was restarted.
    pub(crate) fn give_back(&mut self, unit: &K) {
        let of_this = |u: &Use<K>| u.unit == *unit && u.boot_id == self.boot_id;
        if let Some(at) = self.uses.iter().rposition(of_this) {
            self.uses.remove(at);
        }
    }

    /// A fresh budget, on a person's word.
    pub(crate) fn renew(&mut self, unit: &K) {
        self.uses.retain(|u| u.unit != *unit);
    }

    /// What must be kept.
    pub(crate) fn uses(&self) -> Vec<Use<K>> {
        self.uses.clone()
    }

    fn forget_old(&mut self, now: Now) {
        let uses = core::mem::take(&mut self.uses);
        self.uses = uses
            .into_iter()
            .filter(|u| self.age(now, u) < WINDOW_MAX)
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::{Boottime, ServiceName, WallTime};

    fn unit() -> UnitKey {
        UnitKey::Service(ServiceName::new("web").unwrap())
    }

    fn boot(name: &str) -> BootId {
        BootId::new(name).unwrap()
    }

    fn at(seconds: u64, wall: u64) -> Now {
        Now {
            boot: Boottime(seconds * 1000),
            wall: WallTime(wall),
        }
    }

    fn policy() -> RestartPolicy {
        RestartPolicy {
            max: 2,
            window: Millis::from_secs(600),
            ..RestartPolicy::default()
        }
    }

    #[test]
    fn the_window_slides_in_real_time() {
        let mut budget = Budget::new(boot("a"), Vec::new());
        assert_eq!(budget.take(at(100, 0), &unit(), &policy()).unwrap().used, 1);
        assert_eq!(budget.take(at(200, 0), &unit(), &policy()).unwrap().used, 2);
        // Each may have begun ten seconds after it was taken.
        assert!(budget.take(at(709, 0), &unit(), &policy()).is_err());
        assert_eq!(budget.take(at(710, 0), &unit(), &policy()).unwrap().used, 2);
        assert!(budget.take(at(809, 0), &unit(), &policy()).is_err());
    }

    #[test]
    fn a_reboot_and_a_jump_of_the_wall_clock_forget_nothing_early() {
        let mut budget = Budget::new(boot("a"), Vec::new());
        budget.take(at(5000, 1_000), &unit(), &policy()).unwrap();
        budget.take(at(5001, 2_000), &unit(), &policy()).unwrap();
        let mut budget = Budget::new(boot("b"), budget.uses());
        let far = 1_000_000_000_000;
        assert!(budget.take(at(1, far), &unit(), &policy()).is_err());
        assert!(budget.take(at(599, far), &unit(), &policy()).is_err());
        assert!(budget.take(at(600, far), &unit(), &policy()).is_ok());
    }

    #[test]
    fn units_do_not_share_a_budget_and_a_person_renews_one() {
        let other = UnitKey::Service(ServiceName::new("db").unwrap());
        let mut budget = Budget::new(boot("a"), Vec::new());
        for _ in 0..2 {
            budget.take(at(1, 0), &unit(), &policy()).unwrap();
            budget.take(at(1, 0), &other, &policy()).unwrap();
        }
        budget.renew(&unit());
        assert_eq!(budget.used(at(1, 0), &unit(), Millis(600_000)), 0);
        assert_eq!(budget.used(at(1, 0), &other, Millis(600_000)), 2);
    }
}
