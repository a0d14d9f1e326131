//! The configuration as text gives it: every key, nothing decided yet.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nodemedic_edge::config::span_opt;
use nodemedic_edge::works;
use nodemedic_protocol::Millis;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Config {
    pub(super) site: Option<String>,
    pub(super) api: Api,
    pub(super) broker: Broker,
    pub(super) state: State,
    pub(super) lease: Lease,
    pub(super) liveness: Liveness,
    pub(super) placement: Placement,
    pub(super) alerts: Alerts,
    pub(super) webhook: BTreeMap<String, Webhook>,
    pub(super) work: BTreeMap<String, works::Work>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Api {
    pub(super) listen: Option<String>,
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Broker {
    pub(super) listen: Option<String>,
    pub(super) url: Option<String>,
    pub(super) allow_plaintext: bool,
    pub(super) ca: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct State {
    pub(super) directory: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Lease {
    #[serde(with = "span_opt")]
    pub(super) term: Option<Millis>,
    pub(super) drift_per_mille: Option<u32>,
    #[serde(with = "span_opt")]
    pub(super) margin: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) safe_time_min: Option<Millis>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Liveness {
    #[serde(with = "span_opt")]
    pub(super) suspect_after: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) lost_after: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) returning_for: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) resume_grace_min: Option<Millis>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Placement {
    #[serde(with = "span_opt")]
    pub(super) fenced_hold_off: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) refused_hold_off: Option<Millis>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Alerts {
    #[serde(with = "span_opt")]
    pub(super) unplaced_for: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) retry_first: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) retry_max: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) keep_resolved: Option<Millis>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Webhook {
    pub(super) url: String,
    #[serde(default)]
    pub(super) token_file: Option<PathBuf>,
}
