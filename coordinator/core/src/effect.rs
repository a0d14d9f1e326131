//! Everything that a coordinator wants done, as one closed enum.
//!
//! The executor does effects in order. A run of [`Effect::Store`] before any other effect is one
//! transaction, committed before the next effect is done.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use nodemedic_protocol::NodeId;
use nodemedic_protocol::api::{Accepted, WebhookBody};
use nodemedic_protocol::message::Message;

use crate::fencing::FenceCall;
use crate::input::{NotifyId, RequestId};
use crate::stored::Write;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Keep this for ever.
    Store(Box<Write>),
    /// Publish to one node: a command or a lease. Never retained. When it cannot be sent now it is
    /// dropped: the core sends again.
    Send {
        /// To whom.
        node: NodeId,
        /// What.
        message: Box<Message>,
    },
    /// Tell a receiver; answered by `Input::Notified`.
    Notify {
        /// Names the try.
        id: NotifyId,
        /// Whom, by its name in the settings.
        receiver: String,
        /// What to post.
        body: Box<WebhookBody>,
    },
    /// Ask a fence device; answered by `Input::Fenced`.
    Fence(FenceCall),
    /// Answer a request.
    Answer {
        /// Which.
        id: RequestId,
        /// Taken or refused.
        result: Result<Accepted, Refused>,
    },
    /// Write to the log.
    Log {
        /// How loud.
        level: LogLevel,
        /// One line.
        text: String,
    },
}

/// How loud a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something that a person should look at.
    Warn,
    /// Part of the story.
    Info,
    /// For who debugs.
    Debug,
}

/// Why a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such node (404).
    NoSuchNode(NodeId),
    /// There is no such work (404).
    NoSuchWork(nodemedic_protocol::WorkName),
    /// It does not fit the present state (409); the text says what to do.
    Conflict(String),
    /// It makes no sense (400); the text says what to do.
    Bad(String),
    /// Another coordinator leads (503).
    Superseded(nodemedic_protocol::Epoch),
}

impl Refused {
    /// The HTTP status that says the same.
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match self {
            Refused::NoSuchNode(_) | Refused::NoSuchWork(_) => 404,
            Refused::Conflict(_) => 409,
            Refused::Bad(_) => 400,
            Refused::Superseded(_) => 503,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NoSuchNode(node) => write!(
                f,
                "no node called {node} is known here: it has never reported, or was forgotten; \
                `nodemedic nodes` lists all"
            ),
            Refused::NoSuchWork(work) => {
                write!(
                    f,
                    "no work called {work} is declared; `nodemedic work` lists all"
                )
            }
            Refused::Conflict(text) | Refused::Bad(text) => f.write_str(text),
            Refused::Superseded(epoch) => write!(
                f,
                "agents obey a coordinator of epoch {epoch}, which is newer than this one: ask \
                that one"
            ),
        }
    }
}

impl core::error::Error for Refused {}
