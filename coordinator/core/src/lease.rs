//! When the promise of a lease has provably ended. Safety rests on this file: read docs/safety.md
//! before a change.

use core::fmt;

use nodemedic_protocol::work::{Enforcement, OnLeaseLoss, Sharing, WorkSpec};
use nodemedic_protocol::{Boottime, Millis};

use crate::mutation::{Mutation, Mutations};
use crate::settings::LeaseSettings;

/// Until when the promise of a grant may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseEnd {
    /// Nothing of it runs from this moment of the coordinator's clock on.
    At(Boottime),
    /// Time proves nothing here.
    Never(WhyNever),
}

/// Why time alone proves nothing about a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyNever {
    /// Its owner chose that it runs on without a lease.
    Kept,
    /// Nobody enforces the promises of its node.
    NotEnforced,
}

impl fmt::Display for WhyNever {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            WhyNever::Kept => "it keeps running without a lease (on_lease_loss = keep)",
            WhyNever::NotEnforced => "no watchdog enforces the promises of its node",
        })
    }
}

/// From the last moment at which a lease may have been renewed, for so long the work may run.
///
/// The renewing heartbeat left before the acknowledgement was sent, so the node's deadline lies at
/// most one term later; then it stops within its grace, or its watchdog ends it within the timeout.
/// All three are measured by the node's clock, so drift applies to their sum.
///
/// # Errors
/// The reason when no time is long enough.
pub fn safe_time(
    spec: &WorkSpec,
    enforcement: Enforcement,
    settings: &LeaseSettings,
    mutation: Mutations,
) -> Result<Millis, WhyNever> {
    if let Sharing::Exclusive {
        on_lease_loss: OnLeaseLoss::Keep,
    } = spec.sharing
    {
        return Err(WhyNever::Kept);
    }
    let timeout = match enforcement {
        Enforcement::Hardware { timeout } | Enforcement::Software { timeout } => timeout,
        Enforcement::None => return Err(WhyNever::NotEnforced),
    };
    let timeout = if mutation.has(Mutation::SafeTimeNoTimeout) {
        Millis::ZERO
    } else {
        timeout
    };
    let by_its_clock = settings.term + spec.stop_grace + timeout;
    let drift = if mutation.has(Mutation::SafeTimeNoDrift) {
        0
    } else {
        u64::from(settings.drift_per_mille)
    };
    let computed = by_its_clock.scaled(1000 + drift, 1000) + settings.margin;
    let safe = computed.max(settings.safe_time_min);
    let tick = u64::from(mutation.has(Mutation::SafeTimeOneTickShort));
    Ok(safe - Millis(tick))
}

/// Until when the promise of a grant holds that may have been renewed at `renewed`.
#[must_use]
pub fn lease_end(
    spec: &WorkSpec,
    enforcement: Enforcement,
    renewed: Boottime,
    settings: &LeaseSettings,
    mutation: Mutations,
) -> LeaseEnd {
    match safe_time(spec, enforcement, settings, mutation) {
        Ok(safe) => LeaseEnd::At(renewed + safe),
        Err(why) => LeaseEnd::Never(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec;
    use nodemedic_protocol::WorkName;
    use nodemedic_protocol::inventory::Capacity;
    use nodemedic_protocol::work::Run;

    fn spec(on_lease_loss: OnLeaseLoss) -> WorkSpec {
        WorkSpec {
            name: WorkName::new("db").unwrap(),
            sharing: Sharing::Exclusive { on_lease_loss },
            run: Run::Command {
                start: vec!["db".into()],
                stop: vec![],
                environment: BTreeMap::new(),
            },
            probes: alloc::vec::Vec::new(),
            priority: 0,
            needs: Capacity::default(),
            node_labels: BTreeMap::new(),
            start_grace: Millis::from_secs(30),
            stop_grace: Millis::from_secs(10),
        }
    }

    fn settings() -> LeaseSettings {
        LeaseSettings {
            term: Millis::from_secs(20),
            drift_per_mille: 10,
            margin: Millis::from_secs(2),
            safe_time_min: Millis::ZERO,
        }
    }

    #[test]
    fn the_safe_time_is_term_and_grace_and_timeout_by_a_slow_clock_and_the_margin() {
        let timeout = Millis::from_secs(10);
        let software = Enforcement::Software { timeout };
        let safe = safe_time(
            &spec(OnLeaseLoss::Stop),
            software,
            &settings(),
            Mutations::NONE,
        );
        assert_eq!(safe, Ok(Millis(40_000 + 400 + 2_000)));
    }

    #[test]
    fn a_user_may_raise_it_and_never_lower_it() {
        let timeout = Millis::from_secs(10);
        let hardware = Enforcement::Hardware { timeout };
        let with = |least| {
            let settings = LeaseSettings {
                safe_time_min: Millis(least),
                ..settings()
            };
            safe_time(
                &spec(OnLeaseLoss::Stop),
                hardware,
                &settings,
                Mutations::NONE,
            )
            .unwrap()
        };
        assert_eq!(with(1), with(0));
        assert_eq!(with(100_000), Millis(100_000));
    }

    #[test]
    fn time_proves_nothing_where_work_is_kept_or_nobody_enforces() {
        let timeout = Millis::from_secs(10);
        let hardware = Enforcement::Hardware { timeout };
        assert_eq!(
            safe_time(
                &spec(OnLeaseLoss::Keep),
                hardware,
                &settings(),
                Mutations::NONE
            ),
            Err(WhyNever::Kept)
        );
        assert_eq!(
            safe_time(
                &spec(OnLeaseLoss::Stop),
                Enforcement::None,
                &settings(),
                Mutations::NONE
            ),
            Err(WhyNever::NotEnforced)
        );
    }
}
