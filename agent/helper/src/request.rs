//! The whole vocabulary: what may be asked, and what is answered. One JSON value in a line each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing to do. What is not here cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Keep a stopped service out, over reboots: write it down, mask it, block its ports.
    Fence {
        /// Of a service of the configuration.
        unit: String,
    },
    /// Undo what `Fence` did of it, and no more.
    Unfence {
        /// The same.
        unit: String,
    },
    /// Kill everything in the unit's cgroup, and see it empty.
    Kill {
        /// Of a service of the configuration, or an instance of a template that works may use.
        unit: String,
        /// Where it is below the cgroup root. Its last part must be the unit.
        cgroup: String,
    },
    /// Remove the old files that a remedy of the configuration declares.
    Clean {
        /// Which.
        remedy: String,
        /// Only say which.
        #[serde(default)]
        dry_run: bool,
    },
    /// Mount read-write again what a remedy declares.
    Remount {
        /// Which.
        remedy: String,
    },
    /// Take the interface of a remedy down and up.
    Bounce {
        /// Which.
        remedy: String,
    },
    /// Take the device of a remedy from its driver and give it back.
    Rebind {
        /// Which.
        remedy: String,
    },
    /// Reboot the host, cleanly; where the configuration has `[remedy.reboot]`.
    Reboot {},
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Fence { unit } => write!(f, "fence {unit}"),
            Request::Unfence { unit } => write!(f, "unfence {unit}"),
            Request::Kill { unit, cgroup } => write!(f, "kill {unit} in {cgroup}"),
            Request::Clean { remedy, dry_run } => {
                write!(
                    f,
                    "clean {remedy}{}",
                    if *dry_run { " (dry run)" } else { "" }
                )
            }
            Request::Remount { remedy } => write!(f, "remount {remedy}"),
            Request::Bounce { remedy } => write!(f, "bounce {remedy}"),
            Request::Rebind { remedy } => write!(f, "rebind {remedy}"),
            Request::Reboot {} => f.write_str("reboot"),
        }
    }
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done and read back. What was done, in one line.
    Done(String),
    /// It must not be done: why, and what to change if it should. Nothing was done.
    Refused(String),
    /// It could not be done, or not be proved: why. Ask again.
    Failed(String),
}

impl Answer {
    /// As a result, for a caller to whom the two errors are one.
    ///
    /// # Errors
    /// When it was refused or failed.
    pub fn into_result(self) -> Result<String, String> {
        match self {
            Answer::Done(text) => Ok(text),
            Answer::Refused(text) => Err(format!("refused: {text}")),
            Answer::Failed(text) => Err(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_is_as_documented_and_takes_nothing_else() {
        let text = r#"{"kill":{"unit":"web.service","cgroup":"/system.slice/web.service"}}"#;
        let kill: Request = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&kill).unwrap(), text);
        for bad in [
            r#"{"run":{"argv":["sh"]}}"#,
            r#"{"fence":{"unit":"web.service","ports":["tcp/22"]}}"#,
            r#"{"fence":{}}"#,
            r#"{"clean":{"remedy":"logs","directories":["/etc"]}}"#,
            r#"{"reboot":{"force":true}}"#,
            r#""fence""#,
        ] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
        let done = serde_json::to_string(&Answer::Done("x".into())).unwrap();
        assert_eq!(done, r#"{"done":"x"}"#);
    }
}
