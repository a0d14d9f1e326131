//! `nodemedic alerts`: what a person should know.

use nodemedic_protocol::WallTime;
use nodemedic_protocol::api::{AlertState, AlertView};

use crate::args::Context;
use crate::failure::Failure;
use crate::out::{Cell, Column, Paint, Table, ago};
use crate::words;

/// Which alerts, and how much of them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also those that are over
    #[arg(long)]
    all: bool,
    /// With what was seen, what was tried and what is next
    #[arg(long)]
    detail: bool,
}

/// Asks and prints.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let mut alerts = context.client()?.alerts()?;
    alerts.retain(|alert| args.all || alert.state == AlertState::Firing);
    if context.screen.json {
        return context.screen.json(&alerts);
    }
    if alerts.is_empty() {
        context
            .screen
            .say(&context.screen.paint(Paint::Good, "nothing to tell"));
        return Ok(());
    }
    alerts.sort_by_key(|a| (a.state, std::cmp::Reverse(a.severity), a.since));
    context
        .screen
        .table(&table(&alerts, nodemedic_edge::clock::wall(), args.detail));
    Ok(())
}

fn table(alerts: &[AlertView], now: WallTime, detail: bool) -> Table {
    let mut table = Table::new(&[
        Column::left("STATE"),
        Column::left("SEVERITY"),
        Column::left("SINCE"),
        Column::left("NODE"),
        Column::left("WORK"),
        Column::left("TOLD"),
        Column::flexible("WHAT", 30),
    ]);
    for alert in alerts {
        let firing = alert.state == AlertState::Firing;
        let paint = if firing {
            words::severity_paint(alert.severity)
        } else {
            Paint::Dim
        };
        table.row(vec![
            Cell::painted(words::alert_state(alert.state), paint),
            Cell::painted(alert.severity.to_string(), paint),
            ago(now, alert.since).into(),
            Cell::maybe(alert.node.as_ref().map(ToString::to_string)),
            Cell::maybe(alert.work.as_ref().map(ToString::to_string)),
            if alert.delivered {
                "yes".into()
            } else {
                Cell::painted("not yet", Paint::Warn)
            },
            alert.summary.as_str().into(),
        ]);
        if detail {
            for line in alert.detail.lines() {
                let mut row: Vec<Cell> = vec!["".into(); 6];
                row.push(Cell::painted(line, Paint::Dim));
                table.row(row);
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::{NodeId, Severity, WorkName};

    #[test]
    fn an_alert_is_one_line_and_its_detail_stands_below() {
        let alert = AlertView {
            key: "fenced:ledger".into(),
            state: AlertState::Firing,
            severity: Severity::Critical,
            node: Some(NodeId::new("node-1").unwrap()),
            work: Some(WorkName::new("ledger").unwrap()),
            summary: "ledger is fenced on node-1".into(),
            detail: "exited with status 1\nnext: placed elsewhere".into(),
            since: WallTime(1000),
            resolved: None,
            delivered: true,
        };
        assert_eq!(
            table(&[alert], WallTime(5200), true).render(Some(100), false),
            "\
STATE   SEVERITY  SINCE     NODE    WORK    TOLD  WHAT
firing  critical  4.2s ago  node-1  ledger  yes   ledger is fenced on node-1
                                                  exited with status 1
                                                  next: placed elsewhere"
        );
    }
}
