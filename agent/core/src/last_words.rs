//! What the watchdog did before this run: its last words in a file, and what its device says of
//! this boot. Both become one event, told once, over restarts of the agent too.

use alloc::string::ToString;

use nodemedic_protocol::event::{EventKind, LastWords};
use nodemedic_protocol::{BootId, Boottime, Component, Millis};

use crate::memory::WatchdogTold;
use crate::out::Out;

/// Last words wait so long for what the device says: a watchdog answers within a second, and one
/// that restarts beside the agent within a few.
const DEVICE_WAIT: Millis = Millis::from_secs(10);

/// What was found and not told yet, and what was told.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    told: WatchdogTold,
    /// As it will be once the event is spooled: remembered a turn later, so that a crash in between
    /// tells it twice and never not at all.
    next: WatchdogTold,
    pending: Option<(LastWords, Boottime)>,
}

impl Words {
    pub(crate) fn new(told: WatchdogTold) -> Words {
        Words {
            next: told.clone(),
            told,
            pending: None,
        }
    }

    /// What must be remembered.
    pub(crate) const fn told(&self) -> &WatchdogTold {
        &self.told
    }

    /// The effects of the turn before are under way, in their order.
    pub(crate) fn turn(&mut self) {
        self.told.clone_from(&self.next);
    }

    /// Last words are there. Those that were told already, or are older, say nothing new.
    pub(crate) fn found(&mut self, out: &Out, words: LastWords) {
        let old = self
            .next
            .words
            .as_ref()
            .is_some_and(|(boot, at)| *boot == words.boot_id && words.at <= *at);
        if !old {
            self.pending = Some((words, out.now.boot + DEVICE_WAIT));
        }
    }

    /// The device has spoken, or there is none.
    pub(crate) fn device(&mut self, out: &mut Out, boot_id: &BootId, reset: bool) {
        let news = reset && self.next.reset.as_ref() != Some(boot_id);
        if news {
            self.next.reset = Some(boot_id.clone());
        }
        if news || self.pending.is_some() {
            self.tell(out, news);
        }
    }

    /// When [`Words::tick`] has something to do.
    pub(crate) fn due(&self) -> Option<Boottime> {
        self.pending.as_ref().map(|(_, due)| *due)
    }

    /// Nobody said anything about the device in time.
    pub(crate) fn tick(&mut self, out: &mut Out) {
        if self.due().is_some_and(|due| due <= out.now.boot) {
            self.tell(out, false);
        }
    }

    fn tell(&mut self, out: &mut Out, device_reset: bool) {
        let words = self.pending.take().map(|(words, _)| words);
        if let Some(words) = &words {
            self.next.words = Some((words.boot_id.clone(), words.at));
        }
        let kind = EventKind::WatchdogActed {
            device_reset,
            words,
        };
        out.event(Component::Agent("watchdog".to_string()), kind);
    }
}
