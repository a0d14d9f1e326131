//! How a node sees from outside that something works: what is asked, how often, and for how long it
//! must fail.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// Most probes of one service or work. Each is a task that asks for ever; more than this watch the
/// watchers.
pub const PROBES_MAX: usize = 16;

/// One question, and when its answers count as a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSpec {
    /// What is asked.
    pub check: Check,
    /// How often.
    pub interval: Millis,
    /// How long an answer may take. A timeout of the probe of a service is a failure of that
    /// service.
    pub timeout: Millis,
    /// It must be seen failing for so long before anything is done; zero: the first failing answer
    /// is enough.
    #[serde(default)]
    pub fail_for: Millis,
    /// `fail_for` is counted within the last so long, whatever lies between. Absent: one answer
    /// that it works begins the count anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Millis>,
}

/// One question to a service. Texts here and in [`Run::Command`](crate::work::Run) may hold
/// `{node}`, the node's name, and `{vars.KEY}`, a value of the host's own configuration; the agent
/// refuses what it cannot replace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// Its main process lives.
    Process,
    /// A TCP connection is accepted.
    Tcp {
        /// `host:port`.
        address: String,
    },
    /// An HTTP GET answers with a status below 400.
    Http {
        /// `http://host:port/path`, or `https://`: then its certificate is verified.
        url: String,
        /// PEM file of the authorities that may have signed the certificate. Absent: those of the
        /// host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca: Option<String>,
        /// Where to connect, `host:port`. Absent: where the URL says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
    },
    /// A program exits with 0.
    Exec {
        /// Program and arguments; no shell reads them.
        command: Vec<String>,
    },
    /// A stream socket of this host accepts and, where that is asked, answers.
    Unix {
        /// A whole path, or `@name` of an abstract one.
        path: String,
        /// What is written to it first, as it is: braces stand for themselves.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        send: Option<String>,
        /// What its answer must contain, as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expect: Option<String>,
    },
    /// Its newest `WATCHDOG=1` to systemd is not older than this.
    Watchdog {
        /// The oldest that is well.
        max_age: Millis,
    },
    /// It wrote something to its log, or to this file, within this time.
    Log {
        /// The longest silence that is well.
        max_age: Millis,
        /// A whole path. Absent: the journal of its unit, or the log of its command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
    },
    /// Its processes keep below all of these.
    Limits(Limits),
}

/// What the processes of one service or work may take. An absent one is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Resident memory of any one of them, in bytes. Not of all together: what they share would
    /// count several times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Open files of any one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fds: Option<u64>,
    /// Open files of any one of them, in percent of what the kernel lets it open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fds_percent: Option<u32>,
    /// One of them may keep a processor busy for so long without a break.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_spin: Option<Millis>,
    /// What counts as busy for `cpu_spin`, in percent of one processor. Absent: 95.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<u32>,
    /// One thread of them may wait in the kernel, where no signal reaches it, for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub d_state: Option<Millis>,
}

impl Check {
    /// In one word, as people write it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Check::Process => "process",
            Check::Tcp { .. } => "tcp",
            Check::Http { .. } => "http",
            Check::Exec { .. } => "exec",
            Check::Unix { .. } => "unix",
            Check::Watchdog { .. } => "watchdog",
            Check::Log { .. } => "log",
            Check::Limits(_) => "limits",
        }
    }

    /// Whether the host does or says something by this that a peer chose: it runs a program, or
    /// speaks to a socket. Such a probe needs the permission that a program needs.
    #[must_use]
    pub const fn acts(&self) -> bool {
        match self {
            Check::Exec { .. } => true,
            Check::Unix { send, .. } => send.is_some(),
            _ => false,
        }
    }
}

/// One probe alone is written as itself, as before there could be several, so that what is stored
/// and sent of works with one probe stays the same in both directions. Several are a list.
pub(crate) mod one_or_more {
    use alloc::vec;
    use alloc::vec::Vec;
    use core::fmt;

    use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
    use serde::de::{MapAccess, SeqAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::ProbeSpec;

    pub(crate) fn serialize<S: Serializer>(
        probes: &[ProbeSpec],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match probes {
            [one] => one.serialize(serializer),
            more => more.serialize(serializer),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<ProbeSpec>, D::Error> {
        deserializer.deserialize_any(Probes)
    }

    struct Probes;

    impl<'de> Visitor<'de> for Probes {
        type Value = Vec<ProbeSpec>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a probe, or a list of probes")
        }

        /// `null`, as an absent probe may be written.
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Ok(vec![ProbeSpec::deserialize(MapAccessDeserializer::new(
                map,
            ))?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(seq))
        }
    }
}
