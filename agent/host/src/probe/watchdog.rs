//! Probe `watchdog`: the newest `WATCHDOG=1` of a unit is not too old (sd_notify(3)).
//!
//! systemd keeps the time of it in CLOCK_MONOTONIC and announces no change, so it is asked. It also
//! sets it when the unit starts.

use nodemedic_agent_core::Verdict;
use nodemedic_edge::clock;
use nodemedic_protocol::{Boottime, Millis};
use tokio::time::timeout;

use super::Whose;
use super::age::Silence;

/// What one such probe remembers.
#[derive(Debug)]
pub struct Watchdog(Silence<u64>);

impl Watchdog {
    /// Knows nothing yet.
    pub fn new(interval: Millis, timeout: Millis) -> Watchdog {
        Watchdog(Silence::new(interval, timeout))
    }

    /// Asks systemd once.
    pub async fn ask(&mut self, whose: &Whose, max_age: Millis, within: Millis) -> Verdict {
        let Some(unit) = &whose.unit_name else {
            let why = "only a unit of systemd says WATCHDOG=1; use another probe";
            return Verdict::Unknown(format!("watchdog probe: {why}"));
        };
        let asked = timeout(within.to_duration(), whose.bus.watchdog_us(unit)).await;
        let at = asked.unwrap_or_else(|_| Err(format!("systemd does not answer within {within}")));
        match at {
            Ok(at) => self.judge(clock::boottime(), clock::monotonic_us(), at, max_age),
            Err(why) => Verdict::Unknown(format!("watchdog probe of {unit}: {why}")),
        }
    }

    fn judge(&mut self, now: Boottime, monotonic_us: u64, at: u64, max_age: Millis) -> Verdict {
        if at == 0 {
            let why = "it has never said WATCHDOG=1; does it notify, and may it (NotifyAccess=)?";
            return Verdict::Unknown(format!("watchdog probe: {why}"));
        }
        let known = Millis(monotonic_us.saturating_sub(at) / 1000);
        let age = self.0.look(now, at, Some(known));
        if age <= max_age {
            return Verdict::Pass;
        }
        Verdict::Fail(format!(
            "watchdog probe: its last WATCHDOG=1 was {age} ago, at most {max_age} are well"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> Watchdog {
        Watchdog::new(Millis(5_000), Millis(1_000))
    }

    #[test]
    fn an_old_sign_fails_and_a_newer_one_passes() {
        let bound = Millis(30_000);
        let mut probe = fresh();
        let said = |verdict: Verdict| match verdict {
            Verdict::Pass => "pass".to_owned(),
            Verdict::Fail(text) | Verdict::Unknown(text) => text,
        };
        let old = probe.judge(Boottime(100_000), 100_000_000, 60_000_000, bound);
        assert_eq!(
            said(old),
            "watchdog probe: its last WATCHDOG=1 was 40.0s ago, at most 30.0s are well"
        );
        let new = probe.judge(Boottime(105_000), 105_000_000, 104_000_000, bound);
        assert_eq!(said(new), "pass");
        let none = fresh().judge(Boottime(1), 1, 0, bound);
        assert!(matches!(none, Verdict::Unknown(_)), "{none:?}");
    }

    #[test]
    fn a_host_that_was_paused_does_not_make_its_services_old() {
        let bound = Millis(30_000);
        let mut probe = fresh();
        let first = probe.judge(Boottime(10_000), 10_000_000, 9_000_000, bound);
        assert_eq!(first, Verdict::Pass);
        // An hour in which nobody ran: the service has had no chance to say anything.
        let after = probe.judge(Boottime(3_610_000), 3_610_000_000, 9_000_000, bound);
        assert_eq!(after, Verdict::Pass);
    }
}
