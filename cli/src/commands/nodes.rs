//! `nodemedic nodes`: all nodes, one line each.

use nodemedic_protocol::WallTime;
use nodemedic_protocol::api::NodeView;

use crate::args::Context;
use crate::failure::Failure;
use crate::out::{Cell, Column, Paint, Table, ago};
use crate::{reboot, words};

/// Asks and prints.
pub fn run(context: &Context) -> Result<(), Failure> {
    let nodes = context.client()?.nodes()?;
    if context.screen.json {
        return context.screen.json(&nodes);
    }
    if nodes.is_empty() {
        context
            .screen
            .note("no node has been heard yet; an agent's [broker] url leads it here");
        return Ok(());
    }
    context
        .screen
        .table(&table(&nodes, nodemedic_edge::clock::wall()));
    Ok(())
}

fn table(nodes: &[NodeView], now: WallTime) -> Table {
    let mut table = Table::new(&[
        Column::left("NODE"),
        Column::left("LIVENESS"),
        Column::left("SINCE"),
        Column::left("HEARD"),
        Column::left("HEALTH"),
        Column::left("WORK TAKEN"),
        Column::flexible("WORKS", 12),
        Column::flexible("NOTE", 12),
    ]);
    for node in nodes {
        let (scheduling, paint) = words::scheduling(&node.scheduling);
        table.row(vec![
            Cell::painted(node.node.as_str(), Paint::Bold),
            Cell::painted(
                node.liveness.to_string(),
                words::liveness_paint(node.liveness),
            ),
            ago(now, node.liveness_since).into(),
            Cell::maybe(node.heard_ago.map(|span| format!("{span} ago"))),
            Cell::painted(node.level.to_string(), words::level_paint(node.level)),
            Cell::painted(scheduling, paint),
            works(node),
            note(node),
        ]);
    }
    table
}

fn works(node: &NodeView) -> Cell {
    let names: Vec<String> = node
        .works
        .iter()
        .map(|held| match words::work_state(held.state) {
            ("running", _) => held.work.to_string(),
            (state, _) => format!("{} ({state})", held.work),
        })
        .collect();
    Cell::maybe((!names.is_empty()).then(|| names.join(", ")))
}

/// Its reboot, the worst condition, or why the node takes no work.
fn note(node: &NodeView) -> Cell {
    if let Some(reboot) = &node.reboot {
        return reboot::note(reboot);
    }
    match node
        .conditions
        .iter()
        .max_by_key(|condition| condition.severity)
    {
        Some(worst) => Cell::painted(
            format!("{}: {}", worst.component, worst.reason),
            words::severity_paint(worst.severity),
        ),
        None => Cell::maybe(words::scheduling_reason(&node.scheduling)),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use nodemedic_protocol::api::{DrainBy, DrainView, HolderView, Liveness, Scheduling};
    use nodemedic_protocol::inventory::Capacity;
    use nodemedic_protocol::work::{Enforcement, WorkState};
    use nodemedic_protocol::{
        Boottime, Component, Condition, Generation, Level, Millis, NodeId, Revision, Severity,
        WorkName,
    };

    /// A healthy node with one work.
    pub fn node(name: &str) -> NodeView {
        let node = NodeId::new(name).unwrap();
        NodeView {
            node: node.clone(),
            liveness: Liveness::Alive,
            liveness_since: WallTime(40_000),
            heard_ago: Some(Millis(310)),
            level: Level::Healthy,
            conditions: Vec::new(),
            scheduling: Scheduling::Open,
            out: None,
            fencing: None,
            reboot: None,
            zone: Some("rack-7".into()),
            labels: Default::default(),
            capacity: Capacity {
                cpu_milli: 2000,
                memory_bytes: 4 << 30,
            },
            used: Capacity {
                cpu_milli: 500,
                memory_bytes: 1 << 30,
            },
            enforcement: Enforcement::Software {
                timeout: Millis(1000),
            },
            works: vec![HolderView {
                work: WorkName::new("web").unwrap(),
                node,
                generation: Generation(2),
                state: Some(WorkState::Running),
                since: WallTime(41_000),
                releasing: false,
                detail: "answers".into(),
            }],
            version: Some("0.1.0".into()),
            revision_wanted: Revision(3),
            revision_taken: Revision(3),
            inventory: None,
            sample: None,
        }
    }

    #[test]
    fn a_fleet_reads_at_a_glance() {
        let mut sick = node("node-2");
        sick.liveness = Liveness::Lost;
        sick.heard_ago = None;
        sick.level = Level::Failed;
        sick.works[0].state = Some(WorkState::Failing);
        sick.conditions.push(Condition {
            component: Component::Filesystem("/".into()),
            reason: nodemedic_protocol::health::Reason::SpaceLow,
            severity: Severity::Warning,
            since: Boottime(1),
            since_wall: WallTime(1),
            seen: true,
            message: "3% left".into(),
            evidence: Default::default(),
        });
        let mut drained = node("node-3");
        drained.works.clear();
        drained.scheduling = Scheduling::Drained(DrainView {
            reason: "new disk".into(),
            by: DrainBy::Person,
            since: WallTime(1),
            deadline: None,
            waiting: Vec::new(),
        });
        assert_eq!(
            table(&[node("node-1"), sick, drained], WallTime(50_000)).render(Some(110), false),
            "\
NODE    LIVENESS  SINCE      HEARD      HEALTH   WORK TAKEN  WORKS          NOTE
node-1  alive     10.0s ago  310ms ago  healthy  open        web            -
node-2  lost      10.0s ago  -          failed   open        web (failing)  filesystem /: space low
node-3  alive     10.0s ago  310ms ago  healthy  drained     -              new disk"
        );
    }
}
