//! Messages to bytes and back: JSON with a version beside it, a size limit, and errors that name
//! the place.
//!
//! The bytes are `{"v":1,"m":{...}}`. A reader accepts its own version and ignores fields that it
//! does not know, so a newer writer may add fields; anything else is a new version.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::message::Message;
use crate::topic::{Kind, Topic};

/// Version of all messages.
pub const VERSION: u32 = 1;

/// Largest message. A birth of a host with 1,000 disks and 500 works stays below a third of it.
pub const MESSAGE_MAX_BYTES: usize = 1 << 20;

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Longer than [`MESSAGE_MAX_BYTES`].
    TooLarge {
        /// How long it is.
        bytes: usize,
    },
    /// Of another version.
    Version {
        /// Which.
        found: u32,
    },
    /// Not what the topic promises.
    Malformed {
        /// The parser's words, with line and column.
        error: String,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::TooLarge { bytes } => {
                write!(
                    f,
                    "message of {bytes} bytes is larger than {MESSAGE_MAX_BYTES}"
                )
            }
            DecodeError::Version { found } => write!(
                f,
                "message of version {found}, this program reads version {VERSION}: \
                 upgrade the older side"
            ),
            DecodeError::Malformed { error } => write!(f, "malformed message: {error}"),
        }
    }
}

impl core::error::Error for DecodeError {}

#[derive(Serialize)]
struct Outer<'a, T> {
    v: u32,
    m: &'a T,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Deserialize)]
struct Inner<T> {
    m: T,
}

/// A value as versioned bytes.
///
/// # Errors
/// When the value has a map whose keys are not texts; no message of ours has.
pub fn to_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    serde_json::to_vec(&Outer {
        v: VERSION,
        m: value,
    })
    .map_err(|e| e.to_string())
}

/// A value from versioned bytes.
///
/// # Errors
/// See [`DecodeError`].
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > MESSAGE_MAX_BYTES {
        return Err(DecodeError::TooLarge { bytes: bytes.len() });
    }
    let malformed = |e: serde_json::Error| DecodeError::Malformed {
        error: e.to_string(),
    };
    let Version { v } = serde_json::from_slice(bytes).map_err(malformed)?;
    if v != VERSION {
        return Err(DecodeError::Version { found: v });
    }
    serde_json::from_slice::<Inner<T>>(bytes)
        .map(|inner| inner.m)
        .map_err(malformed)
}

impl Message {
    /// The bytes to publish.
    ///
    /// # Errors
    /// See [`to_bytes`].
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        match self {
            Message::Presence(m) => to_bytes(m),
            Message::Birth(m) => to_bytes(m),
            Message::Heartbeat(m) => to_bytes(m),
            Message::Health(m) => to_bytes(m),
            Message::Sample(m) => to_bytes(m),
            Message::Event(m) => to_bytes(m),
            Message::Work(m) => to_bytes(m),
            Message::Command(m) => to_bytes(m),
            Message::Ack(m) => to_bytes(m),
            Message::Lease(m) => to_bytes(m),
            Message::Coordinator(m) => to_bytes(m),
        }
    }

    /// The message that these bytes are on this topic.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(topic: &Topic, bytes: &[u8]) -> Result<Message, DecodeError> {
        let kind = match topic {
            Topic::Coordinator => return from_bytes(bytes).map(Message::Coordinator),
            Topic::Node(_, kind) => *kind,
        };
        match kind {
            Kind::Presence => from_bytes(bytes).map(Message::Presence),
            Kind::Birth => from_bytes(bytes).map(|m| Message::Birth(Box::new(m))),
            Kind::Heartbeat => from_bytes(bytes).map(Message::Heartbeat),
            Kind::Health => from_bytes(bytes).map(Message::Health),
            Kind::Sample => from_bytes(bytes).map(|m| Message::Sample(Box::new(m))),
            Kind::Event => from_bytes(bytes).map(Message::Event),
            Kind::Work => from_bytes(bytes).map(Message::Work),
            Kind::Command => from_bytes(bytes).map(Message::Command),
            Kind::Ack => from_bytes(bytes).map(Message::Ack),
            Kind::Lease => from_bytes(bytes).map(Message::Lease),
        }
    }

    /// The last level of the topic that this message belongs on; `None` for the coordinator's own.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        Some(match self {
            Message::Presence(_) => Kind::Presence,
            Message::Birth(_) => Kind::Birth,
            Message::Heartbeat(_) => Kind::Heartbeat,
            Message::Health(_) => Kind::Health,
            Message::Sample(_) => Kind::Sample,
            Message::Event(_) => Kind::Event,
            Message::Work(_) => Kind::Work,
            Message::Command(_) => Kind::Command,
            Message::Ack(_) => Kind::Ack,
            Message::Lease(_) => Kind::Lease,
            Message::Coordinator(_) => return None,
        })
    }
}

/// A log line about a bad message: who, where, what, cut to a readable length.
#[must_use]
pub fn describe_bad(topic: &str, error: &dyn fmt::Display) -> String {
    let topic: String = topic.chars().take(120).collect();
    format!("dropped a message on {topic}: {error}")
}
