//! For how long something has been bad or good without a break.

use nodemedic_protocol::Boottime;

use crate::config::Windows;

/// One window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    bad_since: Option<Boottime>,
    good_since: Option<Boottime>,
}

/// What a look means for the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing yet.
    Wait,
    /// It begins.
    Raise,
    /// It still stands.
    Stand,
    /// It ends.
    Clear,
}

impl Window {
    /// One look, `stands` being whether the condition stands already.
    pub(crate) fn look(&mut self, now: Boottime, bad: bool, stands: bool, w: Windows) -> Turn {
        if bad {
            self.good_since = None;
            let since = *self.bad_since.get_or_insert(now);
            return match stands {
                true => Turn::Stand,
                false if now.since(since) >= w.bad_for => Turn::Raise,
                false => Turn::Wait,
            };
        }
        self.bad_since = None;
        if !stands {
            self.good_since = None;
            return Turn::Wait;
        }
        let since = *self.good_since.get_or_insert(now);
        if now.since(since) >= w.clear_for {
            self.good_since = None;
            Turn::Clear
        } else {
            Turn::Wait
        }
    }
}
