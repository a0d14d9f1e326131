//! How long to wait before the next try.

use nodemedic_protocol::Millis;
use nodemedic_protocol::rng::Rng;

use crate::config::RestartPolicy;

/// The wait before a restart, after so many failures in a row before this one. The first restart is
/// immediate: what was well for long is worth a try at once, and the budget bounds the rest.
pub(crate) fn delay(policy: &RestartPolicy, failures_before: u32, rng: &mut Rng) -> Millis {
    let Some(doublings) = failures_before.checked_sub(1) else {
        return Millis::ZERO;
    };
    let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    let wait = policy.backoff.0.saturating_mul(factor);
    let wait = wait.min(policy.backoff_max.0);
    Millis(rng.jitter(wait).min(policy.backoff_max.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_immediate_then_it_doubles_up_to_its_bound() {
        let policy = RestartPolicy::default();
        let mut rng = Rng::new(3);
        assert_eq!(delay(&policy, 0, &mut rng), Millis::ZERO);
        for (failures, low, high) in [(1, 400, 600), (2, 800, 1200), (4, 3200, 4800)] {
            let wait = delay(&policy, failures, &mut rng).0;
            assert!((low..=high).contains(&wait), "{failures}: {wait}");
        }
        for failures in [20, 64, 65, u32::MAX] {
            let wait = delay(&policy, failures, &mut rng).0;
            assert!((48_000..=60_000).contains(&wait), "{failures}: {wait}");
        }
    }
}
