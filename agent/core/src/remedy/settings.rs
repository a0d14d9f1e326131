//! Remedies as the configuration declares them. Without a declaration there is none.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::healing::Mode;
use nodemedic_protocol::{Condition, Millis, RemedyName, Severity};

/// All remedies of a host, by name.
pub type Remedies = BTreeMap<RemedyName, Remedy>;

/// The window of the reboots' budget.
pub const DAY: Millis = Millis::from_secs(24 * 3600);

/// One thing that the host may do about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// It is for a condition that one of these names.
    pub when: Vec<When>,
    /// Of several for one condition the lowest has its turn first.
    pub step: u32,
    /// Not before the condition has stood for so long.
    pub after: Millis,
    /// When the condition still stands so long after it was done, it did not help.
    pub settle: Millis,
    /// At most so many uses ...
    pub max: u32,
    /// ... within this much real time, over restarts of the agent and of the host.
    pub window: Millis,
    /// How far it goes; the host's own mode may hold it further back.
    pub mode: Mode,
    /// After so long it is over: `TimedOut`.
    pub timeout: Millis,
    /// What it does, for people.
    pub does: String,
    /// Set for the one that reboots.
    pub reboot: Option<RebootPolicy>,
}

/// Which conditions a remedy is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// As conditions are shown: `filesystem /var`; with a star at the end, all that begin so.
    pub component: String,
    /// As conditions are shown: `space low`.
    pub reason: String,
    /// At least.
    pub severity: Severity,
}

/// How a host may be rebooted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebootPolicy {
    /// Without a word of any coordinator for so long it may go without a permit; absent: never.
    pub cut_off_after: Option<Millis>,
    /// Afterwards it takes no work until it has been well for so long.
    pub stay_out: Millis,
}

impl When {
    fn covers(&self, condition: &Condition) -> bool {
        let component = condition.component.to_string();
        let named = match self.component.strip_suffix('*') {
            Some(begin) => component.starts_with(begin),
            None => component == self.component,
        };
        named && condition.reason.to_string() == self.reason && condition.severity >= self.severity
    }
}

impl Remedy {
    /// Whether it is for this condition.
    #[must_use]
    pub fn is_for(&self, condition: &Condition) -> bool {
        self.when.iter().any(|when| when.covers(condition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::health::Reason;
    use nodemedic_protocol::{Boottime, Component, WallTime};

    #[test]
    fn a_remedy_is_for_what_it_names_and_nothing_milder() {
        let when = |component: &str| When {
            component: component.into(),
            reason: "space low".into(),
            severity: Severity::Warning,
        };
        let condition = |path: &str, severity| Condition {
            component: Component::Filesystem(path.into()),
            reason: Reason::SpaceLow,
            severity,
            since: Boottime(0),
            since_wall: WallTime(0),
            seen: true,
            message: String::new(),
            evidence: BTreeMap::new(),
        };
        let var = condition("/var", Severity::Critical);
        assert!(when("filesystem /var").covers(&var));
        assert!(when("filesystem *").covers(&var));
        assert!(!when("filesystem /va").covers(&var));
        assert!(!when("filesystem /").covers(&var));
        let mild = condition("/var", Severity::Info);
        assert!(!when("filesystem /var").covers(&mild));
    }
}
