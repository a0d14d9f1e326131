//! A file of works as people write them, `[work.NAME]` as in the coordinator's configuration, or as
//! JSON as the API takes it. What a coordinator would refuse for its meaning, the coordinator says;
//! here only the form is checked.

use std::collections::BTreeMap;
use std::path::Path;

use nodemedic_edge::config::{self, span_opt};
use nodemedic_edge::files;
use nodemedic_protocol::api::PutWork;
use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::work::{Check, OnLeaseLoss, ProbeSpec, Run, Sharing, WorkSpec};
use nodemedic_protocol::{Millis, WorkName};
use serde::Deserialize;

use crate::failure::Failure;

/// The coordinator takes no larger request either.
const FILE_MAX_BYTES: usize = 1 << 20;

/// Defaults as in the coordinator's configuration, which gives the reasons.
const PROBE_INTERVAL: Millis = Millis::from_secs(5);
const PROBE_TIMEOUT: Millis = Millis::from_secs(2);
const PROBE_FAIL_FOR: Millis = Millis::from_secs(15);
const START_GRACE: Millis = Millis::from_secs(30);
const STOP_GRACE: Millis = Millis::from_secs(10);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    work: BTreeMap<String, Work>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Work {
    exclusive: Option<Exclusive>,
    replicas: Option<u16>,
    unit: Option<String>,
    command: Option<Vec<String>>,
    stop_command: Option<Vec<String>>,
    environment: BTreeMap<String, String>,
    probe: Option<Probe>,
    priority: i32,
    needs: Needs,
    labels: BTreeMap<String, String>,
    #[serde(with = "span_opt")]
    start_grace: Option<Millis>,
    #[serde(with = "span_opt")]
    stop_grace: Option<Millis>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exclusive {
    on_lease_loss: OnLeaseLoss,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Needs {
    cpu_milli: u64,
    memory_mib: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Probe {
    process: bool,
    tcp: Option<String>,
    http: Option<String>,
    exec: Option<Vec<String>>,
    #[serde(with = "span_opt")]
    interval: Option<Millis>,
    #[serde(with = "span_opt")]
    timeout: Option<Millis>,
    #[serde(with = "span_opt")]
    fail_for: Option<Millis>,
}

/// The works of a file.
pub fn read(path: &Path) -> Result<PutWork, Failure> {
    if !path.is_file() {
        return Err(Failure::usage(
            format!("there is no file {}", path.display()),
            "",
        ));
    }
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        return read_json(path);
    }
    let file: File =
        config::load(path, None).map_err(|error| Failure::usage(error.to_string(), ""))?;
    let works = file
        .work
        .into_iter()
        .map(|(name, work)| {
            spec(&name, work).map_err(|wrong| {
                let error = config::complain(path, None, &["work", &name], &wrong);
                Failure::usage(error.to_string(), "")
            })
        })
        .collect::<Result<Vec<WorkSpec>, Failure>>()?;
    Ok(PutWork { works })
}

fn read_json(path: &Path) -> Result<PutWork, Failure> {
    let bytes = files::read_capped(path, FILE_MAX_BYTES)?.unwrap_or_default();
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::usage(
            format!("{} is not what the API takes: {error}", path.display()),
            "`nodemedic work --json` shows the shape of each \"spec\"; or write TOML",
        )
    })
}

fn spec(name: &str, work: Work) -> Result<WorkSpec, String> {
    let sharing = match (work.exclusive, work.replicas) {
        (Some(Exclusive { on_lease_loss }), None) => Sharing::Exclusive { on_lease_loss },
        (None, Some(replicas)) => Sharing::Replicated { replicas },
        _ => {
            return Err(
                "say either replicas = N, or exclusive = { on_lease_loss = \"stop\" } \
                        (stopped when the coordinator is away for longer than the lease, then \
                        started elsewhere) or \"keep\" (never stopped for that, never moved \
                        without proof)"
                    .to_owned(),
            );
        }
    };
    let run = match (work.unit, work.command) {
        (Some(unit), None) => Run::Systemd { unit },
        (None, Some(start)) => Run::Command {
            start,
            stop: work.stop_command.unwrap_or_default(),
            environment: work.environment,
        },
        _ => {
            return Err(
                "say either unit = \"NAME@.service\" or command = [\"/path/program\", \
                        \"argument\"]"
                    .to_owned(),
            );
        }
    };
    Ok(WorkSpec {
        name: WorkName::new(name).map_err(|error| error.to_string())?,
        sharing,
        run,
        probe: work.probe.map(probe).transpose()?,
        priority: work.priority,
        needs: Capacity {
            cpu_milli: work.needs.cpu_milli,
            memory_bytes: work.needs.memory_mib.saturating_mul(1 << 20),
        },
        node_labels: work.labels,
        start_grace: work.start_grace.unwrap_or(START_GRACE),
        stop_grace: work.stop_grace.unwrap_or(STOP_GRACE),
    })
}

fn probe(probe: Probe) -> Result<ProbeSpec, String> {
    let check = match (probe.process, probe.tcp, probe.http, probe.exec) {
        (true, None, None, None) => Check::Process,
        (false, Some(address), None, None) => Check::Tcp { address },
        (false, None, Some(url), None) => Check::Http { url },
        (false, None, None, Some(command)) => Check::Exec { command },
        _ => {
            return Err(
                "a probe asks one question: say exactly one of http, tcp, exec, \
                        process = true"
                    .to_owned(),
            );
        }
    };
    let interval = probe.interval.unwrap_or(PROBE_INTERVAL);
    Ok(ProbeSpec {
        check,
        interval,
        timeout: probe.timeout.unwrap_or(PROBE_TIMEOUT.min(interval)),
        fail_for: probe.fail_for.unwrap_or(PROBE_FAIL_FOR),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    fn read_text(name: &str, text: &str) -> Result<PutWork, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        files::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
        read(&path)
    }

    #[test]
    fn works_are_read_as_people_write_them() {
        let put = read_text(
            "works.toml",
            r#"
[work.ledger]
exclusive = { on_lease_loss = "stop" }
command = ["/usr/bin/ledger"]
probe = { http = "http://127.0.0.1:{vars.port}/", interval = "1s" }
needs = { cpu_milli = 500, memory_mib = 64 }
stop_grace = "3s"

[work.web]
replicas = 2
unit = "web@.service"
"#,
        )
        .unwrap();
        assert_eq!(put.works.len(), 2);
        let ledger = &put.works[0];
        assert_eq!(
            ledger.sharing,
            Sharing::Exclusive {
                on_lease_loss: OnLeaseLoss::Stop
            }
        );
        assert_eq!(ledger.needs.memory_bytes, 64 << 20);
        assert_eq!(ledger.probe.as_ref().unwrap().timeout, Millis::from_secs(1));
        assert_eq!(
            put.works[1].run,
            Run::Systemd {
                unit: "web@.service".into()
            }
        );
    }

    #[test]
    fn what_the_api_shows_can_be_applied_again() {
        let toml = "[work.web]\nreplicas = 2\nunit = \"web@.service\"\n";
        let put = read_text("works.toml", toml).unwrap();
        let again = read_text("works.json", &serde_json::to_string(&put).unwrap()).unwrap();
        assert_eq!(put, again);
    }

    #[test]
    fn mistakes_are_usage_errors_that_say_what_to_write() {
        for (text, said) in [
            ("[work.a]\ncommand = [\"/x\"]\n", "replicas = N"),
            ("[work.a]\nreplicas = 1\n", "unit ="),
            (
                "[work.a]\nreplicas = 1\ncommand = [\"/x\"]\nprobe = {}\n",
                "exactly one of",
            ),
            ("[work.a]\nreplicsa = 1\ncommand = [\"/x\"]\n", "replicas"),
        ] {
            let failure = read_text("works.toml", text).unwrap_err();
            assert_eq!(failure.kind, Kind::Usage);
            assert!(failure.message.contains(said), "{failure}");
        }
        assert_eq!(
            read(Path::new("/nonexistent.toml")).unwrap_err().kind,
            Kind::Usage
        );
    }
}
