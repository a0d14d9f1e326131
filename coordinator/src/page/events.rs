//! What happened, newest first.

use maud::{Markup, html};
use nodemedic_protocol::WallTime;
use nodemedic_protocol::api::{EventsPage, JournalEntry, JournalWhat};

use super::time::moment;
use super::words::{self, Line};

pub(super) fn draw(page: &EventsPage, now: WallTime) -> Markup {
    html! {
        section #events {
            h2 { "Events" span .hint { "the newest " (page.entries.len()) } }
            @if page.entries.is_empty() {
                p .none { "Nothing has happened yet." }
            } @else {
                div .scroll { table {
                    tbody { @for entry in page.entries.iter().rev() { (row(entry, now)) } }
                } }
            }
        }
    }
}

fn row(entry: &JournalEntry, now: WallTime) -> Markup {
    // What a node reports late happened when the node says.
    let (when, Line { class, what, more }) = match &entry.what {
        JournalWhat::Node(event) => (event.wall, words::event(event)),
        JournalWhat::Coordinator(decision) => (entry.stored, words::decision(decision)),
    };
    html! {
        tr {
            td .when { (moment(now, when)) }
            td .who {
                @if let Some(node) = &entry.node { (node) } @else { span .quiet { "fleet" } }
            }
            td {
                span .dot .(class) { (what) }
                @if !more.is_empty() { span .more { (more) } }
            }
        }
    }
}
