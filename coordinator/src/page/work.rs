//! The work: who holds it, and what keeps it from being as wanted.

use maud::{Markup, html};
use nodemedic_protocol::api::{HolderView, WorkView};
use nodemedic_protocol::work::{OnLeaseLoss, Sharing};

use super::time::age;
use super::words;
use crate::engine::Picture;

pub(super) fn draw(picture: &Picture) -> Markup {
    let mut works: Vec<&WorkView> = picture.works.iter().collect();
    works.sort_by(|a, b| {
        a.waiting
            .is_empty()
            .cmp(&b.waiting.is_empty())
            .then(a.spec.name.cmp(&b.spec.name))
    });
    html! {
        section #work {
            h2 { "Work" }
            @if works.is_empty() {
                p .none {
                    "No work is declared. Declare it as " code { "[work.NAME]" }
                    " in coordinator.toml, or with " code { "nodemedic work" } "."
                }
            } @else {
                div .scroll { table {
                    thead { tr {
                        th { "Work" } th { "Kind" } th .num { "Running" } th { "Holders" }
                        th { "Waiting for" }
                    } }
                    tbody { @for work in works { (row(work, picture)) } }
                } }
            }
        }
    }
}

fn row(work: &WorkView, picture: &Picture) -> Markup {
    let kind = match work.spec.sharing {
        Sharing::Exclusive {
            on_lease_loss: OnLeaseLoss::Stop,
        } => ("exclusive", "stop when cut off"),
        Sharing::Exclusive {
            on_lease_loss: OnLeaseLoss::Keep,
        } => ("exclusive", "keep when cut off"),
        Sharing::Replicated { .. } => ("replicated", ""),
    };
    let class = match work.running {
        running if running >= work.wanted && work.waiting.is_empty() => "good",
        0 => "bad",
        _ => "warn",
    };
    html! {
        tr {
            td { strong .name { (work.spec.name) } }
            td { (kind.0) @if !kind.1.is_empty() { span .sub { (kind.1) } } }
            td .num { span .dot .(class) { (work.running) "/" (work.wanted) } }
            td { @for held in &work.holders { (holder(held, picture)) } }
            td .wide { @for waiting in &work.waiting { span .sub .warn { (waiting) } } }
        }
    }
}

fn holder(held: &HolderView, picture: &Picture) -> Markup {
    html! {
        div .holder title=(held.detail) {
            span .chip .(words::state_class(held.state)) { (held.node) }
            span .quiet {
                (words::state(held.state)) ", generation " (held.generation) ", "
                (age(picture.now, held.since))
                @if held.releasing { ", " span .warn { "being released" } }
            }
        }
    }
}
