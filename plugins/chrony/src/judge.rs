//! From what chronyd says to what is wrong.

use nodemedic_plugin_sdk::{Finding, Severity, finding};

use crate::tracking::Tracking;

/// chronyd's name for its own clock (`local` in chrony.conf), as an NTP reference id.
const OWN_CLOCK: &str = "7F7F0101";

/// Offsets above these are wrong, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Worth a look.
    pub warning_ms: u32,
    /// Worth waking somebody.
    pub critical_ms: u32,
}

fn ms(seconds: f64) -> f64 {
    seconds * 1000.0
}

/// All that is wrong with the clock.
pub fn findings(tracking: &Tracking, limits: Limits) -> Vec<Finding> {
    let mut found = Vec::new();
    let evidence = [
        ("reference", tracking.reference.clone()),
        ("stratum", tracking.stratum.to_string()),
        ("offset_ms", format!("{:.3}", ms(tracking.offset_s))),
        (
            "last_offset_ms",
            format!("{:.3}", ms(tracking.last_offset_s)),
        ),
        ("root_delay_ms", format!("{:.3}", ms(tracking.root_delay_s))),
        (
            "root_dispersion_ms",
            format!("{:.3}", ms(tracking.root_dispersion_s)),
        ),
        ("leap", tracking.leap.clone()),
    ];
    let mut add = |reason: &str, severity, message: String| {
        found.push(finding("clock", reason, severity, message, &evidence));
    };
    if tracking.leap == "Not synchronised" || tracking.stratum == 0 {
        let message = "chronyd has selected no time source: see chronyc sources";
        add("not synchronised", Severity::Warning, String::from(message));
        // Without a source the offset is no measurement.
        return found;
    }
    if tracking.reference_id == OWN_CLOCK {
        let message = "chronyd follows its own clock, as its `local` setting allows it to";
        add(
            "follows its own clock",
            Severity::Info,
            String::from(message),
        );
    }
    let offset = ms(tracking.offset_s.abs());
    let severity = if offset > f64::from(limits.critical_ms) {
        Severity::Critical
    } else if offset > f64::from(limits.warning_ms) {
        Severity::Warning
    } else {
        return found;
    };
    add(
        "offset",
        severity,
        format!("the clock is {offset:.0} ms off"),
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracking::parse;

    fn judged(file: &str, warning_ms: u32, critical_ms: u32) -> Vec<(String, Severity)> {
        let dir = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/plugins/chrony"
        );
        let line = std::fs::read_to_string(format!("{dir}/{file}")).unwrap();
        findings(
            &parse(&line).unwrap(),
            Limits {
                warning_ms,
                critical_ms,
            },
        )
        .into_iter()
        .map(|finding| (finding.reason, finding.severity))
        .collect()
    }

    fn one(reason: &str, severity: Severity) -> Vec<(String, Severity)> {
        vec![(reason.to_string(), severity)]
    }

    #[test]
    fn a_recorded_clock_that_follows_a_server_is_well() {
        assert_eq!(judged("synchronised.csv", 100, 1000), []);
    }

    #[test]
    fn recorded_clocks_that_are_wrong_are_told_apart() {
        let not = one("not synchronised", Severity::Warning);
        assert_eq!(judged("not-synchronised.csv", 100, 1000), not);
        let own = one("follows its own clock", Severity::Info);
        assert_eq!(judged("own-clock.csv", 100, 1000), own);
        let far = "two-seconds-off.csv";
        assert_eq!(judged(far, 100, 1000), one("offset", Severity::Critical));
        assert_eq!(judged(far, 100, 5000), one("offset", Severity::Warning));
        assert_eq!(judged(far, 5000, 5000), []);
    }
}
