//! The hands for people on a booted systemd: what is written down before a fence, faults on purpose
//! in a real cgroup, and the doctor's word.

use std::time::Duration;

use nodemedic_system_tests::binary;
use nodemedic_system_tests::nspawn::Host;
use nodemedic_system_tests::wait::wait_for;

const BOUND: Duration = Duration::from_secs(60);

/// An agent with a unit that always fails and one that lives.
fn start() -> Host {
    let host = Host::boot();
    for name in ["nodemedic-agent", "nodemedic-watchdog", "nodemedic"] {
        host.copy_in(&binary(name), &format!("/usr/sbin/{name}"));
    }
    host.write(
        "/etc/systemd/system/broken.service",
        "[Service]\nEnvironment=TOKEN=hunter2\nRestart=no\n\
         ExecStart=/bin/sh -c 'echo out of cheese; exit 3' password=hunter2\n",
    );
    host.write(
        "/etc/systemd/system/lives.service",
        "[Service]\nExecStart=/bin/sh -c 'sleep infinity & wait'\n",
    );
    let restart = "restart = { max = 1, window = \"10m\", backoff = \"10ms\" }";
    host.write(
        "/etc/nodemedic/agent.toml",
        &format!(
            "node = \"node-1\"\n[inject]\nallow = true\n\
             [service.broken]\nunit = \"broken.service\"\n{restart}\n\
             [service.lives]\nunit = \"lives.service\"\n"
        ),
    );
    host.run(&["systemctl", "daemon-reload"]);
    // What nobody ever started the agent leaves alone.
    host.run(&["systemctl", "start", "lives.service", "broken.service"]);
    host.run(&[
        "systemd-run",
        "--unit=our-agent",
        "-p",
        "KillMode=process",
        "/usr/sbin/nodemedic-agent",
        "--config",
        "/etc/nodemedic/agent.toml",
    ]);
    host
}

/// State letters of every process of the unit.
fn states(host: &Host) -> Vec<String> {
    let group = "/sys/fs/cgroup/system.slice/lives.service/cgroup.procs";
    let pids = host.run(&["cat", group]);
    let state = |pid: &str| {
        let stat = host.try_run(&["cat", &format!("/proc/{pid}/stat")]).output;
        let rest = stat.rsplit(") ").next().unwrap_or_default().to_owned();
        rest.chars().take(1).collect()
    };
    pids.split_whitespace().map(state).collect()
}

fn until_states(host: &Host, what: &str, is: impl Fn(&[String]) -> bool) {
    wait_for(what, BOUND, || {
        let states = states(host);
        if states.len() == 2 && is(&states) {
            Ok(())
        } else {
            Err(format!("{states:?}"))
        }
    });
}

fn written_down_before_the_fence(host: &Host) {
    let report = wait_for("a bundle is there", BOUND, || {
        let ran = host.try_run(&["nodemedic", "diagnose", "broken"]);
        if ran.status.success() {
            return Ok(ran.output);
        }
        let words = ["journalctl", "--no-pager", "-n", "40", "-u", "our-agent"];
        Err(format!("{}\n{}", ran.output, host.try_run(&words).output))
    });
    let report = report.0;
    for wanted in [
        "before: fence",
        "Result=exit-code",
        "ExecMainStatus=3",
        "out of cheese",
        "no process of it is left",
    ] {
        assert!(report.contains(wanted), "{wanted}\n{report}");
    }
    assert!(!report.contains("hunter2"), "{report}");
    let list = host.run(&["nodemedic", "diagnose", "--list"]);
    assert!(list.contains("service.broken-1"), "{list}");
}

fn hangs_and_goes_on(host: &Host) {
    let words = ["nodemedic", "inject", "hang", "lives", "--for", "1h"];
    wait_for("it is seen to run", BOUND, || {
        let ran = host.try_run(&words);
        match ran.status.success() {
            true => Ok(()),
            false => Err(ran.output),
        }
    });
    until_states(host, "all of it stands still", |states| {
        states.iter().all(|state| state == "T")
    });
    let main = ["systemctl", "show", "-P", "MainPID", "lives.service"];
    let before = host.run(&main);
    host.run(&["systemctl", "kill", "--signal=KILL", "our-agent"]);
    wait_for("the agent is gone", BOUND, || {
        let state = host
            .try_run(&["systemctl", "is-active", "our-agent"])
            .output;
        match state.trim() {
            "active" => Err(state),
            _ => Ok(()),
        }
    });
    host.run(&[
        "systemd-run",
        "--unit=our-agent-again",
        "/usr/sbin/nodemedic-agent",
        "--config",
        "/etc/nodemedic/agent.toml",
    ]);
    until_states(host, "it goes on", |states| {
        states.iter().all(|state| state != "T")
    });
    assert_eq!(host.run(&main), before, "it was not restarted for it");
}

fn the_doctor_says_what_is_missing(host: &Host) {
    wait_for("the agent answers", BOUND, || {
        let ran = host.try_run(&["nodemedic", "top", "--once"]);
        match ran.status.success() {
            true => Ok(()),
            false => Err(ran.output),
        }
    });
    let ran = host.try_run(&["nodemedic", "doctor"]);
    assert_eq!(ran.status.code(), Some(2), "{}", ran.output);
    for wanted in [
        "ok       running: nodemedic-agent",
        "ok       valid: /etc/nodemedic/agent.toml",
        "ok       manager: systemd 2",
        "missing  nodemedic-agent.service: is not installed",
        "ok       cgroup.kill: there",
        "missing  daemon: nodemedic-watchdog does not listen",
        "ok       agent's user: root",
    ] {
        assert!(ran.output.contains(wanted), "{wanted}\n{}", ran.output);
    }
}

#[test]
fn people_see_what_was_and_break_what_they_may_on_a_booted_systemd() {
    let host = start();
    written_down_before_the_fence(&host);
    hangs_and_goes_on(&host);
    the_doctor_says_what_is_missing(&host);
}
