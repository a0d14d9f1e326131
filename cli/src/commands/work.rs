//! `nodemedic work`: what runs where; `work apply FILE` and `work remove NAME`.

use std::path::PathBuf;

use nodemedic_protocol::api::WorkView;
use nodemedic_protocol::{WallTime, WorkName};

use super::accepted;
use crate::args::Context;
use crate::failure::Failure;
use crate::out::{Cell, Column, Paint, Table, ago};
use crate::{words, workfile};

/// What to do with works.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show all works (what happens without a subcommand too)
    List,
    /// Declare or change the works of a file
    Apply {
        /// A TOML file with [work.NAME] tables as in the coordinator's configuration, or a JSON
        /// file as the API takes it
        file: PathBuf,
    },
    /// Stop a work everywhere and forget it
    Remove {
        /// The work's name
        name: WorkName,
    },
}

/// Runs it.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    match &args.action {
        None | Some(Action::List) => list(context),
        Some(Action::Apply { file }) => {
            let works = workfile::read(file)?;
            accepted(context, &context.client()?.put_work(&works)?)
        }
        Some(Action::Remove { name }) => accepted(context, &context.client()?.remove_work(name)?),
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let works = context.client()?.works()?;
    if context.screen.json {
        return context.screen.json(&works);
    }
    if works.is_empty() {
        context
            .screen
            .note("no work is declared; see `nodemedic work apply --help`");
        return Ok(());
    }
    context
        .screen
        .table(&table(&works, nodemedic_edge::clock::wall()));
    Ok(())
}

fn table(works: &[WorkView], now: WallTime) -> Table {
    let mut table = Table::new(&[
        Column::left("WORK"),
        Column::left("KIND"),
        Column::left("RUNNING"),
        Column::left("NODE"),
        Column::right("GENERATION"),
        Column::left("STATE"),
        Column::left("SINCE"),
        Column::flexible("NOTE", 16),
    ]);
    for work in works {
        let mut waiting = work
            .waiting
            .iter()
            .map(|text| Cell::painted(text, Paint::Warn));
        let mut rows = holders(work, now);
        if rows.is_empty() {
            let unknown = || Cell::maybe(None::<&str>);
            let why = waiting.next().unwrap_or_else(unknown);
            rows.push(vec![unknown(), unknown(), unknown(), unknown(), why]);
        }
        for (i, row) in rows.into_iter().enumerate() {
            let mut cells = if i == 0 {
                head(work)
            } else {
                vec!["".into(); 3]
            };
            cells.extend(row);
            table.row(cells);
        }
        for why in waiting {
            let mut row: Vec<Cell> = vec!["".into(); 7];
            row.push(why);
            table.row(row);
        }
    }
    table
}

fn head(work: &WorkView) -> Vec<Cell> {
    let enough = if work.running >= work.wanted {
        Paint::Good
    } else {
        Paint::Bad
    };
    vec![
        Cell::painted(work.spec.name.as_str(), Paint::Bold),
        words::sharing(work.spec.sharing).into(),
        Cell::painted(format!("{} of {}", work.running, work.wanted), enough),
    ]
}

fn holders(work: &WorkView, now: WallTime) -> Vec<Vec<Cell>> {
    work.holders
        .iter()
        .map(|held| {
            let (state, paint) = words::work_state(held.state);
            let leaving = if held.releasing { " (leaving)" } else { "" };
            vec![
                held.node.as_str().into(),
                held.generation.to_string().into(),
                Cell::painted(format!("{state}{leaving}"), paint),
                ago(now, held.since).into(),
                Cell::painted(&held.detail, Paint::Dim),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::nodes::tests::node;
    use nodemedic_protocol::Millis;
    use nodemedic_protocol::inventory::Capacity;
    use nodemedic_protocol::work::{OnLeaseLoss, Run, Sharing, WorkSpec};

    fn spec(name: &str, sharing: Sharing) -> WorkSpec {
        WorkSpec {
            name: WorkName::new(name).unwrap(),
            sharing,
            run: Run::Systemd {
                unit: "web@.service".into(),
            },
            probes: Vec::new(),
            priority: 0,
            needs: Capacity::default(),
            node_labels: Default::default(),
            start_grace: Millis(1),
            stop_grace: Millis(1),
        }
    }

    #[test]
    fn each_holder_is_a_line_and_each_reason_to_wait_is_told() {
        let mut leaving = node("node-2").works.remove(0);
        leaving.releasing = true;
        leaving.detail = "moving away".into();
        let web = WorkView {
            spec: spec("web", Sharing::Replicated { replicas: 2 }),
            holders: vec![node("node-1").works.remove(0), leaving],
            wanted: 2,
            running: 2,
            waiting: Vec::new(),
        };
        let ledger = WorkView {
            spec: spec(
                "ledger",
                Sharing::Exclusive {
                    on_lease_loss: OnLeaseLoss::Stop,
                },
            ),
            holders: Vec::new(),
            wanted: 1,
            running: 0,
            waiting: vec!["its lease ends".into(), "and more".into()],
        };
        assert_eq!(
            table(&[ledger, web], WallTime(50_000)).render(Some(120), false),
            "\
WORK    KIND              RUNNING  NODE    GENERATION  STATE              SINCE     NOTE
ledger  exclusive (stop)  0 of 1   -                -  -                  -         its lease ends
                                                                                    and more
web     2 replicas        2 of 2   node-1           2  running            9.0s ago  answers
                                   node-2           2  running (leaving)  9.0s ago  moving away"
        );
    }
}
