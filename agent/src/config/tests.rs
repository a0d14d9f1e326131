//! Every mistake has a fixture and its exact message: what a person reads must lead to the remedy.

use std::path::PathBuf;

use nodemedic_agent_core::config::{RestartPolicy, Retry, WhenSpent};
use nodemedic_protocol::Severity;
use nodemedic_protocol::healing::Mode;
use nodemedic_protocol::sample::PerMille;
use nodemedic_protocol::work::{Check, Run};

use super::*;

fn fixtures() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/config/agent"
    ))
}

#[test]
fn every_mistake_is_told_with_its_place_and_remedy() {
    let mut mistakes: Vec<PathBuf> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("bad-") && name.ends_with(".toml")
        })
        .collect();
    mistakes.sort();
    assert!(mistakes.len() > 30, "{mistakes:?}");
    for file in mistakes {
        let error = load(&file).unwrap_err().to_string();
        let dir = format!("{}/", fixtures().display());
        let expected = std::fs::read_to_string(file.with_extension("txt")).unwrap_or_default();
        assert_eq!(error.replace(&dir, ""), expected.trim_end(), "{file:?}");
    }
}

#[test]
fn a_full_configuration_is_read_as_it_is_meant() {
    let settings = load(&fixtures().join("good-full.toml")).unwrap();
    let core = &settings.core;
    assert_eq!(
        (core.node.as_str(), settings.site.as_str()),
        ("node-1", "home")
    );
    assert_eq!(core.zone.as_deref(), Some("rack-7"));
    let broker = settings.broker.as_ref().unwrap();
    assert_eq!((&*broker.host, broker.port), ("coordinator.example", 8884));
    assert!(broker.tls.as_ref().unwrap().own.is_some());
    assert_eq!(core.heartbeat_every, Millis::from_secs(3));
    assert_eq!(core.work_restart.max, 3);
    assert_eq!(core.work_restart.window, RestartPolicy::default().window);
    let mut services = core.services.values();
    let (web, worker) = (services.next().unwrap(), services.next().unwrap());
    let [probe] = web.probes.as_slice() else {
        panic!("{:?}", web.probes);
    };
    let url = "http://127.0.0.1:8080/".to_owned();
    let (ca, address) = (None, None);
    assert_eq!(probe.check, Check::Http { url, ca, address });
    assert_eq!(core.healing.boot_grace, Millis::from_secs(120));
    assert_eq!((web.restart.max, web.when_spent), (4, WhenSpent::Fence));
    let hooks = web.hooks.as_ref().unwrap();
    assert_eq!(hooks.before[1], "8080");
    assert_eq!(
        (hooks.after.len(), hooks.timeout),
        (1, Millis::from_secs(60))
    );
    assert_eq!((web.ladder.restarts, web.ladder.with_hook), (1, 2));
    assert_eq!(
        (web.mode, web.group.as_deref()),
        (Mode::Advise, Some("front"))
    );
    assert_eq!((worker.mode, &worker.hooks), (Mode::Act, &None));
    let retry = Retry {
        after: Millis::from_secs(6 * 3600),
        times: 2,
    };
    assert_eq!((core.healing.at_once, core.healing.retry), (5, Some(retry)));
    assert!(!core.healing.respect_package_manager);
    let Run::Command {
        start, environment, ..
    } = &worker.run
    else {
        panic!("{:?}", worker.run);
    };
    assert_eq!(start[2], "node-1");
    assert_eq!(environment["PORT"], "8080");
    assert_eq!(core.rules.space_warning, Some(PerMille(200)));
    assert_eq!(core.rules.filesystem_windows.bad_for, Millis::from_secs(60));
    assert!(!core.rules.link_down);
    assert_eq!(settings.plugins.len(), 1);
    assert_eq!(
        settings.watchdog,
        PathBuf::from("/run/nodemedic/watchdog.sock")
    );
    assert_eq!(settings.fenced, PathBuf::from("/var/lib/nodemedic/helper"));
    // As root reads it for the packaged helper, but that root itself may act on any work's unit.
    let of_root = nodemedic_helper::Allow::from_config(&fixtures().join("good-full.toml"));
    let of_root = of_root.unwrap();
    assert_eq!(settings.allow.services, of_root.services);
    assert_eq!(settings.allow.remedies, of_root.remedies);
    assert_eq!(of_root.services["nginx.service"].len(), 2);
    assert!(of_root.unit("orders@db.service").is_ok());
}

#[test]
fn several_probes_are_read_as_they_are_meant() {
    let settings = load(&fixtures().join("good-full.toml")).unwrap();
    let worker = settings.core.services.values().nth(1).unwrap();
    let words: Vec<_> = worker.probes.iter().map(|p| p.check.word()).collect();
    assert_eq!(words, ["process", "unix", "log", "limits"]);
    let log = &worker.probes[2];
    assert_eq!(log.within, Some(Millis::from_secs(600)));
}

#[test]
fn remedies_are_read_as_they_are_meant() {
    let settings = load(&fixtures().join("good-full.toml")).unwrap();
    let remedy = |name: &str| {
        let name = RemedyName::new(name).unwrap();
        (&settings.core.remedies[&name], &settings.deeds[&name])
    };
    let (logs, deed) = remedy("old-logs");
    assert_eq!((logs.step, logs.max, logs.mode), (2, 4, Mode::Advise));
    assert_eq!(logs.after, Millis::from_secs(30));
    assert_eq!(logs.settle, Millis::from_secs(180));
    assert_eq!(logs.window, Millis::from_secs(7200));
    assert_eq!(logs.timeout, Millis::from_secs(20));
    assert_eq!(logs.when[0].severity, Severity::Warning);
    assert_eq!(logs.does, "remove files *.gz older than 7d in /var/log/app");
    assert_eq!(deed.to_string(), logs.does);
    let (net, deed) = remedy("net");
    assert_eq!((net.step, net.max, net.mode), (1, 3, Mode::Act));
    assert_eq!(net.when[0].severity, Severity::Critical);
    assert!(matches!(deed, Deed::Bounce(bounce) if bounce.carrying_broker));
    let (reboot, deed) = remedy("reboot");
    assert_eq!((reboot.step, reboot.max), (100, 2));
    assert_eq!(reboot.window, Millis::from_secs(24 * 3600));
    let policy = reboot.reboot.unwrap();
    assert_eq!(policy.cut_off_after, Some(Millis::from_secs(3600)));
    assert_eq!(policy.stay_out, Millis::from_secs(900));
    assert_eq!(deed, &Deed::Reboot);
    assert_eq!(settings.core.remedies.len(), 6);
}

#[test]
fn an_empty_file_is_a_working_configuration_of_this_host() {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("agent.toml");
    nodemedic_edge::files::write_atomic(&main, b"node = \"x\"\n", 0o600).unwrap();
    let settings = load(&main).unwrap();
    assert!(settings.broker.is_none());
    assert_eq!(settings.state, PathBuf::from("/var/lib/nodemedic"));
    let watchdog = PathBuf::from("/run/nodemedic-watchdog/watchdog.sock");
    assert_eq!(settings.watchdog, watchdog);
    let more = dir.path().join("agent.d");
    std::fs::create_dir(&more).unwrap();
    let file = more.join("web.toml");
    let service = b"[service.web]\nunit = \"nginx.service\"\n";
    nodemedic_edge::files::write_atomic(&file, service, 0o600).unwrap();
    assert_eq!(load(&main).unwrap().core.services.len(), 1);
}
