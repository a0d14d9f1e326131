//! What an act would call, in words: the same text in the record of an action, in advice, and at
//! the host that does it.

use alloc::format;
use alloc::string::{String, ToString};

use nodemedic_protocol::event::Verb;
use nodemedic_protocol::work::Run;

use crate::unit::UnitKey;

/// The program or the bus call of an act.
#[must_use]
pub fn command_of(unit: &UnitKey, run: &Run, verb: Verb) -> String {
    match run {
        Run::Systemd { unit: name } => {
            let is_service = matches!(unit, UnitKey::Service(_));
            of_systemd(&full_name(unit, name), is_service, verb)
        }
        Run::Command { start, stop, .. } => of_command(start, stop, verb),
    }
}

/// A template gets the name of the service or work as its instance.
#[must_use]
pub fn full_name(unit: &UnitKey, name: &str) -> String {
    let instance = match unit {
        UnitKey::Service(service) => service.as_str(),
        UnitKey::Work(work) => work.as_str(),
    };
    match name.split_once("@.") {
        Some((before, kind)) => format!("{before}@{instance}.{kind}"),
        None => name.to_string(),
    }
}

fn of_systemd(name: &str, is_service: bool, verb: Verb) -> String {
    match verb {
        Verb::Start => format!("systemd StartUnit {name}"),
        Verb::Restart => format!("systemd RestartUnit {name}"),
        Verb::Kill => format!("systemd KillUnit {name} SIGKILL, StopUnit, StartUnit"),
        Verb::Fence if is_service => {
            format!("systemd StopUnit {name}, nodemedic-helper fence {name}")
        }
        Verb::Stop | Verb::Fence => format!("systemd StopUnit {name}"),
        Verb::Unfence => format!("nodemedic-helper unfence {name}"),
    }
}

fn of_command(start: &[String], stop: &[String], verb: Verb) -> String {
    match verb {
        Verb::Start | Verb::Restart => start.join(" "),
        Verb::Kill => format!("SIGKILL to its session, then {}", start.join(" ")),
        Verb::Stop | Verb::Fence if !stop.is_empty() => stop.join(" "),
        Verb::Stop | Verb::Fence => "SIGTERM, then SIGKILL to its session".to_string(),
        Verb::Unfence => "none".to_string(),
    }
}
