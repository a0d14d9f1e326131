//! The one task of a link. It is the only one that drives the MQTT client; its inputs are the
//! network, the owner's queue, the goodbye and a few timers, and it never publishes by waiting.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use rumqttc::{AsyncClient, ConnAck, ConnectionError, Event, Packet};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

use super::live::{Answer, Live, confirmation};
use super::session::{self, IN_FLIGHT_MAX};
use super::{LinkConfig, LinkEvent, Outgoing, QUEUE_MAX, describe};
use crate::backoff::Backoff;

/// Requests between this task and the client: everything queued and in flight, and the last one.
/// The task hands over no more than fits, so the client never answers "full".
const CLIENT_CAPACITY: usize = QUEUE_MAX + IN_FLIGHT_MAX as usize + 2;

/// Messages held back until the subscriptions are confirmed (a resumed session may bring many at
/// once). Beyond it they are passed on early, which is harmless, rather than piled up.
const HELD_MAX_BYTES: usize = 8 * 1024 * 1024;

/// A connection that lasted this long was a good one: the next failure starts with the short wait
/// again. Without it two clients with one id would throw each other out without a pause.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// A message with the number of the connection it was meant for.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) connection: u64,
    pub(super) message: Outgoing,
}

/// The owner wants to end the link.
#[derive(Debug)]
pub(super) struct Goodbye {
    pub(super) last: Option<Outgoing>,
}

/// How one connection, or one wait, ended.
enum End {
    /// It failed, for this reason; try again.
    Failed(String),
    /// The link is over: closed, or nobody is interested any more.
    Over,
}

/// The next thing that concerns a connection.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one step; boxing would cost an allocation for every packet"
)]
enum Step {
    Goodbye(Goodbye),
    Queued(Queued),
    Answered(Answer),
    Subscribed(Result<(), String>),
    Polled(Result<Event, ConnectionError>),
    /// The connection has lasted long enough to count as good.
    Stable,
    /// The owner took an event.
    Taken,
    /// Nobody is interested in the link any more.
    Over,
}

/// The link: what outlives a connection.
pub(super) struct Link {
    config: LinkConfig,
    queue: mpsc::Receiver<Queued>,
    events: mpsc::Sender<LinkEvent>,
    goodbye: oneshot::Receiver<Goodbye>,
    /// Some once the owner has said goodbye; taken when its last message is handed over.
    closing: Option<Goodbye>,
    /// The number of the connection that is up, shared with the sender.
    connection: Arc<AtomicU64>,
    /// Events that the owner has not taken yet.
    backlog: VecDeque<LinkEvent>,
    backoff: Backoff,
    /// The reason of the last `Down`, so that the same is not said at every attempt.
    last_down: Option<String>,
}

impl Link {
    pub(super) fn new(
        config: LinkConfig,
        queue: mpsc::Receiver<Queued>,
        events: mpsc::Sender<LinkEvent>,
        goodbye: oneshot::Receiver<Goodbye>,
        connection: Arc<AtomicU64>,
    ) -> Link {
        let backoff = Backoff::new(config.backoff_first, config.backoff_max, config.seed);
        Link {
            config,
            queue,
            events,
            goodbye,
            closing: None,
            connection,
            backlog: VecDeque::new(),
            backoff,
            last_down: None,
        }
    }

    /// Until closed.
    pub(super) async fn run(mut self) {
        let mut number = 0;
        loop {
            number += 1;
            let end = self.connect_and_serve(number).await;
            self.connection.store(0, Ordering::Release);
            let End::Failed(error) = end else { return };
            if self.closing.is_some() {
                return;
            }
            if self.last_down.as_ref() != Some(&error) {
                self.last_down = Some(error.clone());
                self.backlog.push_back(LinkEvent::Down { error });
            }
            if !self.pause().await {
                return;
            }
        }
    }

    /// Waits before the next attempt, and until the owner has taken what lies ready for it. False
    /// when the link is over.
    async fn pause(&mut self) -> bool {
        let mut wait = pin!(tokio::time::sleep(self.backoff.next_wait().to_duration()));
        let mut waited = false;
        while !waited || !self.backlog.is_empty() {
            tokio::select! {
                _ = &mut self.goodbye => return false,
                permit = self.events.reserve(), if !self.backlog.is_empty() => {
                    let Ok(permit) = permit else { return false };
                    if let Some(event) = self.backlog.pop_front() {
                        permit.send(event);
                    }
                }
                // Meant for the lost connection: the owner sends it again after Up.
                stale = self.queue.recv() => if stale.is_none() {
                    return false;
                },
                () = self.events.closed() => return false,
                () = &mut wait, if !waited => waited = true,
            }
        }
        true
    }

    /// One connection from its first packet to its end.
    async fn connect_and_serve(&mut self, number: u64) -> End {
        let options = session::options(&self.config);
        let builder = AsyncClient::builder(options).capacity(CLIENT_CAPACITY);
        let (client, mut network) = match builder.try_build() {
            Ok(built) => built,
            Err(error) => return End::Failed(format!("the MQTT settings are wrong: {error}")),
        };
        let mut live = Live::new(number, client);
        let mut stable = Box::pin(tokio::time::sleep(STABLE_AFTER));
        loop {
            // Never dropped half done: the inner loop leaves it only when it is ready.
            let mut poll = pin!(network.poll());
            let polled = loop {
                match self.step(&mut live, &mut stable, poll.as_mut()).await {
                    Step::Goodbye(goodbye) => self.closing = Some(goodbye),
                    Step::Queued(queued) => self.publish_queued(&mut live, queued),
                    Step::Answered(answer) => self.answered(answer),
                    Step::Subscribed(Ok(())) => self.announce(&mut live),
                    Step::Subscribed(Err(error)) => return End::Failed(error),
                    Step::Stable => self.backoff.reset(),
                    Step::Taken => {}
                    Step::Over => return End::Over,
                    Step::Polled(polled) => break polled,
                }
                self.take_leave(&mut live);
            };
            match polled {
                Ok(event) => self.heard(&mut live, event),
                Err(ConnectionError::RequestsDone) => return End::Over,
                Err(error) => {
                    self.settle(&mut live);
                    return End::Failed(self.why(&error, live.accepted));
                }
            }
            self.take_leave(&mut live);
        }
    }

    /// Waits for the next thing that concerns this connection.
    async fn step<P>(
        &mut self,
        live: &mut Live,
        stable: &mut Pin<Box<Sleep>>,
        poll: Pin<&mut P>,
    ) -> Step
    where
        P: Future<Output = Result<Event, ConnectionError>>,
    {
        let open = self.closing.is_none();
        let may_deliver = open && live.announced && !self.backlog.is_empty();
        // As many as the client has room for, so that it never says "full".
        let may_send = open && live.announced && live.answers.len() < usize::from(IN_FLIGHT_MAX);
        let may_settle = live.announced && !live.stable;
        tokio::select! {
            biased;
            told = &mut self.goodbye, if open => told.map_or(Step::Over, Step::Goodbye),
            permit = self.events.reserve(), if may_deliver => {
                let Ok(permit) = permit else { return Step::Over };
                if let Some(event) = self.backlog.pop_front() {
                    permit.send(event);
                }
                Step::Taken
            }
            queued = self.queue.recv(), if may_send => queued.map_or(Step::Over, Step::Queued),
            Some(answer) = live.answers.next() => Step::Answered(answer),
            confirmed = confirmation(&mut live.subscribed) => Step::Subscribed(confirmed),
            () = stable, if may_settle => {
                live.stable = true;
                Step::Stable
            }
            () = self.events.closed(), if open => Step::Over,
            // While the owner is behind, nothing more is read: the broker holds it back.
            polled = poll, if !may_deliver => Step::Polled(polled),
        }
    }

    /// What the network brought.
    fn heard(&mut self, live: &mut Live, event: Event) {
        match event {
            Event::Incoming(Packet::ConnAck(connack)) => self.accepted(live, &connack),
            Event::Incoming(Packet::Publish(publish)) => {
                let Ok(topic) = String::from_utf8(publish.topic.to_vec()) else {
                    tracing::warn!("dropped a message whose topic is not UTF-8");
                    return;
                };
                if self.closing.is_some() {
                    return;
                }
                live.held_bytes += topic.len() + publish.payload.len();
                self.backlog.push_back(LinkEvent::Message {
                    topic,
                    payload: publish.payload,
                    retain: publish.retain,
                });
                if live.held_bytes > HELD_MAX_BYTES && !live.announced {
                    self.announce(live);
                }
            }
            _ => {}
        }
    }

    /// The broker took the connection.
    fn accepted(&mut self, live: &mut Live, connack: &ConnAck) {
        let peer = self.peer();
        if !live.accepted(connack, &self.config.subscriptions, &peer) {
            self.announce(live);
        }
    }

    /// From now on the owner may send, and hears what was held back.
    fn announce(&mut self, live: &mut Live) {
        if live.announced {
            return;
        }
        live.announced = true;
        self.last_down = None;
        let up = LinkEvent::Up {
            session_present: live.session_present,
        };
        // Ahead of what came in early; an earlier connection left nothing, for `pause` waited.
        self.backlog.push_front(up);
        self.connection.store(live.number, Ordering::Release);
    }

    /// Hands over a message of the queue, unless it was meant for an earlier connection.
    fn publish_queued(&mut self, live: &mut Live, queued: Queued) {
        if queued.connection == live.number {
            self.publish(live, queued.message);
        }
    }

    /// Hands over one message to the client.
    fn publish(&mut self, live: &mut Live, message: Outgoing) {
        let token = message.token;
        match live.hand_over(message) {
            Ok(()) => {}
            Err(reason) => self.answered((token, Some(Err(reason)))),
        }
    }

    /// A publish has its answer.
    fn answered(&mut self, (token, answer): Answer) {
        let event = match (token, answer) {
            (Some(token), Some(Ok(()))) => LinkEvent::Delivered(token),
            (Some(token), Some(Err(reason))) => LinkEvent::Rejected { token, reason },
            (None, Some(Err(reason))) => {
                tracing::warn!(reason, "the broker refused a message");
                return;
            }
            (None, Some(Ok(()))) | (_, None) => return,
        };
        if self.closing.is_none() {
            self.backlog.push_back(event);
        }
    }

    /// The connection has ended: answers that came with its last packets still count.
    fn settle(&mut self, live: &mut Live) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        while let std::task::Poll::Ready(Some(answer)) = live.answers.poll_next_unpin(&mut context)
        {
            self.answered(answer);
        }
    }

    /// Says goodbye step by step: the queue, the last message, the answers, DISCONNECT.
    fn take_leave(&mut self, live: &mut Live) {
        let Some(goodbye) = self.closing.as_mut() else {
            return;
        };
        if !live.announced || live.leaving {
            return;
        }
        let last = goodbye.last.take();
        while let Ok(queued) = self.queue.try_recv() {
            self.publish_queued(live, queued);
        }
        if let Some(last) = last {
            self.publish(live, last);
        }
        if live.answers.is_empty() {
            live.leaving = true;
            // Refused only when the client has ended already.
            let _ = live.client.try_disconnect_now();
        }
    }

    fn why(&self, error: &ConnectionError, accepted: bool) -> String {
        describe::connection_error(error, &self.peer(), self.config.tls.is_some(), accepted)
    }

    fn peer(&self) -> String {
        format!("{}:{}", self.config.host, self.config.port)
    }
}
