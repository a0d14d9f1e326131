//! Incidents: the open ones in full, the ended ones folded away.

use maud::{Markup, html};
use nodemedic_protocol::Severity;
use nodemedic_protocol::api::{AlertState, AlertView, Undelivered};

use super::time::{age, ago, moment};
use crate::engine::Picture;

/// Ended incidents on the page; `nodemedic alerts` has all that are kept.
const ENDED_SHOWN: usize = 20;

pub(super) fn draw(picture: &Picture) -> Markup {
    let (mut open, ended): (Vec<_>, Vec<_>) = picture
        .alerts
        .iter()
        .partition(|alert| alert.state == AlertState::Firing);
    open.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.since.cmp(&b.since)));
    html! {
        section #incidents {
            h2 { "Incidents" }
            @if open.is_empty() {
                p .none { "Nothing is open." }
            } @else {
                ul .incidents { @for alert in open { (incident(alert, picture)) } }
            }
            @if !ended.is_empty() {
                details #ended {
                    summary { (ended.len()) " ended lately" }
                    table {
                        tbody {
                            @for alert in ended.iter().take(ENDED_SHOWN) { (over(alert, picture)) }
                        }
                    }
                }
            }
        }
    }
}

fn class(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "bad",
        Severity::Warning => "warn",
        Severity::Info => "info",
    }
}

fn incident(alert: &AlertView, picture: &Picture) -> Markup {
    html! {
        li .(class(alert.severity)) {
            p {
                span .tag { (alert.severity) }
                strong { (alert.summary) }
                span .since { "since " (moment(picture.now, alert.since)) ", "
                    (age(picture.now, alert.since)) }
            }
            @if !alert.detail.is_empty() { p .detail { (alert.detail) } }
            @if !alert.delivered {
                p .detail { em { "Not every receiver has heard of it yet." } }
                @for failed in &alert.undelivered {
                    p .detail { (undelivered(failed)) }
                }
            }
        }
    }
}

fn undelivered(failed: &Undelivered) -> String {
    let Undelivered {
        receiver, error, ..
    } = failed;
    match failed.permanent {
        true => format!("{receiver} refuses for good: {error}"),
        false => format!("{receiver} did not take it: {error}"),
    }
}

fn over(alert: &AlertView, picture: &Picture) -> Markup {
    let end = alert.resolved.unwrap_or(alert.since);
    html! {
        tr {
            td .when { (moment(picture.now, end)) }
            td { (alert.summary) }
            td .quiet { "stood " (ago(end, alert.since)) }
        }
    }
}
