//! `[budget]`, `[brake]` and `[reboot]`: how much may be out at once, and for how long.

use nodemedic_coordinator_core::brake::BrakeSettings;
use nodemedic_coordinator_core::budget::BudgetSettings;
use nodemedic_coordinator_core::reboot::RebootSettings;
use nodemedic_coordinator_core::settings::LivenessSettings;
use nodemedic_edge::config::{ConfigError, Place};

use super::check::set;
use super::raw;

pub(super) fn budget(raw: &raw::Budget, place: &Place<'_>) -> Result<BudgetSettings, ConfigError> {
    let mut budget = BudgetSettings {
        max_out: raw.max_out,
        zone_max_out: raw.zone_max_out,
        ..BudgetSettings::default()
    };
    budget.percent = raw.percent.unwrap_or(budget.percent);
    budget.zone_percent = raw.zone_percent.unwrap_or(budget.zone_percent);
    for (key, absolute, percent) in [
        ("percent", "max_out", budget.percent),
        ("zone_percent", "zone_max_out", budget.zone_percent),
    ] {
        if !(1..=100).contains(&percent) {
            return Err(place.error(
                &["budget", key],
                format!(
                    "{percent} is not between 1 and 100; one host of two or more may always be \
                     out, but for {absolute} = 0, under which none goes out without a person's \
                     override"
                ),
            ));
        }
    }
    Ok(budget)
}

pub(super) fn brake(
    raw: &raw::Brake,
    liveness: &LivenessSettings,
    place: &Place<'_>,
) -> Result<BrakeSettings, ConfigError> {
    let mut brake = BrakeSettings::default();
    brake.min = raw.min.unwrap_or(brake.min);
    brake.percent = raw.percent.unwrap_or(brake.percent);
    set(&mut brake.hold, raw.hold);
    set(&mut brake.apart, raw.apart);
    if brake.min == 0 {
        return Err(place.error(
            &["brake", "min"],
            "0 silent hosts would engage the brake for ever; write 2 or more, or 1 when no host \
             may ever fail over without a person",
        ));
    }
    if !(1..=100).contains(&brake.percent) {
        return Err(place.error(
            &["brake", "percent"],
            format!(
                "{} is not between 1 and 100; write how many silent hosts of a hundred engage the \
                 brake, more than your largest failure domain has",
                brake.percent
            ),
        ));
    }
    if brake.hold < liveness.suspect_after {
        return Err(place.error(
            &["brake", "hold"],
            format!(
                "{} is shorter than liveness.suspect_after, {}: the brake would lift before a \
                 host that falls silent again is counted again",
                brake.hold, liveness.suspect_after
            ),
        ));
    }
    if brake.apart <= liveness.lost_after {
        return Err(place.error(
            &["brake", "apart"],
            format!(
                "{} is not longer than liveness.lost_after, {}: hosts would be forgotten before \
                 they are counted together",
                brake.apart, liveness.lost_after
            ),
        ));
    }
    Ok(brake)
}

pub(super) fn reboot(
    raw: &raw::Reboot,
    liveness: &LivenessSettings,
    place: &Place<'_>,
) -> Result<RebootSettings, ConfigError> {
    let mut reboot = RebootSettings::default();
    set(&mut reboot.back_within, raw.back_within);
    set(&mut reboot.leave_within, raw.leave_within);
    if reboot.back_within <= liveness.lost_after {
        return Err(place.error(
            &["reboot", "back_within"],
            format!(
                "{} is not longer than liveness.lost_after, {}: no host boots in so short a time",
                reboot.back_within, liveness.lost_after
            ),
        ));
    }
    Ok(reboot)
}
