//! The one live page: what is wrong, the fleet, the work, what happened. Drawn here, refreshed each
//! second by a few lines of script; it only shows, and changes nothing.

mod alerts;
mod events;
mod fleet;
mod head;
mod time;
mod words;
mod work;

use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use nodemedic_protocol::api::EventsPage;

use crate::api::answer::Failure;
use crate::engine::{Ask, Asking, Picture};
use crate::store::{Begin, JournalQuery};

/// Events on the page: what an incident of the last minutes needs. The API has the rest.
const EVENTS_SHOWN: u32 = 60;

/// Nothing from elsewhere, nothing inline, no frame around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /`.
pub(crate) async fn whole(State(asking): State<Asking>) -> Result<Response, Failure> {
    let (picture, events) = look(&asking).await?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (head::title(&picture)) }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href="/page/style.css";
                script src="/page/live.js" defer {}
            }
            body {
                p #lost role="alert" hidden {}
                div #live { (draw(&picture, &events)) }
            }
        }
    };
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Html(page.into_string())).into_response())
}

/// `GET /page/fragment`: what changes.
pub(crate) async fn fragment(State(asking): State<Asking>) -> Result<Response, Failure> {
    let (picture, events) = look(&asking).await?;
    let body = Html(draw(&picture, &events).into_string());
    Ok((
        [
            (CACHE_CONTROL, "no-store"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
        body,
    )
        .into_response())
}

/// `GET /page/style.css`.
pub(crate) async fn style() -> impl IntoResponse {
    asset("text/css; charset=utf-8", include_str!("style.css"))
}

/// `GET /page/live.js`.
pub(crate) async fn script() -> impl IntoResponse {
    asset("text/javascript; charset=utf-8", include_str!("live.js"))
}

/// A green cross, so that the tab is found among thirty.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' \
    viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%231a7f5a'/%3E%3Cpath \
    d='M8 3v10M3 8h10' stroke='white' stroke-width='3'/%3E%3C/svg%3E";

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    // A new version may come with a restart, so an old copy is checked each time.
    (
        [
            (CONTENT_TYPE, kind),
            (CACHE_CONTROL, "no-cache"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
        text,
    )
}

async fn look(asking: &Asking) -> Result<(Box<Picture>, EventsPage), Failure> {
    let picture = asking.ask(Ask::Picture).await?;
    let newest = JournalQuery {
        from: Begin::Newest,
        limit: EVENTS_SHOWN,
        node: None,
    };
    Ok((picture, asking.journal(newest).await?))
}

fn draw(picture: &Picture, events: &EventsPage) -> Markup {
    html! {
        (head::draw(picture))
        main {
            (alerts::draw(picture))
            (fleet::draw(picture))
            (work::draw(picture))
            (events::draw(events, picture.now))
        }
    }
}
