//! The head of the page: is everything well, in one glance, and what to know about this
//! coordinator.

use maud::{Markup, html};
use nodemedic_protocol::Millis;
use nodemedic_protocol::api::{AlertState, BrakeState, Liveness};

use super::time::age;
use crate::engine::Picture;

struct Count {
    nodes_well: usize,
    nodes: usize,
    works_well: usize,
    works: usize,
    alerts: usize,
}

impl Count {
    fn of(picture: &Picture) -> Count {
        let well = |liveness| matches!(liveness, Liveness::Alive | Liveness::Away);
        Count {
            nodes_well: picture
                .nodes
                .iter()
                .filter(|node| well(node.liveness))
                .count(),
            nodes: picture.nodes.len(),
            works_well: picture
                .works
                .iter()
                .filter(|work| work.waiting.is_empty())
                .count(),
            works: picture.works.len(),
            alerts: picture
                .alerts
                .iter()
                .filter(|a| a.state == AlertState::Firing)
                .count(),
        }
    }

    fn quiet(&self) -> bool {
        self.alerts == 0 && self.nodes_well == self.nodes && self.works_well == self.works
    }
}

/// The tab says what is wrong, too.
pub(super) fn title(picture: &Picture) -> String {
    match Count::of(picture).alerts {
        0 => format!("{} - nodemedic", picture.status.site),
        alerts => format!("({alerts}) {} - nodemedic", picture.status.site),
    }
}

pub(super) fn draw(picture: &Picture) -> Markup {
    let status = &picture.status;
    let count = Count::of(picture);
    html! {
        header data-title=(title(picture)) {
            h1 { "nodemedic" span .site { (status.site) } }
            (verdict(&count))
            dl {
                (number("nodes", count.nodes_well, count.nodes))
                (number("work", count.works_well, count.works))
                div .{ @if count.alerts > 0 { "bad" } @else { "" } } {
                    dt { "incidents" } dd { (count.alerts) }
                }
            }
            p .about {
                "coordinator " (status.version) ", epoch " (status.epoch) ", up "
                (age(picture.now, status.started))
            }
        }
        @if let Some(epoch) = status.superseded_by {
            p .banner .bad {
                strong { "Another coordinator leads" }
                " (epoch " (epoch) ", this one has " (status.epoch)
                "). Nothing is decided here. Look at the other one, and stop this one."
            }
        } @else if status.resume_grace_left > Millis::ZERO {
            p .banner {
                strong { "Just started." }
                " For another " (status.resume_grace_left)
                " nothing is taken from a silent node: this coordinator has not watched for long "
                "enough to trust silence."
            }
        }
        (brake(picture))
        (budget(picture))
    }
}

/// Many hosts are silent at once: what that means, and what a person can do.
fn brake(picture: &Picture) -> Markup {
    let brake = &picture.status.brake;
    let silent = brake.silent.len();
    html! {
        @match (brake.state, &brake.release) {
            (BrakeState::Off, _) => {}
            (BrakeState::Released, Some(release)) => p .banner .warn {
                strong { "The storm brake is released." }
                " " (silent) " of " (brake.hosts) " hosts are silent, and a person has said that "
                "this is real (" (release.reason) "). It holds again in "
                (Millis(release.until.0.saturating_sub(picture.now.0))) "."
            },
            (BrakeState::Engaged | BrakeState::Released, _) => p .banner .bad {
                strong { "The storm brake holds." }
                " " (silent) " of " (brake.hosts) " hosts are silent now, " (brake.threshold)
                " engage it: more likely this coordinator or the network than the hosts. "
                "Exclusive work of silent hosts does not move, nothing is fenced, and no host is "
                "drained that asks for it itself. It lifts once fewer have been silent for "
                (brake.hold) ". When hosts are really down: "
                code { "nodemedic confirm-down" } " each, or " code { "nodemedic brake release" }
                "."
            },
        }
    }
}

/// Who waits to be drained, and for whom.
fn budget(picture: &Picture) -> Markup {
    let budget = &picture.status.budget;
    html! {
        @if !budget.waiting.is_empty() {
            p .banner {
                strong { (budget.out.len()) " of at most " (budget.limit) " hosts are out" }
                ": "
                @for (n, out) in budget.out.iter().enumerate() {
                    @if n > 0 { ", " }
                    (out.node) " (" (out.why) ")"
                }
                ". Waiting to be drained: "
                @for (n, node) in budget.waiting.iter().enumerate() {
                    @if n > 0 { ", " }
                    (node)
                }
                "."
            }
        }
    }
}

fn verdict(count: &Count) -> Markup {
    html! {
        @if count.nodes == 0 {
            p .verdict { "waiting for the first node" }
        } @else if count.quiet() {
            p .verdict .good { "all well" }
        } @else if count.alerts > 0 {
            p .verdict .bad { "needs a look" }
        } @else {
            p .verdict .warn { "being treated" }
        }
    }
}

fn number(name: &str, well: usize, all: usize) -> Markup {
    let class = if well < all { "warn" } else { "" };
    html! { div .(class) { dt { (name) } dd { (well) span { "/" (all) } } } }
}
