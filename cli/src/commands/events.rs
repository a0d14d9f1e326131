//! `nodemedic events`: what happened, in order; with `--follow` as it happens.

use nodemedic_protocol::NodeId;
use nodemedic_protocol::api::JournalEntry;

use super::Patience;
use crate::args::Context;
use crate::client::{EventsQuery, FOLLOW_WAIT_MS};
use crate::failure::Failure;
use crate::out::Screen;
use crate::words;

/// A screen of history is what people look at first.
const SHOWN_FIRST: u32 = 40;

/// Entries asked for at once while following; one answer of them stays below a megabyte.
const PAGE: u32 = 500;

/// Which part of the journal.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Go on as it happens, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Of one node only
    #[arg(long, value_name = "NODE")]
    node: Option<NodeId>,
    /// Begin after this number instead of with the newest; 0 is the oldest
    #[arg(long, value_name = "NUMBER")]
    since: Option<u64>,
}

/// Asks, prints, and goes on if told to.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let mut query = EventsQuery {
        after: args.since,
        limit: if args.since.is_some() {
            PAGE
        } else {
            SHOWN_FIRST
        },
        wait_ms: 0,
        node: args.node.clone(),
    };
    let mut patience = Patience::default();
    loop {
        let page = match client.events(&query) {
            Ok(page) => page,
            // Only one who follows is patient: a coordinator that restarts is an event too.
            Err(failure) if args.follow && query.wait_ms > 0 => {
                patience.bear(failure)?;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        patience = Patience::default();
        for entry in &page.entries {
            print(&context.screen, entry)?;
        }
        let more_is_there = args.since.is_some() && !page.entries.is_empty();
        if context.screen.gone() || (!args.follow && !more_is_there) {
            return Ok(());
        }
        query.after = Some(page.last);
        query.limit = PAGE;
        query.wait_ms = if args.follow { FOLLOW_WAIT_MS } else { 0 };
    }
}

fn print(screen: &Screen, entry: &JournalEntry) -> Result<(), Failure> {
    if screen.json {
        return screen.json_line(entry);
    }
    screen.say(&words::line(entry, screen));
    Ok(())
}
