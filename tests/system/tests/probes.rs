//! Probes that ask systemd and its journal, on a booted host: a unit that notifies no more, and one
//! that says nothing more, are running again; while they do, nobody touches them.

use std::time::Duration;

use nodemedic_system_tests::binary;
use nodemedic_system_tests::nspawn::Host;
use nodemedic_system_tests::wait::{stays, wait_for};

const BOUND: Duration = Duration::from_secs(60);

/// Longer than the bound of either probe.
const WELL: Duration = Duration::from_secs(8);

/// Two units that live until they are told to hang, and one that keeps the journal busy.
fn start() -> Host {
    let host = Host::boot();
    host.copy_in(&binary("nodemedic-agent"), "/usr/sbin/nodemedic-agent");
    for (name, kind, sign) in [
        (
            "beats",
            "Type=notify\nNotifyAccess=all",
            "systemd-notify WATCHDOG=1",
        ),
        ("talks", "Type=simple", "echo on"),
        ("noise", "Type=simple", "echo noise"),
    ] {
        let script = format!(
            "rm -f /hang-{name}\nsystemd-notify --ready\n\
             while [ ! -e /hang-{name} ]; do {sign}; sleep 0.5; done\nexec sleep infinity\n"
        );
        host.write(&format!("/usr/local/bin/{name}"), &script);
        let unit = format!("[Service]\n{kind}\nExecStart=/bin/sh /usr/local/bin/{name}\n");
        host.write(&format!("/etc/systemd/system/{name}.service"), &unit);
    }
    host.write(
        "/etc/nodemedic/agent.toml",
        "node = \"node-1\"\n[healing]\nboot_grace = \"0s\"\n\
         [service.beats]\nunit = \"beats.service\"\n\
         probes = [{ watchdog = \"4s\", interval = \"500ms\" }, \
         { limits = { fds_percent = 90 } }]\n\
         [service.talks]\nunit = \"talks.service\"\n\
         probes = [{ log = \"4s\", timeout = \"5s\" }]\n",
    );
    host.run(&["systemctl", "daemon-reload"]);
    host.run(&["systemctl", "start", "beats", "talks", "noise"]);
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

fn main_of(host: &Host, unit: &str) -> String {
    let words = ["systemctl", "show", "-P", "MainPID", unit];
    host.run(&words).trim().to_owned()
}

fn hangs_and_is_restarted(host: &Host, unit: &str) {
    let before = main_of(host, unit);
    host.write(&format!("/hang-{unit}"), "");
    wait_for("it is restarted", BOUND, || {
        let now = main_of(host, unit);
        if now != before && now != "0" {
            return Ok(());
        }
        let words = ["journalctl", "--no-pager", "-n", "30", "-u", "our-agent"];
        Err(host.try_run(&words).output)
    });
}

#[test]
fn what_falls_silent_is_restarted_and_what_speaks_is_left_alone() {
    let host = start();
    let units = ["beats", "talks"];
    let first = units.map(|unit| main_of(&host, unit));
    stays("both live", WELL, || {
        let now = units.map(|unit| main_of(&host, unit));
        if now == first {
            Ok(())
        } else {
            Err(format!("{first:?} {now:?}"))
        }
    });
    hangs_and_is_restarted(&host, "beats");
    hangs_and_is_restarted(&host, "talks");
}
