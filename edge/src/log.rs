//! Logging: to the journal under systemd, else to stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

/// The environment variable with the level: `error`, `warn`, `info`, `debug`, `trace`, or a filter
/// like `info,nodemedic_edge=debug`.
pub const LEVEL_VARIABLE: &str = "NODEMEDIC_LOG";

/// What is logged when nothing is asked for. The broker library speaks of its own defaults, which
/// we replace, so its lines below a warning would only mislead.
const DEFAULT_LEVEL: &str = "info,mqtt5=warn,mqtt5_protocol=warn";

/// Starts logging for the program `name`. A second call does nothing.
///
/// A wrong filter is told on the log itself and the default is used: logging is no reason not to
/// start.
pub fn init(name: &str) {
    let asked = std::env::var(LEVEL_VARIABLE)
        .ok()
        .filter(|text| !text.is_empty());
    let parsed = asked.as_deref().map(EnvFilter::try_new);
    let (filter, complaint) = match parsed {
        None => (EnvFilter::new(DEFAULT_LEVEL), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(DEFAULT_LEVEL), Some(error)),
    };
    // In the journal fields are kept apart, and lines need no time.
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let journal = (stderr_id().is_some_and(|id| is_journal(&stream, id)))
        .then(tracing_journald::layer)
        .and_then(Result::ok)
        .map(|layer| layer.with_syslog_identifier(name.to_owned()));
    let text = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .with_target(false)
    });
    let started = Registry::default()
        .with(filter)
        .with(journal)
        .with(text)
        .try_init();
    if let (Ok(()), Some(error)) = (started, complaint) {
        tracing::warn!(
            "{LEVEL_VARIABLE} is not a level or filter ({error}); using {DEFAULT_LEVEL}"
        );
    }
}

/// True when the stream that systemd names in JOURNAL_STREAM (`device:inode`, systemd.exec(5)) is
/// our stderr. The variable alone proves nothing: children inherit it, and may log elsewhere.
fn is_journal(variable: &str, (device, inode): (u64, u64)) -> bool {
    variable == format!("{device}:{inode}")
}

/// Device and inode of stderr.
fn stderr_id() -> Option<(u64, u64)> {
    let stat = rustix::fs::fstat(std::io::stderr()).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_that_systemd_names_is_the_journal() {
        let (device, inode) = stderr_id().unwrap();
        assert!(is_journal(&format!("{device}:{inode}"), (device, inode)));
        assert!(
            !is_journal(&format!("{device}:{}", inode + 1), (device, inode)),
            "inherited"
        );
        assert!(!is_journal("", (device, inode)), "not under systemd");
    }
}
