//! Exclusive work as a unit of a real systemd: its cgroup is promised before it starts, it is told
//! its generation, and the watchdog ends it when its agent is gone.

use std::time::{Duration, Instant};

use nodemedic_system_tests::binary;
use nodemedic_system_tests::nspawn::Host;
use nodemedic_system_tests::wait::{stays, wait_for};

const BOUND: Duration = Duration::from_secs(60);

/// Several rounds of the watchdog, whose timeout is 1 s here.
const LIVES_ON: Duration = Duration::from_secs(4);

const CGROUP: &str = "0::/system.slice/system-db.slice/db@db.service";

/// One node with everything on it, and a template for its work.
fn start() -> Host {
    let host = Host::boot();
    for name in [
        "nodemedic-agent",
        "nodemedic-watchdog",
        "nodemedic-coordinator",
        "nodemedic",
    ] {
        host.copy_in(&binary(name), &format!("/usr/sbin/{name}"));
    }
    work_is(&host, "exclusive = { on_lease_loss = \"stop\" }");
    host.write(
        "/etc/nodemedic/agent.toml",
        "node = \"node-1\"\n[broker]\nurl = \"mqtt://127.0.0.1:1883\"\n\
         [heartbeat]\ninterval = \"500ms\"\n",
    );
    host.write(
        "/usr/local/bin/db",
        "own=$(tail -n 1 /proc/self/cgroup)\n\
         echo $NODEMEDIC_GENERATION $(cat $NODEMEDIC_GENERATION_FILE) $own >> /ran\n\
         exec sleep 100000\n",
    );
    host.write(
        "/etc/systemd/system/db@.service",
        "[Service]\nEnvironmentFile=/run/nodemedic/work/%i.env\n\
         ExecStart=/bin/sh /usr/local/bin/db\nRestart=no\n",
    );
    host.run(&["systemctl", "daemon-reload"]);
    let words = "--socket /run/nodemedic-watchdog/watchdog.sock --no-device --timeout 1s \
                 --state /run/words";
    host.run(&["mkdir", "-p", "/run/nodemedic-watchdog", "/run/words"]);
    run(&host, "watchdog", words);
    run(
        &host,
        "coordinator",
        "--config /etc/nodemedic/coordinator.toml",
    );
    run(&host, "agent", "--config /etc/nodemedic/agent.toml");
    host
}

/// The coordinator's configuration, with the work shared so.
fn work_is(host: &Host, sharing: &str) {
    let text = format!(
        "[state]\ndirectory = \"/var/lib/coordinator\"\n[lease]\nterm = \"3s\"\n\
         [work.db]\n{sharing}\nunit = \"db@.service\"\nstop_grace = \"1s\"\n"
    );
    host.write("/etc/nodemedic/coordinator.toml", &text);
}

/// One of our programs as a unit of its name, which systemd does not restart.
fn run(host: &Host, name: &str, words: &str) {
    let unit = format!("--unit=our-{name}");
    let program = format!("/usr/sbin/nodemedic-{name}");
    let mut command = vec![
        "systemd-run",
        &unit,
        "--collect",
        "-p",
        "KillMode=process",
        &program,
    ];
    command.extend(words.split(' '));
    host.run(&command);
}

/// What the work wrote at each of its starts: generation, the one of its file, cgroup.
fn starts(host: &Host) -> Vec<(u64, u64, String)> {
    let text = host.try_run(&["cat", "/ran"]).output;
    let line = |line: &str| {
        let mut words = line.split(' ');
        let generation = words.next()?.parse().ok()?;
        let of_file = words.next()?.parse().ok()?;
        Some((generation, of_file, words.next()?.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

fn began(host: &Host, count: usize) -> Vec<(u64, u64, String)> {
    let began = wait_for("the work begins", BOUND, || {
        let starts = starts(host);
        match starts.len() >= count {
            true => Ok(starts),
            false => Err(format!(
                "{starts:?}\n{}",
                host.try_run(&["journalctl", "-n", "30", "--no-pager"])
                    .output
            )),
        }
    });
    began.0
}

fn signal(host: &Host, unit: &str, signal: &str) {
    let signal = format!("--signal={signal}");
    host.run(&["systemctl", "kill", &signal, "--kill-whom=main", unit]);
}

/// The unit as systemd has it.
fn state(host: &Host) -> String {
    let state = host.try_run(&["systemctl", "is-active", "db@db.service"]);
    state.output.trim().to_owned()
}

fn ended_by_the_watchdog(host: &Host) {
    wait_for("the watchdog ends the unit", BOUND, || {
        match state(host).as_str() {
            "active" => Err("active".to_owned()),
            _ => Ok(()),
        }
    });
}

/// The unit runs on for longer than the watchdog lets live what it has to strike.
fn lives_on(host: &Host) -> Result<(), String> {
    let main = |host: &Host| {
        let words = ["systemctl", "show", "-P", "MainPID", "db@db.service"];
        host.run(&words).trim().to_owned()
    };
    let first = main(host);
    let began = Instant::now();
    while began.elapsed() < LIVES_ON {
        let (state, now) = (state(host), main(host));
        if state != "active" || now != first {
            return Err(format!("{state}, process {first} and then {now}"));
        }
    }
    Ok(())
}

/// An agent is killed, and the watchdog ends its unit and whatever appears in the cgroup.
fn struck() -> Host {
    let host = start();
    began(&host, 1);
    signal(&host, "our-agent.service", "KILL");
    ended_by_the_watchdog(&host);
    host.run(&["systemctl", "start", "db@db.service"]);
    ended_by_the_watchdog(&host);
    host
}

#[test]
fn work_that_is_not_promised_any_more_runs_on_where_an_earlier_agent_promised_it() {
    for sharing in ["exclusive = { on_lease_loss = \"keep\" }", "replicas = 1"] {
        let host = struck();
        work_is(&host, sharing);
        signal(&host, "our-coordinator.service", "HUP");
        run(&host, "agent", "--config /etc/nodemedic/agent.toml");
        wait_for(sharing, BOUND, || lives_on(&host));
    }
}

#[test]
fn a_unit_that_an_agent_proved_stopped_belongs_to_whoever_starts_it() {
    let host = struck();
    host.run(&["nodemedic", "work", "remove", "db"]);
    assert!(lives_on(&host).is_err(), "nobody has taken it back");
    run(&host, "agent", "--config /etc/nodemedic/agent.toml");
    wait_for("a start by hand", BOUND, || {
        host.run(&["systemctl", "start", "db@db.service"]);
        lives_on(&host)
    });
}

#[test]
fn a_unit_starts_behind_its_promise_and_ends_by_it() {
    let host = start();
    let first = began(&host, 1)[0].clone();
    assert_eq!(first, (first.0, first.0, CGROUP.to_owned()));
    // A watchdog that does not answer: the restart waits, and the unit is not begun.
    signal(&host, "our-watchdog.service", "STOP");
    signal(&host, "db@db.service", "KILL");
    stays(
        "no start without a promise",
        Duration::from_secs(4),
        || match starts(&host).len() {
            1 => Ok(()),
            more => Err(format!("{more} starts")),
        },
    );
    signal(&host, "our-watchdog.service", "CONT");
    let second = began(&host, 2)[1].clone();
    assert_eq!(second.2, CGROUP);
    let log = host.run(&["journalctl", "-u", "our-agent", "--no-pager"]);
    assert!(!log.contains("another cgroup than was promised"), "{log}");
    // Without its agent it ends by the watchdog, and comes back under another grant.
    signal(&host, "our-agent.service", "KILL");
    ended_by_the_watchdog(&host);
    run(&host, "agent", "--config /etc/nodemedic/agent.toml");
    let third = began(&host, 3)[2].clone();
    assert!(third.0 > second.0, "{third:?} after {second:?}");
    assert_eq!(third.0, third.1);
}
