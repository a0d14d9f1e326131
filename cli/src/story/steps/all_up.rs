//! Both works are declared; the exclusive one answers from one node, the replicated one from two.

use nodemedic_edge::clock;
use nodemedic_protocol::Millis;

use crate::fleet::WEB_REPLICAS;
use crate::story::stage::Stage;
use crate::story::timeline::Unseen;

/// Placing and starting take milliseconds; a fresh fleet may first have to be watched for a while.
const WITHIN: Millis = Millis::from_secs(30);

pub async fn play(stage: &mut Stage<'_>) -> Result<(), Unseen> {
    let began_us = clock::boottime_us();
    stage.fleet.declare_works().await?;
    let expected = "ledger answers from one node, web from two";
    let seen = stage
        .watch
        .until(WITHIN, expected, |seen| {
            seen.ledger_alone().is_some() && seen.web.len() == usize::from(WEB_REPLICAS)
        })
        .await?;
    let took = clock::boottime_us().saturating_sub(began_us);
    stage.timeline.note(&seen.words());
    stage
        .timeline
        .measured("declared until all answer", took, None);
    Ok(())
}
