//! What becomes of what people write. The exact words of every mistake are fixtures of the
//! coordinator, in tests/fixtures/config/coordinator.

use super::*;
use crate::config::load;
use crate::files::write_atomic;
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    work: BTreeMap<String, Work>,
}

/// The works of a file with this text; an error without the directory of the file.
fn read(text: &str) -> Result<Vec<WorkSpec>, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("works.toml");
    write_atomic(&path, text.as_bytes(), 0o600).unwrap();
    let read = || -> Result<_, ConfigError> {
        let file: File = load(&path, None)?;
        let place = Place::new(&path, None);
        let works = file.work.into_iter();
        works
            .map(|(name, work)| check(&name, work, &place))
            .collect()
    };
    read().map_err(|error| {
        let directory = format!("{}/", dir.path().display());
        error.to_string().replace(&directory, "")
    })
}

/// One work with these lines in its table.
fn work(lines: &str) -> Result<WorkSpec, String> {
    let works = read(&format!("[work.a]\n{lines}\n"))?;
    let [work] = works.as_slice() else {
        panic!("{works:?}")
    };
    Ok(work.clone())
}

const EVERY_KEY: &str = r#"
[work.database]
exclusive = { on_lease_loss = "keep" }
unit = "database@.service"
priority = 10
needs = { cpu_milli = 2000, memory_mib = 4096 }
labels = { disk = "nvme" }
start_grace = "1m"
stop_grace = "20s"

[work.scheduler]
exclusive = { on_lease_loss = "stop" }
command = ["/usr/bin/scheduler", "--node", "{node}"]
stop_command = ["/usr/bin/scheduler", "--stop"]
environment = { LEVEL = "info" }

[work.scheduler.probe]
exec = ["/usr/bin/scheduler", "--ping"]
interval = "10s"
timeout = "3s"
fail_for = "30s"

[work.web]
replicas = 2
command = ["{vars.web}", "--port", "{vars.web_port}"]
probe = { http = "http://127.0.0.1:{vars.web_port}/" }
"#;

#[test]
fn every_key_of_a_work_reaches_its_place() {
    let works = read(EVERY_KEY).unwrap();
    let [database, scheduler, web] = works.as_slice() else {
        panic!("{works:?}")
    };
    assert_eq!(
        database.sharing,
        Sharing::Exclusive {
            on_lease_loss: OnLeaseLoss::Keep
        }
    );
    assert_eq!(
        database.run,
        Run::Systemd {
            unit: "database@.service".to_owned()
        }
    );
    assert_eq!((database.priority, database.needs.cpu_milli), (10, 2000));
    assert_eq!(database.needs.memory_bytes, 4 << 30);
    assert_eq!(database.node_labels["disk"], "nvme");
    assert_eq!(database.start_grace, Millis::from_secs(60));
    assert_eq!(database.stop_grace, Millis::from_secs(20));
    assert_eq!(
        scheduler.sharing,
        Sharing::Exclusive {
            on_lease_loss: OnLeaseLoss::Stop
        }
    );
    let Run::Command {
        start,
        stop,
        environment,
    } = &scheduler.run
    else {
        panic!()
    };
    assert_eq!(start.len(), 3);
    assert_eq!(stop.len(), 2);
    assert_eq!(environment["LEVEL"], "info");
    let probe = scheduler.probe.as_ref().unwrap();
    assert!(matches!(&probe.check, Check::Exec { command } if command.len() == 2));
    assert_eq!(probe.fail_for, Millis::from_secs(30));
    assert_eq!(web.sharing, Sharing::Replicated { replicas: 2 });
    assert_eq!(web.probe.as_ref().unwrap().interval, Millis::from_secs(5));
}

#[test]
fn what_is_not_said_has_a_default() {
    let work = work("replicas = 1\ncommand = [\"/x\"]\nprobe = { process = true }").unwrap();
    assert_eq!(
        (work.start_grace, work.stop_grace),
        (START_GRACE, STOP_GRACE)
    );
    assert_eq!((work.priority, work.needs), (0, Capacity::default()));
    assert!(work.node_labels.is_empty());
    let probe = ProbeSpec {
        check: Check::Process,
        interval: PROBE_INTERVAL,
        timeout: PROBE_TIMEOUT,
        fail_for: PROBE_FAIL_FOR,
    };
    assert_eq!(work.probe, Some(probe));
}

#[test]
fn a_timeout_that_nobody_chose_fits_between_two_probes() {
    let lines = "replicas = 1\ncommand = [\"/x\"]\n\
                 probe = { tcp = \"127.0.0.1:1\", interval = \"1s\" }";
    let probe = work(lines).unwrap().probe.unwrap();
    assert_eq!(probe.timeout, Millis::from_secs(1));
}

#[test]
fn exclusive_work_without_its_choice_is_told_both_and_what_they_cost() {
    for lines in [
        "exclusive = true",
        "exclusive = {}",
        "exclusive = { on_lease_loss = 1 }",
        "exclusive = { on_lease_loss = \"pause\" }",
    ] {
        let said = work(&format!("{lines}\ncommand = [\"/x\"]")).unwrap_err();
        assert!(
            said.starts_with("works.toml:2:1: work.a.exclusive: "),
            "{said}"
        );
        for choice in [
            "\"stop\" }  the node stops it",
            "\"keep\" }  it is never stopped",
        ] {
            assert!(said.contains(choice), "{said}");
        }
        assert_eq!(said.matches("; price: ").count(), 2, "{said}");
    }
}

#[test]
fn work_that_is_not_exclusive_after_all_says_how_many() {
    let work = work("exclusive = false\nreplicas = 3\ncommand = [\"/x\"]").unwrap();
    assert_eq!(work.sharing, Sharing::Replicated { replicas: 3 });
}
