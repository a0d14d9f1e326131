//! The HTTP API and the page: asks the event loop, and changes nothing by itself.
//!
//! docs/reference/api.md has the paths; [`nodemedic_protocol::api`] has the shapes.

pub(crate) mod answer;
mod change;
mod guard;
mod listener;
mod look;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{delete, get, post};
use tokio::net::TcpListener;

use crate::config::ApiConfig;
use crate::engine::Asking;
use crate::page;
use answer::{no_such_method, no_such_path};
use guard::Guard;
use listener::Bounded;

/// Largest request: works for a whole site fit many times over.
const BODY_MAX_BYTES: usize = 1 << 20;

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener, config: ApiConfig, asking: Asking) {
    let guard = Guard::new(&config);
    if let Err(error) = axum::serve(Bounded::new(listener), router(guard, asking)).await {
        tracing::error!("the API ended: {error}");
    }
}

fn router(guard: Guard, asking: Asking) -> Router {
    let v1 = Router::new()
        .route("/status", get(look::status))
        .route("/brake", get(look::brake))
        .route("/brake/release", post(change::release_brake))
        .route("/nodes", get(look::nodes))
        .route("/nodes/{node}", get(look::node))
        .route("/nodes/{node}/drain", post(change::drain))
        .route("/nodes/{node}/undrain", post(change::undrain))
        .route("/nodes/{node}/cordon", post(change::cordon))
        .route("/nodes/{node}/uncordon", post(change::uncordon))
        .route("/nodes/{node}/confirm-down", post(change::confirm_down))
        .route("/nodes/{node}/fence", post(change::fence))
        .route("/nodes/{node}/cancel-fence", post(change::cancel_fence))
        .route("/fences", get(look::fences))
        .route("/fence-devices/{device}/trust", post(change::trust_device))
        .route("/nodes/{node}/forget", post(change::forget))
        .route("/work", get(look::works).put(change::put_work))
        .route("/work/{name}", delete(change::remove_work))
        .route("/alerts", get(look::alerts))
        .route("/events", get(look::events));
    Router::new()
        .route("/", get(page::whole))
        .route("/page/fragment", get(page::fragment))
        .route("/page/style.css", get(page::style))
        .route("/page/live.js", get(page::script))
        .route("/healthz", get(look::healthz))
        .nest("/api/v1", v1)
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .with_state(asking)
}
