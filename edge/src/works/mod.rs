//! How people write works: a `[work.NAME]` table, checked, becomes the specification that the
//! protocol carries. Each complaint names the place and says what to write instead.

pub mod probe;
mod raw;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::work::{Check, OnLeaseLoss, Run, Sharing, WorkSpec};
use nodemedic_protocol::{Millis, WorkName};

use crate::config::{ConfigError, Place};
use raw::{Exclusive, Text};
pub use raw::{Probe, Work};

/// How long a start may take when nothing is said; as in the protocol, which gives the reason.
pub const START_GRACE: Millis = Millis::from_secs(30);

/// How long a stop may take when nothing is said; as in the protocol, which gives the reason.
pub const STOP_GRACE: Millis = Millis::from_secs(10);

/// What somebody who left the choice open is told.
pub const CHOICE: &str = "exclusive work must say what its node does when it cannot reach the \
    coordinator; there is no default, because both cost something:\n  \
    exclusive = { on_lease_loss = \"stop\" }  the node stops it in time, and it starts elsewhere \
    by itself; price: a coordinator that is away for longer than the lease stops this work\n  \
    exclusive = { on_lease_loss = \"keep\" }  it is never stopped for that; price: it moves only \
    after a confirmed stop, or when a person confirms that the node is down";

/// The work that the table `[work.NAME]` specifies.
///
/// # Errors
/// When a value makes no sense: with its place, and what to write instead.
pub fn check(name: &str, raw: Work, place: &Place<'_>) -> Result<WorkSpec, ConfigError> {
    let key = ["work", name];
    let work = WorkName::new(name).map_err(|error| place.error(&key, error.to_string()))?;
    let sharing = sharing(name, raw.exclusive, raw.replicas, place)?;
    let run = run(
        name,
        raw.unit,
        raw.command,
        raw.stop_command,
        raw.environment,
        place,
    )?;
    let probe_key = if raw.probes.is_some() {
        "probes"
    } else {
        "probe"
    };
    let probes = probe::probes(raw.probe, raw.probes).map_err(|wrong| {
        let key: Vec<&str> = key
            .into_iter()
            .chain(wrong.key.iter().map(|k| &**k))
            .collect();
        place.error(&key, wrong.message)
    })?;
    for probe in &probes {
        let fits = probe::fits(&probe.check, &run);
        fits.map_err(|why| place.error(&["work", name, probe_key], why))?;
        if let Check::Exec { command } = &probe.check {
            program(command, &["work", name, probe_key], place)?;
        }
    }
    Ok(WorkSpec {
        name: work,
        sharing,
        run,
        probes,
        priority: raw.priority,
        needs: Capacity {
            cpu_milli: raw.needs.cpu_milli,
            memory_bytes: raw.needs.memory_mib.saturating_mul(1 << 20),
        },
        node_labels: raw.labels,
        start_grace: raw.start_grace.unwrap_or(START_GRACE),
        stop_grace: raw.stop_grace.unwrap_or(STOP_GRACE),
    })
}

fn sharing(
    name: &str,
    exclusive: Option<Exclusive>,
    replicas: Option<u16>,
    place: &Place<'_>,
) -> Result<Sharing, ConfigError> {
    let key = ["work", name, "exclusive"];
    let choice = match (exclusive, replicas) {
        (None | Some(Exclusive::Flag(false)), Some(0)) => {
            return Err(place.error(
                &["work", name, "replicas"],
                "0 replicas would run nothing; write 1 or more, or remove the work with \
                 `nodemedic work remove`",
            ));
        }
        (None | Some(Exclusive::Flag(false)), Some(replicas)) => {
            return Ok(Sharing::Replicated { replicas });
        }
        (None | Some(Exclusive::Flag(false)), None) => {
            return Err(place.error(
                &["work", name],
                "how many may run at once? Write replicas = N, or for work of which never two \
                 may run: exclusive = { on_lease_loss = \"stop\" } (or \"keep\")",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(place.error(
                &["work", name, "replicas"],
                "exclusive work has no replicas: at most one runs, ever; keep one of the two",
            ));
        }
        (Some(Exclusive::Flag(true)), None) => return Err(place.error(&key, CHOICE)),
        (Some(Exclusive::Choice(choice)), None) => choice,
    };
    if let Some(unknown) = choice.keys().find(|key| *key != "on_lease_loss") {
        return Err(place.error(
            &["work", name, "exclusive", unknown],
            format!("unknown key {unknown:?}; the only key here is \"on_lease_loss\""),
        ));
    }
    let on_lease_loss = match choice.get("on_lease_loss") {
        Some(Text::Text(text)) if text == "stop" => OnLeaseLoss::Stop,
        Some(Text::Text(text)) if text == "keep" => OnLeaseLoss::Keep,
        Some(Text::Text(other)) => {
            let message = format!("{other:?} is neither \"stop\" nor \"keep\"; {CHOICE}");
            return Err(place.error(&key, message));
        }
        Some(Text::Other(_)) | None => return Err(place.error(&key, CHOICE)),
    };
    Ok(Sharing::Exclusive { on_lease_loss })
}

fn run(
    name: &str,
    unit: Option<String>,
    command: Option<Vec<String>>,
    stop: Option<Vec<String>>,
    environment: BTreeMap<String, String>,
    place: &Place<'_>,
) -> Result<Run, ConfigError> {
    match (unit, command) {
        (Some(_), Some(_)) => Err(place.error(
            &["work", name, "command"],
            "a work runs as a systemd unit or as a command; keep one of unit and command",
        )),
        (None, None) => Err(place.error(
            &["work", name],
            "what runs? Write unit = \"NAME@.service\" or command = [\"/path/program\", \
             \"argument\"]",
        )),
        (Some(unit), None) => {
            if stop.is_some() || !environment.is_empty() {
                return Err(place.error(
                    &["work", name, "unit"],
                    "stop_command and environment belong to a command; a unit has ExecStop= and \
                     Environment= of its own",
                ));
            }
            if !unit.ends_with(".service") {
                return Err(place.error(
                    &["work", name, "unit"],
                    format!("{unit:?} is no service; write its full name: \"NAME@.service\""),
                ));
            }
            Ok(Run::Systemd { unit })
        }
        (None, Some(start)) => {
            program(&start, &["work", name, "command"], place)?;
            if let Some(stop) = &stop {
                program(stop, &["work", name, "stop_command"], place)?;
            }
            Ok(Run::Command {
                start,
                stop: stop.unwrap_or_default(),
                environment,
            })
        }
    }
}

fn program(command: &[String], key: &[&str], place: &Place<'_>) -> Result<(), ConfigError> {
    match command.first() {
        Some(program) if is_whole(program) => Ok(()),
        Some(program) => Err(place.error(
            key,
            format!(
                "{program:?} is not an absolute path; agents search no PATH, so that the same \
                 work is the same program on every node"
            ),
        )),
        None => Err(place.error(
            key,
            "an empty command; write [\"/path/program\", \"argument\"] (no shell reads it)",
        )),
    }
}

/// A whole path, or one that begins with what a node puts in for braces.
fn is_whole(path: &str) -> bool {
    path.starts_with('/') || path.starts_with('{')
}
