//! Bad input of every kind: a clear message with place and remedy, the right exit code, and nothing
//! harmed.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nodemedic_protocol::topic::{Kind, Topic};
use nodemedic_protocol::{NodeId, SiteId};
use nodemedic_system_tests::config::sample_works;
use nodemedic_system_tests::fleet::{Fleet, Plan, free_port};
use nodemedic_system_tests::process::Process;
use nodemedic_system_tests::wait::{stays, wait_for};
use nodemedic_system_tests::{binary, mqtt};

const BOUND: Duration = Duration::from_secs(15);

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("scratch file");
}

/// Runs a daemon on a configuration until it ends by itself; its exit code and words.
fn refused(program: &str, text: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let config = dir.path().join("x.toml");
    write(&config, text);
    let mut command = Command::new(binary(program));
    command.arg("--config").arg(&config);
    let mut process = Process::start(program, command, &dir.path().join("log"));
    let code = process.exit_code(BOUND);
    (code, process.output())
}

#[test]
fn an_unknown_key_names_file_line_key_and_the_nearest_one() {
    let (code, said) = refused(
        "nodemedic-agent",
        "site = \"x\"\n[sampling]\nintervall = \"1s\"\n",
    );
    assert_eq!(code, Some(78), "{said}");
    for part in ["x.toml:3", "intervall", "\"interval\""] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    let (code, said) = refused("nodemedic-coordinator", "[lease]\ntem = \"3s\"\n");
    assert_eq!(code, Some(78), "{said}");
    for part in ["x.toml:2", "tem", "\"term\""] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

#[test]
fn exclusive_work_without_a_choice_of_price_is_refused_with_the_choice_explained() {
    let (code, said) = refused(
        "nodemedic-coordinator",
        "[work.db]\nexclusive = {}\ncommand = [\"/usr/bin/db\"]\n",
    );
    assert_eq!(code, Some(78), "{said}");
    for part in ["on_lease_loss", "stop", "keep"] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

#[test]
fn a_port_in_use_is_said_with_the_key_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its number").port();
    let dir = tempfile::tempdir().expect("a folder");
    let (code, said) = refused(
        "nodemedic-coordinator",
        &format!(
            "[api]\nlisten = \"127.0.0.1:{port}\"\n[broker]\nlisten = \"127.0.0.1:{}\"\n\
             [state]\ndirectory = \"{}\"\n",
            free_port(),
            dir.path().display()
        ),
    );
    assert_eq!(code, Some(1), "{said}");
    for part in [&port.to_string(), "in use", "listen"] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_said_with_the_remedy() {
    // A file where a folder should be refuses root too.
    let dir = tempfile::tempdir().expect("a folder");
    let blocked = dir.path().join("file");
    write(&blocked, "");
    let (code, said) = refused(
        "nodemedic-agent",
        &format!(
            "[paths]\nstate = \"{0}/state\"\nrun = \"{0}/run\"\n",
            blocked.display()
        ),
    );
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&blocked.display().to_string()), "{said}");
}

#[test]
fn a_broken_reload_keeps_the_old_configuration_and_reports_itself() {
    let fleet = Fleet::start(&Plan {
        nodes: 1,
        coordinator_toml: sample_works(),
        ..Plan::default()
    });
    wait_for("ledger answers", BOUND, || fleet.ask("node-1", "ledger"));
    let config = fleet.node_dir("node-1").join("agent.toml");
    let good = fs::read_to_string(&config).expect("its configuration");
    write(&config, &format!("{good}\nnonsense = 1\n"));
    fleet.agent("node-1").signal(Signal::SIGHUP);
    wait_for("the refusal is in the journal", BOUND, || {
        let journal = format!("{:?}", fleet.journal()?);
        if journal.contains("ConfigRefused") {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    });
    stays(
        "the old configuration works on",
        Duration::from_secs(2),
        || fleet.ask("node-1", "ledger").map(|_| ()),
    );
    write(&config, &good);
    fleet.agent("node-1").signal(Signal::SIGHUP);
    wait_for("the repaired configuration is taken", BOUND, || {
        let journal = format!("{:?}", fleet.journal()?);
        if journal.contains("ConfigReloaded") {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    });
}

#[test]
fn malformed_and_foreign_messages_are_dropped_and_logged_once() {
    let fleet = Fleet::start(&Plan {
        nodes: 1,
        ..Plan::default()
    });
    let site = SiteId::new("test").expect("a name");
    let stranger = NodeId::new("stranger").expect("a name");
    let topic = Topic::Node(stranger, Kind::Heartbeat).to_text(&site);
    let fate = mqtt::publish_as(
        "stranger",
        fleet.broker_port,
        &topic,
        b"{\"v\":1,\"m\":",
        50,
    );
    assert_eq!(fate, mqtt::Fate::Taken, "the broker does not look inside");
    wait_for("the drop is logged", BOUND, || {
        let log = fs::read_to_string(fleet.dir().join("coordinator.log")).unwrap_or_default();
        match log
            .lines()
            .filter(|l| l.contains("dropped a message on"))
            .count()
        {
            0 => Err("nothing in the log".to_owned()),
            1 => Ok(()),
            more => panic!("logged {more} times:\n{log}"),
        }
    });
    fleet.wait_all_alive();
}
