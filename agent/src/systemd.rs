//! What systemd is told: ready, how it stands, that the event loop turns, that it ends. Without
//! systemd all of this does nothing.

use nodemedic_protocol::{Boottime, Level, Millis};
use sd_notify::NotifyState;

/// Tells systemd of the event loop's progress.
#[derive(Debug)]
pub struct Systemd {
    /// Half of WatchdogSec, so that one late turn does no harm.
    every: Option<Millis>,
    fed_at: Option<Boottime>,
    said: String,
}

impl Systemd {
    /// Reads from the environment what systemd wants.
    #[must_use]
    pub fn new() -> Systemd {
        Systemd {
            every: sd_notify::watchdog_enabled().map(|limit| Millis::from(limit / 2)),
            fed_at: None,
            said: String::new(),
        }
    }

    /// The agent works.
    pub fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// The event loop has made a turn: called from there and nowhere else, so a loop that hangs
    /// starves the watchdog.
    pub fn turned(&mut self, now: Boottime, level: Level, link_up: bool) {
        if let Some(every) = self.every
            && self.fed_at.is_none_or(|at| now.since(at) >= every)
        {
            self.fed_at = Some(now);
            tell(&[NotifyState::Watchdog]);
        }
        let link = if link_up {
            "connected"
        } else {
            "not connected"
        };
        let status = format!("host {level}, {link}");
        if status != self.said {
            tell(&[NotifyState::Status(&status)]);
            self.said = status;
        }
    }

    /// The agent ends on request.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }
}

impl Default for Systemd {
    fn default() -> Systemd {
        Systemd::new()
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot tell systemd: {error}");
    }
}
