//! What systemd is told: ready, alive, stopping. Alive means that the loop has made a turn, so a
//! loop that hangs is restarted; no timer says it in the loop's place.

use nodemedic_protocol::{Boottime, Millis};
use sd_notify::NotifyState;

/// Tells systemd, when it asked to be told.
#[derive(Debug)]
pub(super) struct Service {
    every: Option<Millis>,
    last: Option<Boottime>,
}

impl Service {
    pub(super) fn new() -> Service {
        // Half of what systemd allows, as sd_watchdog_enabled(3) advises.
        let every = sd_notify::watchdog_enabled().map(|allowed| Millis::from(allowed / 2));
        Service { every, last: None }
    }

    pub(super) fn alive(&mut self, now: Boottime) {
        let Some(every) = self.every else { return };
        if self.last.is_none_or(|last| now.since(last) >= every) {
            self.last = Some(now);
            tell(&[NotifyState::Watchdog]);
        }
    }

    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }
}

/// Says that the start is over.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot tell systemd how the coordinator is: {error}");
    }
}
