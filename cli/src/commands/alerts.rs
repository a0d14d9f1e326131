//! `nodemedic alerts`: what a person should know.

use nodemedic_protocol::WallTime;
use nodemedic_protocol::api::{AlertState, AlertView, Undelivered};

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
            told(alert),
            alert.summary.as_str().into(),
        ]);
        if detail {
            let untold = alert.undelivered.iter().map(undelivered);
            let lines = alert.detail.lines().map(str::to_owned).chain(untold);
            for line in lines {
                let mut row: Vec<Cell> = vec!["".into(); 6];
                row.push(Cell::painted(line, Paint::Dim));
                table.row(row);
            }
        }
    }
    table
}

fn told(alert: &AlertView) -> Cell {
    if alert.delivered {
        "yes".into()
    } else if alert.undelivered.iter().any(|u| u.permanent) {
        // Waiting does not help: a person must look at the receiver.
        Cell::painted("refused", Paint::Bad)
    } else {
        Cell::painted("not yet", Paint::Warn)
    }
}

fn undelivered(failed: &Undelivered) -> String {
    let Undelivered {
        receiver, error, ..
    } = failed;
    match failed.permanent {
        true => format!("{receiver} refuses for good: {error}"),
        false => format!("{receiver} did not take it: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::{NodeId, Severity, WorkName};

    #[test]
    fn a_receiver_that_refuses_for_good_is_told_from_one_that_is_away() {
        let alert = |permanent: bool, error: &str| AlertView {
            key: "k".into(),
            state: AlertState::Firing,
            severity: Severity::Critical,
            node: None,
            work: None,
            summary: "it burns".into(),
            detail: String::new(),
            since: WallTime(1000),
            resolved: None,
            delivered: false,
            undelivered: vec![Undelivered {
                receiver: "ops".into(),
                permanent,
                error: error.into(),
            }],
        };
        let alerts = [alert(true, "HTTP 404"), alert(false, "HTTP 503")];
        let text = table(&alerts, WallTime(5200), true).render(Some(100), false);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains(" refused "), "{text}");
        assert!(
            lines[2].ends_with("ops refuses for good: HTTP 404"),
            "{text}"
        );
        assert!(lines[3].contains(" not yet "), "{text}");
        assert!(
            lines[4].ends_with("ops did not take it: HTTP 503"),
            "{text}"
        );
    }

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
            undelivered: Vec::new(),
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
