//! `nodemedic brake`: the storm brake, and a person's release of it.

use nodemedic_edge::config::span;
use nodemedic_protocol::api::{BrakeReleaseRequest, BrakeState, BrakeView};
use nodemedic_protocol::{Millis, WallTime};

use super::accepted;
use crate::args::Context;
use crate::blast;
use crate::failure::Failure;
use crate::out::{Cell, Column, Paint, Table};

/// When many hosts fall silent at once, it is more likely the coordinator or the network than the
/// hosts: nothing is taken from them on silence alone until that is over or a person says that it
/// is real.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Say as a person that the silent hosts are gone: for a while silence counts again
    Release(Release),
}

/// For how long, and how you know.
#[derive(Debug, clap::Args)]
struct Release {
    /// It ends by itself after so long, and with the storm; a second one replaces the first
    #[arg(long = "for", value_parser = span::parse, value_name = "SPAN")]
    span: Millis,
    /// How you know; people will ask
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Asks and prints.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    if let Some(What::Release(release)) = &args.what {
        let request = BrakeReleaseRequest {
            span: release.span,
            reason: release.reason.clone(),
        };
        return accepted(context, &client.release_brake(&request)?);
    }
    let brake = client.brake()?;
    if context.screen.json {
        return context.screen.json(&brake);
    }
    context
        .screen
        .table(&facts(&brake, nodemedic_edge::clock::wall()));
    if !brake.silent.is_empty() {
        context.screen.table(&silent(&brake));
    }
    Ok(())
}

fn facts(brake: &BrakeView, now: WallTime) -> Table {
    let mut table = Table::bare(&[Column::left("what"), Column::flexible("value", 20)], 0);
    let mut row = |name: &str, value: Cell| table.row(vec![Cell::painted(name, Paint::Dim), value]);
    row("storm brake", blast::brake(brake, now));
    row("counted", blast::counted(brake).into());
    if brake.state != BrakeState::Off {
        let text = format!("once fewer have been silent for {}", brake.hold);
        row("lifts", text.into());
        let held = "exclusive work moves on silence; automatic fences; drains that hosts ask for";
        let name = match brake.state {
            BrakeState::Released => "allowed for now",
            BrakeState::Engaged | BrakeState::Off => "held",
        };
        row(name, held.into());
    }
    if let Some(release) = &brake.release {
        row("released for", release.reason.as_str().into());
    }
    table
}

fn silent(brake: &BrakeView) -> Table {
    let mut table = Table::new(&[Column::left("SILENT"), Column::left("FOR")]);
    for host in &brake.silent {
        table.row(vec![
            Cell::painted(host.node.as_str(), Paint::Bold),
            host.silent_for.to_string().into(),
        ]);
    }
    table
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use nodemedic_protocol::NodeId;
    use nodemedic_protocol::api::{ReleaseView, SilentView};

    /// Three hosts, and the brake is off.
    pub fn brake() -> BrakeView {
        BrakeView {
            state: BrakeState::Off,
            since: None,
            threshold: 2,
            hosts: 3,
            silent: Vec::new(),
            hold: Millis::from_secs(60),
            release: None,
        }
    }

    #[test]
    fn a_storm_says_who_is_counted_what_is_held_and_how_it_ends() {
        let mut storm = brake();
        storm.state = BrakeState::Engaged;
        storm.since = Some(WallTime(20_000));
        storm.silent = ["node-1", "node-3"]
            .map(|name| SilentView {
                node: NodeId::new(name).unwrap(),
                silent_for: Millis(31_000),
            })
            .into();
        let now = WallTime(50_000);
        assert_eq!(
            facts(&storm, now).render(Some(100), false),
            "\
storm brake  ENGAGED 30.0s ago: nothing is taken out on silence
counted      2 of 3 hosts are silent; 2 engage it
lifts        once fewer have been silent for 1m00s
held         exclusive work moves on silence; automatic fences; drains that hosts ask for"
        );
        assert_eq!(
            silent(&storm).render(Some(100), false),
            "\
SILENT  FOR
node-1  31.0s
node-3  31.0s"
        );
        storm.state = BrakeState::Released;
        storm.release = Some(ReleaseView {
            until: WallTime(110_000),
            reason: "the rack burns".into(),
        });
        let text = facts(&storm, now).render(Some(100), false);
        assert!(
            text.contains("released by a person, for another 1m00s"),
            "{text}"
        );
        assert!(text.contains("the rack burns"), "{text}");
    }
}
