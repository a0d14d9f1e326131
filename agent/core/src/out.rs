//! What one call of `handle` wants done, collected by its parts and put in order at its end.

use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::event::EventKind;
use nodemedic_protocol::message::Message;
use nodemedic_protocol::work::StopCause;
use nodemedic_protocol::{Component, Now, WorkName};

use crate::effect::{Effect, LogLevel, Token};
use crate::unit::UnitKey;

/// The tray into which every part of the core puts its wishes.
#[derive(Debug)]
pub(crate) struct Out {
    /// The time of this call.
    pub now: Now,
    /// What happened, in order; becomes spooled events.
    pub events: Vec<(Component, EventKind)>,
    /// Watch, Unwatch and Act, in order; done after the memory is durable.
    pub host: Vec<Effect>,
    /// Messages, in order.
    pub messages: Vec<(Message, Option<Token>)>,
    /// Lines for the log.
    pub log: Vec<(LogLevel, String)>,
    /// Units that were proved not to run, on our own order.
    pub proved: Vec<UnitKey>,
    /// Works whose grant must end here, and why.
    pub ending: Vec<(WorkName, StopCause, String)>,
}

impl Out {
    pub(crate) const fn new(now: Now) -> Out {
        Out {
            now,
            events: Vec::new(),
            host: Vec::new(),
            messages: Vec::new(),
            log: Vec::new(),
            proved: Vec::new(),
            ending: Vec::new(),
        }
    }

    pub(crate) fn event(&mut self, component: Component, kind: EventKind) {
        self.events.push((component, kind));
    }

    pub(crate) fn log(&mut self, level: LogLevel, message: String) {
        self.log.push((level, message));
    }

    pub(crate) fn send(&mut self, message: Message) {
        self.messages.push((message, None));
    }
}
