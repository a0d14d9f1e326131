//! `nodemedic fences`: every fence device, and every fence that is under way.

use nodemedic_protocol::WallTime;
use nodemedic_protocol::api::{FenceAnswer, FenceDeviceView, FenceView, FencesView};

use crate::args::Context;
use crate::failure::Failure;
use crate::out::{Cell, Column, Paint, Table, ago};

/// Asks and prints.
pub fn run(context: &Context) -> Result<(), Failure> {
    let view = context.client()?.fences()?;
    if context.screen.json {
        return context.screen.json(&view);
    }
    if view.devices.is_empty() && view.fences.is_empty() {
        context
            .screen
            .say("no fence device is configured ([fence.NAME] in coordinator.toml)");
        return Ok(());
    }
    for table in tables(&view, nodemedic_edge::clock::wall()) {
        context.screen.table(&table);
    }
    Ok(())
}

fn tables(view: &FencesView, now: WallTime) -> Vec<Table> {
    let mut tables = Vec::new();
    if !view.fences.is_empty() {
        tables.push(fences(&view.fences, now));
    }
    tables.push(devices(&view.devices, now));
    tables
}

fn fences(fences: &[FenceView], now: WallTime) -> Table {
    let mut table = Table::new(&[
        Column::left("FENCE OF"),
        Column::left("SINCE"),
        Column::left("BY"),
        Column::flexible("STATE", 30),
    ]);
    for fence in fences {
        let paint = match fence.attempts {
            0 => Paint::Warn,
            _ => Paint::Bad,
        };
        table.row(vec![
            Cell::painted(fence.node.as_str(), Paint::Bold),
            ago(now, fence.since).into(),
            fence.by.to_string().into(),
            Cell::painted(format!("{}: {}", fence.because, fence.state), paint),
        ]);
        for said in &fence.said {
            let mut row: Vec<Cell> = vec!["".into(); 3];
            row.push(Cell::painted(said.to_string(), Paint::Dim));
            table.row(row);
        }
    }
    table
}

fn devices(devices: &[FenceDeviceView], now: WallTime) -> Table {
    let mut table = Table::new(&[
        Column::left("DEVICE"),
        Column::left("FENCES"),
        Column::left("LOOKED AT"),
        Column::flexible("STATE", 30),
    ]);
    for device in devices {
        let nodes: Vec<&str> = device.nodes.iter().map(|node| node.as_str()).collect();
        let looked = device.monitored.map(|at| ago(now, at));
        table.row(vec![
            Cell::painted(device.device.as_str(), Paint::Bold),
            nodes.join(" ").into(),
            Cell::maybe(looked),
            state(device),
        ]);
    }
    table
}

fn state(device: &FenceDeviceView) -> Cell {
    if let Some(lied) = &device.lied {
        return Cell::painted(format!("not believed: {lied}"), Paint::Bad);
    }
    match (&device.asked, &device.monitor) {
        (Some(verb), _) => Cell::painted(format!("is asked: {verb}"), Paint::Warn),
        (None, Some(FenceAnswer::Failed(error))) => Cell::painted(error.as_str(), Paint::Bad),
        (None, Some(_)) => Cell::painted("well", Paint::Good),
        (None, None) => Cell::painted("not looked at yet", Paint::Dim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::api::{DeviceSaid, FenceBy, FenceVerb};
    use nodemedic_protocol::{DeviceName, NodeId};

    #[test]
    fn a_fence_shows_what_each_device_said_and_a_device_whether_it_is_believed() {
        let device = |name: &str| DeviceName::new(name).unwrap();
        let view = FencesView {
            devices: vec![FenceDeviceView {
                device: device("pdu-a"),
                nodes: vec![NodeId::new("node-1").unwrap()],
                lied: None,
                asked: None,
                monitor: Some(FenceAnswer::Done),
                monitored: Some(WallTime(48_000)),
            }],
            fences: vec![FenceView {
                node: NodeId::new("node-1").unwrap(),
                by: FenceBy::Coordinator,
                because: "it is lost".into(),
                since: WallTime(40_000),
                state: "failed, tried again in 10.0s".into(),
                attempts: 1,
                said: vec![DeviceSaid {
                    device: device("pdu-a"),
                    verb: FenceVerb::Off,
                    answer: FenceAnswer::Failed("exit code 1".into()),
                }],
            }],
        };
        let text: Vec<String> = tables(&view, WallTime(50_000))
            .iter()
            .map(|part| part.render(Some(100), false))
            .collect();
        assert_eq!(
            text.join("\n"),
            "\
FENCE OF  SINCE      BY               STATE
node-1    10.0s ago  the coordinator  it is lost: failed, tried again in 10.0s
                                      off of pdu-a: failed: exit code 1
DEVICE  FENCES  LOOKED AT  STATE
pdu-a   node-1  2.0s ago   well"
        );
    }
}
