//! The drained node is given back. To see from outside that it takes work again, the replicated
//! work is widened to all nodes: it must then answer from this one too. And every page that was
//! sent must have been followed by its resolve.

use nodemedic_edge::clock;
use nodemedic_protocol::work::Sharing;
use nodemedic_protocol::{Millis, NodeId};

use crate::client::Client;
use crate::fleet::{WEB, works};
use crate::story::stage::Stage;
use crate::story::timeline::Unseen;

/// Placing and starting take milliseconds.
const EVERYWHERE_WITHIN: Millis = Millis::from_secs(20);

/// A cause that ended must stay so for a while before its alert is taken back.
const RESOLVED_WITHIN: Millis = Millis::from_secs(60);

pub async fn play(stage: &mut Stage<'_>) -> Result<(), Unseen> {
    let nodes = stage.fleet.shape.ports.len();
    let before = stage.watch.now();
    let Some(node) = stage
        .fleet
        .shape
        .nodes()
        .find(|n| !before.web.contains_key(n))
    else {
        return Err(Unseen::new("one node is empty", before.words()));
    };
    let name = NodeId::new(format!("node-{node}"))
        .map_err(|error| Unseen::new("a node name", error.to_string()))?;
    let began_us = clock::boottime_us();
    stage.fleet.ask(move |client| client.undrain(&name)).await?;
    let widened = widened(stage, nodes)?;
    stage
        .fleet
        .ask(move |client: &Client| client.put_work(&widened))
        .await?;
    stage.timeline.note(&format!(
        "undrained node-{node}, and asked for {nodes} replicas of web"
    ));

    let expected = format!("web answers from all {nodes} nodes");
    let seen = stage
        .watch
        .until(EVERYWHERE_WITHIN, &expected, |seen| seen.web.len() == nodes)
        .await?;
    let took = clock::boottime_us().saturating_sub(began_us);
    stage.timeline.note(&seen.words());
    stage
        .timeline
        .measured("undrain until the node answers again", took, None);

    let resolved = stage.pager.until_all_resolved(RESOLVED_WITHIN).await?;
    stage
        .timeline
        .counted("alerts paged and resolved", resolved.to_string(), None);
    Ok(())
}

fn widened(stage: &Stage<'_>, nodes: usize) -> Result<nodemedic_protocol::api::PutWork, Unseen> {
    let replicas = u16::try_from(nodes).unwrap_or(u16::MAX);
    let fleet = &stage.fleet;
    let mut put = works(&fleet.layout, &fleet.programs, &fleet.timing)?;
    put.works.retain(|work| work.name.as_str() == WEB);
    for work in &mut put.works {
        work.sharing = Sharing::Replicated { replicas };
    }
    Ok(put)
}
