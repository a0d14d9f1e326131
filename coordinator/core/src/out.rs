//! The queue of effects, in order, and the numbering of the journal.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;

use nodemedic_protocol::api::{Decision, JournalEntry, JournalWhat};
use nodemedic_protocol::message::Message;
use nodemedic_protocol::{NodeId, Now};

use crate::effect::{Effect, LogLevel};
use crate::stored::Write;

/// Effects that wait to be done.
#[derive(Debug)]
pub(crate) struct Out {
    queue: VecDeque<Effect>,
    journal_last: u64,
}

impl Out {
    pub(crate) const fn new(journal_last: u64) -> Out {
        Out {
            queue: VecDeque::new(),
            journal_last,
        }
    }

    /// Number of the newest journal entry.
    pub(crate) const fn journal_last(&self) -> u64 {
        self.journal_last
    }

    pub(crate) fn pop(&mut self) -> Option<Effect> {
        self.queue.pop_front()
    }

    /// As it must not be: what others see comes before what must be stored.
    pub(crate) fn pop_sends_first(&mut self) -> Option<Effect> {
        let is_send = |effect: &Effect| matches!(effect, Effect::Send { .. });
        match self.queue.iter().position(is_send) {
            Some(at) => self.queue.remove(at),
            None => self.pop(),
        }
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.queue.push_back(effect);
    }

    pub(crate) fn store(&mut self, write: Write) {
        self.push(Effect::Store(Box::new(write)));
    }

    pub(crate) fn send(&mut self, node: &NodeId, message: Message) {
        self.push(Effect::Send {
            node: node.clone(),
            message: Box::new(message),
        });
    }

    pub(crate) fn journal(&mut self, now: Now, node: Option<&NodeId>, what: JournalWhat) {
        self.journal_last = self.journal_last.saturating_add(1);
        let entry = JournalEntry {
            number: self.journal_last,
            stored: now.wall,
            node: node.cloned(),
            what,
        };
        self.store(Write::Journal(entry));
    }

    pub(crate) fn decide(&mut self, now: Now, node: Option<&NodeId>, decision: Decision) {
        self.journal(now, node, JournalWhat::Coordinator(decision));
    }

    pub(crate) fn log(&mut self, level: LogLevel, text: String) {
        self.push(Effect::Log { level, text });
    }
}
