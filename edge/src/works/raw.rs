//! `[work.NAME]` as text gives it: every key, nothing decided yet.

use std::collections::BTreeMap;

use nodemedic_protocol::Millis;
use serde::Deserialize;

use crate::config::span_opt;

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

/// `probe = { ... }`, of a work or of a service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Probe {
    /// A URL that must answer below 400.
    pub http: Option<String>,
    /// `host:port` that must accept.
    pub tcp: Option<String>,
    /// A program that must exit with 0.
    pub exec: Option<Vec<String>>,
    /// The main process must live.
    pub process: bool,
    /// How often it asks.
    #[serde(with = "span_opt")]
    pub interval: Option<Millis>,
    /// How long an answer may take.
    #[serde(with = "span_opt")]
    pub timeout: Option<Millis>,
    /// It must fail for so long.
    #[serde(with = "span_opt")]
    pub fail_for: Option<Millis>,
}
