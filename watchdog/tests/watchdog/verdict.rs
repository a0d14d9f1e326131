//! The verdict on virtual time, in a pretended host: stories, and what holds in any course of
//! events.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Arguments;
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nodemedic_watchdog::beat::Promise;
use nodemedic_watchdog::table::{HELD_MAX, Held, Stage};
use nodemedic_watchdog::verdict::VERIFY_MS;
use nodemedic_watchdog::verdict::{Act, Guard, HEAR_MS, Host, LAST_RESORT, SLACK_MS, Settings};
use proptest::prelude::*;

use super::common::{Answer, Beat, Named, cgroup};

const AGENT: u32 = 700;
/// How often what was ended is looked at.
const LOOK_MS: u64 = 1000;

/// What there is: one agent, works by their cgroups, a device.
#[derive(Default)]
struct World {
    now: u64,
    alive: bool,
    held: Option<u32>,
    /// When the agent began, in ticks of 10 ms.
    start: u64,
    /// Signals do nothing to the agent: it hangs in the kernel.
    agent_stuck: bool,
    works: BTreeMap<String, usize>,
    /// Signals do nothing to works.
    stuck: bool,
    polite: bool,
    fed: Vec<u64>,
    disarmed: bool,
    rebooted: Vec<u64>,
    asked: Vec<u64>,
    table: Vec<u8>,
    words: Vec<(String, String)>,
    said: Vec<String>,
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<World>>);

impl Host for Shared {
    fn strike(&mut self, target: &Promise, signal: Option<Signal>) -> nix::Result<usize> {
        let mut world = self.0.borrow_mut();
        let world = &mut *world;
        let count = world.works.entry(target.path().unwrap().to_owned()).or_default();
        let found = *count;
        match signal {
            Some(Signal::SIGKILL) if !world.stuck => *count = 0,
            Some(Signal::SIGTERM) => {
                world.asked.push(world.now);
                *count = if world.polite { 0 } else { found };
            }
            _ => {}
        }
        Ok(found)
    }
    fn is_self(&self, target: &Promise) -> bool {
        target.path() == Some("/own")
    }
    fn hold(&mut self, pid: u64, began: [u64; 2]) -> nix::Result<u64> {
        let mut world = self.0.borrow_mut();
        let began = (began[0]..=began[1]).contains(&world.start);
        world.held = Some(AGENT).filter(|agent| u64::from(*agent) == pid && world.alive && began);
        world.held.map(|_| world.start).ok_or(Errno::ESRCH)
    }
    fn agent_lives(&self) -> bool {
        let world = self.0.borrow();
        world.alive && world.held.is_some()
    }
    fn act(&mut self, act: Act) -> nix::Result<()> {
        let mut world = self.0.borrow_mut();
        let now = world.now;
        match act {
            Act::Feed => world.fed.push(now),
            Act::Disarm => world.disarmed = true,
            Act::KillAgent => world.alive &= world.agent_stuck,
            Act::Reboot => world.rebooted.push(now),
        }
        Ok(())
    }
    fn keep(&mut self, table: &[u8]) -> nix::Result<()> {
        self.0.borrow_mut().table = table.to_vec();
        Ok(())
    }
    fn last_words(&mut self, _: u64, verdict: &str, target: &Promise, _: &str) {
        self.0.borrow_mut().words.push((verdict.to_owned(), target.to_string()));
    }
    fn say(&mut self, _: u8, line: Arguments<'_>) {
        self.0.borrow_mut().said.push(line.to_string());
    }
}

const HARDWARE: Settings = Settings {
    hardware: true,
    timeout_ms: 10_000,
    dry_run: false,
    uids: [0, 1000],
    flags: 0,
    boot_status: 0x20,
};
const SOFTWARE: Settings = Settings { hardware: false, ..HARDWARE };

/// A guard in its world, with an agent that beats only when it is told to.
struct Story {
    world: Shared,
    guard: Guard<Shared>,
    settings: Settings,
    session: u64,
    sequence: u64,
}

impl Story {
    fn of(settings: Settings) -> Story {
        let world = Shared::default();
        world.0.borrow_mut().alive = true;
        let guard = Guard::new(0, world.clone(), settings, &[]);
        Story { world, guard, settings, session: 9, sequence: 0 }
    }

    fn work(&self, name: &str) {
        self.world.0.borrow_mut().works.insert(name.to_owned(), 2);
    }

    fn runs(&self, name: &str) -> bool {
        self.world.0.borrow().works.get(name).is_some_and(|n| *n > 0)
    }

    fn now(&self) -> u64 {
        self.world.0.borrow().now
    }

    fn beat(&mut self, promises: &[Named]) -> Answer {
        self.sequence += 1;
        let (session, sequence, sent) = (self.session, self.sequence, self.now());
        let promises = promises.to_vec();
        let beat = Beat { session, sequence, sent, next: 3000, leaving: false, promises };
        Answer::of(&self.guard.receive(self.now(), AGENT, 0, &beat.encode()))
    }

    /// Turns as often as it asks for, until a time.
    fn until(&mut self, until: u64) {
        loop {
            let now = self.now();
            self.guard.turn(now);
            if now >= until {
                return;
            }
            let wait = self.guard.wait_ms(now);
            assert!((1..=1000).contains(&wait), "waits {wait} ms");
            self.world.0.borrow_mut().now = (now + wait).min(until);
        }
    }

    /// kill -9 of the watchdog, and its next run after so long.
    fn restart(&mut self, after: u64) {
        self.world.0.borrow_mut().now += after;
        self.world.0.borrow_mut().held = None;
        let table = self.world.0.borrow().table.clone();
        self.guard = Guard::new(self.now(), self.world.clone(), self.settings, &table);
    }

    fn die(&self) {
        self.world.0.borrow_mut().alive = false;
    }

    fn last_fed(&self) -> u64 {
        self.world.0.borrow().fed.last().copied().unwrap_or(0)
    }

    fn verdicts(&self) -> Vec<String> {
        self.world.0.borrow().words.iter().map(|(verdict, _)| verdict.clone()).collect()
    }
}

fn db(deadline: u64, grace: u64) -> Named {
    cgroup("/db", deadline, grace)
}

#[test]
fn the_device_is_fed_at_a_quarter_of_its_timeout_with_and_without_an_agent() {
    let mut story = Story::of(HARDWARE);
    story.until(60_000);
    let fed = story.world.0.borrow().fed.clone();
    assert_eq!(fed[0], 0, "at once");
    assert!(fed.windows(2).all(|w| w[1] - w[0] == 2500), "{fed:?}");
}

#[test]
fn a_promise_that_is_prolonged_in_time_is_never_touched() {
    let mut story = Story::of(HARDWARE);
    story.work("/db");
    for n in 0..100 {
        let answer = story.beat(&[db(n * 1000 + 15_000, 10_000)]);
        assert_eq!((answer.status, answer.live, answer.broken), (0, 1, 0));
        story.until((n + 1) * 1000);
    }
    assert!(story.runs("/db") && story.world.0.borrow().asked.is_empty());
    assert!(story.world.0.borrow().said.len() == 1, "{:?}", story.world.0.borrow().said);
}

#[test]
fn a_dead_agents_work_is_asked_at_the_deadline_killed_after_the_grace_and_no_reset() {
    let mut story = Story::of(HARDWARE);
    story.work("/db");
    story.beat(&[db(15_000, 10_000)]);
    story.until(1000);
    story.die();
    story.until(24_990);
    assert!(story.runs("/db"));
    let asked = story.world.0.borrow().asked.clone();
    assert!(asked.len() == 1 && (15_000..=16_000).contains(&asked[0]), "{asked:?}");
    story.until(25_040);
    assert!(!story.runs("/db"));
    assert_eq!(story.verdicts(), ["killed"]);
    story.until(60_000);
    assert!(story.last_fed() >= 55_000, "the device is fed as ever");
}

#[test]
fn a_work_that_ends_when_it_is_asked_is_not_killed() {
    let mut story = Story::of(SOFTWARE);
    story.work("/db");
    story.world.0.borrow_mut().polite = true;
    story.beat(&[db(5000, 5000)]);
    story.die();
    story.until(20_000);
    assert!(!story.runs("/db") && story.verdicts().is_empty());
    assert_eq!(story.guard.table.count(), (0, 0));
}

#[test]
fn a_restarted_agent_takes_the_promise_over_by_naming_it_with_a_later_deadline() {
    let mut story = Story::of(HARDWARE);
    story.work("/db");
    story.beat(&[db(15_000, 10_000)]);
    story.die();
    story.until(20_000);
    story.world.0.borrow_mut().alive = true;
    (story.session, story.sequence) = (10, 0);
    assert_eq!(story.beat(&[db(40_000, 10_000)]).status, 0);
    story.until(22_000);
    story.beat(&[db(40_000, 10_000)]);
    story.until(24_500);
    story.beat(&[db(40_000, 10_000)]);
    story.until(26_000);
    assert!(story.runs("/db") && story.verdicts().is_empty());
}

#[test]
fn a_new_session_cannot_withdraw_by_forgetting_but_by_naming_first() {
    let mut story = Story::of(SOFTWARE);
    story.work("/db");
    story.work("/web");
    story.beat(&[db(1000, 0), cgroup("/web", 1000, 0)]);
    (story.session, story.sequence) = (10, 0);
    assert_eq!(story.beat(&[cgroup("/web", 9000, 0)]).live, 2);
    assert_eq!(story.beat(&[]).live, 1);
    story.until(2000);
    assert!(story.runs("/web") && !story.runs("/db"));
}

#[test]
fn a_frozen_agent_with_a_work_that_runs_is_a_reset_without_delay() {
    let mut story = Story::of(HARDWARE);
    story.work("/db");
    let answer = story.beat(&[db(15_000, 10_000)]);
    assert_eq!((answer.enforcement, answer.boot_status), (1, 0x20));
    assert_eq!(answer.timeout, 10_000 + VERIFY_MS + SLACK_MS);
    story.until(80_000);
    assert!(story.runs("/db"), "what it would start again is left to the reset");
    assert!(story.world.0.borrow().alive);
    assert!(story.last_fed() < 25_000, "last fed at {}", story.last_fed());
    assert_eq!(story.verdicts()[0], "reset");
}

#[test]
fn a_frozen_agent_whose_work_is_gone_is_killed_and_the_host_is_spared() {
    let mut story = Story::of(HARDWARE);
    story.beat(&[db(15_000, 10_000)]);
    story.until(24_000);
    assert!(story.world.0.borrow().alive, "nothing is due");
    story.until(60_000);
    assert!(!story.world.0.borrow().alive);
    assert!(story.last_fed() >= 55_000);
    assert_eq!(story.guard.table.count(), (0, 0));
}

#[test]
fn an_agent_that_no_signal_ends_cannot_be_spared() {
    let mut story = Story::of(HARDWARE);
    story.world.0.borrow_mut().agent_stuck = true;
    story.beat(&[db(15_000, 10_000)]);
    story.until(60_000);
    assert!(story.last_fed() < 25_000 + VERIFY_MS);
    assert_eq!(story.verdicts()[0], "reset");
}

#[test]
fn a_frozen_agent_that_is_killed_by_others_in_time_saves_the_host() {
    let mut story = Story::of(HARDWARE);
    story.work("/db");
    story.beat(&[db(15_000, 10_000)]);
    story.until(27_000);
    assert!(story.last_fed() < 25_000);
    story.die();
    story.until(28_000);
    assert!(!story.runs("/db"));
    story.until(29_000);
    assert!(story.last_fed() >= 27_000, "fed again");
    assert_eq!(story.verdicts(), ["reset", "killed"]);
}

#[test]
fn without_a_device_the_frozen_agent_is_killed_first() {
    let mut story = Story::of(SOFTWARE);
    story.work("/db");
    story.beat(&[db(15_000, 10_000)]);
    story.until(25_100);
    assert!(!story.world.0.borrow().alive && !story.runs("/db"));
    assert_eq!(story.verdicts(), ["killed"]);
}

#[test]
fn without_a_device_a_stuck_frozen_agent_leads_to_the_last_resort() {
    let mut story = Story::of(Settings { flags: LAST_RESORT, ..SOFTWARE });
    story.world.0.borrow_mut().agent_stuck = true;
    story.work("/db");
    let answer = story.beat(&[db(15_000, 10_000)]);
    assert_eq!((answer.enforcement, answer.flags, answer.timeout), (2, 16, 10_000));
    story.until(31_000);
    let rebooted = story.world.0.borrow().rebooted.clone();
    assert!(rebooted.len() == 1 && (30_000..=30_500).contains(&rebooted[0]), "{rebooted:?}");
    assert_eq!(story.verdicts(), ["reboot"]);
}

#[test]
fn an_agent_that_beats_while_its_work_outlives_its_promise_is_not_killed() {
    let mut story = Story::of(HARDWARE);
    story.work("/db");
    for n in 0..30 {
        story.beat(&[db(15_000, 5000)]);
        story.until((n + 1) * 1000);
    }
    assert!(story.world.0.borrow().alive && !story.runs("/db"));
    assert_eq!(story.verdicts(), ["killed"]);
}

#[test]
fn a_work_that_no_signal_ends_is_a_reset_within_the_answered_time() {
    let mut story = Story::of(HARDWARE);
    story.work("/db");
    story.world.0.borrow_mut().stuck = true;
    let answer = story.beat(&[db(1000, 0)]);
    story.die();
    story.until(60_000);
    assert!(story.last_fed() < 1000 + VERIFY_MS);
    assert!(story.last_fed() + 10_000 <= 1000 + answer.timeout);
}

#[test]
fn what_was_ended_is_struck_again_until_a_session_says_otherwise() {
    let mut story = Story::of(HARDWARE);
    story.work("/db");
    story.beat(&[db(1000, 0)]);
    story.die();
    story.until(2000);
    assert!(!story.runs("/db"));
    for at in [5000, 20_000, 90_000] {
        story.until(at);
        story.work("/db");
        story.until(at + 1100);
        assert!(!story.runs("/db"), "started again at {at}");
    }
    story.world.0.borrow_mut().alive = true;
    (story.session, story.sequence) = (10, 0);
    story.beat(&[]);
    story.work("/db");
    story.until(93_000);
    assert!(!story.runs("/db"), "a session that does not know of it says nothing");
    story.beat(&[db(200_000, 0)]);
    story.work("/db");
    story.until(95_000);
    assert!(story.runs("/db"), "named with a deadline in the future");
}

#[test]
fn a_later_session_may_withdraw_what_was_ended() {
    let mut story = Story::of(SOFTWARE);
    story.work("/db");
    story.beat(&[db(1000, 0)]);
    story.die();
    story.until(2000);
    story.world.0.borrow_mut().alive = true;
    (story.session, story.sequence) = (10, 0);
    story.beat(&[db(1000, 0)]);
    story.beat(&[]);
    story.work("/db");
    story.until(4500);
    assert!(story.runs("/db"));
}

#[test]
fn without_promises_a_dead_or_frozen_agent_is_only_reported() {
    for dies in [false, true] {
        let mut story = Story::of(HARDWARE);
        story.work("/db");
        story.beat(&[]);
        if dies {
            story.die();
        }
        story.until(600_000);
        assert!(story.runs("/db") && story.world.0.borrow().alive != dies);
        assert!(story.last_fed() >= 595_000 && story.verdicts().is_empty());
        let said = story.world.0.borrow().said.clone();
        assert_eq!(said.iter().filter(|line| line.contains("no beat")).count(), 1, "{said:?}");
    }
}

#[test]
fn an_agent_that_froze_before_its_deadline_is_frozen_however_short_the_grace() {
    let mut story = Story::of(SOFTWARE);
    story.work("/db");
    story.until(2000);
    story.beat(&[db(3000, 500)]);
    story.until(3600);
    assert!(!story.world.0.borrow().alive && !story.runs("/db"), "its next beat was not yet due");
    assert_eq!(story.verdicts(), ["killed"]);
    let mut story = Story::of(HARDWARE);
    story.work("/db");
    story.beat(&[db(3000, 500)]);
    story.until(20_000);
    assert!(story.last_fed() <= 3500 && story.runs("/db"));
    assert_eq!(story.verdicts(), ["reset"]);
}

#[test]
fn an_agent_that_beats_at_its_deadline_is_not_killed_however_short_the_grace() {
    let mut story = Story::of(HARDWARE);
    story.work("/db");
    story.beat(&[db(3000, 500)]);
    story.until(3000);
    story.beat(&[db(3000, 500)]);
    story.until(3600);
    assert!(story.world.0.borrow().alive && !story.runs("/db"));
    assert_eq!(story.verdicts(), ["killed"]);
}

#[test]
fn a_process_that_began_after_the_beat_was_sent_did_not_send_it() {
    let mut story = Story::of(SOFTWARE);
    story.world.0.borrow_mut().now = 5000;
    story.world.0.borrow_mut().start = 501;
    assert_eq!(story.beat(&[db(9000, 0)]).status, 3);
    assert_eq!(story.guard.table.count(), (0, 0));
    assert!(!story.guard.host.agent_lives(), "nobody is held");
    story.world.0.borrow_mut().start = 500;
    assert_eq!(story.beat(&[db(9000, 0)]).status, 0);
}

#[test]
fn a_dry_run_judges_all_and_does_nothing() {
    let mut story = Story::of(Settings { dry_run: true, ..HARDWARE });
    story.work("/db");
    assert_eq!(story.beat(&[db(1000, 0)]).enforcement, 3);
    story.until(30_000);
    story.die();
    story.until(60_000);
    let world = story.world.0.borrow();
    assert!(world.works["/db"] == 2 && world.fed.is_empty() && world.asked.is_empty());
    assert_eq!(world.words, [("would-reset".to_owned(), "cgroup /db".to_owned())]);
    assert!(world.said.iter().any(|line| line.contains("would be killed")), "{:?}", world.said);
}

#[test]
fn three_fifths_of_the_time_are_warned_of_once() {
    let mut story = Story::of(SOFTWARE);
    story.work("/db");
    story.beat(&[db(15_000, 5000)]);
    let warned = |story: &Story| {
        let said = &story.world.0.borrow().said;
        said.iter().filter(|line| line.contains("8000 ms are left")).count()
    };
    story.until(11_990);
    assert_eq!(warned(&story), 0);
    story.until(15_000);
    assert_eq!(warned(&story), 1);
}

#[test]
fn strangers_stale_beats_and_suicide_are_refused() {
    let mut story = Story::of(Settings { uids: [33, 1000], ..SOFTWARE });
    let bytes = |sequence: u64, promises: Vec<Named>| {
        let (session, sent, next) = (9, 0, 3000);
        Beat { session, sequence, sent, next, leaving: false, promises }.encode()
    };
    let mut ask = |pid, uid, bytes: &[u8]| Answer::of(&story.guard.receive(0, pid, uid, bytes));
    for (pid, uid) in [(AGENT, 1), (AGENT, 65_534), (0, 0)] {
        let answer = ask(pid, uid, &bytes(1, vec![db(5, 0)]));
        assert_eq!((answer.status, answer.live, answer.session), (3, 0, 0));
    }
    for uid in [0, 33, 1000] {
        let answer = ask(AGENT, uid, &bytes(1 + u64::from(uid), vec![db(9000, 0)]));
        assert_eq!((answer.status, answer.live), (0, 1), "uid {uid}");
    }
    assert_eq!(ask(AGENT, 0, &bytes(1001, vec![])).status, 4, "the same sequence again");
    assert_eq!(ask(AGENT, 0, b"nonsense").status, 1);
    assert_eq!(ask(AGENT, 0, &bytes(2000, vec![cgroup("/own", 1, 0)])).status, 1);
    assert_eq!(ask(AGENT + 1, 0, &bytes(2000, vec![])).status, 4, "a second agent");
    let mut newer = bytes(3000, vec![]);
    newer[4] = 3;
    assert_eq!((ask(AGENT, 0, &newer).status, ask(AGENT, 0, &newer).sequence), (2, 3000));
    assert_eq!(story.guard.table.count(), (1, 0));
}

#[test]
fn more_promises_than_there_is_room_for_are_refused_whole() {
    let mut story = Story::of(SOFTWARE);
    for session in 1..=2 {
        (story.session, story.sequence) = (session, 0);
        let names = (0..32).map(|i| cgroup(&format!("/w{session}-{i}"), 9000, 0));
        assert_eq!(story.beat(&names.collect::<Vec<_>>()).status, 0);
    }
    assert_eq!(story.guard.table.held.len(), HELD_MAX);
    (story.session, story.sequence) = (3, 0);
    assert_eq!(story.beat(&[db(9000, 0)]).status, 5);
    story.session = 2;
    story.sequence = 1;
    assert_eq!(story.beat(&[db(9000, 0)]).status, 0, "its own make room");
}

#[test]
fn the_next_run_knows_all_and_gives_a_living_agent_time_to_speak() {
    let mut story = Story::of(SOFTWARE);
    story.work("/db");
    story.beat(&[db(5000, 0)]);
    story.until(1000);
    story.restart(60_000);
    assert_eq!(story.guard.table.count(), (1, 0));
    story.until(61_000 + HEAR_MS - 100);
    assert!(story.runs("/db"), "its lease may have been renewed in between");
    story.beat(&[db(90_000, 0)]);
    story.until(64_000);
    assert!(story.runs("/db"));
    story.die();
    story.restart(60_000);
    story.until(story.now());
    assert!(!story.runs("/db"), "nobody is there to speak");
}

#[test]
fn a_device_that_is_starved_goes_on_being_starved_by_the_next_run() {
    let mut story = Story::of(HARDWARE);
    story.work("/db");
    story.world.0.borrow_mut().stuck = true;
    story.beat(&[db(5000, 0)]);
    story.die();
    story.until(5000 + VERIFY_MS + 1500);
    assert_eq!(story.verdicts(), ["reset"]);
    let fed = story.last_fed();
    story.restart(500);
    story.until(story.now() + VERIFY_MS + 1000);
    assert_eq!(story.last_fed(), fed, "its reset does not begin to count anew");
    story.world.0.borrow_mut().stuck = false;
    story.until(story.now() + 1000);
    assert!(!story.runs("/db") && story.last_fed() > fed, "spared, the promise is kept");
}

#[test]
fn a_stop_without_promises_disarms_at_once() {
    let mut story = Story::of(HARDWARE);
    story.beat(&[]);
    assert_eq!(story.guard.end(1), None, "nobody asked");
    story.guard.stopping = true;
    assert_eq!(story.guard.end(1), Some(true));
    assert!(story.world.0.borrow().disarmed);
}

#[test]
fn a_stop_under_live_promises_of_an_agent_that_beats_hands_over_and_stays_armed() {
    let mut story = Story::of(HARDWARE);
    story.work("/db");
    story.beat(&[db(15_000, 0)]);
    story.guard.stopping = true;
    story.until(100);
    assert_eq!(story.guard.end(100), Some(true));
    assert!(!story.world.0.borrow().disarmed);
    story.restart(500);
    assert_eq!(story.guard.table.count(), (1, 0));
}

#[test]
fn a_stop_after_the_agent_died_keeps_its_promises_first() {
    let mut story = Story::of(HARDWARE);
    story.work("/db");
    story.beat(&[db(15_000, 0)]);
    story.die();
    story.guard.stopping = true;
    story.until(14_900);
    assert_eq!(story.guard.end(14_900), None, "the promise is still open");
    story.until(15_100);
    assert!(!story.runs("/db"));
    assert_eq!(story.guard.end(15_100), Some(true));
    assert!(story.world.0.borrow().disarmed);
}

#[test]
fn a_stop_gives_up_on_what_no_signal_ends_and_says_that_it_failed() {
    let mut story = Story::of(SOFTWARE);
    story.work("/db");
    story.world.0.borrow_mut().stuck = true;
    story.beat(&[db(1000, 0)]);
    story.die();
    story.guard.stopping = true;
    story.until(20_900);
    assert_eq!(story.guard.end(20_900), None);
    story.until(21_100);
    assert_eq!(story.guard.end(21_100), Some(false));
}

/// One step of a random course.
#[derive(Clone, Debug)]
enum Step {
    /// A beat that names these works with these deadlines (from now) and graces.
    Beat(Vec<(u8, u64, u64)>),
    Pass(u64),
    Freeze,
    Die,
    NewAgent,
    /// Something of a work runs (again).
    Appear(u8),
    Stuck(bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let one = (0u8..4, 0u64..20_000, 100u64..8000);
    prop_oneof![
        4 => prop::collection::vec(one, 0..4).prop_map(Step::Beat),
        6 => (1u64..4000).prop_map(Step::Pass),
        1 => Just(Step::Freeze),
        1 => Just(Step::Die),
        2 => Just(Step::NewAgent),
        3 => (0u8..4).prop_map(Step::Appear),
        1 => any::<bool>().prop_map(Step::Stuck),
        1 => Just(Step::Restart),
    ]
}

fn name(work: u8) -> String {
    format!("/{work}")
}

/// What the world knows of a course.
#[derive(Default)]
struct Model {
    /// Per work: whose promise it is, and when it is due.
    promises: BTreeMap<u8, (u64, u64)>,
    appeared: BTreeMap<u8, u64>,
    restarted: u64,
    frozen: bool,
}

impl Model {
    /// A beat of the living agent: what was broken stays the watchdog's, the rest is as it says.
    fn beat(&mut self, story: &mut Story, list: Vec<(u8, u64, u64)>) -> Result<(), TestCaseError> {
        let now = story.now();
        let list: BTreeMap<u8, (u64, u64)> =
            list.into_iter().map(|(work, d, g)| (work, (now + d, g))).collect();
        let named: Vec<Named> =
            list.iter().map(|(work, (d, g))| cgroup(&name(*work), *d, *g)).collect();
        // What the watchdog has in its own hands, and whether that is broken.
        let held = story
            .guard
            .table
            .held
            .iter()
            .filter(|h| h.stage == Stage::Broken || h.stage == Stage::Ended && h.acted);
        let path = |h: &Held| h.promise.path().map(str::to_owned);
        let ours: BTreeMap<String, bool> =
            held.filter_map(|h| Some((path(h)?, h.stage == Stage::Broken))).collect();
        prop_assert_eq!(story.beat(&named).status, 0);
        let session = story.session;
        self.promises.retain(|work, (holder, _)| {
            let stays = ours.contains_key(&name(*work)) || *holder != session;
            stays || list.contains_key(work)
        });
        for (work, (d, g)) in list {
            let held = self.promises.entry(work).or_insert((session, d + g));
            match ours.get(&name(work)) {
                Some(true) => {}
                Some(false) if d + g <= now => held.0 = session,
                _ => *held = (session, d + g),
            }
        }
        Ok(())
    }

    /// An agent that beats goes on saying what it said.
    fn says_it_again(&self, story: &mut Story) {
        let own = story.guard.table.held.iter().filter(|h| h.session == story.session);
        let same = own.filter_map(|h| {
            let (d, due) = (h.promise.deadline(), h.promise.due());
            Some(cgroup(h.promise.path()?, d, due - d))
        });
        let same: Vec<Named> = same.collect();
        story.beat(&same);
    }

    /// What must hold after each moment.
    fn check(
        &self,
        story: &Story,
        before: &BTreeMap<String, usize>,
        agent: bool,
    ) -> Result<(), TestCaseError> {
        let now = story.now();
        for (work, (_, due)) in &self.promises {
            // From when the present run of the watchdog could know of it.
            let seen = self.appeared.get(work).map_or(0, |at| at + LOOK_MS);
            let from = seen.max(*due).max(self.restarted);
            let late = now > from + story.settings.answered_ms();
            prop_assert!(!late || !story.runs(&name(*work)), "{work} of {due} runs at {now}");
        }
        for (work, n) in before {
            let id: u8 = work[1..].parse().unwrap();
            let due = self.promises.get(&id).is_some_and(|(_, due)| *due <= now);
            prop_assert!(*n == 0 || story.runs(work) || due, "{work} was killed at {now}");
        }
        if agent && !story.world.0.borrow().alive {
            prop_assert!(self.frozen, "an agent that beats was killed");
            let due = self.promises.values().any(|(_, due)| *due <= now);
            prop_assert!(due, "an agent was killed at {now} for nothing");
        }
        Ok(())
    }

    /// Lets time pass; false when the host is down.
    fn pass(&self, story: &mut Story, ms: u64) -> Result<bool, TestCaseError> {
        let until = story.now() + ms;
        while story.now() < until {
            let before = story.world.0.borrow().works.clone();
            let agent = story.world.0.borrow().alive;
            let (from, next) = (story.now(), (story.now() + 50).min(until));
            story.until(next);
            let up = match story.settings.hardware {
                true => story.last_fed() + 10_000 > next,
                false => story.world.0.borrow().rebooted.is_empty(),
            };
            if !up {
                return Ok(false);
            }
            self.check(story, &before, agent)?;
            // Each second, and at once when a deadline has come.
            let mut deadlines = story.guard.table.held.iter().map(|h| h.promise.deadline());
            let says = next % 1000 < 50 || deadlines.any(|at| (from..=next).contains(&at));
            drop(deadlines);
            if !self.frozen && story.world.0.borrow().alive && says {
                self.says_it_again(story);
            }
        }
        Ok(true)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// In any course of events, of what was ever named and not let go of:
    /// - beyond deadline, grace and answered time nothing of it runs on a host that is up (with a
    ///   device the host goes down within its timeout after it was last fed);
    /// - nothing that is not promised is ever killed, and an agent without a promise neither.
    #[test]
    fn a_promise_is_kept_in_time_and_nothing_else_is_touched(
        hardware in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let reboots = Settings { flags: LAST_RESORT, ..SOFTWARE };
        let settings = if hardware { HARDWARE } else { reboots };
        let (mut story, mut model) = (Story::of(settings), Model::default());
        for step in steps {
            match step {
                Step::Beat(list) => {
                    if story.world.0.borrow().alive && !model.frozen {
                        model.beat(&mut story, list)?;
                    }
                }
                Step::Pass(ms) => {
                    if !model.pass(&mut story, ms)? {
                        return Ok(());
                    }
                }
                Step::Freeze => model.frozen = true,
                Step::Die => story.die(),
                Step::NewAgent => {
                    story.world.0.borrow_mut().held = None;
                    story.world.0.borrow_mut().alive = true;
                    model.frozen = false;
                    (story.session, story.sequence) = (story.session + 1, 0);
                    story.beat(&[]);
                }
                Step::Appear(work) => {
                    story.work(&name(work));
                    model.appeared.insert(work, story.now());
                }
                Step::Stuck(stuck) => story.world.0.borrow_mut().stuck = stuck,
                Step::Restart => {
                    story.restart(200);
                    model.restarted = story.now();
                }
            }
        }
    }
}
