//! `nodemedic-bench-heal ROUNDS REPORT`: how long a service is away that is killed, or that hangs,
//! under whoever looks after it; on one booted Debian, by turns, in one run.
//!
//! `cargo xtask bench heal` builds what this needs and runs it. The service says by itself on
//! CLOCK_BOOTTIME when it is there again (`nodemedic-test-work`); nobody's log is believed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use nodemedic_system_tests::binary;
use nodemedic_system_tests::nspawn::Host;
use nodemedic_system_tests::packaged::{install, property, until_active};
use nodemedic_system_tests::tool::tool;
use nodemedic_system_tests::wait::wait_for;
use serde_json::{Value, json};

/// monit needs two of its cycles at most; the rest is a loaded machine.
const BACK_LIMIT: Duration = Duration::from_secs(60);
/// The agent has the service well again, and counts the next failure as a first one, after
/// [`CONFIG`]'s `healthy_after`; monit after its next cycle.
const REST: Duration = Duration::from_millis(1500);
/// Kills come at any moment of a cycle of this length: monit's, and the probe's.
const CYCLE_MS: u64 = 1000;
/// Steps of the golden ratio fall evenly on a cycle, however many there are.
const STEP_MS: u64 = 618;
/// A hang costs seconds each, and shows less spread than its probe's cycle.
const HANGS_PER_KILLS: usize = 5;

/// One who looks after a service.
struct Rival {
    name: &'static str,
    port: u16,
    /// Of its unit.
    restart: &'static str,
    does: &'static str,
    /// Whether it asks the service for an answer.
    probes: bool,
}

const RIVALS: &[Rival] = &[
    Rival {
        name: "nodemedic",
        port: 7001,
        restart: "Restart=no",
        does: "the agent of the package, as its own user, by signals of D-Bus and polkit",
        probes: true,
    },
    Rival {
        name: "systemd-0",
        port: 7002,
        restart: "Restart=always\nRestartSec=0",
        does: "systemd's Restart=always with RestartSec=0",
        probes: false,
    },
    Rival {
        name: "systemd",
        port: 7003,
        restart: "Restart=always",
        does: "systemd's Restart=always with the RestartSec that is the default, 100 ms",
        probes: false,
    },
    Rival {
        name: "monit",
        port: 7004,
        restart: "Restart=no",
        does: "monit with a cycle of 1 s, the shortest, which starts the unit by systemctl",
        probes: true,
    },
];

const CONFIG: &str = "[service.heal]\nunit = \"heal-nodemedic.service\"\n\
    probe = { http = \"http://127.0.0.1:7001/\", interval = \"1s\", timeout = \"500ms\", \
    fail_for = \"0s\" }\n\
    restart = { max = 1000, window = \"1h\", healthy_after = \"1s\" }\n";

const MONITRC: &str = "set daemon 1\nset logfile /run/monit.log\nset idfile /run/monit.id\n\
    set statefile /run/monit.state\n\
    check process heal-monit matching \"127.0.0.1:7004\"\n\
    start program = \"/usr/bin/systemctl start heal-monit.service\"\n\
    stop program = \"/usr/bin/systemctl stop heal-monit.service\"\n\
    if failed host 127.0.0.1 port 7004 protocol http with timeout 1 seconds then restart\n";

/// What one failure cost.
struct Round {
    /// From the signal to the first line of the new instance.
    away_us: i64,
    /// Of that, from systemd's beginning to start it.
    own_us: i64,
}

fn main() {
    let mut words = std::env::args().skip(1);
    let rounds = words.next().and_then(|word| word.parse().ok());
    let (Some(rounds), Some(report)) = (rounds, words.next()) else {
        panic!("usage: nodemedic-bench-heal ROUNDS REPORT");
    };
    let host = host();
    let mut rows = Vec::new();
    let hangs = usize::max(rounds / HANGS_PER_KILLS, 3);
    for (what, signal, count) in [
        ("killed", Signal::SIGKILL, rounds),
        ("hung", Signal::SIGSTOP, hangs),
    ] {
        let may: Vec<&Rival> = RIVALS
            .iter()
            .filter(|rival| rival.probes || signal == Signal::SIGKILL)
            .collect();
        let mut all: Vec<Vec<Round>> = may.iter().map(|_| Vec::new()).collect();
        for number in 0..count {
            // By turns: what the machine does meanwhile meets all of them.
            for (rival, rounds) in may.iter().zip(&mut all) {
                rounds.push(round(&host, rival, signal, number));
            }
        }
        println!(
            "\n{what} {count} times each, milliseconds until it runs again\n\n{:<11} {:>8} {:>8} \
             {:>8} {:>10}  what it is",
            "by", "median", "p90", "worst", "own start"
        );
        for (rival, rounds) in may.iter().zip(&all) {
            rows.push(row(what, rival, rounds));
        }
    }
    let text = serde_json::to_string(&json!({ "rows": rows })).expect("a report as JSON");
    fs::write(&report, text).unwrap_or_else(|e| panic!("write {report}: {e}"));
}

fn host() -> Host {
    let host = Host::boot();
    let work = "/usr/local/bin/nodemedic-test-work";
    host.copy_in(&binary("nodemedic-test-work"), work);
    host.run(&["mkdir", "-p", "/var/heal"]);
    for Rival {
        name,
        port,
        restart,
        ..
    } in RIVALS
    {
        let environment =
            format!("NODEMEDIC_WORK={name} NODEMEDIC_NODE=here NODEMEDIC_GENERATION=1");
        host.write(
            &format!("/etc/systemd/system/heal-{name}.service"),
            &format!(
                "[Unit]\nStartLimitIntervalSec=0\n[Service]\nEnvironment={environment}\n\
                 ExecStart={work} /var/heal/{name}.log 127.0.0.1:{port}\n{restart}\n"
            ),
        );
    }
    let monit = Path::new("/usr/bin/monit");
    // The host is the Debian of this machine, so its monit runs there with the same libraries.
    for line in tool("ldd", &["/usr/bin/monit"]).lines() {
        let library = line.split_whitespace().find(|word| word.starts_with('/'));
        if let Some(library) = library {
            // Not those that the host has: it runs by them.
            let there = host.try_run(&["test", "-e", library]).status.success();
            if !there {
                host.copy_in(Path::new(library), library);
            }
        }
    }
    host.copy_in(monit, "/usr/bin/monit");
    host.write("/etc/monitrc", MONITRC);
    host.run(&["chmod", "600", "/etc/monitrc"]);
    host.write(
        "/etc/systemd/system/monit.service",
        "[Service]\nExecStart=/usr/bin/monit -I -c /etc/monitrc\n",
    );
    host.run(&["systemctl", "daemon-reload"]);
    for rival in RIVALS {
        host.run(&["systemctl", "start", &unit(rival)]);
    }
    host.run(&["mkdir", "-p", "/etc/nodemedic/agent.d"]);
    host.write("/etc/nodemedic/agent.d/heal.toml", CONFIG);
    install(&host, &["nodemedic-agent"]);
    until_active(&host, "nodemedic-agent.service");
    host.run(&["systemctl", "start", "monit.service"]);
    until_active(&host, "monit.service");
    host
}

fn unit(rival: &Rival) -> String {
    format!("heal-{}.service", rival.name)
}

/// Fails the service once, and waits until it runs again.
fn round(host: &Host, rival: &Rival, signal: Signal, number: usize) -> Round {
    rest(REST + Duration::from_millis(number as u64 * STEP_MS % CYCLE_MS));
    let unit = unit(rival);
    let pids = host.processes(&unit);
    let [pid] = pids.as_slice() else {
        panic!("{unit} has the processes {pids:?}");
    };
    let began = starts(host, rival).len();
    let at = now_us(ClockId::CLOCK_BOOTTIME);
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("a process that is there");
    let (back, _) = wait_for(&format!("{unit} is back"), BACK_LIMIT, || {
        let starts = starts(host, rival);
        let back = starts.get(began).copied();
        back.ok_or_else(|| format!("{} starts", starts.len()))
    });
    let started = property(host, &unit, "InactiveExitTimestampMonotonic");
    let started: i64 = started.parse().expect("microseconds");
    let ahead = now_us(ClockId::CLOCK_BOOTTIME) - now_us(ClockId::CLOCK_MONOTONIC);
    Round {
        away_us: back - at,
        own_us: back - started - ahead,
    }
}

/// When its instances began, on CLOCK_BOOTTIME.
fn starts(host: &Host, rival: &Rival) -> Vec<i64> {
    let text = host.read(&format!("/var/heal/{}.log", rival.name));
    let of_line = |line: &str| {
        let (rest, at) = line.rsplit_once(' ')?;
        rest.ends_with(" start").then(|| at.parse().ok()).flatten()
    };
    text.lines().filter_map(of_line).collect()
}

fn row(what: &str, rival: &Rival, rounds: &[Round]) -> Value {
    let sorted = |of: fn(&Round) -> i64| {
        let mut all: Vec<i64> = rounds.iter().map(of).collect();
        all.sort_unstable();
        all
    };
    let (away, own) = (sorted(|r| r.away_us), sorted(|r| r.own_us));
    let at = |all: &[i64], percent: usize| all[(all.len() - 1) * percent / 100];
    let ms = |us: i64| format!("{}.{}", us / 1000, us % 1000 / 100);
    println!(
        "{:<11} {:>8} {:>8} {:>8} {:>10}  {}",
        rival.name,
        ms(at(&away, 50)),
        ms(at(&away, 90)),
        ms(at(&away, 100)),
        ms(at(&own, 50)),
        rival.does
    );
    json!({
        "failure": what,
        "by": rival.name,
        "rounds": rounds.len(),
        "median_us": at(&away, 50),
        "p90_us": at(&away, 90),
        "worst_us": at(&away, 100),
        "own_start_us": at(&own, 50),
    })
}

fn now_us(clock: ClockId) -> i64 {
    let now = clock_gettime(clock).expect("a clock of the kernel");
    now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000
}

/// A pause between rounds, not a guess at when something is ready.
fn rest(span: Duration) {
    let began = std::time::Instant::now();
    while let Some(left) = span.checked_sub(began.elapsed()) {
        std::thread::park_timeout(left);
        if left.is_zero() {
            break;
        }
    }
}
