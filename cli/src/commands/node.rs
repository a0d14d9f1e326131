//! `nodemedic node X`: one node in full.

use nodemedic_protocol::api::{DrainBy, FenceThen, NodeFencingView, NodeView, Scheduling};
use nodemedic_protocol::sample::Sample;
use nodemedic_protocol::{DeviceName, NodeId, WallTime};

use crate::args::Context;
use crate::failure::Failure;
use crate::out::{Cell, Column, Paint, Table, ago, bytes, per_mille};
use crate::{reboot, words};

/// Which node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node's name
    node: NodeId,
}

/// Asks and prints.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let node = context.client()?.node(&args.node)?;
    if context.screen.json {
        return context.screen.json(&node);
    }
    let (width, color) = (context.screen.width, context.screen.color);
    for part in parts(&node, nodemedic_edge::clock::wall()) {
        context.screen.say(&part.render(width, color));
    }
    Ok(())
}

fn parts(node: &NodeView, now: WallTime) -> Vec<Table> {
    let mut parts = vec![facts(node, now)];
    if !node.conditions.is_empty() {
        parts.push(conditions(node, now));
    }
    if !node.works.is_empty() {
        parts.push(works(node, now));
    }
    parts
}

/// Rows of a name and a value.
struct Facts(Table);

impl Facts {
    fn row(&mut self, name: &str, value: impl Into<Cell>) {
        self.0
            .row(vec![Cell::painted(name, Paint::Dim), value.into()]);
    }
}

fn facts(node: &NodeView, now: WallTime) -> Table {
    let columns = [Column::left("what"), Column::flexible("value", 20)];
    let mut facts = Facts(Table::bare(&columns, 0));
    facts.row("node", Cell::painted(node.node.as_str(), Paint::Bold));
    let heard = node
        .heard_ago
        .map_or_else(|| "never".to_owned(), |span| format!("{span} ago"));
    let since = ago(now, node.liveness_since);
    let liveness = format!("{}, since {since}, heard {heard}", node.liveness);
    facts.row(
        "liveness",
        Cell::painted(liveness, words::liveness_paint(node.liveness)),
    );
    facts.row(
        "health",
        Cell::painted(node.level.to_string(), words::level_paint(node.level)),
    );
    facts.row("work", scheduling(&node.scheduling, now));
    if let Scheduling::DrainWaits(drain) | Scheduling::Draining(drain) = &node.scheduling {
        for waiting in &drain.waiting {
            facts.row("  waits for", waiting.as_str());
        }
    }
    if let Some(reboot) = &node.reboot {
        facts.row("reboot", reboot::stands(reboot, now));
        for waiting in &reboot.waiting {
            facts.row("  waits for", waiting.as_str());
        }
    }
    if let Some(out) = &node.out {
        facts.row("counts as out", out.as_str());
    }
    facts.row("zone", Cell::maybe(node.zone.as_deref()));
    if !node.labels.is_empty() {
        let labels: Vec<String> = node
            .labels
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        facts.row("labels", labels.join(" "));
    }
    facts.row("promises kept by", words::enforcement(node.enforcement));
    if let Some(fencing) = &node.fencing {
        fences(fencing, now, &mut facts);
    }
    host(node, now, &mut facts);
    facts.row("agent", Cell::maybe(node.version.as_deref()));
    facts.row("assignment", revision(node));
    facts.0
}

fn fences(fencing: &NodeFencingView, now: WallTime, facts: &mut Facts) {
    let level = |level: &Vec<DeviceName>| {
        let names: Vec<&str> = level.iter().map(|device| device.as_str()).collect();
        names.join(" and ")
    };
    let levels: Vec<String> = fencing.levels.iter().map(level).collect();
    let by = match fencing.automatic {
        true => "",
        false => "; only by a person",
    };
    let then = match fencing.then {
        FenceThen::On => "then on again",
        FenceThen::StayOff => "then it stays off",
    };
    facts.row(
        "fenced by",
        format!("{}, {then}{by}", levels.join(", else ")),
    );
    if let Some(since) = fencing.off_since {
        let text = format!("confirmed off {}", ago(now, since));
        facts.row("  now", Cell::painted(text, Paint::Bad));
    }
    if let Some(fence) = &fencing.fence {
        let text = format!("{} ({}, {})", fence.state, fence.because, fence.by);
        facts.row("  under way", Cell::painted(text, Paint::Warn));
        for said in &fence.said {
            facts.row("  said", said.to_string());
        }
    }
    for said in &fencing.on_failed {
        facts.row("  said", Cell::painted(said.to_string(), Paint::Bad));
    }
}

fn host(node: &NodeView, now: WallTime, facts: &mut Facts) {
    let (used, all) = (node.used, node.capacity);
    facts.row(
        "processors",
        format!(
            "{} of {} granted",
            milli(used.cpu_milli),
            milli(all.cpu_milli)
        ),
    );
    facts.row(
        "memory",
        format!(
            "{} of {} granted",
            bytes(used.memory_bytes),
            bytes(all.memory_bytes)
        ),
    );
    if let Some(inventory) = &node.inventory {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let (os, kernel) = (known(&inventory.os), known(&inventory.kernel));
        facts.row(
            "host",
            format!("{}, {os}, kernel {kernel}", inventory.hostname),
        );
        let (model, memory) = (known(&inventory.cpu_model), bytes(inventory.memory_bytes));
        facts.row(
            "hardware",
            format!("{} x {model}, {memory}", inventory.cpus),
        );
    }
    if let Some(sample) = &node.sample {
        facts.row("now", usage(sample));
        facts.row("sampled", ago(now, sample.wall));
    }
}

fn revision(node: &NodeView) -> Cell {
    if node.revision_taken == node.revision_wanted {
        format!("revision {}, taken", node.revision_wanted).into()
    } else {
        let text = format!(
            "revision {}, has taken {} so far",
            node.revision_wanted, node.revision_taken
        );
        Cell::painted(text, Paint::Warn)
    }
}

/// Thousandths as a decimal number: `1.50`.
fn milli(value: u64) -> String {
    format!("{}.{:02}", value / 1000, value % 1000 / 10)
}

fn usage(sample: &Sample) -> String {
    let cpu = per_mille(sample.cpu.as_ref().and_then(|cpu| cpu.busy));
    let memory = sample.memory.as_ref().and_then(|m| m.available_bytes);
    let memory = memory.map_or_else(|| "-".to_owned(), bytes);
    let load = sample
        .load
        .as_ref()
        .map_or_else(|| "-".to_owned(), |load| milli(load.one_milli));
    format!("cpu {cpu}, load {load}, memory available {memory}")
}

fn scheduling(scheduling: &Scheduling, now: WallTime) -> Cell {
    let (word, paint) = words::scheduling(scheduling);
    let text = match scheduling {
        Scheduling::Open => "takes new work".to_owned(),
        Scheduling::Cordoned { reason } => format!("{word}: {reason}"),
        Scheduling::DrainWaits(drain)
        | Scheduling::Draining(drain)
        | Scheduling::Drained(drain) => {
            let by = match drain.by {
                DrainBy::Person => "a person",
                DrainBy::Agent => "the host itself",
            };
            let until = drain.deadline.map_or_else(String::new, |deadline| {
                format!(
                    ", forced in {}",
                    nodemedic_protocol::Millis(deadline.0.saturating_sub(now.0))
                )
            });
            let until = if word == "draining" {
                until
            } else {
                String::new()
            };
            format!(
                "{word}: {} (by {by}, {}{until})",
                drain.reason,
                ago(now, drain.since)
            )
        }
    };
    Cell::painted(text, paint)
}

fn conditions(node: &NodeView, now: WallTime) -> Table {
    let mut table = Table::new(&[
        Column::left("CONDITION"),
        Column::left("SEVERITY"),
        Column::left("SINCE"),
        Column::flexible("WHAT", 20),
    ]);
    for condition in &node.conditions {
        let seen = if condition.seen {
            ""
        } else {
            " (not seen now)"
        };
        table.row(vec![
            format!("{}: {}", condition.component, condition.reason).into(),
            Cell::painted(
                condition.severity.to_string(),
                words::severity_paint(condition.severity),
            ),
            ago(now, condition.since_wall).into(),
            format!("{}{seen}", condition.message).into(),
        ]);
    }
    table
}

fn works(node: &NodeView, now: WallTime) -> Table {
    let mut table = Table::new(&[
        Column::left("WORK"),
        Column::right("GENERATION"),
        Column::left("STATE"),
        Column::left("SINCE"),
        Column::flexible("DETAIL", 12),
    ]);
    for held in &node.works {
        let (state, paint) = words::work_state(held.state);
        let leaving = if held.releasing { " (leaving)" } else { "" };
        table.row(vec![
            Cell::painted(held.work.as_str(), Paint::Bold),
            held.generation.to_string().into(),
            Cell::painted(format!("{state}{leaving}"), paint),
            ago(now, held.since).into(),
            held.detail.as_str().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::nodes::tests::node;

    #[test]
    fn a_node_reads_from_the_top() {
        let text: Vec<String> = parts(&node("node-1"), WallTime(50_000))
            .iter()
            .map(|part| part.render(Some(90), false))
            .collect();
        assert_eq!(
            text.join("\n"),
            "\
node              node-1
liveness          alive, since 10.0s ago, heard 310ms ago
health            healthy
work              takes new work
zone              rack-7
promises kept by  software watchdog, 1.0s
processors        0.50 of 2.00 granted
memory            1.0 GiB of 4.0 GiB granted
agent             0.1.0
assignment        revision 3, taken
WORK  GENERATION  STATE    SINCE     DETAIL
web            2  running  9.0s ago  answers"
        );
    }
}
