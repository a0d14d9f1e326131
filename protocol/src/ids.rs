//! Names and numbers that identify things, each its own type.
//!
//! Names are checked when they are made, so a name that exists is safe in a topic, a file name and
//! a unit name.

use alloc::string::{String, ToString};
use core::fmt;

use serde::{Deserialize, Serialize};

/// Longest name, in bytes: a DNS label, so that host names fit and file names stay short.
pub const NAME_MAX_BYTES: usize = 63;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    what: &'static str,
    value: String,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a {}: use 1 to {} of a-z A-Z 0-9 . _ - and start with a letter or digit",
            self.value, self.what, NAME_MAX_BYTES
        )
    }
}

impl core::error::Error for NameError {}

fn name_is_valid(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=NAME_MAX_BYTES).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// When the text is empty, too long, or has a character outside `a-z A-Z 0-9 . _ -`.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let value = text.into();
                if name_is_valid(&value) {
                    Ok(Self(value))
                } else {
                    Err(NameError { what: $what, value })
                }
            }

            /// The text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl core::str::FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text.to_string())
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// A physical server. Unique in its site.
    NodeId, "node name"
);
name!(
    /// A data centre with its own coordinator.
    SiteId, "site name"
);
name!(
    /// Work that the coordinator places on nodes.
    WorkName, "work name"
);
name!(
    /// A fence device, by its name in the coordinator's configuration.
    DeviceName, "device name"
);
name!(
    /// A service that one host's own configuration declares.
    ServiceName, "service name"
);
name!(
    /// A remedy that one host's own configuration declares for the host itself.
    RemedyName, "remedy name"
);
name!(
    /// One boot of one host: the kernel's `random/boot_id`.
    BootId, "boot id"
);
name!(
    /// One run of one agent process; fresh random text each start.
    SessionId, "session id"
);
name!(
    /// One life of an agent's event spool; a lost spool starts a new stream, so numbers cannot be
    /// mistaken.
    StreamId, "stream id"
);
name!(
    /// One command of a coordinator.
    CommandId, "command id"
);

macro_rules! number {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $type(pub u64);

        impl $type {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// Rises with every grant of one work, over all nodes and for ever. Handed to the service, so
    /// that its storage can refuse an old holder.
    Generation
);
number!(
    /// Rises each time a coordinator takes the lead. Agents refuse an older one.
    Epoch
);
number!(
    /// Rises each time what a node should run changes.
    Revision
);
number!(
    /// Position in an ordered stream.
    Seq
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_escape_a_topic_or_a_path_are_refused() {
        for bad in [
            "", "a/b", "+", "#", "..", ".hidden", "-x", "a b", "ä", "a\n", "a\0",
        ] {
            assert!(NodeId::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(NodeId::new("x".repeat(64)).is_err());
        for good in ["node-1", "db.example.org", "A_9", "9"] {
            assert_eq!(NodeId::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_bad_name_in_json_says_what_is_wrong() {
        let error = serde_json::from_str::<WorkName>("\"a/b\"")
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"a/b\" is not a work name"), "{error}");
    }
}
