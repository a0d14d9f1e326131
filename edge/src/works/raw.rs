//! `[work.NAME]` as text gives it: every key, nothing decided yet.

use std::collections::BTreeMap;

use nodemedic_protocol::Millis;
use serde::Deserialize;

use crate::config::{size, span_opt};

/// A `[work.NAME]` table; [`super::check`] makes a specification of it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Work {
    pub(super) exclusive: Option<Exclusive>,
    pub(super) replicas: Option<u16>,
    pub(super) unit: Option<String>,
    pub(super) command: Option<Vec<String>>,
    pub(super) stop_command: Option<Vec<String>>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) probe: Option<Probe>,
    pub(super) probes: Option<Vec<Probe>>,
    pub(super) priority: i32,
    pub(super) needs: Needs,
    pub(super) labels: BTreeMap<String, String>,
    #[serde(with = "span_opt")]
    pub(super) start_grace: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) stop_grace: Option<Millis>,
}

/// `exclusive = true` is how people write it first; the answer explains the choice that it lacks.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Exclusive {
    Flag(bool),
    Choice(BTreeMap<String, Text>),
}

/// A value inside `exclusive`, judged by [`super::check`], so that each mistake there gets the full
/// explanation.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Text {
    Text(String),
    Other(serde::de::IgnoredAny),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Needs {
    pub(super) cpu_milli: u64,
    pub(super) memory_mib: u64,
}

/// `probe = { ... }`, or one of `probes`, of a work or of a service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Probe {
    pub(super) http: Option<String>,
    pub(super) ca: Option<String>,
    pub(super) address: Option<String>,
    pub(super) tcp: Option<String>,
    pub(super) exec: Option<Vec<String>>,
    pub(super) process: bool,
    pub(super) unix: Option<String>,
    pub(super) send: Option<String>,
    pub(super) expect: Option<String>,
    #[serde(with = "span_opt")]
    pub(super) watchdog: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) log: Option<Millis>,
    pub(super) file: Option<String>,
    pub(super) limits: Option<RawLimits>,
    #[serde(with = "span_opt")]
    pub(super) interval: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) timeout: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) fail_for: Option<Millis>,
    #[serde(with = "span_opt")]
    pub(super) within: Option<Millis>,
}

/// `limits = { ... }` of a probe.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    #[serde(with = "size")]
    pub(super) rss: Option<u64>,
    pub(super) fds: Option<u64>,
    pub(super) fds_percent: Option<u32>,
    #[serde(with = "span_opt")]
    pub(super) cpu_spin: Option<Millis>,
    pub(super) cpu_percent: Option<u32>,
    #[serde(with = "span_opt")]
    pub(super) d_state: Option<Millis>,
}
