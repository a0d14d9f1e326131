//! [`super::span`] for an `Option<Millis>`: add `#[serde(default, with = "...::span_opt")]`.

use nodemedic_protocol::Millis;
use serde::{Deserializer, Serializer};

/// A span that is there; an absent key is `None` by `#[serde(default)]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Millis>, D::Error> {
    super::span::deserialize(deserializer).map(Some)
}

/// Writes what [`deserialize`] reads.
pub fn serialize<S: Serializer>(span: &Option<Millis>, serializer: S) -> Result<S::Ok, S::Error> {
    match span {
        Some(span) => super::span::serialize(span, serializer),
        None => serializer.serialize_none(),
    }
}
