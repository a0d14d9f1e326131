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
    pub(super) budget: Budget,
    pub(super) brake: Brake,
    pub(super) reboot: Reboot,
    pub(super) placement: Placement,
    pub(super) alerts: Alerts,
    pub(super) fencing: Fencing,
    pub(super) fence: BTreeMap<String, Fence>,
    pub(super) fence_node: BTreeMap<String, FenceNode>,
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
    pub(super) heartbeat: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) reconnect_within: Option<Millis>,
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
pub(super) struct Budget {
    pub(super) max_out: Option<u32>,
    pub(super) percent: Option<u32>,
    pub(super) zone_max_out: Option<u32>,
    pub(super) zone_percent: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Brake {
    pub(super) min: Option<u32>,
    pub(super) percent: Option<u32>,
    #[serde(with = "span_opt")]
    pub(super) hold: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) apart: Option<Millis>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Reboot {
    #[serde(with = "span_opt")]
    pub(super) back_within: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) leave_within: Option<Millis>,
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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fencing {
    #[serde(with = "span_opt")]
    pub(super) retry_first: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) retry_max: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) monitor_every: Option<Millis>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fence {
    pub(super) agent: PathBuf,
    #[serde(default)]
    pub(super) options: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(super) password_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) secret_files: BTreeMap<String, PathBuf>,
    #[serde(default)]
    pub(super) nodes: BTreeMap<String, String>,
    #[serde(default, with = "span_opt")]
    pub(super) timeout: Option<Millis>,
    #[serde(default, with = "span_opt")]
    pub(super) off_timeout: Option<Millis>,
    #[serde(default, with = "span_opt")]
    pub(super) status_timeout: Option<Millis>,
    #[serde(default, with = "span_opt")]
    pub(super) on_timeout: Option<Millis>,
    #[serde(default, with = "span_opt")]
    pub(super) monitor_timeout: Option<Millis>,
}

/// What an option of a fence agent may be in TOML.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Text(String),
    Number(i64),
    Flag(bool),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FenceNode {
    pub(super) levels: Vec<Vec<String>>,
    pub(super) then: Option<String>,
    pub(super) automatic: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Webhook {
    pub(super) url: String,
    #[serde(default)]
    pub(super) token_file: Option<PathBuf>,
}
