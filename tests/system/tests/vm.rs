//! The promise on a whole machine with a real watchdog device: what resets it, and what must not.
//!
//! Two emulated machines live through their stories side by side, because most of both is waiting
//! to see that nothing happens. QEMU says on its monitor when the device bites (WATCHDOG) and when
//! the machine is reset (RESET).

use std::time::{Duration, Instant};

use nodemedic_protocol::api::{Accepted, JournalEntry, JournalWhat, NodeView, PutWork};
use nodemedic_protocol::event::{EventKind, WatchdogVerdict};
use nodemedic_protocol::work::{Enforcement, OnLeaseLoss, Run, Sharing, WorkSpec, WorkState};
use nodemedic_protocol::{Millis, WorkName};
use nodemedic_system_tests::fleet::{Fleet, Plan};
use nodemedic_system_tests::vm::{self, Vm};
use nodemedic_system_tests::wait::{stays, wait_for};

/// The device's timeout. The i6300esb takes whole seconds.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What is not fed bites in one timeout; four of them without a bite are none to come.
const QUIET: Duration = Duration::from_secs(20);
/// The coordinator's term, as `Fleet` sets it.
const TERM: Duration = Duration::from_secs(3);
/// The work's.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// An emulated machine on a busy processor lives in jerks.
const JERK: Duration = Duration::from_secs(3);
/// Placed, or placed again after a proof: with room for a loaded machine.
const PLACED_BOUND: Duration = Duration::from_secs(90);

fn ledger() -> PutWork {
    let work = WorkSpec {
        name: "ledger".parse::<WorkName>().expect("a name"),
        sharing: Sharing::Exclusive {
            on_lease_loss: OnLeaseLoss::Stop,
        },
        run: Run::Command {
            start: vec!["/bin/ledger".to_owned()],
            stop: Vec::new(),
            environment: Default::default(),
        },
        probes: Vec::new(),
        priority: 0,
        needs: Default::default(),
        node_labels: Default::default(),
        start_grace: Millis::from_secs(30),
        stop_grace: Millis(STOP_GRACE.as_millis() as u64),
    };
    PutWork { works: vec![work] }
}

/// The coordinator on this machine, and an emulated machine with an agent and a watchdog.
struct Site {
    vm: Vm,
    fleet: Fleet,
}

impl Site {
    fn start() -> Site {
        let fleet = Fleet::start(&Plan {
            nodes: 0,
            ..Plan::default()
        });
        let plan = vm::Plan {
            broker_port: fleet.broker_port,
            timeout: TIMEOUT,
        };
        let began = Instant::now();
        let vm = Vm::boot(fleet.dir(), &plan);
        println!("| power on to shell | {:.1?} |", began.elapsed());
        let site = Site { vm, fleet };
        site.until_alive();
        site
    }

    fn until_alive(&self) {
        wait_for("the machine is alive", PLACED_BOUND, || {
            self.fleet.api_alive(1)
        });
    }

    fn put_ledger(&self) {
        let _: Accepted = (self.fleet.api)
            .send("PUT", "/api/v1/work", &ledger())
            .expect("the work is taken");
    }

    /// Waits until the work runs under a grant above this one; gives that grant.
    fn until_placed(&mut self, above: u64) -> u64 {
        let (generation, _) = wait_for("the ledger runs", PLACED_BOUND, || {
            let view = self.fleet.work("ledger")?;
            let runs = (view.holders.iter())
                .find(|holder| holder.state == Some(WorkState::Running) && !holder.releasing);
            match runs {
                Some(holder) if holder.generation.0 > above => Ok(holder.generation.0),
                _ => Err(format!("{view:?}")),
            }
        });
        assert!(self.work_runs(), "the coordinator says so, the machine not");
        generation
    }

    fn work_runs(&mut self) -> bool {
        self.vm.try_run("pidof ledger").status == 0
    }

    /// Waits until nothing of the work runs; gives how long that took.
    fn until_gone(&mut self, bound: Duration) -> Duration {
        let (_, took) = wait_for("the ledger is gone", bound, || match self.work_runs() {
            true => Err("it runs".to_owned()),
            false => Ok(()),
        });
        took
    }

    /// The latest moment after a fault at which a promise made before it is kept, by what the
    /// machine itself has declared: the coordinator reckons with the same.
    fn promised(&self) -> Duration {
        let view: NodeView = (self.fleet.api)
            .get("/api/v1/nodes/machine")
            .expect("the machine is known");
        let Enforcement::Hardware { timeout } = view.enforcement else {
            panic!(
                "no hardware stands behind the promise: {:?}",
                view.enforcement
            );
        };
        TERM + STOP_GRACE + Duration::from_millis(timeout.0)
    }

    fn unbitten(&self) -> Result<(), String> {
        let bad = ["WATCHDOG", "RESET", "SHUTDOWN", "GUEST_PANICKED"];
        let events = self.vm.events();
        match events.iter().find(|event| bad.contains(&&*event.name)) {
            Some(event) => Err(format!("{event:?}")),
            None => Ok(()),
        }
    }

    /// Nothing resets the machine for four timeouts, and it answers at their end.
    fn stays_up(&mut self, what: &str) {
        stays(&format!("no reset: {what}"), QUIET, || self.unbitten());
        assert_eq!(self.vm.run("echo here"), "here");
        println!("| {what} | no reset in {QUIET:?} |");
    }

    fn device(&mut self, attribute: &str) -> String {
        let path = format!("/sys/class/watchdog/watchdog0/{attribute}");
        self.vm.run(&format!("cat {path}"))
    }

    /// kill -9, and systemd does not start it again.
    fn kill9_for_good(&mut self, name: &str) {
        let line = format!("rm /run/keep.{name} && kill -9 $(pidof nodemedic-{name})");
        self.vm.run(&line);
    }

    fn said(&self, words: &str) -> usize {
        self.vm.said().matches(words).count()
    }
}

/// Without a promise a frozen agent is no reason for anything.
fn a_frozen_agent_without_exclusive_work(site: &mut Site) {
    site.vm.run("kill -STOP $(pidof nodemedic-agent)");
    site.stays_up("agent frozen, no exclusive work");
    site.vm.run("kill -CONT $(pidof nodemedic-agent)");
    site.until_alive();
}

/// Nor is a dead one.
fn a_dead_agent_without_exclusive_work(site: &mut Site) {
    site.kill9_for_good("agent");
    site.stays_up("agent dead, no exclusive work");
    assert_eq!(site.device("state"), "active");
    site.vm.run("start agent");
    site.until_alive();
}

/// systemd starts the agent again: it takes its promise over, and the work never notices.
fn a_dead_agent_that_comes_back_in_time(site: &mut Site) {
    let promised = site.promised();
    let before = site.vm.run("pidof ledger");
    let sessions = site.said("session ");
    site.vm.run("kill -9 $(pidof nodemedic-agent)");
    wait_for("the next agent's beats", PLACED_BOUND, || {
        match site.said("session ") > sessions {
            true => Ok(()),
            false => Err("none yet".to_owned()),
        }
    });
    stays("the work goes on", promised, || {
        match site.vm.try_run("pidof ledger").output.trim() {
            pid if pid == before => site.unbitten(),
            pid => Err(format!("{before} became {pid}")),
        }
    });
    println!("| agent killed and started again | the work went on, pid {before} |");
}

/// The agent itself stops what it cannot renew; the watchdog has nothing to do.
fn a_broker_that_is_down_for_long(site: &mut Site) {
    site.fleet.kill9_coordinator();
    let took = site.until_gone(TERM + STOP_GRACE + JERK);
    println!("| broker down | stopped by the agent after {took:.1?} |");
    let struck = site.said("was killed;");
    site.stays_up("broker down, exclusive work");
    assert_eq!(site.said("was killed;"), struck, "the watchdog struck");
    site.fleet.start_coordinator();
    site.until_alive();
}

/// The promise of a dead agent is kept by killing; only what cannot be killed needs a reset.
fn a_dead_agent_with_exclusive_work(site: &mut Site) {
    let struck = site.said("was killed;");
    let promised = site.promised();
    site.kill9_for_good("agent");
    let took = site.until_gone(promised + JERK);
    println!("| agent dead, exclusive work | killed by the watchdog after {took:.1?} |");
    assert!(took >= STOP_GRACE, "before its grace: {took:?}");
    wait_for("the watchdog says so", PLACED_BOUND, || {
        match site.said("was killed;") > struck {
            true => Ok(()),
            false => Err("it says nothing".to_owned()),
        }
    });
    site.stays_up("agent dead, exclusive work");
    site.vm.run("start agent");
    site.until_alive();
}

/// An orderly stop of both, under a live promise: it is kept first, then the device is disarmed.
fn a_clean_stop(site: &mut Site) {
    let promised = site.promised();
    let stop = "rm /run/keep.agent && kill $(pidof nodemedic-agent)";
    site.vm.run(stop);
    let ended = |site: &Site, name: &str| {
        let line = format!("GUEST: {name} ended with status 0");
        match site.vm.said().trim_end().contains(&line) {
            true => Ok(()),
            false => Err("it runs".to_owned()),
        }
    };
    wait_for("the agent ends", PLACED_BOUND, || ended(site, "agent"));
    let began = Instant::now();
    site.vm
        .run("rm /run/keep.watchdog && kill $(pidof nodemedic-watchdog)");
    wait_for("the watchdog ends", promised + JERK, || {
        ended(site, "watchdog")
    });
    println!(
        "| clean stop, exclusive work | disarmed after {:.1?} |",
        began.elapsed()
    );
    assert!(!site.work_runs(), "a live promise was left behind");
    assert_eq!(site.device("state"), "inactive");
    site.stays_up("clean stop");
}

/// The work's own record, which is outside of the machine: no line of an older grant follows one of
/// a newer.
fn generations_rise(record: &str) {
    let mut last = 0;
    for line in record.lines() {
        let generation: u64 = (line.split(' ').next())
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("not a line of the ledger: {line}"));
        assert!(generation >= last, "{generation} after {last}");
        last = generation;
    }
    assert!(last > 0, "the ledger wrote nothing");
}

impl Site {
    /// Waits for the device to bite and the machine to be reset; when that was after `since`.
    fn until_reset(&self, since: Instant, bound: Duration) -> (Duration, Duration) {
        let after = |name: &str| {
            let heard = self.vm.heard(name);
            heard.into_iter().find(|at| *at > since)
        };
        let ((bite, reset), _) = wait_for("the device resets the machine", bound, || {
            match (after("WATCHDOG"), after("RESET")) {
                (Some(bite), Some(reset)) => Ok((bite, reset)),
                _ => Err(format!("{:?}", self.vm.events())),
            }
        });
        (bite - since, reset - since)
    }

    /// Waits until the journal says why the machine was reset: by the device, in that boot.
    fn until_reported(&self, boot_id: &str) {
        let told = |entry: &JournalEntry| {
            let JournalWhat::Node(event) = &entry.what else {
                return false;
            };
            let EventKind::WatchdogActed {
                device_reset,
                words: Some(words),
            } = &event.kind
            else {
                return false;
            };
            *device_reset
                && words.verdict == WatchdogVerdict::Reset
                && words.boot_id.to_string() == boot_id
        };
        let bound = PLACED_BOUND;
        wait_for("the journal says why", bound, || {
            let journal = self.fleet.journal()?;
            match journal.iter().any(told) {
                true => Ok(()),
                false => Err(format!("{journal:?}")),
            }
        });
    }

    fn last_words(&mut self) -> String {
        self.vm.run("cat /state/watchdog/last-words")
    }
}

/// It may thaw at any moment and act on what it believed before: so the machine is reset.
fn a_frozen_agent(site: &mut Site) {
    let boot_id = site.vm.run("cat /proc/sys/kernel/random/boot_id");
    let bound = site.promised();
    let from = Instant::now();
    site.vm.run("kill -STOP $(pidof nodemedic-agent)");
    let (bite, reset) = site.until_reset(from, bound + JERK);
    println!(
        "| agent frozen, exclusive work | bitten {bite:.1?}, reset {reset:.1?}, bound {bound:?} |"
    );
    assert!(bite >= STOP_GRACE, "before its grace: {bite:?}");
    site.vm.until_booted();
    println!("| ... up again | {:.1?} after the freeze |", from.elapsed());

    assert_eq!(site.device("bootstatus"), "32");
    let words = site.last_words();
    for line in ["version=1", &format!("boot_id={boot_id}"), "verdict=reset"] {
        assert!(words.lines().any(|l| l == line), "no {line} in {words}");
    }
    site.until_alive();
    site.until_reported(&boot_id);
}

/// What nobody feeds, bites.
fn a_dead_watchdog(site: &mut Site) {
    let from = Instant::now();
    site.kill9_for_good("watchdog");
    let (_, reset) = site.until_reset(from, TIMEOUT + JERK);
    println!("| watchdog dead | reset {reset:.1?}, bound {TIMEOUT:?} |");
}

/// Nothing of what an agent without work, a returning one and an orderly stop do resets it.
fn the_calm_machine() {
    let mut site = Site::start();
    a_frozen_agent_without_exclusive_work(&mut site);
    a_dead_agent_without_exclusive_work(&mut site);
    site.put_ledger();
    site.until_placed(0);
    a_dead_agent_that_comes_back_in_time(&mut site);
    a_clean_stop(&mut site);
    generations_rise(&site.vm.ledger());
}

/// A lost broker and a dead agent do not reset it; a frozen agent and a dead watchdog do.
fn the_struck_machine() {
    let mut site = Site::start();
    site.put_ledger();
    let first = site.until_placed(0);
    a_broker_that_is_down_for_long(&mut site);
    let second = site.until_placed(first);
    a_dead_agent_with_exclusive_work(&mut site);
    let third = site.until_placed(second);
    a_frozen_agent(&mut site);
    site.until_placed(third);
    a_dead_watchdog(&mut site);
    generations_rise(&site.vm.ledger());
}

#[test]
fn the_watchdog_resets_a_machine_for_a_broken_promise_and_for_nothing_else() {
    std::thread::scope(|both| {
        both.spawn(the_calm_machine);
        both.spawn(the_struck_machine);
    });
}
