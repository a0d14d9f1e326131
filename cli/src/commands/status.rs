//! `nodemedic status`: the coordinator at a glance.

use nodemedic_protocol::api::StatusView;

use crate::args::Context;
use crate::failure::Failure;
use crate::out::{Cell, Column, Paint, Table, ago};
use crate::{blast, words};

/// Asks and prints.
pub fn run(context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let status = client.status()?;
    if context.screen.json {
        return context.screen.json(&status);
    }
    context.screen.table(&table(&status, client.base()));
    Ok(())
}

fn table(status: &StatusView, base: &str) -> Table {
    let mut table = Table::bare(&[Column::left("what"), Column::flexible("value", 20)], 0);
    let mut row = |name: &str, value: Cell| table.row(vec![Cell::painted(name, Paint::Dim), value]);
    let now = nodemedic_edge::clock::wall();
    row("coordinator", base.into());
    row("site", status.site.as_str().into());
    row("version", status.version.as_str().into());
    row(
        "started",
        format!("{}, epoch {}", ago(now, status.started), status.epoch).into(),
    );
    if let Some(epoch) = status.superseded_by {
        let text = format!("SUPERSEDED: agents obey epoch {epoch}; nothing is decided here");
        row("leadership", Cell::painted(text, Paint::Bad));
    }
    if status.resume_grace_left.0 > 0 {
        let text = format!(
            "for {} more, silence alone takes nothing out",
            status.resume_grace_left
        );
        row("watching", Cell::painted(text, Paint::Warn));
    }
    if status.nodes.is_empty() {
        row("nodes", Cell::painted("none yet", Paint::Dim));
    }
    for (liveness, count) in &status.nodes {
        let text = format!("{count} {liveness}");
        row(
            "nodes",
            Cell::painted(text, words::liveness_paint(*liveness)),
        );
    }
    row("budget", blast::budget(&status.budget));
    let brake = &status.brake;
    row("storm brake", blast::brake(brake, now));
    row("silent", blast::counted(brake).into());
    let (text, paint) = match status.alerts_open {
        0 => ("none open".to_owned(), Paint::Good),
        open => (format!("{open} open: see `nodemedic alerts`"), Paint::Bad),
    };
    row("alerts", Cell::painted(text, paint));
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::api::{BudgetView, Liveness, OutView};
    use nodemedic_protocol::{Epoch, Millis, NodeId, SiteId, WallTime};

    #[test]
    fn what_matters_stands_out() {
        let status = StatusView {
            site: SiteId::new("paris").unwrap(),
            version: "0.1.0".into(),
            epoch: Epoch(4),
            started: WallTime(0),
            resume_grace_left: Millis(12_000),
            superseded_by: None,
            nodes: [(Liveness::Alive, 3), (Liveness::Lost, 1)].into(),
            alerts_open: 2,
            budget: BudgetView {
                hosts: 4,
                limit: 1,
                out: vec![OutView {
                    node: NodeId::new("node-4").unwrap(),
                    why: "lost".into(),
                }],
                waiting: vec![NodeId::new("node-2").unwrap()],
            },
            brake: crate::commands::brake::tests::brake(),
        };
        assert_eq!(
            table(&status, "http://127.0.0.1:7780").render(Some(120), false),
            "\
coordinator  http://127.0.0.1:7780
site         paris
version      0.1.0
started      -, epoch 4
watching     for 12.0s more, silence alone takes nothing out
nodes        3 alive
nodes        1 lost
budget       1 of at most 1 hosts are out: node-4 (lost); waiting to be drained: node-2
storm brake  off
silent       0 of 3 hosts are silent; 2 engage it
alerts       2 open: see `nodemedic alerts`"
        );
    }
}
