//! What becomes of what people write. The exact words of mistakes in works are
//! fixtures of the coordinator, in tests/fixtures/config/coordinator; those of probes are here.

use super::*;
use crate::config::load;
use crate::files::write_atomic;
use nodemedic_protocol::work::{Limits, ProbeSpec};
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
    let probe = &scheduler.probes[0];
    assert!(matches!(&probe.check, Check::Exec { command } if command.len() == 2));
    assert_eq!(probe.fail_for, Millis::from_secs(30));
    assert_eq!(web.sharing, Sharing::Replicated { replicas: 2 });
    assert_eq!(web.probes[0].interval, Millis::from_secs(5));
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
        interval: probe::INTERVAL,
        timeout: probe::TIMEOUT,
        fail_for: probe::FAIL_FOR,
        within: None,
    };
    assert_eq!(work.probes, [probe]);
}

const EVERY_PROBE: &str = r#"
replicas = 1
unit = "shop@.service"
[[work.a.probes]]
http = "https://shop.example/health"
ca = "/etc/ssl/own-ca.pem"
address = "127.0.0.1:443"
fail_for = "15s"
within = "1m"
[[work.a.probes]]
unix = "@shop"
send = "PING\n"
expect = "PONG"
fail_for = "0s"
[[work.a.probes]]
watchdog = "30s"
[[work.a.probes]]
log = "5m"
[[work.a.probes]]
log = "2s"
file = "{vars.heartbeat}"
[[work.a.probes]]
[work.a.probes.limits]
rss = "2GiB"
fds = 1000
fds_percent = 90
cpu_spin = "30s"
cpu_percent = 150
d_state = "1m"
"#;

#[test]
fn every_kind_of_probe_reaches_its_place() {
    let work = work(EVERY_PROBE).unwrap();
    let [tls, unix, watchdog, journal, file, limits] = work.probes.as_slice() else {
        panic!("{:?}", work.probes);
    };
    let text = |text: &str| Some(text.to_owned());
    let check = Check::Http {
        url: "https://shop.example/health".to_owned(),
        ca: text("/etc/ssl/own-ca.pem"),
        address: text("127.0.0.1:443"),
    };
    assert_eq!(tls.check, check);
    let window = (Millis::from_secs(15), Some(Millis::from_secs(60)));
    assert_eq!((tls.fail_for, tls.within), window);
    let check = Check::Unix {
        path: "@shop".to_owned(),
        send: text("PING\n"),
        expect: text("PONG"),
    };
    assert_eq!((&unix.check, unix.fail_for), (&check, Millis::ZERO));
    let max_age = Millis::from_secs(30);
    assert_eq!(watchdog.check, Check::Watchdog { max_age });
    // An age and a silence are windows themselves, and are looked at as often as they are long.
    assert_eq!(
        (watchdog.fail_for, watchdog.interval),
        (Millis::ZERO, probe::INTERVAL)
    );
    let max_age = Millis::from_secs(300);
    assert_eq!(
        journal.check,
        Check::Log {
            max_age,
            file: None
        }
    );
    assert_eq!(
        (journal.fail_for, journal.interval),
        (Millis::ZERO, Millis::from_secs(30))
    );
    let max_age = Millis::from_secs(2);
    let check = Check::Log {
        max_age,
        file: text("{vars.heartbeat}"),
    };
    assert_eq!((&file.check, file.interval), (&check, Millis::from_secs(1)));
    let check = Check::Limits(Limits {
        rss_bytes: Some(2 << 30),
        fds: Some(1000),
        fds_percent: Some(90),
        cpu_spin: Some(Millis::from_secs(30)),
        cpu_percent: Some(150),
        d_state: Some(Millis::from_secs(60)),
    });
    assert_eq!(limits.check, check);
}

/// What somebody writes in a probe, and what is said to that.
const MISTAKES: [(&str, &str); 24] = [
    (
        r#"within = "1m""#,
        "probe: asks not exactly one thing: set one of http, tcp, unix, exec, \
         process, watchdog, log, limits",
    ),
    (
        r#"http = "ftp://h/""#,
        "probe.http: must begin with http:// or https://",
    ),
    (
        r#"tcp = "h:1", ca = "/x""#,
        r#"probe.ca: belongs to http = "https://...", which is not asked here"#,
    ),
    (
        r#"http = "http://h/", ca = "/x""#,
        r#"probe.ca: belongs to http = "https://...", which is not asked here"#,
    ),
    (
        r#"tcp = "h:1", send = "x""#,
        "probe.send: belongs to unix, which is not asked here",
    ),
    (
        r#"tcp = "h:1", file = "/x""#,
        "probe.file: belongs to log, which is not asked here",
    ),
    (
        r#"http = "http://h/", address = "h""#,
        r#"probe.address: has no port: write "host:port""#,
    ),
    (
        r#"tcp = "h:1", interval = "99ms""#,
        "probe.interval: is below 100ms, which is a load and no probe",
    ),
    (
        r#"tcp = "h:1", timeout = "0s""#,
        "probe.timeout: is zero: nothing answers in no time",
    ),
    (
        r#"tcp = "h:1", within = "15s""#,
        "probe.within: is not above fail_for, 15.0s: nothing fails for longer than it lasts",
    ),
    (
        r#"tcp = "h:1", fail_for = "0s", within = "15s""#,
        r#"probe.within: has no use beside fail_for = "0s", by which the first failure is enough"#,
    ),
    (
        r#"tcp = "h:1", within = "2h""#,
        "probe.within: is above 1h00m",
    ),
    (
        r#"tcp = "h:1", interval = "100ms", within = "1h""#,
        "probe.within: holds 36000 answers at this interval; 1000 at most are \
         remembered, raise interval",
    ),
    ("exec = []", "probe.exec: is empty: name a program first"),
    (
        r#"unix = "s""#,
        r#"probe.unix: "s" is no whole path: write "/...", or "@name" of an abstract socket"#,
    ),
    (
        r#"unix = "/s", expect = """#,
        "probe.expect: is 0 bytes long; 1 to 4096 make sense",
    ),
    (
        r#"watchdog = "0s""#,
        "probe.watchdog: is zero: whatever is well would fail",
    ),
    (
        r#"log = "1m", file = "x""#,
        r#"probe.file: "x" is no whole path: write "/...""#,
    ),
    (
        "limits = {}",
        "probe.limits: limits nothing: set rss, fds, fds_percent, cpu_spin or d_state",
    ),
    (
        r#"limits = { rss = "0B" }"#,
        "probe.limits.rss: is zero: whatever runs has more",
    ),
    (
        "limits = { rss = 5 }",
        "probe.limits.rss: 5 is not a size: write 512MiB, 2GiB",
    ),
    (
        "limits = { fds_percent = 101 }",
        "probe.limits.fds_percent: must be from 1 to 100",
    ),
    (
        "limits = { cpu_percent = 90 }",
        "probe.limits.cpu_percent: has no use without cpu_spin, for how long",
    ),
    (
        r#"limits = { cpu_spin = "1s" }"#,
        "probe.limits.cpu_spin: is below the interval, 5.0s: it could not be seen",
    ),
];

#[test]
fn every_mistake_in_a_probe_says_where_and_what_to_write() {
    for (probe, said) in MISTAKES {
        let lines = format!("replicas = 1\nunit = \"x@.service\"\nprobe = {{ {probe} }}");
        let error = work(&lines).unwrap_err();
        let rest = error.split_once(": work.a.").map(|(place, rest)| {
            assert!(place.starts_with("works.toml:4:"), "{error}");
            rest
        });
        assert_eq!(rest, Some(said), "{probe}");
    }
}

#[test]
fn a_mistake_in_a_list_of_probes_has_its_number_and_its_line() {
    let run = "replicas = 1\nunit = \"x@.service\"";
    let first = "{ tcp = \"h:1\" }";
    let error = work(&format!("{run}\nprobes = [\n{first},\n{{ tcp = \"h\" }}]")).unwrap_err();
    assert_eq!(
        error,
        "works.toml:6:3: work.a.probes.2.tcp: has no port: write \"host:port\""
    );
    let error = work(&format!("{run}\nprobe = {first}\nprobes = [{first}]")).unwrap_err();
    assert!(
        error.contains("probe: is beside probes: write all of them"),
        "{error}"
    );
    let many = vec![first; 17].join(", ");
    let error = work(&format!("{run}\nprobes = [{many}]")).unwrap_err();
    assert!(
        error.ends_with("probes: are 17; at most 16 are asked"),
        "{error}"
    );
    let error = work("replicas = 1\ncommand = [\"/x\"]\nprobe = { watchdog = \"30s\" }");
    let error = error.unwrap_err();
    assert!(
        error.contains("probe: asks for WATCHDOG=1, which a command"),
        "{error}"
    );
    let error = work(&format!("{run}\nprobe = {{ exec = [\"x\"] }}")).unwrap_err();
    assert!(
        error.contains("probe: \"x\" is not an absolute path"),
        "{error}"
    );
}

/// Any key of a probe.
const KEY: &str = "(http|tcp|unix|exec|process|watchdog|log|limits|file|within|send|ca|address\
                   |expect|interval|timeout|fail_for)";

/// Values of every type, some of which make sense.
const VALUE: &str = "(\"[a-z:/ ]{0,8}\"|\"[0-9]{1,9}(ms|s|m|h|d)\"|[0-9]{1,5}|true|\\[\\]|\\{\\}\
                     |\"/x\"|\"h:1\"|\"http://h/\")";

proptest::proptest! {
    /// Whatever stands in a probe, it is read or refused with its place; nothing panics.
    #[test]
    fn any_probe_is_read_or_refused(key in KEY, other in KEY, value in VALUE, more in VALUE) {
        let probe = format!("{{ {key} = {value}, {other} = {more} }}");
        let lines = format!("replicas = 1\nunit = \"x@.service\"\nprobe = {probe}");
        if let Err(error) = work(&lines) {
            proptest::prop_assert!(error.starts_with("works.toml:"), "{}", error);
        }
    }
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
