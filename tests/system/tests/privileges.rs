//! The agent as nobody on a booted Debian: what it may not do, what it does all the same, and what
//! is fenced and stays so over a reboot.

use std::time::Duration;

use nodemedic_system_tests::binary;
use nodemedic_system_tests::nspawn::Host;
use nodemedic_system_tests::packaged::{install, property, until_active};
use nodemedic_system_tests::tool::Ran;
use nodemedic_system_tests::wait::{stays, wait_for};

const BOUND: Duration = Duration::from_secs(60);

/// What `systemd-analyze security` may say of each at most: 3.0 for the two that are talked to by
/// others. The watchdog must kill, and the last one runs for a moment at boot.
const EXPOSURE_MAX: [f64; 4] = [3.0, 3.0, 4.0, 4.0];

const UNITS: [&str; 4] = [
    "nodemedic-agent.service",
    "nodemedic-helper.service",
    "nodemedic-watchdog.service",
    "nodemedic-fenced.service",
];

/// Speaks one line to a socket as a user of the host, and gives the answer.
const ASK: &str = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) \
                   or die \"connect: $!\"; print $s \"$ARGV[1]\\n\"; $s->flush; print scalar <$s>;";

fn ask(host: &Host, user: &str, socket: &str, request: &str) -> String {
    let user = format!("--reuid={user}");
    let words = [
        "setpriv",
        &user,
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

/// A unit of the administrator, in /etc, whose main process leaves another one behind. It fails for
/// as long as /broken is there.
fn web(host: &Host) {
    host.write(
        "/etc/systemd/system/web.service",
        "[Service]\nExecStart=/bin/sh -c 'test ! -e /broken || exit 3; sleep 4711 & \
         exec sleep 4712'\nKillMode=process\nRestart=no\n[Install]\nWantedBy=multi-user.target\n",
    );
    host.write(
        "/etc/systemd/system/other.service",
        "[Service]\nExecStart=/bin/sleep infinity\n",
    );
    host.run(&["systemctl", "daemon-reload"]);
    host.run(&["systemctl", "enable", "--now", "web.service"]);
    host.run(&["systemctl", "start", "other.service"]);
    host.write(
        "/etc/nodemedic/agent.d/web.toml",
        "[service.web]\nunit = \"web.service\"\nblock_ports = [\"tcp/8080\", \"udp/53\"]\n\
         restart = { max = 2, backoff = \"100ms\", backoff_max = \"100ms\" }\n\
         stop_grace = \"2s\"\n",
    );
}

/// One node alone, with the packages on it.
fn host() -> Host {
    let host = Host::boot();
    web(&host);
    install(&host, &["nodemedic-agent", "nodemedic"]);
    until_active(&host, "nodemedic-agent.service");
    watched(&host, "running");
    host
}

/// Waits until the agent says this of the service.
fn watched(host: &Host, wanted: &str) {
    wait_for(
        &format!("the agent says that web is {wanted}"),
        BOUND,
        || {
            let status = host
                .try_run(&["nodemedic", "--json", "top", "--once"])
                .output;
            let value: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
            let services = value["services"].as_array().cloned().unwrap_or_default();
            let told = services
                .iter()
                .any(|service| service["service"] == "web" && service["state"] == wanted);
            if told {
                Ok(())
            } else {
                let log = host
                    .try_run(&["journalctl", "-n", "40", "--no-pager"])
                    .output;
                Err(format!("{status}\n{log}"))
            }
        },
    );
}

/// Nothing of it runs, systemd has it masked, its ports are closed, and it is on the list.
fn kept_out(host: &Host) {
    assert_eq!(property(host, "web.service", "LoadState"), "masked");
    assert_ne!(property(host, "web.service", "ActiveState"), "active");
    let left = host.try_run(&["pgrep", "-f", "sleep 471"]).output;
    assert_eq!(left.trim(), "", "of the unit this is left");
    let rules = host.run(&["nft", "list", "table", "inet", "nodemedic"]);
    for rule in ["tcp dport 8080", "udp dport 53", "comment \"web.service\""] {
        assert!(rules.contains(rule), "{rule}:\n{rules}");
    }
    let list = host.run(&["nodemedic-helper", "list"]);
    assert_eq!(list.trim(), "web.service tcp/8080 udp/53");
    let started = host.try_run(&["systemctl", "start", "web.service"]);
    assert!(!started.status.success(), "{}", started.output);
}

fn rated(host: &Host) {
    for (unit, limit) in UNITS.into_iter().zip(EXPOSURE_MAX) {
        let said = host.run(&["systemd-analyze", "security", "--no-pager", unit]);
        let level = said.rsplit_once("Overall exposure level");
        let level = level.expect("systemd-analyze rates the unit").1.trim();
        println!("systemd-analyze security {level}");
        let number = level
            .split_whitespace()
            .find_map(|word| word.parse::<f64>().ok());
        let number = number.expect("a number");
        assert!(number <= limit, "{unit}: {number}\n{said}");
    }
    let pid = property(host, UNITS[0], "MainPID");
    let status = host.run(&["cat", &format!("/proc/{pid}/status")]);
    for line in [
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(line), "{line}:\n{status}");
    }
    assert!(!status.contains("Uid:\t0"), "{status}");
}

/// Runs a program in the host as the agent's user.
fn as_agent(host: &Host, words: &[&str]) -> Ran {
    let own = [
        "setpriv",
        "--reuid=nodemedic",
        "--regid=nodemedic",
        "--clear-groups",
        "--",
    ];
    host.try_run(&[&own[..], words].concat())
}

/// Its own unit, by polkit; no other, and no other verb.
fn polkit_decides(host: &Host) {
    let systemctl = |words: &[&str]| {
        as_agent(
            host,
            &[&["systemctl", "--no-ask-password"][..], words].concat(),
        )
    };
    let ran = systemctl(&["restart", "web.service"]);
    assert!(ran.status.success(), "{}", ran.output);
    for words in [
        &["stop", "other.service"][..],
        &["start", "nodemedic-watchdog.service"],
        &["mask", "--runtime", "web.service"],
        &["enable", "other.service"],
        &["daemon-reload"],
        &["reboot"],
        &["set-property", "--runtime", "web.service", "CPUWeight=1"],
    ] {
        let ran = systemctl(words);
        assert!(!ran.status.success(), "{words:?}\n{}", ran.output);
    }
    assert_eq!(property(host, "other.service", "ActiveState"), "active");
}

/// Its own service, nobody else's, and only of its user.
fn the_helper_decides(host: &Host) {
    let socket = "/run/nodemedic-helper/helper.sock";
    for request in [
        "{\"fence\":{\"unit\":\"other.service\"}}",
        "{\"fence\":{\"unit\":\"ssh.service\"}}",
        "{\"run\":{\"argv\":[\"/bin/sh\"]}}",
        "{\"kill\":{\"unit\":\"other.service\",\"cgroup\":\"/system.slice/other.service\"}}",
        "{\"kill\":{\"unit\":\"web.service\",\"cgroup\":\"/system.slice/other.service\"}}",
    ] {
        let answer = ask(host, "nodemedic", socket, request);
        assert!(answer.starts_with("{\"refused\":"), "{request}: {answer}");
    }
    assert_eq!(property(host, "other.service", "ActiveState"), "active");
    let fence = "{\"fence\":{\"unit\":\"web.service\"}}";
    let answer = ask(host, "daemon", socket, fence);
    assert!(
        answer.contains("may not ask here"),
        "of the group: {answer}"
    );
    let log = host.run(&["journalctl", "-u", "nodemedic-helper.service", "--no-pager"]);
    assert!(log.contains("refused: other.service is "), "logged:\n{log}");
}

#[test]
fn the_agent_is_nobody_and_may_touch_what_root_wrote_down() {
    let host = host();
    rated(&host);
    polkit_decides(&host);
    the_helper_decides(&host);
    // What root writes for it is not its own to write.
    for path in [
        "/run/nodemedic-helper/x",
        "/run/nodemedic-helper/allowed.json",
        "/run/nodemedic-watchdog/x",
        "/var/lib/nodemedic-helper/fenced",
        "/etc/nodemedic/agent.d/x",
        "/etc/polkit-1/rules.d/60-nodemedic.rules",
    ] {
        let ran = as_agent(&host, &["touch", path]);
        assert!(!ran.status.success(), "{path}");
    }
}

#[test]
fn a_fenced_service_stays_out_over_a_reboot_until_it_is_let_back() {
    let mut host = host();
    host.write("/broken", "");
    let pid = property(&host, "web.service", "MainPID");
    host.run(&["kill", "-KILL", &pid]);
    watched(&host, "fenced");
    kept_out(&host);
    // The agent is killed: the next one finds it as it was.
    host.run(&[
        "systemctl",
        "kill",
        "--signal=KILL",
        "--kill-whom=main",
        UNITS[0],
    ]);
    wait_for("another agent", BOUND, || {
        match property(&host, UNITS[0], "NRestarts").as_str() {
            "0" => Err("not restarted yet".to_owned()),
            _ => Ok(()),
        }
    });
    watched(&host, "fenced");
    kept_out(&host);

    host.run(&["rm", "/broken"]);
    host.reboot();
    until_active(&host, UNITS[0]);
    watched(&host, "fenced");
    kept_out(&host);

    let answer = ask(
        &host,
        "root",
        "/run/nodemedic/agent.sock",
        "{\"unfence\":{\"service\":\"web\"}}",
    );
    assert!(answer.contains("done"), "{answer}");
    watched(&host, "running");
    until_active(&host, "web.service");
    assert_eq!(
        host.run(&["systemctl", "is-enabled", "web.service"]).trim(),
        "enabled"
    );
    let rules = host.try_run(&["nft", "list", "table", "inet", "nodemedic"]);
    assert!(!rules.status.success(), "{}", rules.output);
    assert_eq!(host.run(&["nodemedic-helper", "list"]).trim(), "");

    host.reboot();
    until_active(&host, "web.service");
    watched(&host, "running");
}

#[test]
fn a_broken_list_holds_up_no_boot_and_is_told() {
    let mut host = host();
    let list = "\u{1}\u{2}garbage\n../../etc/passwd\nother.service\n";
    host.write("/var/lib/nodemedic-helper/fenced", list);
    host.run(&["systemctl", "enable", "--now", "web.service"]);
    host.reboot();
    until_active(&host, "web.service");
    until_active(&host, UNITS[0]);
    assert_eq!(
        property(&host, "other.service", "LoadState"),
        "masked",
        "the good line counts"
    );
    let log = host.run(&["journalctl", "-u", "nodemedic-fenced.service", "--no-pager"]);
    assert!(log.contains("this one is not kept out"), "{log}");
    // A list that is no file at all.
    host.run(&["nodemedic-helper", "unfence", "other.service"]);
    host.run(&["rm", "/var/lib/nodemedic-helper/fenced"]);
    host.run(&["mkdir", "-p", "/var/lib/nodemedic-helper/fenced/x"]);
    host.reboot();
    until_active(&host, "web.service");
    let running = || property(&host, "web.service", "ActiveState");
    stays(
        "the service runs",
        Duration::from_secs(2),
        || match running().as_str() {
            "active" => Ok(()),
            other => Err(other.to_owned()),
        },
    );
}

/// Adds a coordinator with exclusive work, and what an administrator of the host writes for it.
fn with_work(host: &Host) {
    host.copy_in(
        &binary("nodemedic-coordinator"),
        "/usr/sbin/nodemedic-coordinator",
    );
    host.write(
        "/etc/coordinator.toml",
        "[state]\ndirectory = \"/var/lib/coordinator\"\n[lease]\nterm = \"5s\"\n\
         [work.db]\nexclusive = { on_lease_loss = \"stop\" }\nunit = \"db@.service\"\n\
         stop_grace = \"1s\"\n",
    );
    host.write(
        "/etc/systemd/system/db@.service",
        "[Service]\nUser=daemon\nEnvironmentFile=/run/nodemedic/work/%i.env\n\
         ExecStart=/bin/sleep 4713\nRestart=no\n",
    );
    host.write(
        "/etc/nodemedic/agent.d/broker.toml",
        "node = \"node-1\"\n[broker]\nurl = \"mqtt://127.0.0.1:1883\"\n\
         [heartbeat]\ninterval = \"500ms\"\n",
    );
    host.run(&["systemctl", "daemon-reload"]);
    let program = "/usr/sbin/nodemedic-coordinator";
    host.run(&[
        "systemd-run",
        "--unit=coordinator",
        program,
        "--config",
        "/etc/coordinator.toml",
    ]);
    host.run(&["systemctl", "restart", UNITS[0]]);
}

#[test]
fn work_of_the_fleet_starts_where_the_host_names_its_template() {
    let host = host();
    with_work(&host);
    let log = || {
        host.try_run(&["journalctl", "-n", "200", "--no-pager"])
            .output
    };
    wait_for("polkit refuses what is not named", BOUND, || {
        let events = host
            .try_run(&["nodemedic", "--json", "top", "--once"])
            .output;
        match events.contains("under [work] units") {
            true => Ok(()),
            false => Err(format!("{events}\n{}", log())),
        }
    });
    let state = |wanted: &str| match property(&host, "db@db.service", "ActiveState") {
        state if state == wanted => Ok(()),
        state => Err(format!("{state}\n{}", log())),
    };
    assert_eq!(state("inactive"), Ok(()));
    host.write(
        "/etc/nodemedic/agent.d/work.toml",
        "[work]\nunits = [\"db@.service\"]\n",
    );
    host.run(&["systemctl", "reload", UNITS[0]]);
    wait_for(
        "it runs, promised to the watchdog by another user than root",
        BOUND,
        || state("active"),
    );
    // Without its agent it ends by the watchdog, which believed the agent's user.
    host.run(&["systemctl", "stop", UNITS[0]]);
    wait_for("the watchdog keeps the promise", BOUND, || {
        match state("active") {
            Ok(()) => Err(log()),
            Err(_) => Ok(()),
        }
    });
}

#[test]
fn an_agent_that_an_administrator_made_root_fences_by_itself() {
    let mut host = host();
    let drop_in = "/etc/systemd/system/nodemedic-agent.service.d";
    host.run(&["mkdir", "-p", drop_in]);
    let example = "/usr/share/doc/nodemedic-agent/examples/agent-as-root.conf";
    host.run(&["cp", example, drop_in]);
    host.run(&["systemctl", "daemon-reload"]);
    host.run(&["systemctl", "restart", UNITS[0]]);
    // Nobody is there to be asked.
    host.run(&["systemctl", "stop", "nodemedic-helper.socket"]);
    watched(&host, "running");
    host.write("/broken", "");
    let pid = property(&host, "web.service", "MainPID");
    host.run(&["kill", "-KILL", &pid]);
    watched(&host, "fenced");
    kept_out(&host);
    host.reboot();
    watched(&host, "fenced");
    kept_out(&host);
}
