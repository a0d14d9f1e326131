//! The exclusive work is broken for good on its node: it cannot start there any more. It must be
//! fenced there, somebody must be paged, and it must answer from another node under a new grant.

use std::path::Path;

use nodemedic_edge::{clock, files};
use nodemedic_protocol::api::AlertState;
use nodemedic_protocol::{Millis, NodeId};

use super::killed::kill_process;
use crate::fleet::LEDGER;
use crate::story::stage::Stage;
use crate::story::timeline::Unseen;

/// The restart budget of the fleet's configuration is spent after about three seconds.
const ELSEWHERE_WITHIN: Millis = Millis::from_secs(30);

/// A page is sent as soon as its cause is known.
const PAGED_WITHIN: Millis = Millis::from_secs(15);

pub async fn play(stage: &mut Stage<'_>) -> Result<(), Unseen> {
    let before = stage.watch.now();
    let Some((node, old)) = before.ledger_alone() else {
        return Err(Unseen::new("ledger answers from one node", before.words()));
    };
    let fault = stage
        .fleet
        .layout
        .break_file(&format!("node-{node}"), LEDGER);
    files::write_atomic(&fault, b"broken by the story\n", 0o600)
        .map_err(crate::failure::Failure::from)?;
    let began_us = clock::boottime_us();
    kill_process(old.pid)?;
    stage.timeline.note(&format!(
        "ledger cannot start on node-{node} any more; killed process {}",
        old.pid
    ));

    let expected = format!(
        "ledger answers from another node than node-{node}, with a generation above {}",
        old.generation.unwrap_or_default()
    );
    let seen = stage
        .watch
        .until(ELSEWHERE_WITHIN, &expected, |seen| {
            seen.ledger_alone()
                .is_some_and(|(at, new)| at != node && new.generation > old.generation)
        })
        .await?;
    let took = clock::boottime_us().saturating_sub(began_us);
    stage.timeline.note(&seen.words());
    stage
        .timeline
        .measured("broken until it answers elsewhere", took, None);

    let expected = format!("a page that ledger is fenced on node-{node}");
    let page = stage
        .pager
        .until(PAGED_WITHIN, &expected, |page| {
            let alert = &page.alert;
            alert.state == AlertState::Firing
                && alert
                    .work
                    .as_ref()
                    .is_some_and(|work| work.as_str() == LEDGER)
                && alert
                    .node
                    .as_ref()
                    .is_some_and(|name| name.as_str() == format!("node-{node}"))
                && alert.key.contains("fenced")
        })
        .await?;
    stage
        .timeline
        .note(&format!("page: {}", page.alert.summary));
    let paged = page.at_us.saturating_sub(began_us);
    stage
        .timeline
        .measured("broken until somebody is paged", paged, None);

    repair(stage, node, &fault).await
}

/// The fault is repaired, as somebody who was paged would do, and the node is given back.
async fn repair(stage: &mut Stage<'_>, node: usize, fault: &Path) -> Result<(), Unseen> {
    std::fs::remove_file(fault)
        .map_err(|error| Unseen::new("the fault can be repaired", error.to_string()))?;
    let name = NodeId::new(format!("node-{node}"))
        .map_err(|error| Unseen::new("a node name", error.to_string()))?;
    stage.fleet.ask(move |client| client.undrain(&name)).await?;
    let text = format!("repaired node-{node} and said so: nodemedic undrain node-{node}");
    stage.timeline.note(&text);
    Ok(())
}
