//! A node that holds a replica (and the exclusive work, where one holds both) is drained. In every
//! round of questions through the whole drain the wanted number of replicas must answer; in the end
//! nothing answers on the node.

use nodemedic_edge::clock;
use nodemedic_protocol::api::{DrainRequest, Scheduling};
use nodemedic_protocol::{Millis, NodeId};

use crate::fleet::WEB_REPLICAS;
use crate::story::stage::Stage;
use crate::story::timeline::Unseen;
use crate::story::watch::Seen;

/// Moving takes about a second: a start, a probe, a stop.
const EMPTY_WITHIN: Millis = Millis::from_secs(20);

/// After that what is left would be stopped by force; the story must never come to that.
const DEADLINE: Millis = Millis::from_secs(60);

/// After the node that was lost came back, the fleet may still be shifting replicas.
const CALM_WITHIN: Millis = Millis::from_secs(20);

pub async fn play(stage: &mut Stage<'_>) -> Result<(), Unseen> {
    let wanted = usize::from(WEB_REPLICAS);
    let expected = format!("ledger answers from one node, web from {wanted}");
    let before = stage
        .watch
        .until(CALM_WITHIN, &expected, |s| {
            s.ledger_alone().is_some() && s.web.len() == wanted
        })
        .await?;
    let node = choose(&before)
        .ok_or_else(|| Unseen::new("a node that holds a replica", before.words()))?;
    stage.timeline.note(&before.words());
    let name = NodeId::new(format!("node-{node}"))
        .map_err(|error| Unseen::new("a node name", error.to_string()))?;

    stage.watch.begin_stretch();
    let began_us = clock::boottime_us();
    let request = DrainRequest {
        reason: "the story needs it empty".to_owned(),
        deadline: Some(DEADLINE),
        override_budget: false,
    };
    let drained = name.clone();
    stage
        .fleet
        .ask(move |client| client.drain(&drained, &request))
        .await?;
    stage.timeline.note(&format!("draining node-{node}"));

    let expected = format!(
        "nothing answers on node-{node}, ledger answers from one other node, web from {wanted}"
    );
    let seen = stage
        .watch
        .until(EMPTY_WITHIN, &expected, |seen| {
            !seen.ledger.contains_key(&node)
                && !seen.web.contains_key(&node)
                && seen.ledger_alone().is_some()
                && seen.web.len() >= wanted
        })
        .await?;
    let took = clock::boottime_us().saturating_sub(began_us);
    let stretch = stage.watch.stretch();
    stage.timeline.note(&seen.words());
    stage
        .timeline
        .measured("drain until the node is empty", took, None);
    let fewest = stretch.fewest.unwrap_or(0);
    stage.timeline.counted(
        "fewest replicas that answered in any round",
        format!("{fewest} of {wanted}"),
        Some(format!(
            "{} rounds, at most {} apart",
            stretch.rounds, stretch.longest_round
        )),
    );
    if fewest < wanted {
        return Err(Unseen::new(
            format!("web answers from at least {wanted} nodes through the whole drain"),
            format!("only {fewest} answered at some moment"),
        ));
    }
    said_to_be_empty(stage, name).await
}

/// The node that holds both works, or else one that holds a replica.
fn choose(seen: &Seen) -> Option<usize> {
    let both = seen.ledger.keys().find(|node| seen.web.contains_key(node));
    both.or_else(|| seen.web.keys().next()).copied()
}

/// What was seen from outside is also what the coordinator says.
async fn said_to_be_empty(stage: &Stage<'_>, node: NodeId) -> Result<(), Unseen> {
    let began = clock::boottime();
    loop {
        let asked = node.clone();
        let view = stage.fleet.ask(move |client| client.node(&asked)).await?;
        if matches!(view.scheduling, Scheduling::Drained(_)) {
            return Ok(());
        }
        if clock::boottime().since(began) >= EMPTY_WITHIN {
            return Err(Unseen::new(
                format!("{node} is said to be drained"),
                format!("after {EMPTY_WITHIN} it is {:?}", view.scheduling),
            ));
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Answer;
    use nodemedic_protocol::Boottime;

    #[test]
    fn the_node_that_holds_both_is_drained_if_there_is_one() {
        let answer = Answer {
            work: None,
            node: None,
            generation: None,
            pid: 1,
            started: Boottime(1),
            now: Boottime(1),
        };
        let at = |nodes: &[usize]| nodes.iter().map(|n| (*n, answer.clone())).collect();
        let seen = |ledger: &[usize], web: &[usize]| Seen {
            at: Boottime(1),
            ledger: at(ledger),
            web: at(web),
        };
        assert_eq!(choose(&seen(&[3], &[1, 3])), Some(3));
        assert_eq!(choose(&seen(&[2], &[1, 3])), Some(1));
        assert_eq!(choose(&seen(&[2], &[])), None);
    }
}
