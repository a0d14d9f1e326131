//! A world as a story that a person can read: one line for each fact that matters.

use std::fmt::Write as _;

use nodemedic_protocol::NodeId;
use nodemedic_protocol::api::{BrakeChange, Decision, FenceStep, JournalWhat, Proof};
use nodemedic_protocol::event::Verb;
use nodemedic_protocol::work::Desired;
use nodemedic_sim_agent_core::UnitKey;
use nodemedic_sim_coordinator_core::Write;

use crate::clock::True;
use crate::fact::{Cut, Fact};
use crate::run::Outcome;

/// The whole story.
#[must_use]
pub fn tell(outcome: &Outcome) -> String {
    let mut text = String::new();
    let mut violations = outcome.violations.iter().peekable();
    let mut costs = outcome.costs.iter().peekable();
    let mut last = None;
    for (at, fact) in &outcome.kept {
        if let Some(line) = line(fact) {
            put(&mut text, *at, &mut last, &line);
        }
        while let Some((at, cost)) = costs.next_if(|(cost_at, _)| cost_at <= at) {
            put(&mut text, *at, &mut last, &format!("BY A LIE       {cost}"));
        }
        while let Some(broken) = violations.next_if(|v| v.at <= *at) {
            let line = format!("BROKEN         {}: {}", broken.property, broken.what);
            put(&mut text, broken.at, &mut last, &line);
        }
    }
    text
}

/// A blank line stands for a while in which nothing happens.
fn put(text: &mut String, at: True, last: &mut Option<True>, line: &str) {
    if last.is_some_and(|before| at - before > 2_000) {
        text.push('\n');
    }
    *last = Some(at);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{:>5}.{:03}  {line}", at / 1000, at % 1000);
}

fn line(fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::Fault(what) => format!("!              {what}"),
        Fact::Calm => "!              all faults are over".to_owned(),
        Fact::End => "               the world has come to rest".to_owned(),
        Fact::Committed(write) => {
            let Write::Journal(entry) = &**write else {
                return None;
            };
            let JournalWhat::Coordinator(decision) = &entry.what else {
                return None;
            };
            format!("coordinator    {}", decided(entry.node.as_ref(), decision)?)
        }
        other => on_host(other)?,
    })
}

fn on_host(fact: &Fact) -> Option<String> {
    let (host, what) = match fact {
        Fact::Booted { host } => (host, "boots".to_owned()),
        Fact::PoweredOff { host, by } => {
            let by = match by {
                Cut::Failure => "loses power",
                Cut::Watchdog => "is reset by its watchdog",
                Cut::Fence => "is switched off by a fence device",
            };
            (host, by.to_owned())
        }
        Fact::Suspended { host } => (host, "is suspended".to_owned()),
        Fact::Resumed { host, .. } => (host, "goes on".to_owned()),
        Fact::AgentBegan { host } => (host, "the agent starts".to_owned()),
        Fact::AgentEnded { host } => (host, "the agent ends".to_owned()),
        Fact::MemoryRolledBack { host } => (host, "its disk is as it was before".to_owned()),
        Fact::Forgets { host } => (host, "the agent knows less than it did".to_owned()),
        Fact::Said { host, text } => (host, format!("the watchdog: {text}")),
        Fact::Began {
            host,
            unit: UnitKey::Work(work),
            generation,
        } => {
            let generation = generation.unwrap_or_default();
            (host, format!("{work} RUNS, generation {generation}"))
        }
        Fact::Ended {
            host,
            unit: UnitKey::Work(work),
            how,
            ..
        } => (host, format!("{work} runs no more: {how}")),
        Fact::Acted {
            host,
            unit: UnitKey::Work(work),
            verb: verb @ (Verb::Stop | Verb::Restart | Verb::Kill | Verb::Fence),
        } => (host, format!("the agent: {verb} {work}")),
        Fact::Told { host, works, .. } => {
            let words = works.iter().map(|(work, generation, desired)| {
                let what = match desired {
                    Desired::Run => "run",
                    Desired::Stop => "stop",
                };
                format!("{what} {work} {generation}")
            });
            let words: Vec<String> = words.collect();
            (host, format!("is told: {}", words.join(", ")))
        }
        Fact::Answered {
            host,
            obeyed: false,
            void,
        } => (
            host,
            format!(
                "refuses a command: {}",
                void.unwrap_or("for its own reason")
            ),
        ),
        _ => return None,
    };
    Some(format!("{:<14} {what}", format!("host-{host}")))
}

fn decided(node: Option<&NodeId>, decision: &Decision) -> Option<String> {
    let node = node.map(ToString::to_string).unwrap_or_default();
    Some(match decision {
        Decision::Started { epoch } => format!("leads, epoch {epoch}"),
        Decision::Liveness { from, to, because } => {
            format!("{node} {from:?} -> {to:?}: {because}")
        }
        Decision::Granted {
            work, generation, ..
        } => format!("{work} {generation} is granted to {node}"),
        Decision::Releasing {
            work,
            generation,
            because,
        } => format!("{work} {generation} is taken from {node}: {because}"),
        Decision::Ended {
            work,
            generation,
            proof,
        } => format!("{work} {generation} has ended on {node}: {}", proved(proof)),
        Decision::Scheduling { to, because } => format!("{node} is {to}: {because}"),
        Decision::AlertRaised { key, summary } => format!("ALERT {key}: {summary}"),
        Decision::AlertResolved { key } => format!("alert over: {key}"),
        Decision::Reserved {
            purpose,
            out,
            limit,
            ..
        } => format!("a place for the {purpose} of {node}: {out} of {limit} are out"),
        Decision::GivenBack { purpose } => format!("{node} is back after its {purpose}"),
        Decision::Brake(change) => match change {
            BrakeChange::Engaged {
                silent,
                threshold,
                hosts,
            } => {
                format!("STORM BRAKE: {silent} of {hosts} hosts are silent, {threshold} engage it")
            }
            BrakeChange::Lifted => "the storm brake lifts".to_owned(),
            BrakeChange::Released { reason, .. } => {
                format!("a person releases the storm brake: {reason}")
            }
            BrakeChange::ReleaseEnded => "the release of the storm brake ends".to_owned(),
        },
        Decision::Fence(FenceStep::DeviceTrusted { device, .. }) => {
            format!("{device} is trusted again")
        }
        Decision::Fence(step) => format!("fence {node}: {}", fenced(step)),
        Decision::Reboot(step) => format!("reboot {node}: {step}"),
        Decision::WorkChanged { .. } => return None,
    })
}

fn proved(proof: &Proof) -> String {
    match proof {
        Proof::StopConfirmed => "its host has proved the stop".to_owned(),
        Proof::Rebooted => "its host has rebooted".to_owned(),
        Proof::LeaseEnded => "its lease has provably ended".to_owned(),
        Proof::Fenced { devices } => {
            let devices: Vec<String> = devices.iter().map(ToString::to_string).collect();
            format!("its host is off, says {}", devices.join(", "))
        }
        Proof::PersonsWord { by, reason } => format!("{by} says so: {reason}"),
        Proof::NotNeeded => "no proof is needed".to_owned(),
    }
}

fn fenced(step: &FenceStep) -> String {
    match step {
        FenceStep::Wanted { by, because } => format!("wanted by {by}: {because}"),
        FenceStep::Asked { device, verb } => format!("{device} is asked: {verb}"),
        FenceStep::Said(said) => format!("{} to {}: {}", said.device, said.verb, said.answer),
        FenceStep::Confirmed { .. } => "CONFIRMED off".to_owned(),
        FenceStep::Failed { attempts, retry_in } => {
            format!("failed {attempts} times, again in {retry_in}")
        }
        FenceStep::Dropped { because } => format!("not wanted any more: {because}"),
        FenceStep::DeviceLied { device, evidence } => format!("{device} LIED: {evidence}"),
        FenceStep::DeviceTrusted { .. } => "its device is trusted again".to_owned(),
    }
}
