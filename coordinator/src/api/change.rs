//! What changes something: each becomes one request to the core, and the core decides.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use nodemedic_coordinator_core::{FenceWish, Request};
use nodemedic_protocol::api::{
    Accepted, BrakeReleaseRequest, CancelFenceRequest, ConfirmDownRequest, CordonRequest,
    DrainRequest, FenceRequest, ForgetRequest, PutWork, TrustDeviceRequest,
};
use nodemedic_protocol::{DeviceName, NodeId, WorkName};

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
    let (Path(node), Json(body)) = (node?, body?);
    let DrainRequest {
        reason,
        deadline,
        override_budget,
    } = body;
    request(
        &asking,
        Request::Drain {
            node,
            reason,
            deadline,
            override_budget,
        },
    )
    .await
}

pub(super) async fn release_brake(
    State(asking): State<Asking>,
    body: Body<BrakeReleaseRequest>,
) -> Answer {
    let Json(BrakeReleaseRequest { span, reason }) = body?;
    request(&asking, Request::ReleaseBrake { span, reason }).await
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

pub(super) async fn fence(
    State(asking): State<Asking>,
    node: Named<NodeId>,
    body: Body<FenceRequest>,
) -> Answer {
    let (Path(node), Json(wanted)) = (node?, body?);
    let wish = FenceWish {
        node,
        reason: wanted.reason,
        by: wanted.by,
        override_budget: wanted.override_budget,
        then: wanted.then,
    };
    request(&asking, Request::Fence(wish)).await
}

pub(super) async fn cancel_fence(
    State(asking): State<Asking>,
    node: Named<NodeId>,
    body: Body<CancelFenceRequest>,
) -> Answer {
    let (Path(node), Json(CancelFenceRequest { reason, by })) = (node?, body?);
    request(&asking, Request::CancelFence { node, reason, by }).await
}

pub(super) async fn trust_device(
    State(asking): State<Asking>,
    device: Named<DeviceName>,
    body: Body<TrustDeviceRequest>,
) -> Answer {
    let (Path(device), Json(TrustDeviceRequest { reason, by })) = (device?, body?);
    let word = Request::TrustDevice { device, reason, by };
    request(&asking, word).await
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
