//! Questions to the loop, from the API and the page.

use std::time::Duration;

use nodemedic_coordinator_core::{Input, Refused, Request, RequestId};
use nodemedic_edge::clock;
use nodemedic_protocol::api::{
    Accepted, AlertView, EventsPage, FencesView, NodeView, StatusView, WorkView,
};
use nodemedic_protocol::{NodeId, WallTime};
use tokio::sync::{mpsc, oneshot, watch};

use super::Engine;
use crate::store::{Journal, JournalQuery, StoreError};

/// The loop answers within milliseconds, a commit included; after this it is stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The answer to a request.
pub(super) type Answered = Result<Accepted, Refused>;

/// One question, with the way back.
#[derive(Debug)]
pub enum Ask {
    /// `GET /api/v1/status`.
    Status(oneshot::Sender<StatusView>),
    /// `GET /api/v1/nodes`.
    Nodes(oneshot::Sender<Vec<NodeView>>),
    /// `GET /api/v1/nodes/{node}`.
    Node(NodeId, oneshot::Sender<Option<Box<NodeView>>>),
    /// `GET /api/v1/work`.
    Works(oneshot::Sender<Vec<WorkView>>),
    /// `GET /api/v1/alerts`.
    Alerts(oneshot::Sender<Vec<AlertView>>),
    /// `GET /api/v1/fences`.
    Fences(oneshot::Sender<Box<FencesView>>),
    /// All of it, at one moment.
    Picture(oneshot::Sender<Box<Picture>>),
    /// Anything that changes something.
    Request(Box<Request>, oneshot::Sender<Answered>),
}

/// The whole fleet at one moment, for the page.
#[derive(Debug)]
pub struct Picture {
    /// When.
    pub now: WallTime,
    /// The coordinator.
    pub status: StatusView,
    /// Every node.
    pub nodes: Vec<NodeView>,
    /// Every work.
    pub works: Vec<WorkView>,
    /// Every alert that is open, or was not long ago.
    pub alerts: Vec<AlertView>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The loop has too many questions, or none has been answered in time.
    #[error("the coordinator is busy; try again in a few seconds. If it stays so, see its log")]
    Busy,
    /// The loop has ended.
    #[error("the coordinator is stopping")]
    Stopping,
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Asks the loop and the journal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Asking {
    asks: mpsc::Sender<Ask>,
    journal: Journal,
    journal_last: watch::Receiver<u64>,
}

impl Asking {
    pub(super) fn new(
        asks: mpsc::Sender<Ask>,
        journal: Journal,
        journal_last: watch::Receiver<u64>,
    ) -> Asking {
        Asking {
            asks,
            journal,
            journal_last,
        }
    }

    /// Asks one question; `ask` makes it from the way back.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<T>) -> Ask,
    ) -> Result<T, Unanswered> {
        let (back, answer) = oneshot::channel();
        self.asks.try_send(ask(back)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unanswered::Busy,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Stopping,
        })?;
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Unanswered::Stopping),
            Err(_) => Err(Unanswered::Busy),
        }
    }

    /// A page of the journal.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub async fn journal(&self, query: JournalQuery) -> Result<EventsPage, Unanswered> {
        Ok(self.journal.page(query).await?)
    }

    /// Returns when the journal has an entry after this number, or after `within`.
    pub async fn journal_beyond(&self, number: u64, within: Duration) {
        let mut last = self.journal_last.clone();
        // Too late and "the loop ended" are no errors here: the page is read either way.
        let _ = tokio::time::timeout(within, last.wait_for(|last| *last > number)).await;
    }
}

impl Engine {
    pub(super) fn on_ask(&mut self, ask: Ask) {
        let now = clock::now();
        // Whoever asked may have gone away; that needs no care.
        match ask {
            Ask::Status(back) => drop(back.send(self.core.status_view(now))),
            Ask::Nodes(back) => drop(back.send(self.core.nodes_view(now))),
            Ask::Node(node, back) => {
                drop(back.send(self.core.node_view(now, &node).map(Box::new)));
            }
            Ask::Works(back) => drop(back.send(self.core.works_view(now))),
            Ask::Alerts(back) => drop(back.send(self.core.alerts_view())),
            Ask::Fences(back) => drop(back.send(Box::new(self.core.fences_view(now)))),
            Ask::Picture(back) => drop(back.send(Box::new(Picture {
                now: now.wall,
                status: self.core.status_view(now),
                nodes: self.core.nodes_view(now),
                works: self.core.works_view(now),
                alerts: self.core.alerts_view(),
            }))),
            Ask::Request(request, back) => {
                let id = self.fresh_request();
                self.answers.insert(id, back);
                self.handle(Input::Request {
                    id,
                    request: *request,
                });
                // The core answers with the effects of this turn; who hung up before is forgotten.
                self.answers.retain(|_, back| !back.is_closed());
            }
        }
    }

    pub(super) fn answer(&mut self, id: RequestId, result: Answered) {
        match (self.answers.remove(&id), result) {
            (Some(back), result) => drop(back.send(result)),
            (None, Ok(accepted)) => tracing::info!("{}", accepted.message),
            (None, Err(refused)) => {
                tracing::warn!("the works of the configuration are not declared: {refused}");
            }
        }
    }
}
