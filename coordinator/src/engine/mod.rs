//! The event loop: turns what happens into inputs of the core, and does its effects in order.
//!
//! One task owns the core. A run of writes is on disk before the next effect is done; when the disk
//! refuses, the loop ends, because what was decided and not written must not be acted on. A process
//! that is killed between any two steps begins again from what is written.

mod ask;
mod link;
mod service;

use std::collections::BTreeMap;
use std::time::Duration;

use nodemedic_coordinator_core::{Coordinator, Effect, Input, LogLevel, Request, RequestId, Write};
use nodemedic_edge::clock;
use nodemedic_edge::mqtt::{LinkEvent, LinkSender};
use nodemedic_protocol::work::WorkSpec;
use nodemedic_protocol::{Boottime, Epoch, SiteId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::fence::{Devices, Fenced, Fencer};
use crate::notify::{Notifier, Told};
use crate::quiet::Quiet;
use crate::store::{Journal, Store, StoreError};

pub use ask::{Ask, Asking, Picture, Unanswered};
pub(crate) use link::will;
use service::Service;
pub(crate) use service::ready;

/// Questions that wait for the loop. It answers thousands in a second; more waiting means that it
/// is stuck, and then a quick "busy" is the better answer.
const ASKS_MAX: usize = 256;

/// Messages taken from the link between two looks at everything else.
const BATCH_MAX: usize = 64;

/// The longest sleep: CLOCK_BOOTTIME counts suspend, the runtime's timer does not.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Why the loop ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// What was decided cannot be written.
    #[error("stopping, because what is decided cannot be written: {0}")]
    Store(#[from] StoreError),
    /// The link's task ended.
    #[error("stopping, because the MQTT link's task ended; start the coordinator again")]
    Link,
}

/// What a configuration that is read again changes in a coordinator that runs.
#[derive(Debug)]
pub(crate) enum Renewed {
    /// These works are declared as a person would; what is not named stays as it is.
    Works(Vec<WorkSpec>),
    /// Fence devices are asked with these secrets.
    Fences(Devices),
}

/// What the loop is made of.
pub struct Engine {
    core: Coordinator,
    store: Store,
    link: LinkSender,
    link_events: mpsc::Receiver<LinkEvent>,
    asks: mpsc::Receiver<Ask>,
    notifier: Notifier,
    told: mpsc::Receiver<Told>,
    fencer: Fencer,
    fenced: mpsc::Receiver<Fenced>,
    renewed: mpsc::Receiver<Renewed>,
    journal: watch::Sender<u64>,
    answers: BTreeMap<RequestId, oneshot::Sender<ask::Answered>>,
    next_request: u64,
    site: SiteId,
    epoch: Epoch,
    link_is_up: bool,
    quiet: Quiet,
    service: Service,
}

/// What [`Engine::new`] needs beside the core.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) journal: Journal,
    pub(crate) link: LinkSender,
    pub(crate) link_events: mpsc::Receiver<LinkEvent>,
    pub(crate) notifier: Notifier,
    pub(crate) told: mpsc::Receiver<Told>,
    pub(crate) fencer: Fencer,
    pub(crate) fenced: mpsc::Receiver<Fenced>,
    pub(crate) renewed: mpsc::Receiver<Renewed>,
    pub(crate) site: SiteId,
    pub(crate) epoch: Epoch,
    pub(crate) journal_last: u64,
}

impl Engine {
    pub(crate) fn new(core: Coordinator, parts: Parts) -> (Engine, Asking) {
        let (ask, asks) = mpsc::channel(ASKS_MAX);
        let (journal, journal_last) = watch::channel(parts.journal_last);
        let asking = Asking::new(ask, parts.journal, journal_last);
        let engine = Engine {
            core,
            store: parts.store,
            link: parts.link,
            link_events: parts.link_events,
            asks,
            notifier: parts.notifier,
            told: parts.told,
            fencer: parts.fencer,
            fenced: parts.fenced,
            renewed: parts.renewed,
            journal,
            answers: BTreeMap::new(),
            next_request: 1,
            site: parts.site,
            epoch: parts.epoch,
            link_is_up: false,
            quiet: Quiet::default(),
            service: Service::new(),
        };
        (engine, asking)
    }

    /// Runs until `stop` is done, then says goodbye on the link.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn run(mut self, stop: oneshot::Receiver<()>) -> Result<(), EngineError> {
        let mut stop = std::pin::pin!(stop);
        loop {
            self.do_effects().await?;
            self.service.alive(clock::boottime());
            let wake = sleep_until(self.core.poll_timeout().map(|(at, _)| at));
            tokio::select! {
                // An owner that vanished cannot ask any more: that is the end as well.
                _ = &mut stop => break,
                event = self.link_events.recv() => {
                    self.on_link(event.ok_or(EngineError::Link)?);
                    self.take_more_from_link();
                }
                Some(ask) = self.asks.recv() => self.on_ask(ask),
                Some(told) = self.told.recv() => {
                    self.handle(Input::Notified { id: told.id, result: told.result });
                }
                Some(fenced) = self.fenced.recv() => {
                    self.handle(Input::Fenced { id: fenced.id, answer: fenced.answer });
                }
                Some(renewed) = self.renewed.recv() => match renewed {
                    Renewed::Works(works) => self.declare(works),
                    Renewed::Fences(devices) => self.fencer.renew(devices),
                },
                () = wake => self.handle(Input::Timer),
            }
        }
        self.service.stopping();
        link::say_goodbye(self.link, &self.site, self.epoch).await;
        Ok(())
    }

    fn handle(&mut self, input: Input) {
        self.core.handle(clock::now(), input);
    }

    fn take_more_from_link(&mut self) {
        for _ in 1..BATCH_MAX {
            match self.link_events.try_recv() {
                Ok(event) => self.on_link(event),
                Err(_) => return,
            }
        }
    }

    /// Declares the works of the configuration as a person would.
    fn declare(&mut self, works: Vec<WorkSpec>) {
        if works.is_empty() {
            return;
        }
        let id = self.fresh_request();
        self.handle(Input::Request {
            id,
            request: Request::PutWork { works },
        });
    }

    fn fresh_request(&mut self) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request = self.next_request.saturating_add(1);
        id
    }

    async fn do_effects(&mut self) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Store(write) => writes.push(*write),
                Effect::Send { node, message } => {
                    self.commit(&mut writes).await?;
                    self.send(node, &message);
                }
                Effect::Notify { id, receiver, body } => {
                    self.commit(&mut writes).await?;
                    self.notifier.tell(id, &receiver, &body);
                }
                Effect::Fence(call) => {
                    self.commit(&mut writes).await?;
                    self.fencer.ask(call);
                }
                Effect::Answer { id, result } => {
                    self.commit(&mut writes).await?;
                    self.answer(id, result);
                }
                Effect::Log { level, text } => {
                    self.commit(&mut writes).await?;
                    log(level, &text);
                }
            }
        }
        self.commit(&mut writes).await
    }

    async fn commit(&mut self, writes: &mut Vec<Write>) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let newest = writes.iter().rev().find_map(|write| match write {
            Write::Journal(entry) => Some(entry.number),
            _ => None,
        });
        self.store.commit(std::mem::take(writes)).await?;
        if let Some(newest) = newest {
            self.journal.send_replace(newest);
        }
        Ok(())
    }
}

fn log(level: LogLevel, text: &str) {
    match level {
        LogLevel::Warn => tracing::warn!("{text}"),
        LogLevel::Info => tracing::info!("{text}"),
        LogLevel::Debug => tracing::debug!("{text}"),
    }
}

async fn sleep_until(at: Option<Boottime>) {
    let wait = at.map_or(SLEEP_MAX, |at| at.since(clock::boottime()).to_duration());
    tokio::time::sleep(wait.min(SLEEP_MAX)).await;
}
