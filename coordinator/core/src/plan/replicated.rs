//! Replicated work: made before it is broken, one holder a node, spread over zones.

use alloc::vec::Vec;

use nodemedic_protocol::NodeId;
use nodemedic_protocol::work::WorkSpec;

use super::picture::{Holder, Presence, Serving};
use super::place::Board;
use super::preempt::place_or_make_room;
use super::report::{NodeRefusal, Waiting};
use super::wants_to_move;
use crate::stored::ReleaseWhy;

/// The holders of one work, sorted by what should become of them.
struct Sorted<'a> {
    /// Where they should be.
    keep: Vec<&'a Holder>,
    /// Where they should not be, and why.
    go: Vec<(&'a Holder, ReleaseWhy)>,
}

pub(super) fn place(board: &mut Board<'_>, spec: &WorkSpec, replicas: u16) {
    let wanted = usize::from(replicas);
    let sorted = sort(board, spec);
    let mut refusals = None;
    for _ in sorted.keep.len()..wanted {
        if let Err(why) = place_or_make_room(board, spec) {
            refusals = Some(why);
            break;
        }
    }
    for holder in &sorted.keep {
        if holder.serving != Serving::Yes {
            let node = holder.node.clone();
            board.wait(&spec.name, Waiting::NotServing { node });
        }
    }
    release_surplus(board, &sorted, wanted);
    let rolling = refusals.is_some();
    release_movers(board, spec, &sorted, wanted, rolling);
    if let Some(refusals) = refusals {
        report_refusals(board, spec, &sorted, refusals);
    }
}

fn sort<'a>(board: &Board<'a>, spec: &WorkSpec) -> Sorted<'a> {
    let (mut keep, mut go) = (Vec::new(), Vec::new());
    let input = board.input;
    for holder in input.holders.iter().filter(|h| h.work == spec.name) {
        if board.is_going(holder) {
            continue;
        }
        match wants_to_move(input, spec, holder) {
            None => keep.push(holder),
            Some(why) => go.push((holder, why)),
        }
    }
    Sorted { keep, go }
}

fn serves(holder: &Holder) -> bool {
    holder.serving == Serving::Yes
}

/// More are granted than wanted: the ones that serve least go first, then the youngest.
fn release_surplus<'a>(board: &mut Board<'a>, sorted: &Sorted<'a>, wanted: usize) {
    let mut extra = sorted.keep.clone();
    extra.sort_by_key(|h| (serves(h), core::cmp::Reverse(h.generation)));
    let mut serving = sorted.keep.iter().filter(|h| serves(h)).count();
    for holder in extra
        .into_iter()
        .take(sorted.keep.len().saturating_sub(wanted))
    {
        let rest = serving - usize::from(serves(holder));
        if holder.serving == Serving::No || rest >= wanted {
            serving = rest;
            board.release(holder, ReleaseWhy::Surplus);
        }
    }
}

/// Holders that should go do so as soon as enough others serve.
fn release_movers<'a>(
    board: &mut Board<'a>,
    spec: &WorkSpec,
    sorted: &Sorted<'a>,
    wanted: usize,
    no_place: bool,
) {
    let gone = |h: &Holder| {
        let nodes = &board.input.nodes;
        nodes
            .get(&h.node)
            .is_some_and(|n| n.presence == Presence::Gone)
    };
    let kept = sorted.keep.iter().filter(|h| serves(h)).count();
    let here: Vec<_> = sorted
        .go
        .iter()
        .filter(|(h, _)| !gone(h))
        .copied()
        .collect();
    let away: Vec<_> = sorted.go.iter().filter(|(h, _)| gone(h)).copied().collect();
    let mut serving = kept + here.iter().filter(|(h, _)| serves(h)).count();
    // A lost holder may be back with its work still running: it goes once it is replaced.
    for (holder, why) in away {
        if serving >= wanted {
            board.release(holder, why);
        }
    }
    let mut order = here;
    order.sort_by_key(|(h, why)| (serves(h), *why, h.generation));
    let going = board.input.holders_of(&spec.name).any(|h| h.releasing);
    // With nowhere to go, changed work is replaced in its place: one at a time, and only while no
    // other is missing.
    let under_way = board.plan.grants.iter().any(|g| g.work == spec.name)
        || !sorted.keep.iter().all(|h| serves(h));
    let mut in_place = no_place && !going && !under_way && serving >= wanted;
    for (holder, why) in order {
        let rest = serving - usize::from(serves(holder));
        let in_its_place = why == ReleaseWhy::WorkChanged && in_place;
        if holder.serving == Serving::No || rest >= wanted || in_its_place {
            in_place = in_place && !in_its_place;
            serving = rest;
            board.release(holder, why);
        } else {
            let node = holder.node.clone();
            board.wait(&spec.name, Waiting::Replacement { node });
        }
    }
}

fn report_refusals<'a>(
    board: &mut Board<'a>,
    spec: &WorkSpec,
    sorted: &Sorted<'a>,
    refusals: Vec<(NodeId, NodeRefusal)>,
) {
    let draining = sorted
        .go
        .iter()
        .find(|(h, why)| *why == ReleaseWhy::Drain && !board.is_going(h));
    let waiting = match draining {
        Some((holder, _)) => Waiting::StaysOnDraining {
            node: holder.node.clone(),
            refusals,
        },
        None => Waiting::NoNode { refusals },
    };
    board.wait(&spec.name, waiting);
}
