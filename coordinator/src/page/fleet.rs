//! The fleet: one row for each node, the ones in trouble first.

use maud::{Markup, html};
use nodemedic_protocol::api::{DrainBy, DrainView, Liveness, NodeView, Scheduling};
use nodemedic_protocol::health::{Condition, Level, Severity};
use nodemedic_protocol::work::Enforcement;

use super::time::age;
use super::words;
use crate::engine::Picture;

pub(super) fn draw(picture: &Picture) -> Markup {
    let mut nodes: Vec<&NodeView> = picture.nodes.iter().collect();
    nodes.sort_by(|a, b| trouble(b).cmp(&trouble(a)).then(a.node.cmp(&b.node)));
    html! {
        section #fleet {
            h2 { "Fleet" }
            @if nodes.is_empty() {
                p .none {
                    "No node has reported yet. An agent needs [broker] url in "
                    code { "/etc/nodemedic/agent.toml" }
                    ", and the same site as this coordinator: " code { (picture.status.site) } "."
                }
            } @else {
                div .scroll { table {
                    thead { tr {
                        th { "Node" } th { "Liveness" } th { "Health" } th { "Takes work" }
                        th { "Holds" } th .num { "Committed" } th { "Lease kept by" }
                        th .num { "Heard" }
                    } }
                    tbody { @for node in nodes { (row(node, picture)) } }
                } }
            }
        }
    }
}

/// Higher is shown first.
fn trouble(node: &NodeView) -> (bool, bool, bool) {
    (
        matches!(
            node.liveness,
            Liveness::Lost | Liveness::Fenced | Liveness::Suspect
        ),
        node.level == Level::Failed || node.level == Level::Degraded,
        node.scheduling != Scheduling::Open,
    )
}

fn row(node: &NodeView, picture: &Picture) -> Markup {
    let heard = node
        .heard_ago
        .map_or_else(|| "never".to_owned(), |ago| ago.to_string());
    html! {
        tr {
            td {
                strong .name { (node.node) }
                @if let Some(zone) = &node.zone { span .sub { (zone) } }
            }
            td {
                span .dot .(words::liveness_class(node.liveness)) { (node.liveness) }
                span .sub { (age(picture.now, node.liveness_since)) }
            }
            td {
                span .dot .(words::level_class(node.level)) { (node.level) }
                @for condition in &node.conditions { (trouble_line(condition)) }
            }
            td { (scheduling(&node.scheduling, picture)) }
            td {
                @for held in &node.works {
                    span .chip .(words::state_class(held.state)) title=(held.detail) { (held.work) }
                    " "
                }
            }
            td .num { (committed(node)) }
            td { (enforcement(node.enforcement)) }
            td .num { (heard) }
        }
    }
}

fn trouble_line(condition: &Condition) -> Markup {
    let class = match condition.severity {
        Severity::Critical => "bad",
        Severity::Warning => "warn",
        Severity::Info => "info",
    };
    html! {
        span .sub .(class) title=(condition.message) {
            (condition.component) ": " (condition.reason)
            @if !condition.seen { " (not seen now)" }
        }
    }
}

fn scheduling(scheduling: &Scheduling, picture: &Picture) -> Markup {
    match scheduling {
        Scheduling::Open => html! { span .quiet { "yes" } },
        Scheduling::Cordoned { reason } => html! {
            span .tag .warn { "cordoned" } span .sub { (reason) }
        },
        Scheduling::DrainWaits(drain) => draining("waits to be drained", "warn", drain, picture),
        Scheduling::Draining(drain) => draining("draining", "warn", drain, picture),
        Scheduling::Drained(drain) => draining("drained", "info", drain, picture),
    }
}

fn draining(word: &str, class: &str, drain: &DrainView, picture: &Picture) -> Markup {
    let by = match drain.by {
        DrainBy::Person => "a person",
        DrainBy::Agent => "its agent",
    };
    html! {
        span .tag .(class) { (word) }
        span .sub { (drain.reason) " (" (by) ", " (age(picture.now, drain.since)) ")" }
        @for waiting in &drain.waiting { span .sub .warn { (waiting) } }
    }
}

fn committed(node: &NodeView) -> Markup {
    let (used, all) = (node.used, node.capacity);
    html! {
        @if all.cpu_milli > 0 {
            meter min="0" max=(all.cpu_milli) value=(used.cpu_milli)
                title={ (used.cpu_milli) " of " (all.cpu_milli) " thousandths of a CPU" } {}
        }
        span .sub {
            (words::cpus(used.cpu_milli)) "/" (words::cpus(all.cpu_milli)) " CPU, "
            (words::bytes(used.memory_bytes)) "/" (words::bytes(all.memory_bytes))
        }
    }
}

fn enforcement(enforcement: Enforcement) -> Markup {
    match enforcement {
        Enforcement::Hardware { timeout } => html! {
            span .quiet { "hardware" } span .sub { "resets within " (timeout) }
        },
        Enforcement::Software { timeout } => html! {
            span .quiet { "software" } span .sub { "kills within " (timeout) }
        },
        Enforcement::None => html! { span .warn { "nobody" } },
    }
}
