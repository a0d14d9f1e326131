//! The packages on a freshly booted Debian: installed by dpkg, at work unedited, told of a real
//! unit, and removed without a trace.

use std::time::{Duration, Instant};

use nodemedic_system_tests::nspawn::Host;
use nodemedic_system_tests::packaged::{install, property, until_active};
use nodemedic_system_tests::wait::{stays, wait_for};

const BOUND: Duration = Duration::from_secs(30);

/// Everything in the host that bears our name, but for what dpkg, the journal and the group files
/// keep.
fn traces(host: &Host) -> Vec<String> {
    let found = host.run(&[
        "find",
        "/",
        "-xdev",
        "-name",
        "*nodemedic*",
        "-not",
        "-path",
        "/root/*",
        "-not",
        "-path",
        "/proc/*",
    ]);
    let run = host.run(&["find", "/run", "-name", "*nodemedic*"]);
    found
        .lines()
        .chain(run.lines())
        .map(str::to_owned)
        .collect()
}

fn tell_of_a_unit(host: &Host) {
    host.write(
        "/etc/systemd/system/sample.service",
        "[Service]\nExecStart=/bin/sleep infinity\nRestart=no\n",
    );
    host.run(&["systemctl", "daemon-reload"]);
    host.run(&["systemctl", "start", "sample.service"]);
    host.write(
        "/etc/nodemedic/agent.d/sample.toml",
        "[service.sample]\nunit = \"sample.service\"\n",
    );
    host.run(&["systemctl", "reload", "nodemedic-agent.service"]);
    wait_for("the agent watches the unit", BOUND, || {
        let status = host.run(&["nodemedic", "--json", "top", "--once"]);
        if status.contains("\"sample\"") {
            Ok(())
        } else {
            Err(status)
        }
    });
}

fn kill_and_see_it_run_again(host: &Host) {
    let old = property(host, "sample.service", "MainPID");
    let began = Instant::now();
    host.run(&["kill", "-KILL", &old]);
    wait_for("the killed unit runs again", BOUND, || {
        let pid = property(host, "sample.service", "MainPID");
        if pid != old && pid != "0" {
            Ok(())
        } else {
            Err(pid)
        }
    });
    println!(
        "killed unit running again after {:?} (looked at from outside)",
        began.elapsed()
    );
    assert_eq!(
        property(host, "sample.service", "NRestarts"),
        "0",
        "not by systemd"
    );
}

fn refuse_a_bad_configuration(host: &Host) {
    host.write(
        "/etc/nodemedic/agent.d/bad.toml",
        "[service.sample2]\nuint = \"x.service\"\n",
    );
    host.run(&["systemctl", "reload", "nodemedic-agent.service"]);
    wait_for("the bad configuration is reported", BOUND, || {
        let log = host.run(&["journalctl", "--no-pager", "-u", "nodemedic-agent.service"]);
        if log.contains("bad.toml") {
            Ok(())
        } else {
            Err(log)
        }
    });
    assert_eq!(
        property(host, "nodemedic-agent.service", "ActiveState"),
        "active"
    );
}

#[test]
fn the_agents_package_heals_a_unit_and_leaves_nothing_behind() {
    let host = Host::boot();
    let before = traces(&host);
    install(&host, &["nodemedic-agent", "nodemedic"]);
    for unit in ["nodemedic-watchdog.service", "nodemedic-agent.service"] {
        until_active(&host, unit);
        assert_eq!(
            host.run(&["systemctl", "is-enabled", unit]).trim(),
            "enabled"
        );
    }
    let seen = host.run(&["stat", "-c", "%U:%G", "/run/nodemedic/agent.sock"]);
    assert_eq!(seen.trim(), "nodemedic:nodemedic");
    let top = host.run(&["nodemedic", "top", "--once"]);
    assert!(top.contains(host.run(&["hostname"]).trim()), "{top}");

    tell_of_a_unit(&host);
    kill_and_see_it_run_again(&host);
    refuse_a_bad_configuration(&host);

    let pid = property(&host, "sample.service", "MainPID");
    host.run(&["dpkg", "--remove", "nodemedic-agent", "nodemedic"]);
    for unit in ["nodemedic-watchdog.service", "nodemedic-agent.service"] {
        assert!(
            !host
                .try_run(&["systemctl", "is-active", unit])
                .status
                .success(),
            "{unit}"
        );
    }
    assert_eq!(
        property(&host, "sample.service", "MainPID"),
        pid,
        "the unit was left alone"
    );
    host.run(&["dpkg", "--purge", "nodemedic-agent", "nodemedic"]);
    assert_eq!(traces(&host), before, "purge leaves nothing");
}

#[test]
fn an_upgrade_restarts_both_services_and_touches_no_watched_unit() {
    let host = Host::boot();
    host.write(
        "/etc/systemd/system/sample.service",
        "[Service]\nExecStart=/bin/sleep infinity\n",
    );
    host.run(&["systemctl", "daemon-reload"]);
    host.run(&["systemctl", "start", "sample.service"]);
    host.write(
        "/etc/nodemedic/agent.d/sample.toml",
        "[service.sample]\nunit = \"sample.service\"\n",
    );
    install(&host, &["nodemedic-agent"]);
    until_active(&host, "nodemedic-agent.service");
    let units = [
        "nodemedic-watchdog.service",
        "nodemedic-agent.service",
        "sample.service",
    ];
    let pids = || units.map(|unit| property(&host, unit, "MainPID"));
    let before = pids();
    install(&host, &["nodemedic-agent"]);
    until_active(&host, "nodemedic-agent.service");
    until_active(&host, "nodemedic-watchdog.service");
    let after = pids();
    assert_ne!(before[0], after[0], "the watchdog is the new one");
    assert_ne!(before[1], after[1], "the agent is the new one");
    stays("the watched unit goes on", Duration::from_secs(2), || {
        let now = property(&host, "sample.service", "MainPID");
        if now == before[2] { Ok(()) } else { Err(now) }
    });
}

#[test]
fn the_coordinators_package_starts_when_it_is_told_to_and_not_before() {
    let host = Host::boot();
    let before = traces(&host);
    install(&host, &["nodemedic-coordinator", "nodemedic"]);
    let unit = "nodemedic-coordinator.service";
    assert_eq!(property(&host, unit, "ActiveState"), "inactive");
    assert!(
        !host
            .try_run(&["systemctl", "is-enabled", unit])
            .status
            .success()
    );
    host.run(&["systemctl", "start", unit]);
    until_active(&host, unit);
    host.run(&["nodemedic", "nodes"]);
    let owner = host.run(&["stat", "-c", "%U", "/var/lib/nodemedic-coordinator"]);
    assert_eq!(owner.trim(), "nodemedic-coordinator");
    host.run(&["dpkg", "--purge", "nodemedic-coordinator", "nodemedic"]);
    assert_eq!(traces(&host), before, "purge leaves nothing");
}
