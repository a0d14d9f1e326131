//! `nodemedic drain X`: move all work off a node, and with `--wait` follow until it is empty.

use nodemedic_edge::clock;
use nodemedic_edge::config::span;
use nodemedic_protocol::api::{DrainRequest, NodeView, Scheduling};
use nodemedic_protocol::{Boottime, Millis, NodeId};

use super::{Patience, accepted};
use crate::args::Context;
use crate::client::{Client, EventsQuery};
use crate::failure::{Failure, Kind};
use crate::out::{Paint, clean};
use crate::words;

/// After the deadline what is left is stopped; a node that is not empty so long after it will not
/// be without a person.
const AFTER_DEADLINE: Millis = Millis::from_secs(120);

/// How long the coordinator is asked to hold its answer while nothing happens.
const LOOK_EVERY_MS: u64 = 1000;

/// Which node, why, and until when.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node's name
    pub node: NodeId,
    /// Why; people will ask
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// So long after it has begun what is left is stopped; without it nothing is forced
    #[arg(long, value_parser = span::parse, value_name = "SPAN")]
    pub deadline: Option<Millis>,
    /// Follow until the node is empty
    #[arg(long)]
    pub wait: bool,
    /// Begin at once, however many hosts are out; it is recorded
    #[arg(long)]
    pub override_budget: bool,
}

/// Asks; with `--wait` follows.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let began = clock::boottime();
    let mut last = if args.wait {
        newest(&client, &args.node)?
    } else {
        0
    };
    let request = DrainRequest {
        reason: args.reason.clone(),
        deadline: args.deadline,
        override_budget: args.override_budget,
    };
    let answer = client.drain(&args.node, &request)?;
    if !args.wait {
        return accepted(context, &answer);
    }
    if !context.screen.json {
        accepted(context, &answer)?;
    }
    let until = args
        .deadline
        .map(|deadline| began + deadline + AFTER_DEADLINE);
    let mut patience = Patience::default();
    loop {
        let looked = look(&client, args, context, &mut last);
        let looked = match looked {
            Ok(looked) => {
                patience = Patience::default();
                looked
            }
            Err(failure) => {
                patience.bear(failure)?;
                continue;
            }
        };
        match verdict(&looked, clock::boottime(), until) {
            Verdict::Waits => {}
            Verdict::Empty => return finished(&looked, context, began),
            Verdict::Over(failure) => return Err(failure),
        }
    }
}

/// Where the journal stands now, so that only what follows the drain is shown.
fn newest(client: &Client, node: &NodeId) -> Result<u64, Failure> {
    let query = EventsQuery {
        limit: 1,
        node: Some(node.clone()),
        ..EventsQuery::default()
    };
    Ok(client.events(&query)?.last)
}

fn look(
    client: &Client,
    args: &Args,
    context: &Context,
    last: &mut u64,
) -> Result<NodeView, Failure> {
    let page = client.events(&EventsQuery {
        after: Some(*last),
        limit: 100,
        wait_ms: LOOK_EVERY_MS,
        node: Some(args.node.clone()),
    })?;
    *last = page.last.max(*last);
    if !context.screen.json {
        for entry in &page.entries {
            let (text, paint) = words::entry(entry);
            context
                .screen
                .say(&format!("  {}", context.screen.paint(paint, &clean(&text))));
        }
    }
    client.node(&args.node)
}

enum Verdict {
    Waits,
    Empty,
    Over(Failure),
}

fn verdict(node: &NodeView, now: Boottime, until: Option<Boottime>) -> Verdict {
    let waiting = match &node.scheduling {
        Scheduling::Drained(_) => return Verdict::Empty,
        // Its deadline counts from when it begins, and nobody knows when that is.
        Scheduling::DrainWaits(_) => return Verdict::Waits,
        Scheduling::Draining(drain) => drain.waiting.join("; "),
        Scheduling::Open | Scheduling::Cordoned { .. } => {
            return Verdict::Over(Failure::failed(format!(
                "somebody took the drain of {} back while this waited for it",
                node.node
            )));
        }
    };
    if until.is_some_and(|until| now >= until) {
        return Verdict::Over(Failure::new(
            Kind::Failed,
            format!(
                "{} is not empty {AFTER_DEADLINE} after the deadline: {waiting}",
                node.node
            ),
            "the drain goes on; `nodemedic node` shows what is left. If the host is dead, see \
             `nodemedic confirm-down --help`",
        ));
    }
    Verdict::Waits
}

fn finished(node: &NodeView, context: &Context, began: Boottime) -> Result<(), Failure> {
    if context.screen.json {
        return context.screen.json(node);
    }
    let text = format!(
        "{} is empty, after {}",
        node.node,
        clock::boottime().since(began)
    );
    context
        .screen
        .say(&context.screen.paint(Paint::Good, &text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::nodes::tests::node;
    use nodemedic_protocol::WallTime;
    use nodemedic_protocol::api::{DrainBy, DrainView};

    fn draining() -> NodeView {
        let mut view = node("node-1");
        view.scheduling = Scheduling::Draining(DrainView {
            reason: "disk".into(),
            by: DrainBy::Person,
            since: WallTime(1),
            deadline: None,
            waiting: vec!["ledger: waits for its stop to be confirmed".into()],
        });
        view
    }

    #[test]
    fn a_drain_ends_when_empty_when_taken_back_or_when_far_too_late() {
        let until = Some(Boottime(1000));
        assert!(matches!(
            verdict(&draining(), Boottime(999), until),
            Verdict::Waits
        ));
        assert!(matches!(
            verdict(&draining(), Boottime(u64::MAX), None),
            Verdict::Waits
        ));
        let Verdict::Over(late) = verdict(&draining(), Boottime(1000), until) else {
            panic!("waits for ever");
        };
        assert!(
            late.message.contains("waits for its stop to be confirmed"),
            "{late}"
        );
        let Verdict::Over(back) = verdict(&node("node-1"), Boottime(0), until) else {
            panic!("waits for a drain that is no more");
        };
        assert!(
            back.message.contains("took the drain of node-1 back"),
            "{back}"
        );
    }
}
