//! The MQTT 5 link to the broker: one task that connects, connects again, subscribes, and tells its
//! owner what happened. The only place that knows which MQTT client library is used.
//!
//! What it promises, and what not:
//! - The link is not an outbox. Whatever was not answered by `Delivered` or `Rejected` when `Down`
//!   comes is forgotten here; the owner keeps it and sends it again after `Up`. A message may so
//!   arrive twice; it is never lost silently.
//! - What comes in is acknowledged to the broker when it is read, not when the owner has acted on
//!   it. Where that matters the messages themselves carry acknowledgements.
//! - Every connection starts with a client of its own, so that no packet id, no retransmission and
//!   no answer of one connection can be taken for one of another.
//! - Nobody waits for anybody in a circle. `try_send` never waits. The task waits for its owner
//!   only when [`EVENTS_MAX`] events lie unread: it then stops reading from the network, so that
//!   the broker holds the rest back. An owner that sleeps longer than one and a half keep alives
//!   is cut off by the broker, and rightly so. `close` may be called without reading the events:
//!   from then on they are dropped.

mod describe;
mod live;
mod session;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use nodemedic_protocol::Millis;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// The largest payload that is sent or taken: the assignment of one node with a thousand works
/// fits.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;

/// Messages that wait for the network. Small, because the owner's own outbox is the queue with the
/// drop rule; this one only bridges the time until the task runs.
pub const QUEUE_MAX: usize = 16;

/// Events that wait for the owner: what a busy coordinator receives in a quarter of a second.
pub const EVENTS_MAX: usize = 256;

/// Where to connect, as whom, and what to hear.
#[derive(Clone)]
pub struct LinkConfig {
    /// MQTT client id; names the session that the broker keeps.
    pub client_id: String,
    /// Broker's host name or address; with TLS it must be in the broker's certificate.
    pub host: String,
    /// Broker's port.
    pub port: u16,
    /// TLS settings of [`crate::tls::client_config`]; `None` = plaintext.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// User name and password.
    pub credentials: Option<(String, String)>,
    /// What the broker says for us when we vanish.
    pub will: Option<Will>,
    /// Topic filters, all at QoS 1. Asked for on every connection, so that what is retained is
    /// heard again each time.
    pub subscriptions: Vec<String>,
    /// MQTT keep alive in seconds; a broker that went silent is noticed within twice of it.
    pub keep_alive_s: u16,
    /// How long the broker keeps the session after a disconnect, in seconds.
    pub session_expiry_s: u32,
    /// First wait before a new attempt to connect.
    pub backoff_first: Millis,
    /// Longest wait before a new attempt to connect.
    pub backoff_max: Millis,
    /// Seed of the jitter: differs from node to node.
    pub seed: u64,
}

impl std::fmt::Debug for LinkConfig {
    /// Without the password and the TLS settings.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkConfig")
            .field("client_id", &self.client_id)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls.is_some())
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .field("subscriptions", &self.subscriptions)
            .finish_non_exhaustive()
    }
}

/// The last will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// Kept by the broker for later subscribers.
    pub retain: bool,
    /// QoS 1 instead of 0.
    pub at_least_once: bool,
}

/// The owner's name for one publish whose delivery it wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What happened on the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// Connected, and the broker has confirmed every subscription.
    Up {
        /// The broker still knew our session, and what it queued for us is on its way.
        session_present: bool,
    },
    /// Not connected, and why; it is tried again without end. Every token without an answer is
    /// forgotten. Comes once per lost connection, and again only when the reason changes.
    Down {
        /// A plain sentence: what failed, with which peer, and where it helps, what to do.
        error: String,
    },
    /// A message came in.
    Message {
        /// Topic.
        topic: String,
        /// Payload.
        payload: Bytes,
        /// The broker had kept it: it is not new.
        retain: bool,
    },
    /// The broker has taken the message with this token.
    Delivered(Token),
    /// The broker refused the message with this token, or it can never be sent. Sending the same
    /// again at once is of no use.
    Rejected {
        /// Which.
        token: Token,
        /// A plain sentence.
        reason: String,
    },
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Topic.
    pub topic: String,
    /// Payload, at most [`MAX_PAYLOAD_BYTES`].
    pub payload: Bytes,
    /// QoS 1 instead of 0.
    pub at_least_once: bool,
    /// Kept by the broker for later subscribers.
    pub retain: bool,
    /// The broker drops it after this many seconds undelivered.
    pub expiry_s: Option<u32>,
    /// Asks for `Delivered` or `Rejected`. Without `at_least_once`, delivered means handed to the
    /// network.
    pub token: Option<Token>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendRefused {
    /// The queue to the network is full: keep the message and try again later.
    #[error("the queue to the broker is full")]
    Full,
    /// Not connected: keep the message and send it after `Up`.
    #[error("not connected to the broker")]
    Down,
}

/// The sending half of a link. Dropped without [`LinkSender::close`], the link ends as in a crash:
/// the will fires.
#[derive(Debug)]
pub struct LinkSender {
    queue: mpsc::Sender<task::Queued>,
    goodbye: oneshot::Sender<task::Goodbye>,
    /// Number of the connection that is up; 0 = none.
    connection: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl LinkSender {
    /// Hands over one message, at once or not at all; never waits.
    pub fn try_send(&self, message: Outgoing) -> Result<(), SendRefused> {
        let connection = self.connection.load(Ordering::Acquire);
        if connection == 0 {
            return Err(SendRefused::Down);
        }
        self.queue
            .try_send(task::Queued {
                connection,
                message,
            })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SendRefused::Full,
                mpsc::error::TrySendError::Closed(_) => SendRefused::Down,
            })
    }

    /// Publishes what is queued and then `last`, waits for the broker's answers, says a clean
    /// goodbye (so the will does not fire) and ends the link. When that is not done `within` the
    /// bound the connection is cut, and the will fires.
    pub async fn close(self, last: Option<Outgoing>, within: Millis) {
        let mut task = self.task;
        // The task is over already: nothing is left to say goodbye to.
        let _ = self.goodbye.send(task::Goodbye { last });
        if tokio::time::timeout(within.to_duration(), &mut task)
            .await
            .is_err()
        {
            task.abort();
        }
    }
}

/// Starts the link: connects, and connects again, until closed or until the receiver is dropped.
/// Must be called inside a tokio runtime.
#[must_use]
pub fn start(config: LinkConfig) -> (LinkSender, mpsc::Receiver<LinkEvent>) {
    let (queue, queued) = mpsc::channel(QUEUE_MAX);
    let (events, heard) = mpsc::channel(EVENTS_MAX);
    let (goodbye, told) = oneshot::channel();
    let connection = Arc::new(AtomicU64::new(0));
    let link = task::Link::new(config, queued, events, told, Arc::clone(&connection));
    let task = tokio::spawn(link.run());
    (
        LinkSender {
            queue,
            goodbye,
            connection,
            task,
        },
        heard,
    )
}
