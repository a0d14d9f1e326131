//! An agent, its watchdog and its exclusive work are killed together, as when a host loses its
//! power. The work must answer elsewhere within the bound of its lease, and not before that is
//! safe; then the host is repaired and comes back.

use nodemedic_edge::clock;
use nodemedic_protocol::api::Liveness;
use nodemedic_protocol::{Millis, NodeId};

use super::killed::kill_process;
use crate::client::Client;
use crate::fleet::Part;
use crate::out::micros;
use crate::story::stage::Stage;
use crate::story::timeline::Unseen;

/// On top of the safe time: the grant is sent, taken, and the service is started and asked. Each is
/// a matter of milliseconds; a machine that builds beside it gets this much.
const REACTION: Millis = Millis::from_secs(1);

/// An agent that starts is heard within a heartbeat, and is trusted after `returning_for`.
const BACK_WITHIN: Millis = Millis::from_secs(20);

pub async fn play(stage: &mut Stage<'_>) -> Result<(), Unseen> {
    let before = stage.watch.now();
    let Some((node, old)) = before.ledger_alone() else {
        return Err(Unseen::new("ledger answers from one node", before.words()));
    };
    // The lease was last renewed before the kill, so counting from the kill can only be too strict
    // for us, by up to one heartbeat; in return nothing is added for it.
    let bound = stage.fleet.timing.safe_time() + REACTION + Millis(stage.own_start_us / 1000);

    let pids: Vec<u32> = [Part::Agent(node), Part::Watchdog(node)]
        .into_iter()
        .filter_map(|part| stage.fleet.pid(part))
        .chain([old.pid])
        .collect();
    let began_us = clock::boottime_us();
    for pid in &pids {
        kill_process(*pid)?;
    }
    stage.timeline.note(&format!(
        "killed agent, watchdog and ledger of node-{node}: processes {}",
        pids.iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    ));

    let expected = format!(
        "ledger answers from another node than node-{node} within {bound}, the bound of \
                 its lease"
    );
    let seen = stage
        .watch
        .until(bound, &expected, |seen| {
            seen.ledger_alone()
                .is_some_and(|(at, new)| at != node && new.generation > old.generation)
        })
        .await?;
    let took = clock::boottime_us().saturating_sub(began_us);
    stage.timeline.note(&seen.words());
    let allowed = format!("at most {bound}");
    stage
        .timeline
        .measured("host lost until it answers elsewhere", took, Some(allowed));

    repair(stage, node).await
}

/// Starts the node's processes again and waits until the fleet counts on it.
async fn repair(stage: &mut Stage<'_>, node: usize) -> Result<(), Unseen> {
    let _ = stage.fleet.reap();
    let began_us = clock::boottime_us();
    stage.fleet.start_node(node).await?;
    let name = NodeId::new(format!("node-{node}"))
        .map_err(|error| Unseen::new("a node name", error.to_string()))?;
    let alive = |client: &Client, name: &NodeId| {
        client
            .node(name)
            .map(|view| view.liveness == Liveness::Alive)
    };
    loop {
        let asked = name.clone();
        let answer = stage.fleet.ask(move |client| alive(client, &asked)).await;
        let took = clock::boottime_us().saturating_sub(began_us);
        if let Ok(true) = answer {
            stage.timeline.note(&format!(
                "node-{node} is repaired and back, after {}",
                micros(took)
            ));
            return Ok(());
        }
        if took / 1000 >= BACK_WITHIN.0 {
            return Err(Unseen::new(
                format!("node-{node} is alive again within {BACK_WITHIN}"),
                answer.map_or_else(|failure| failure.message, |_| "it is not".to_owned()),
            ));
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
