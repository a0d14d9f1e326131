//! The guard with a pretended device and pretended hands, on virtual time.
#![cfg(test)]

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use nodemedic_watchdog::beat::{Beat, Promise, Status, Target};
use nodemedic_watchdog::device::Device;
use nodemedic_watchdog::enforce::Enforce;
use nodemedic_watchdog::guard::{End, Guard, SLACK_MS, Standing, VERIFY_MS};

/// The world that device and hands are of.
#[derive(Default)]
struct World {
    pings: Vec<u64>,
    disarmed: bool,
    now: u64,
    /// Processes of the one target there is.
    processes: usize,
    /// Signals do nothing: a process in uninterruptible sleep.
    stuck: bool,
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<World>>);

impl Device for Shared {
    fn ping(&mut self) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        let now = world.now;
        world.pings.push(now);
        Ok(())
    }
    fn disarm(&mut self) -> io::Result<()> {
        self.0.borrow_mut().disarmed = true;
        Ok(())
    }
    fn timeout_ms(&self) -> u64 {
        10_000
    }
    fn boot_status(&self) -> u32 {
        0x20
    }
}

impl Enforce for Shared {
    fn strike(&self, _: &Target) -> Result<usize, String> {
        let mut world = self.0.borrow_mut();
        let found = world.processes;
        if !world.stuck {
            world.processes = 0;
        }
        Ok(found)
    }
    fn look(&self, _: &Target) -> Result<usize, String> {
        Ok(self.0.borrow().processes)
    }
    fn is_self(&self, target: &Target) -> bool {
        *target == Target::Cgroup(String::from("/own"))
    }
}

type Hardware = Guard<Shared, Shared>;

fn guard(world: &Shared, hardware: bool, standing: Standing) -> Hardware {
    let standing = Standing {
        timeout_ms: 10_000,
        own_uid: 1000,
        ..standing
    };
    Guard::new(
        0,
        hardware.then(|| world.clone()),
        world.clone(),
        standing,
        &[],
    )
}

fn bytes(sequence: u64, deadlines: &[u64]) -> Vec<u8> {
    let promise = |deadline: &u64| Promise {
        deadline: *deadline,
        grace: 1000,
        target: Target::Cgroup(String::from("/work")),
    };
    let promises = deadlines.iter().map(promise).collect();
    Beat {
        session: 9,
        sequence,
        sent: sequence,
        next: 5000,
        leaving: false,
        promises,
    }
    .encode()
}

/// Turns the loop as often as it asks for, until a time.
fn run(world: &Shared, guard: &mut Hardware, until: u64) {
    loop {
        let now = world.0.borrow().now;
        guard.turn(now);
        let next = (now + guard.wait_ms(now)).min(until);
        world.0.borrow_mut().now = next;
        if now >= until {
            return;
        }
    }
}

#[test]
fn the_device_is_fed_at_half_its_timeout_with_and_without_an_agent() {
    let world = Shared::default();
    let mut guard = guard(&world, true, Standing::default());
    run(&world, &mut guard, 60_000);
    let pings = world.0.borrow().pings.clone();
    assert_eq!(pings[0], 0, "fed at once");
    assert!(pings.windows(2).all(|w| w[1] - w[0] <= 5100), "{pings:?}");
    assert!(pings.len() <= 14, "not more often than needed: {pings:?}");
}

#[test]
fn a_target_that_no_signal_ends_starves_the_device_within_the_time_that_was_answered() {
    let world = Shared::default();
    world.0.borrow_mut().processes = 1;
    world.0.borrow_mut().stuck = true;
    let mut guard = guard(&world, true, Standing::default());
    let answer = guard.receive(0, Some(1000), &bytes(1, &[20_000]));
    assert_eq!(
        (answer.status, answer.hardware, answer.live),
        (Status::Taken, true, 1)
    );
    assert_eq!(
        (answer.timeout, answer.boot_status),
        (10_000 + VERIFY_MS + SLACK_MS, 0x20)
    );
    run(&world, &mut guard, 120_000);
    let last = *world.0.borrow().pings.last().unwrap();
    assert!(last <= 21_000 + VERIFY_MS, "fed at {last}");
    assert!(
        last + 10_000 <= 21_000 + answer.timeout,
        "would reset too late"
    );
}

#[test]
fn a_target_that_dies_late_after_all_ends_the_starving() {
    let world = Shared::default();
    world.0.borrow_mut().processes = 1;
    world.0.borrow_mut().stuck = true;
    let mut guard = guard(&world, true, Standing::default());
    guard.receive(0, Some(1000), &bytes(1, &[0]));
    run(&world, &mut guard, 9000);
    world.0.borrow_mut().stuck = false;
    run(&world, &mut guard, 11_000);
    assert!(
        world.0.borrow().pings.iter().any(|at| *at >= 9000),
        "it is fed again"
    );
    assert_eq!(guard.receive(11_000, Some(1000), &bytes(2, &[])).live, 0);
}

#[test]
fn strangers_and_malformed_beats_change_nothing() {
    let world = Shared::default();
    let mut guard = guard(
        &world,
        false,
        Standing {
            agent_uid: Some(33),
            ..Standing::default()
        },
    );
    for uid in [None, Some(1), Some(65_534)] {
        let answer = guard.receive(0, uid, &bytes(1, &[5]));
        assert_eq!(
            (answer.status, answer.live, answer.session),
            (Status::NotAllowed, 0, 0)
        );
    }
    for uid in [0, 33, 1000] {
        let answer = guard.receive(0, Some(uid), &bytes(1 + u64::from(uid), &[9000]));
        assert_eq!(
            (answer.status, answer.live),
            (Status::Taken, 1),
            "uid {uid}"
        );
    }
    let answer = guard.receive(0, Some(0), b"nonsense");
    assert_eq!(
        (answer.status, answer.live, answer.session),
        (Status::Malformed, 1, 0)
    );
    let mut newer = bytes(2000, &[]);
    newer[4] = 2;
    let answer = guard.receive(0, Some(0), &newer);
    assert_eq!(
        (answer.status, answer.sequence),
        (Status::OtherVersion, 2000)
    );
    let own = Promise {
        deadline: 1,
        grace: 1,
        target: Target::Cgroup(String::from("/own")),
    };
    let promises = vec![own];
    let suicide = Beat {
        session: 9,
        sequence: 3000,
        sent: 9,
        next: 1,
        leaving: false,
        promises,
    };
    assert_eq!(
        guard.receive(0, Some(0), &suicide.encode()).status,
        Status::Malformed
    );
}

#[test]
fn a_stop_without_promises_disarms_at_once() {
    let world = Shared::default();
    let mut guard = guard(&world, true, Standing::default());
    guard.receive(0, Some(0), &bytes(1, &[]));
    assert_eq!(guard.end(1), None, "nobody asked");
    guard.stop();
    assert_eq!(guard.end(1), Some(End::Clean));
    assert!(world.0.borrow().disarmed);
}

#[test]
fn a_stop_under_live_promises_of_a_living_agent_hands_over_and_leaves_the_device_armed() {
    let world = Shared::default();
    let mut guard = guard(&world, true, Standing::default());
    world.0.borrow_mut().processes = 1;
    guard.receive(0, Some(0), &bytes(1, &[15_000]));
    guard.stop();
    guard.turn(100);
    assert_eq!(guard.end(100), Some(End::HandOver));
    assert!(!world.0.borrow().disarmed);
    assert_eq!(
        guard.beats().last().map(|beat| beat.promises.len()),
        Some(1)
    );
}

#[test]
fn a_stop_after_the_agent_died_keeps_its_promises_first() {
    let world = Shared::default();
    let mut guard = guard(&world, true, Standing::default());
    world.0.borrow_mut().processes = 1;
    guard.receive(0, Some(0), &bytes(1, &[15_000]));
    world.0.borrow_mut().now = 7000;
    guard.stop();
    run(&world, &mut guard, 15_900);
    assert_eq!(guard.end(15_900), None, "the promise is still open");
    run(&world, &mut guard, 16_100);
    assert_eq!(world.0.borrow().processes, 0);
    assert_eq!(guard.end(16_100), Some(End::Clean));
}

#[test]
fn a_stop_waits_for_no_target_that_is_over() {
    let world = Shared::default();
    let mut guard = guard(&world, false, Standing::default());
    world.0.borrow_mut().processes = 1;
    guard.receive(0, Some(0), &bytes(1, &[900_000]));
    guard.stop();
    guard.turn(7000);
    assert_eq!(guard.end(7000), None);
    world.0.borrow_mut().processes = 0;
    guard.turn(7100);
    assert_eq!(guard.end(7100), Some(End::Clean));
}

#[test]
fn a_stop_gives_up_on_what_no_signal_ends_and_says_that_it_failed() {
    let world = Shared::default();
    let mut guard = guard(&world, false, Standing::default());
    world.0.borrow_mut().processes = 1;
    world.0.borrow_mut().stuck = true;
    guard.receive(0, Some(0), &bytes(1, &[0]));
    guard.stop();
    run(&world, &mut guard, 20_900);
    assert_eq!(guard.end(20_900), None);
    run(&world, &mut guard, 21_100);
    assert_eq!(guard.end(21_100), Some(End::Unverified));
}
