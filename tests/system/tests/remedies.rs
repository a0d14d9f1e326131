//! A packaged agent helps its host on a booted Debian: by declared remedies, done by root in a unit
//! of their own, and at last by a reboot; and by nothing else.

use std::time::Duration;

use nodemedic_system_tests::nspawn::Host;
use nodemedic_system_tests::packaged::{install, until_active};
use nodemedic_system_tests::wait::wait_for;

const BOUND: Duration = Duration::from_secs(60);

/// The shortest time that a configuration may ask for is two minutes.
const CUT_OFF: Duration = Duration::from_secs(240);

/// What is wrong with the host, as far as it is wrong.
const PROBE: &str = r#"#!/bin/sh
find() {
    printf '%s{"part":"%s","reason":"%s",' "$c" "$1" "$2"
    printf '"severity":"critical","message":"seen"}'
    c=,
}
printf '{"version":1,"findings":['
test -e /var/log/app/a.gz && find logs full
grep -q ' /srv tmpfs ro,' /proc/mounts && find data read-only
test -e /run/hangs && find disk hangs
printf ']}'
"#;

const CONFIG: &str = r#"
[plugin.probe]
command = ["/bin/sh", "/usr/local/bin/probe"]
interval = "1s"
timeout = "1s"
[remedy.logs]
when = [{ component = "probe logs", reason = "full" }]
clean = { directories = ["/var/log/app"], pattern = "*.gz", older_than = "1h" }
after = "1s"
[remedy.data]
when = [{ component = "probe data", reason = "read-only" }]
remount = "/srv"
after = "1s"
[remedy.reboot]
when = [{ component = "probe disk", reason = "hangs" }]
after = "1s"
when_cut_off = "allow"
delay = "2m"
stay_out = "10s"
"#;

/// Speaks one line to a socket as a user of the host, and gives the answer.
const ASK: &str = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) \
                   or die \"connect: $!\"; print $s \"$ARGV[1]\\n\"; $s->flush; print scalar <$s>;";

fn ask(host: &Host, socket: &str, request: &str) -> String {
    let words = [
        "setpriv",
        "--reuid=nodemedic",
        "--regid=nodemedic",
        "--clear-groups",
        "--",
    ];
    let words: Vec<&str> = words
        .into_iter()
        .chain(["perl", "-e", ASK, socket, request])
        .collect();
    host.try_run(&words).output
}

fn events(host: &Host) -> String {
    let socket = "/run/nodemedic/agent.sock";
    ask(host, socket, "{\"events\":{\"last\":200}}")
}

fn until(host: &Host, what: &str, within: Duration, is: impl Fn() -> bool) {
    wait_for(what, within, || match is() {
        true => Ok(()),
        false => {
            let log = host.try_run(&["journalctl", "-n", "20", "--no-pager"]);
            let top = ["nodemedic", "--json", "top", "--once"];
            let (status, told) = (host.try_run(&top).output, events(host));
            Err(format!("{}\n{status}\n{told}", log.output))
        }
    });
}

#[test]
fn a_packaged_agent_helps_its_host_by_what_root_declared_and_by_nothing_else() {
    let mut host = Host::boot();
    host.write("/usr/local/bin/probe", PROBE);
    host.run(&["mkdir", "-p", "/var/log/app", "/etc/nodemedic/agent.d"]);
    host.write("/etc/nodemedic/agent.d/remedies.toml", CONFIG);
    for name in ["a.gz", "kept.log"] {
        let path = format!("/var/log/app/{name}");
        host.run(&["touch", "-d", "2 hours ago", &path]);
    }
    host.run(&["mount", "-t", "tmpfs", "-o", "nosuid", "tmpfs", "/srv"]);
    host.run(&["mount", "-o", "remount,ro", "/srv"]);
    install(&host, &["nodemedic-agent", "nodemedic"]);
    until_active(&host, "nodemedic-agent.service");

    until(&host, "the old file is gone", BOUND, || {
        host.run(&["ls", "/var/log/app"]).trim() == "kept.log"
    });
    until(&host, "the filesystem is read-write", BOUND, || {
        host.try_run(&["touch", "/srv/x"]).status.success()
    });
    assert!(
        host.run(&["grep", " /srv ", "/proc/mounts"])
            .contains("nosuid")
    );
    until(&host, "both are told", BOUND, || {
        let told = events(&host);
        told.contains("removed 1 files") && told.contains("is mounted read-write again")
    });

    let socket = "/run/nodemedic-helper/helper.sock";
    for request in [
        "{\"remount\":{\"remedy\":\"logs\"}}",
        "{\"remount\":{\"remedy\":\"../logs\"}}",
        "{\"clean\":{\"remedy\":\"other\"}}",
        "{\"bounce\":{\"remedy\":\"data\"}}",
        "{\"clean\":{\"remedy\":\"logs\",\"directories\":[\"/etc\"]}}",
    ] {
        let answer = ask(&host, socket, request);
        assert!(answer.starts_with("{\"refused\":"), "{request}: {answer}");
    }
    host.run(&["touch", "-d", "2 hours ago", "/var/log/app/b.gz"]);
    let dry = ["nodemedic-helper", "remedy", "logs", "--dry-run"];
    let dry = host.run(&dry);
    assert!(dry.contains("would remove 1 files"), "{dry}");

    // Nobody gives it a permit: there is no coordinator.
    host.run(&["touch", "/run/hangs"]);
    until(&host, "a reboot is wanted", BOUND, || {
        events(&host).contains("{\"reboot\":{\"wanted\"")
    });
    host.until_rebooted(CUT_OFF);
    until_active(&host, "nodemedic-agent.service");
    // A container has the boot id of the machine, so its return is none: the core's stories do.
    until(&host, "the reboot is told", BOUND, || {
        events(&host).contains("{\"reboot\":{\"begun\"")
    });
}
