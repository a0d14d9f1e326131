//! Room for more important work: replicated work of lower priority is stopped for it.

use alloc::vec::Vec;

use nodemedic_protocol::NodeId;
use nodemedic_protocol::work::WorkSpec;

use super::picture::{Holder, PlanNode};
use super::place::Board;
use super::report::{NodeRefusal, Waiting};
use crate::stored::ReleaseWhy;

/// Places one more holder, or makes room for it, or says why neither.
pub(super) fn place_or_make_room(
    board: &mut Board<'_>,
    spec: &WorkSpec,
) -> Result<(), Vec<(NodeId, NodeRefusal)>> {
    let refusals = match board.best(spec) {
        Ok((node, because)) => {
            board.grant(spec, node, because);
            return Ok(());
        }
        Err(refusals) => refusals,
    };
    if let Some(node) = room_comes(board, spec).or_else(|| make_room(board, spec)) {
        board.reserve(spec, node);
        let node = node.clone();
        board.wait(&spec.name, Waiting::Room { node });
        return Ok(());
    }
    Err(refusals)
}

/// A node that will have room once what is already being released is gone.
fn room_comes<'a>(board: &Board<'a>, spec: &WorkSpec) -> Option<&'a NodeId> {
    let mut nodes = board.input.nodes.iter();
    nodes
        .find(|(id, node)| {
            board.refuses(spec, id, node).is_none() && board.left_soon(id, node).covers(spec.needs)
        })
        .map(|(id, _)| id)
}

/// Chooses the node where the least is lost: the lowest highest priority among the victims, then
/// the fewest victims.
fn make_room<'a>(board: &mut Board<'a>, spec: &WorkSpec) -> Option<&'a NodeId> {
    let mut best: Option<(i32, usize, &'a NodeId, Vec<&'a Holder>)> = None;
    for (id, node) in &board.input.nodes {
        if board.refuses(spec, id, node).is_some() {
            continue;
        }
        let Some(victims) = victims(board, spec, id, node) else {
            continue;
        };
        let highest = victims.iter().map(|v| v.priority).max().unwrap_or(i32::MIN);
        let better = best
            .as_ref()
            .is_none_or(|(p, n, i, _)| (highest, victims.len(), id) < (*p, *n, *i));
        if better {
            best = Some((highest, victims.len(), id, victims));
        }
    }
    let (_, _, node, victims) = best?;
    for victim in victims {
        board.release(victim, ReleaseWhy::Preempted);
    }
    Some(node)
}

/// The fewest least important holders on a node that make enough room, if any do.
fn victims<'a>(
    board: &Board<'a>,
    spec: &WorkSpec,
    id: &NodeId,
    node: &PlanNode,
) -> Option<Vec<&'a Holder>> {
    let mut lower: Vec<&'a Holder> = board
        .input
        .holders
        .iter()
        .filter(|h| h.node == *id && !h.exclusive && h.priority < spec.priority)
        .filter(|h| !board.is_going(h) && board.input.works.contains_key(&h.work))
        .collect();
    lower.sort_by_key(|h| {
        let size = h.needs.cpu_milli;
        (h.priority, core::cmp::Reverse(size), h.work.clone())
    });
    let mut left = board.left_soon(id, node);
    let mut chosen = Vec::new();
    for holder in lower {
        if left.covers(spec.needs) {
            break;
        }
        left = left.plus(holder.needs);
        chosen.push(holder);
    }
    (left.covers(spec.needs) && !chosen.is_empty()).then_some(chosen)
}
