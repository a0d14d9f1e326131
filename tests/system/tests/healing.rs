//! The ladder on a booted systemd, with the packaged agent: every way in which a unit fails, what
//! an administrator did on purpose, and what goes wrong around it meanwhile.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nodemedic_system_tests::binary;
use nodemedic_system_tests::nspawn::Host;
use nodemedic_system_tests::packaged::{install, property, until_active};
use nodemedic_system_tests::wait::{stays, wait_for};

const BOUND: Duration = Duration::from_secs(60);

/// Many times what a restart takes: what is not started within it is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(6);

const AGENT: &str = "nodemedic-agent.service";

/// Of the unit that always fails.
const BUDGET: usize = 4;

/// A host with these units, started, and the agent of the package that looks after them.
fn host(units: &[(&str, &str)], config: &str) -> Host {
    let host = Host::boot();
    host.copy_in(
        &binary("nodemedic-test-work"),
        "/usr/local/bin/nodemedic-test-work",
    );
    host.run(&["mkdir", "-p", "/var/heal"]);
    for (name, text) in units {
        // Not in /etc, where `systemctl mask --runtime` has no power over it.
        host.write(&format!("/usr/lib/systemd/system/{name}"), text);
    }
    host.write("/etc/nodemedic/agent.d/healing.toml", config);
    host.run(&["systemctl", "daemon-reload"]);
    install(&host, &["nodemedic-agent", "nodemedic"]);
    until_active(&host, AGENT);
    host
}

/// A service that runs until it is killed.
const SLEEPS: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

/// One restart after the other, without waits.
const QUICK: &str = "restart = { max = 100, window = \"1h\", backoff = \"10ms\", \
                     backoff_max = \"20ms\", healthy_after = \"500ms\" }";

fn start(host: &Host, units: &[&str]) {
    host.run(&[&["systemctl", "start"], units].concat());
    for unit in units {
        until_active(host, unit);
        seen(host, unit, "running");
    }
}

/// What the agent says of every service: name and state.
fn told(host: &Host) -> (Vec<(String, String)>, String) {
    let text = host
        .try_run(&["nodemedic", "--json", "top", "--once"])
        .output;
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let services = value["services"].as_array().cloned().unwrap_or_default();
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let told = services.iter().map(|service| {
        let name = word(&service["service"]);
        (name, word(&service["state"]))
    });
    (told.collect(), text)
}

/// Waits until the agent has this to say of the service of a unit.
fn seen(host: &Host, unit: &str, wanted: &str) {
    let name = unit.trim_end_matches(".service");
    let what = format!("the agent says that {name} is {wanted}");
    wait_for(&what, BOUND, || {
        let (told, text) = told(host);
        let is = told
            .iter()
            .any(|(service, state)| service == name && state == wanted);
        if is {
            Ok(())
        } else {
            Err(format!("{text}\n{}", log(host)))
        }
    });
}

fn log(host: &Host) -> String {
    let words = ["journalctl", "-n", "60", "--no-pager", "-u", AGENT];
    host.try_run(&words).output
}

fn main_pid(host: &Host, unit: &str) -> u32 {
    property(host, unit, "MainPID").parse().expect("a number")
}

/// Waits until the unit runs by another process than this one.
fn again(host: &Host, unit: &str, before: u32) -> u32 {
    let (now, _) = wait_for(&format!("{unit} runs again"), BOUND, || {
        let state = property(host, unit, "ActiveState");
        match main_pid(host, unit) {
            0 => Err(format!("{state}\n{}", log(host))),
            pid if pid == before => Err("it still runs".to_owned()),
            pid if state == "active" => Ok(pid),
            pid => Err(format!("{state}, process {pid}")),
        }
    });
    now
}

fn signal(host: &Host, unit: &str, signal: &str) {
    let signal = format!("--signal={signal}");
    host.run(&["systemctl", "kill", &signal, "--kill-whom=main", unit]);
}

fn down(host: &Host, unit: &str) -> Result<(), String> {
    match property(host, unit, "ActiveState").as_str() {
        "inactive" | "failed" => Ok(()),
        state => Err(format!("{state}\n{}", log(host))),
    }
}

/// The unit is killed by the kernel for want of memory, which only what is below a control group
/// of version 1 can be here.
fn out_of_memory(host: &Host, unit: &str) {
    let group = Path::new("/sys/fs/cgroup/memory").join(format!("nm-oom-{}", std::process::id()));
    if fs::create_dir(&group).is_err() {
        println!("no control group of memory here: killed by hand instead");
        signal(host, unit, "KILL");
        return;
    }
    fs::write(group.join("memory.limit_in_bytes"), "16M").expect("limit the memory");
    let pids = host.processes(unit);
    for pid in &pids {
        fs::write(group.join("cgroup.procs"), pid.to_string()).expect("move the process");
    }
    host.write("/var/heal/eat", "now");
    wait_for("the kernel kills it", BOUND, || {
        let now = host.processes(unit);
        match pids.iter().any(|pid| now.contains(pid)) {
            true => Err(format!("{now:?}")),
            false => Ok(()),
        }
    });
    let kills = fs::read_to_string(group.join("memory.oom_control")).expect("oom_control");
    assert!(kills.contains("oom_kill 1"), "{kills}");
    fs::remove_dir(&group).expect("remove the group");
}

#[test]
fn a_crash_a_hang_and_a_kill_for_memory_are_healed_also_over_daemon_reload() {
    let work = "[Service]\nEnvironment=NODEMEDIC_WORK=hangs NODEMEDIC_NODE=here \
                NODEMEDIC_GENERATION=1\n\
                ExecStart=/usr/local/bin/nodemedic-test-work /var/heal/hangs 127.0.0.1:7001\n";
    let eats = "[Service]\nExecStart=/usr/bin/perl -e 'until (-e \"/var/heal/eat\") { \
                select undef, undef, undef, 0.05 } unlink \"/var/heal/eat\"; \
                my @all; push @all, \"x\" x 1048576 while 1'\n";
    let units = [
        ("crash.service", SLEEPS),
        ("hangs.service", work),
        ("eats.service", eats),
    ];
    let probe = "probe = { http = \"http://127.0.0.1:7001/\", interval = \"1s\", \
                 timeout = \"500ms\", fail_for = \"0s\" }";
    let config = format!(
        "[service.crash]\nunit = \"crash.service\"\n{QUICK}\n\
         [service.eats]\nunit = \"eats.service\"\n{QUICK}\n\
         [service.hangs]\nunit = \"hangs.service\"\n{probe}\n{QUICK}\n"
    );
    let host = host(&units, &config);
    start(&host, &["crash.service", "hangs.service", "eats.service"]);
    let mut pid = main_pid(&host, "crash.service");
    for round in 0..4 {
        signal(&host, "crash.service", "KILL");
        if round % 2 == 0 {
            host.run(&["systemctl", "daemon-reload"]);
        }
        pid = again(&host, "crash.service", pid);
    }
    let hung = main_pid(&host, "hangs.service");
    signal(&host, "hangs.service", "STOP");
    again(&host, "hangs.service", hung);
    let eater = main_pid(&host, "eats.service");
    out_of_memory(&host, "eats.service");
    again(&host, "eats.service", eater);
}

#[test]
fn what_an_administrator_stopped_masked_or_holds_is_never_undone() {
    let units = [("web.service", SLEEPS), ("held.service", SLEEPS)];
    let config = format!(
        "[service.web]\nunit = \"web.service\"\n{QUICK}\n\
         [service.held]\nunit = \"held.service\"\n{QUICK}\n"
    );
    let host = host(&units, &config);
    start(&host, &["web.service", "held.service"]);
    host.run(&["systemctl", "stop", "web.service"]);
    stays("stopped by a person", LEFT_ALONE, || {
        down(&host, "web.service")
    });
    // Nor by an agent that was not there when it was stopped.
    host.run(&["systemctl", "restart", AGENT]);
    until_active(&host, AGENT);
    stays("stopped before the agent came", LEFT_ALONE, || {
        down(&host, "web.service")
    });
    // Whoever starts it wants it to run.
    start(&host, &["web.service"]);
    let pid = main_pid(&host, "web.service");
    signal(&host, "web.service", "KILL");
    again(&host, "web.service", pid);

    host.run(&["systemctl", "mask", "--runtime", "--now", "web.service"]);
    stays("masked by a person", LEFT_ALONE, || {
        down(&host, "web.service")
    });
    assert_eq!(property(&host, "web.service", "LoadState"), "masked");

    let reason = ["pause", "held", "--for", "1h", "--reason", "new disks"];
    host.run(&[&["nodemedic"][..], &reason].concat());
    signal(&host, "held.service", "KILL");
    stays("held by a person", LEFT_ALONE, || {
        down(&host, "held.service")
    });
    host.run(&["nodemedic", "resume", "held"]);
    until_active(&host, "held.service");
}

/// Starts that a unit wrote down.
fn starts(host: &Host, file: &str) -> Vec<Duration> {
    let text = host.read(file);
    let moment = |line: &str| line.split(' ').next()?.parse::<f64>().ok();
    let all = text.lines().filter_map(moment);
    all.map(Duration::from_secs_f64).collect()
}

/// A unit that writes down when it starts, and fails.
fn fails(file: &str) -> String {
    format!(
        "[Unit]\nStartLimitIntervalSec=10s\nStartLimitBurst=2\n[Service]\n\
         ExecStart=/bin/sh -c 'cat /proc/uptime >> {file}; exit 3'\n"
    )
}

const FAILS: &str = "restart = { max = 4, window = \"1h\", backoff = \"200ms\", \
                     backoff_max = \"10s\", healthy_after = \"1m\" }";

fn fenced(host: &Host, unit: &str) {
    seen(host, unit, "fenced");
    assert_eq!(property(host, unit, "LoadState"), "masked");
}

#[test]
fn what_always_fails_gets_its_budget_beyond_the_start_limit_and_is_fenced() {
    let unit = fails("/var/heal/fails");
    let config = format!("[service.fails]\nunit = \"fails.service\"\n{FAILS}\n");
    let host = host(&[("fails.service", &unit)], &config);
    let _ = host.try_run(&["systemctl", "start", "fails.service"]);
    fenced(&host, "fails.service");
    let starts = starts(&host, "/var/heal/fails");
    assert_eq!(starts.len(), 1 + BUDGET, "{starts:?}\n{}", log(&host));
    let waits: Vec<Duration> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // The first at once; then the wait doubles, give or take a fifth.
    let least = [0, 160, 320, 640].map(Duration::from_millis);
    let grows = waits.iter().zip(least).all(|(wait, least)| *wait >= least);
    assert!(grows, "{waits:?}");
    stays("fenced", LEFT_ALONE, || down(&host, "fails.service"));
}

#[test]
fn a_service_manager_that_does_not_answer_is_waited_for_and_nothing_is_done_twice() {
    let unit = "[Service]\nExecStart=/bin/sh -c 'echo 1 >> /var/heal/web; exec sleep infinity'\n";
    let config = format!("[service.web]\nunit = \"web.service\"\n{QUICK}\n");
    let host = host(&[("web.service", unit)], &config);
    start(&host, &["web.service"]);
    let pid = main_pid(&host, "web.service");
    let running = host.processes("web.service");
    host.freeze_init();
    for pid in &running {
        let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("kill the service");
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        std::thread::park_timeout(Duration::from_secs(5));
    }
    host.thaw_init();
    again(&host, "web.service", pid);
    seen(&host, "web.service", "running");
    assert_eq!(
        host.read("/var/heal/web").lines().count(),
        2,
        "{}",
        log(&host)
    );
    let agent = property(&host, AGENT, "NRestarts");
    assert_eq!(agent, "0", "{}", log(&host));
}
