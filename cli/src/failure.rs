//! How a command fails: the exit code for programs, and what was tried, what was seen and what to
//! do for people.

use std::fmt;

/// What kind of failure, which is the exit code too. 2 (usage) also comes from clap itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was tried and did not work.
    Failed,
    /// The command line or a file named in it is wrong.
    Usage,
    /// The coordinator or the agent cannot be reached.
    Unreachable,
    /// There is no such node, work or path.
    NotFound,
    /// The coordinator or the agent said no.
    Refused,
}

impl Kind {
    /// The exit code; documented in `--help` and docs/reference/cli.md.
    pub const fn code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Unreachable => 3,
            Kind::NotFound => 4,
            Kind::Refused => 5,
        }
    }
}

/// A command that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its exit code.
    pub kind: Kind,
    /// What was tried and what was seen.
    pub message: String,
    /// What to do; empty when the message says it.
    pub remedy: String,
}

impl Failure {
    /// A failure with a remedy.
    pub fn new(kind: Kind, message: impl Into<String>, remedy: impl Into<String>) -> Failure {
        Failure {
            kind,
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// Exit code 1.
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Failed, message, "")
    }

    /// Exit code 2.
    pub fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Failure {
        Failure::new(Kind::Usage, message, remedy)
    }

    /// The same failure with the step that it broke in front.
    pub fn during(mut self, step: &str) -> Failure {
        self.message = format!("{step}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "\n  {}", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<nodemedic_edge::files::FileError> for Failure {
    fn from(error: nodemedic_edge::files::FileError) -> Failure {
        Failure::failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_documented_code() {
        let codes = [
            Kind::Failed,
            Kind::Usage,
            Kind::Unreachable,
            Kind::NotFound,
            Kind::Refused,
        ]
        .map(Kind::code);
        assert_eq!(codes, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn the_remedy_stands_on_its_own_line() {
        let failure = Failure::usage("no such colour", "say auto, always or never");
        assert_eq!(
            failure.to_string(),
            "no such colour\n  say auto, always or never"
        );
        assert_eq!(
            failure.during("reading the arguments").to_string(),
            "reading the arguments: no such colour\n  say auto, always or never"
        );
    }
}
