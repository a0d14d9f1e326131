//! What only looks.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use nodemedic_coordinator_core::Refused;
use nodemedic_protocol::NodeId;
use nodemedic_protocol::api::{
    AlertView, BrakeView, EventsPage, FencesView, NodeView, StatusView, WorkView,
};
use serde::Deserialize;

use super::answer::Failure;
use crate::engine::{Ask, Asking};
use crate::store::{Begin, JournalQuery};

/// Events in one page unless the asker says otherwise: a screen or two.
const EVENTS_DEFAULT: u32 = 100;

/// At most so many in one page: about a megabyte.
const EVENTS_MAX: u32 = 1000;

/// Longest wait for new events, below the minute after which proxies cut a silent connection.
const WAIT_MAX: Duration = Duration::from_secs(30);

type Answer<T> = Result<Json<T>, Failure>;

pub(super) async fn status(State(asking): State<Asking>) -> Answer<StatusView> {
    Ok(Json(asking.ask(Ask::Status).await?))
}

pub(super) async fn brake(State(asking): State<Asking>) -> Answer<BrakeView> {
    Ok(Json(asking.ask(Ask::Status).await?.brake))
}

pub(super) async fn nodes(State(asking): State<Asking>) -> Answer<Vec<NodeView>> {
    Ok(Json(asking.ask(Ask::Nodes).await?))
}

pub(super) async fn node(
    State(asking): State<Asking>,
    node: Result<Path<NodeId>, PathRejection>,
) -> Answer<NodeView> {
    let Path(node) = node?;
    let view = asking.ask(|back| Ask::Node(node.clone(), back)).await?;
    match view {
        Some(view) => Ok(Json(*view)),
        None => Err(Refused::NoSuchNode(node).into()),
    }
}

pub(super) async fn works(State(asking): State<Asking>) -> Answer<Vec<WorkView>> {
    Ok(Json(asking.ask(Ask::Works).await?))
}

pub(super) async fn fences(State(asking): State<Asking>) -> Answer<FencesView> {
    Ok(Json(*asking.ask(Ask::Fences).await?))
}

pub(super) async fn alerts(State(asking): State<Asking>) -> Answer<Vec<AlertView>> {
    Ok(Json(asking.ask(Ask::Alerts).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    after: Option<u64>,
    limit: Option<u32>,
    wait_ms: Option<u64>,
    node: Option<NodeId>,
}

pub(super) async fn events(
    State(asking): State<Asking>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Answer<EventsPage> {
    let Query(EventsQuery {
        after,
        limit,
        wait_ms,
        node,
    }) = query?;
    let limit = limit.unwrap_or(EVENTS_DEFAULT);
    if !(1..=EVENTS_MAX).contains(&limit) {
        return Err(Failure::bad(format!(
            "limit must be 1 to {EVENTS_MAX}, not {limit}"
        )));
    }
    let from = after.map_or(Begin::Newest, Begin::After);
    let query = JournalQuery { from, limit, node };
    let page = asking.journal(query.clone()).await?;
    let wait = Duration::from_millis(wait_ms.unwrap_or(0)).min(WAIT_MAX);
    if !page.entries.is_empty() || wait.is_zero() {
        return Ok(Json(page));
    }
    // One look after the wait is enough: who filters by node and hears of another's asks again.
    asking.journal_beyond(page.last, wait).await;
    Ok(Json(asking.journal(query).await?))
}

/// 200 while the event loop answers, else 503.
pub(super) async fn healthz(State(asking): State<Asking>) -> (StatusCode, &'static str) {
    match asking.ask(Ask::Status).await {
        Ok(_) => (StatusCode::OK, "ok\n"),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the event loop does not answer\n",
        ),
    }
}
