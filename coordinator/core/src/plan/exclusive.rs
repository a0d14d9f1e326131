//! Exclusive work: broken before it is made. Nothing is granted while anything un-ended is left.

use alloc::vec::Vec;

use nodemedic_protocol::work::WorkSpec;

use super::picture::{Holder, Presence, Serving};
use super::place::Board;
use super::preempt::place_or_make_room;
use super::report::Waiting;
use super::wants_to_move;
use crate::lease::LeaseEnd;
use crate::mutation::Mutation;
use crate::stored::ReleaseWhy;

pub(super) fn place(board: &mut Board<'_>, spec: &WorkSpec) {
    let input = board.input;
    let holders: Vec<&Holder> = input.holders_of(&spec.name).collect();
    let free = holders.is_empty()
        || (input.mutation.has(Mutation::StartBeforeStop)
            && holders.iter().all(|h| board.is_going(h)));
    if free {
        if let Err(refusals) = place_or_make_room(board, spec) {
            board.wait(&spec.name, Waiting::NoNode { refusals });
        }
        return;
    }
    let mut active: Vec<&Holder> = holders
        .iter()
        .copied()
        .filter(|h| !board.is_going(h))
        .collect();
    // More than one only after the work was replicated: the one that serves stays, then the oldest.
    active.sort_by_key(|h| (h.outdated, h.serving != Serving::Yes, h.generation));
    for extra in active.iter().skip(1) {
        board.release(extra, ReleaseWhy::Surplus);
    }
    if let Some(holder) = active.first() {
        move_or_stay(board, spec, holder);
    }
    let mut time_decides = true;
    for holder in &holders {
        if board.is_going(holder) {
            let waiting = wait_for_end(board, holder);
            time_decides &= !matches!(
                waiting,
                Waiting::Lease {
                    until: LeaseEnd::Never(_),
                    ..
                }
            );
            board.wait(&spec.name, waiting);
        }
    }
    // Its next place must not be taken by less important work meanwhile; but a place is not kept
    // for days while a person is asked.
    if active.iter().all(|h| board.is_going(h))
        && time_decides
        && let Ok((node, _)) = board.best(spec)
    {
        board.reserve(spec, node);
    }
}

/// The work is replicated now and has a holder that was exclusive: it ends first.
pub(super) fn hand_over(board: &mut Board<'_>, spec: &WorkSpec) {
    let input = board.input;
    for holder in input.holders_of(&spec.name) {
        if holder.exclusive && !board.is_going(holder) {
            board.release(holder, ReleaseWhy::WorkChanged);
        }
        if board.is_going(holder) {
            let waiting = wait_for_end(board, holder);
            board.wait(&spec.name, waiting);
        }
    }
}

fn move_or_stay<'a>(board: &mut Board<'a>, spec: &WorkSpec, holder: &'a Holder) {
    match wants_to_move(board.input, spec, holder) {
        None => {
            if holder.serving != Serving::Yes {
                let node = holder.node.clone();
                board.wait(&spec.name, Waiting::NotServing { node });
            }
        }
        // Nobody there hears a release; the end of its promise is proof enough.
        Some(ReleaseWhy::NodeLost) => {
            let waiting = wait_for_end(board, holder);
            board.wait(&spec.name, waiting);
        }
        Some(ReleaseWhy::WorkChanged) => board.release(holder, ReleaseWhy::WorkChanged),
        Some(why) => match board.best(spec) {
            Ok(_) => board.release(holder, why),
            Err(refusals) => {
                let node = holder.node.clone();
                board.wait(&spec.name, Waiting::StaysOnDraining { node, refusals });
            }
        },
    }
}

fn wait_for_end(board: &Board<'_>, holder: &Holder) -> Waiting {
    let nodes = &board.input.nodes;
    let here = nodes
        .get(&holder.node)
        .is_some_and(|n| n.presence == Presence::Here);
    let (node, generation) = (holder.node.clone(), holder.generation);
    if here {
        Waiting::Stop { node, generation }
    } else {
        Waiting::Lease {
            node,
            generation,
            until: holder.lease,
        }
    }
}
