//! Where work should be: a pure function from a picture of the fleet to a plan and a report.
//!
//! Filter, then score. Replicated work is made before it is broken, exclusive work is broken before
//! it is made. [`lint`] checks every plan in tests, and shares no code with the planner.

mod exclusive;
mod lint;
mod picture;
mod place;
mod preempt;
mod replicated;
mod report;

pub use lint::{Lint, lint};
pub use picture::{Evict, Holder, NoNewWork, PlanInput, PlanNode, Presence, Serving};
pub use report::{Because, NewGrant, NodeRefusal, Plan, PlanReport, Release, Waiting};

use alloc::vec::Vec;

use nodemedic_protocol::work::{Sharing, WorkSpec};

use crate::stored::ReleaseWhy;
use place::Board;

/// Makes a plan.
#[must_use]
pub fn plan(input: &PlanInput) -> (Plan, PlanReport) {
    let mut board = Board::new(input);
    for holder in &input.holders {
        if holder.releasing {
            continue;
        }
        if !input.works.contains_key(&holder.work) {
            board.release(holder, ReleaseWhy::WorkRemoved);
        } else if evict_of(input, holder) == Evict::Force {
            board.release(holder, ReleaseWhy::DrainDeadline);
        }
    }
    let mut order: Vec<&WorkSpec> = input.works.values().collect();
    order.sort_by(|a, b| (b.priority, &a.name).cmp(&(a.priority, &b.name)));
    for spec in order {
        let any_exclusive = input.holders_of(&spec.name).any(|h| h.exclusive);
        match spec.sharing {
            Sharing::Exclusive { .. } => exclusive::place(&mut board, spec),
            Sharing::Replicated { .. } if any_exclusive => exclusive::hand_over(&mut board, spec),
            Sharing::Replicated { replicas } => replicated::place(&mut board, spec, replicas),
        }
    }
    board.finish()
}

fn evict_of(input: &PlanInput, holder: &Holder) -> Evict {
    input
        .nodes
        .get(&holder.node)
        .map_or(Evict::No, |node| node.evict)
}

/// Why a holder should move away from where it is, if it should.
fn wants_to_move(input: &PlanInput, spec: &WorkSpec, holder: &Holder) -> Option<ReleaseWhy> {
    let node = input.nodes.get(&holder.node)?;
    if node.presence == Presence::Gone {
        Some(ReleaseWhy::NodeLost)
    } else if holder.outdated {
        Some(ReleaseWhy::WorkChanged)
    } else if node.evict != Evict::No {
        Some(ReleaseWhy::Drain)
    } else if place::missing_label(spec, node).is_some() {
        Some(ReleaseWhy::Labels)
    } else {
        None
    }
}
