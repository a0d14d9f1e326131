//! `[remedy.NAME]`: what the host may do about itself, and when. Without a table there is none.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nodemedic_agent_core::WINDOW_MAX;
use nodemedic_agent_core::remedy::settings::DAY;
use nodemedic_agent_core::remedy::{RebootPolicy, Remedies, Remedy, When};
use nodemedic_edge::config::span_opt;
use nodemedic_helper::Deed;
use nodemedic_helper::allow::DeedKeys;
use nodemedic_helper::deeds::{Bounce, Clean, Rebind};
use nodemedic_protocol::{Millis, RemedyName, Severity};
use serde::Deserialize;

use super::Mistake;
use super::healing::mode;
use super::raw::RawMode;

/// A remedy's table, word for word.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRemedy {
    /// For which conditions.
    pub when: Vec<RawWhen>,
    /// Lower ones come first.
    pub step: Option<u32>,
    /// The condition has stood for so long.
    #[serde(with = "span_opt")]
    pub after: Option<Millis>,
    /// So long after it was done the condition must be over.
    #[serde(with = "span_opt")]
    pub settle: Option<Millis>,
    /// At most so many uses ...
    pub max: Option<u32>,
    /// ... within this.
    #[serde(with = "span_opt")]
    pub window: Option<Millis>,
    /// How far it goes.
    pub mode: RawMode,
    /// How long it may take.
    #[serde(with = "span_opt")]
    pub timeout: Option<Millis>,
    /// See [`DeedKeys`].
    pub clean: Option<Clean>,
    /// See [`DeedKeys`].
    pub remount: Option<PathBuf>,
    /// See [`DeedKeys`].
    pub bounce: Option<Bounce>,
    /// See [`DeedKeys`].
    pub rebind: Option<Rebind>,
    /// See [`DeedKeys`].
    pub restart: Option<Vec<String>>,
    /// Reboots in a day; of `[remedy.reboot]` only, as are the keys below.
    pub per_day: Option<u32>,
    /// `never` or `allow`.
    pub when_cut_off: Option<RawCutOff>,
    /// How long cut off.
    #[serde(with = "span_opt")]
    pub delay: Option<Millis>,
    /// How long well before work comes back.
    #[serde(with = "span_opt")]
    pub stay_out: Option<Millis>,
}

/// Which condition.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawWhen {
    /// As shown: `filesystem /var`.
    pub component: String,
    /// As shown: `space low`.
    pub reason: String,
    /// At least.
    #[serde(default)]
    pub severity: RawSeverity,
}

/// `severity`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawSeverity {
    /// Worth a look.
    Warning,
    /// Worth waking somebody.
    #[default]
    Critical,
}

/// `when_cut_off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawCutOff {
    /// It waits for a permit, however long.
    Never,
    /// After the delay it goes without one.
    Allow,
}

/// More remedies of one host are a mistake of a generated file.
const REMEDIES_MAX: usize = 100;

/// More uses in one window are no remedy.
const USES_MAX: u32 = 100;

/// More reboots in a day are an outage.
const PER_DAY_MAX: u32 = 10;

/// A coordinator that is upgraded, and a broker that is restarted, are back by then.
const DELAY_MIN: Millis = Millis::from_secs(120);

const MINUTE: Millis = Millis::from_secs(60);

/// What remedies there are, and what each does.
pub(super) type Declared = (Remedies, BTreeMap<RemedyName, Deed>);

pub(super) fn remedies(raw: BTreeMap<String, RawRemedy>) -> Result<Declared, Mistake> {
    if raw.len() > REMEDIES_MAX {
        let message = format!("more than {REMEDIES_MAX} remedies on one host");
        return Err(Mistake::at(&["remedy"], message));
    }
    let mut declared = Declared::default();
    for (text, raw) in raw {
        let name = RemedyName::new(text.clone())
            .map_err(|error| Mistake::at(&["remedy", &text], error.to_string()))?;
        let deed = deed(&text, &raw)?;
        let remedy = remedy(&text, &raw, &deed)?;
        declared.0.insert(name.clone(), remedy);
        declared.1.insert(name, deed);
    }
    Ok(declared)
}

fn deed(name: &str, raw: &RawRemedy) -> Result<Deed, Mistake> {
    let keys = DeedKeys {
        clean: raw.clean.clone(),
        remount: raw.remount.clone(),
        bounce: raw.bounce.clone(),
        rebind: raw.rebind.clone(),
        restart: raw.restart.clone(),
    };
    keys.deed(name).map_err(|(key, why)| match key {
        Some(key) => Mistake::at(&["remedy", name, key], why),
        None => Mistake::at(&["remedy", name], why),
    })
}

fn remedy(name: &str, raw: &RawRemedy, deed: &Deed) -> Result<Remedy, Mistake> {
    let at = |key: &str, message: String| Mistake::at(&["remedy", name, key], message);
    if raw.when.is_empty() {
        let message = "names no condition: write when = [{ component = \"filesystem /var\", reason \
                       = \"space low\" }]; nodemedic node NAME shows those that stand";
        return Err(at("when", message.to_owned()));
    }
    let reboot = reboot(name, raw, *deed == Deed::Reboot)?;
    let (max, window) = match reboot {
        Some(_) => (raw.per_day.unwrap_or(1), DAY),
        None => (
            raw.max.unwrap_or(3),
            raw.window.unwrap_or(Millis::from_secs(3600)),
        ),
    };
    let (key, most) = match reboot {
        Some(_) => ("per_day", PER_DAY_MAX),
        None => ("max", USES_MAX),
    };
    if max == 0 || max > most {
        let message = format!("must be from 1 to {most}; to use it never, write mode = \"off\"");
        return Err(at(key, message));
    }
    if window < MINUTE || window > WINDOW_MAX {
        return Err(at(
            "window",
            format!("must be from {MINUTE} to {WINDOW_MAX}"),
        ));
    }
    let standard = match deed {
        // Each of its units may take as long as systemd lets it.
        Deed::Restart(_) => Millis::from_secs(300),
        _ => Millis::from_secs(30),
    };
    let timeout = raw.timeout.unwrap_or(standard);
    if timeout == Millis::ZERO || timeout > Millis::from_secs(3600) {
        return Err(at(
            "timeout",
            "must be above zero and at most 1h".to_owned(),
        ));
    }
    Ok(Remedy {
        when: raw.when.iter().map(when).collect(),
        // What ends everything on the host comes last.
        step: raw.step.unwrap_or(if reboot.is_some() { 100 } else { 1 }),
        after: raw.after.unwrap_or(if reboot.is_some() {
            Millis::from_secs(300)
        } else {
            MINUTE
        }),
        // The slowest rule needs a minute to see that something is over.
        settle: raw.settle.unwrap_or(Millis::from_secs(120)),
        max,
        window,
        mode: mode(raw.mode),
        timeout,
        does: deed.to_string(),
        reboot,
    })
}

fn when(raw: &RawWhen) -> When {
    When {
        component: raw.component.clone(),
        reason: raw.reason.clone(),
        severity: match raw.severity {
            RawSeverity::Warning => Severity::Warning,
            RawSeverity::Critical => Severity::Critical,
        },
    }
}

/// The policy of `[remedy.reboot]`; the keys are a mistake elsewhere, as are those of the others
/// there.
fn reboot(name: &str, raw: &RawRemedy, reboots: bool) -> Result<Option<RebootPolicy>, Mistake> {
    let at = |key: &str, message: &str| Err(Mistake::at(&["remedy", name, key], message));
    let own = [
        ("per_day", raw.per_day.is_some()),
        ("when_cut_off", raw.when_cut_off.is_some()),
        ("delay", raw.delay.is_some()),
        ("stay_out", raw.stay_out.is_some()),
    ];
    let others = [("max", raw.max.is_some()), ("window", raw.window.is_some())];
    if !reboots {
        return match own.iter().find(|(_, set)| *set) {
            Some((key, _)) => at(key, "is of [remedy.reboot] only"),
            None => Ok(None),
        };
    }
    if let Some((key, _)) = others.iter().find(|(_, set)| *set) {
        return at(key, "reboots are counted by the day: write per_day");
    }
    let allow = raw.when_cut_off == Some(RawCutOff::Allow);
    let cut_off_after = match (allow, raw.delay) {
        (false, Some(_)) => {
            let message = "says how long cut off, and when_cut_off is not \"allow\"";
            return at("delay", message);
        }
        (false, None) => None,
        (true, delay) => {
            let delay = delay.unwrap_or(Millis::from_secs(1800));
            if delay < DELAY_MIN {
                let message = format!(
                    "is below {DELAY_MIN}: a coordinator that is upgraded would be no coordinator"
                );
                return at("delay", &message);
            }
            Some(delay)
        }
    };
    Ok(Some(RebootPolicy {
        cut_off_after,
        stay_out: raw.stay_out.unwrap_or(Millis::from_secs(600)),
    }))
}
