//! How people write works: a `[work.NAME]` table, checked, becomes the specification that the
//! protocol carries. Each complaint names the place and says what to write instead.

mod raw;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::work::{Check, OnLeaseLoss, ProbeSpec, Run, Sharing, WorkSpec};
use nodemedic_protocol::{Millis, WorkName};

use crate::config::{ConfigError, Place};
use raw::{Exclusive, Text};
pub use raw::{Probe, Work};

/// How often a probe asks when nothing is said. A dead process is noticed by its exit at once; the
/// probe is for one that hangs, and at this rate costs far below a percent of a processor.
pub const PROBE_INTERVAL: Millis = Millis::from_secs(5);

/// How long an answer may take when nothing is said: a local one takes milliseconds, two seconds
/// are a hang.
pub const PROBE_TIMEOUT: Millis = Millis::from_secs(2);

/// How long a probe must fail when nothing is said: three in a row, so that one hiccup restarts
/// nothing.
pub const PROBE_FAIL_FOR: Millis = Millis::from_secs(15);

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
    let probe = raw.probe.map(|raw| probe(name, raw, place)).transpose()?;
    Ok(WorkSpec {
        name: work,
        sharing,
        run,
        probe,
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
        Some(program) if program.starts_with('/') || program.starts_with('{') => Ok(()),
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

fn probe(name: &str, raw: Probe, place: &Place<'_>) -> Result<ProbeSpec, ConfigError> {
    let key = ["work", name, "probe"];
    let Probe {
        process,
        tcp,
        http,
        exec,
        interval,
        timeout,
        fail_for,
    } = raw;
    let mut checks = Vec::new();
    if process {
        checks.push(Check::Process);
    }
    checks.extend(tcp.map(|address| Check::Tcp { address }));
    checks.extend(http.map(|url| Check::Http { url }));
    checks.extend(exec.map(|command| Check::Exec { command }));
    let check = match (checks.pop(), checks.is_empty()) {
        (Some(check), true) => check,
        _ => {
            return Err(place.error(
                &key,
                "a probe asks one question: write exactly one of http = \"http://host:port/path\", \
                 tcp = \"host:port\", exec = [\"/path/program\"], process = true",
            ));
        }
    };
    match &check {
        Check::Exec { command } => program(command, &key, place)?,
        Check::Http { url } if !url.starts_with("http://") => {
            return Err(place.error(&key, format!("{url:?} does not begin with http://")));
        }
        Check::Process | Check::Tcp { .. } | Check::Http { .. } => {}
    }
    let interval = interval.unwrap_or(PROBE_INTERVAL);
    let timeout = timeout.unwrap_or(PROBE_TIMEOUT.min(interval));
    if timeout == Millis::ZERO || timeout > interval {
        return Err(place.error(
            &key,
            format!("a timeout of {timeout} does not fit between two probes, {interval} apart"),
        ));
    }
    Ok(ProbeSpec {
        check,
        interval,
        timeout,
        fail_for: fail_for.unwrap_or(PROBE_FAIL_FOR),
    })
}
