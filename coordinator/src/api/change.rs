//! What changes something: each becomes one request to the core, and the core decides.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use nodemedic_coordinator_core::Request;
use nodemedic_protocol::api::{
    Accepted, ConfirmDownRequest, CordonRequest, DrainRequest, ForgetRequest, PutWork,
};
use nodemedic_protocol::{NodeId, WorkName};

use super::answer::Failure;
use crate::engine::{Ask, Asking};

type Answer = Result<Json<Accepted>, Failure>;
type Named<T> = Result<Path<T>, PathRejection>;
type Body<T> = Result<Json<T>, JsonRejection>;

async fn request(asking: &Asking, request: Request) -> Answer {
    let accepted = asking
        .ask(|back| Ask::Request(Box::new(request), back))
        .await??;
    Ok(Json(accepted))
}

pub(super) async fn drain(
    State(asking): State<Asking>,
    node: Named<NodeId>,
    body: Body<DrainRequest>,
) -> Answer {
    let (Path(node), Json(DrainRequest { reason, deadline })) = (node?, body?);
    request(
        &asking,
        Request::Drain {
            node,
            reason,
            deadline,
        },
    )
    .await
}

pub(super) async fn undrain(State(asking): State<Asking>, node: Named<NodeId>) -> Answer {
    let Path(node) = node?;
    request(&asking, Request::Undrain { node }).await
}

pub(super) async fn cordon(
    State(asking): State<Asking>,
    node: Named<NodeId>,
    body: Body<CordonRequest>,
) -> Answer {
    let (Path(node), Json(CordonRequest { reason })) = (node?, body?);
    request(&asking, Request::Cordon { node, reason }).await
}

pub(super) async fn uncordon(State(asking): State<Asking>, node: Named<NodeId>) -> Answer {
    let Path(node) = node?;
    request(&asking, Request::Uncordon { node }).await
}

pub(super) async fn confirm_down(
    State(asking): State<Asking>,
    node: Named<NodeId>,
    body: Body<ConfirmDownRequest>,
) -> Answer {
    let (Path(node), Json(ConfirmDownRequest { reason, by })) = (node?, body?);
    request(&asking, Request::ConfirmDown { node, reason, by }).await
}

pub(super) async fn forget(
    State(asking): State<Asking>,
    node: Named<NodeId>,
    body: Body<ForgetRequest>,
) -> Answer {
    let (Path(node), Json(ForgetRequest { reason })) = (node?, body?);
    request(&asking, Request::Forget { node, reason }).await
}

pub(super) async fn put_work(State(asking): State<Asking>, body: Body<PutWork>) -> Answer {
    let Json(PutWork { works }) = body?;
    request(&asking, Request::PutWork { works }).await
}

pub(super) async fn remove_work(State(asking): State<Asking>, name: Named<WorkName>) -> Answer {
    let Path(work) = name?;
    request(&asking, Request::RemoveWork { work }).await
}
