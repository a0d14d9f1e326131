//! What comes before healing: modes, persons' pauses, the package manager, the order of units, the
//! turn of each.

use super::*;
use crate::config::Service;
use nodemedic_protocol::healing::Mode;
use nodemedic_protocol::health::{Component, Reason};

const HOUR: Millis = Millis::from_secs(3600);

fn in_mode(of_host: Mode, of_service: Mode) -> World {
    let mut config = config();
    config.healing.mode = of_host;
    for service in config.services.values_mut() {
        service.mode = of_service;
    }
    let mut world = World::new(config);
    let web = service("web");
    world.thing(&web).runs = Some(None);
    world.pass(Millis::from_secs(1));
    world
}

fn advice(world: &World) -> Vec<String> {
    let told = world.events.iter().filter_map(|e| match &e.kind {
        EventKind::Advised {
            verb,
            cause,
            command,
        } => Some(format!("{verb}: {command} ({cause})")),
        _ => None,
    });
    told.collect()
}

fn stands(world: &World, reason: &Reason) -> bool {
    let conditions = world.agent.status(world.now).conditions;
    conditions.iter().any(|c| c.reason == *reason)
}

#[test]
fn in_advise_it_is_told_once_what_would_be_done_and_nothing_is_done() {
    for (host, service_mode) in [(Mode::Advise, Mode::Act), (Mode::Act, Mode::Advise)] {
        let mut world = in_mode(host, service_mode);
        let web = service("web");
        world.kill(&web);
        world.pass(HOUR);
        assert_eq!(world.acts.len(), 0);
        assert_eq!(
            advice(&world),
            ["restart: /usr/bin/web (killed by signal 9)"]
        );
        assert_eq!(world.state(&web), "failing");
        assert!(stands(&world, &Reason::Down));
        let used = world.agent.status(world.now).services[0].restarts_used;
        assert_eq!(used, 0, "advice costs nothing");
        // Somebody follows it, and the next failure is told again.
        world.thing(&web).runs = Some(None);
        world.observe(&web);
        assert_eq!(world.state(&web), "running");
        assert!(!stands(&world, &Reason::Down));
        world.kill(&web);
        world.pass(HOUR);
        assert_eq!(advice(&world).len(), 2);
    }
}

#[test]
fn in_off_nothing_is_done_nor_advised_and_what_is_wrong_stands() {
    let mut world = in_mode(Mode::Off, Mode::Act);
    let web = service("web");
    world.kill(&web);
    world.pass(HOUR);
    assert_eq!((world.acts.len(), advice(&world).len()), (0, 0));
    assert!(stands(&world, &Reason::Down));
    world.input(Input::LinkUp);
    let birth = world.sent.iter().find_map(|m| match m {
        Message::Birth(birth) => Some(birth.labels.clone()),
        _ => None,
    });
    assert_eq!(birth.unwrap()["nodemedic.mode"], "off");
}

#[test]
fn a_mode_that_is_changed_to_act_heals_what_waits() {
    let mut world = in_mode(Mode::Advise, Mode::Act);
    let web = service("web");
    world.kill(&web);
    world.pass(HOUR);
    let mut next = world.config.clone();
    next.healing.mode = Mode::Act;
    world.config = next.clone();
    world.input(Input::Reconfigured(Box::new(next)));
    world.pass(Millis::from_secs(1));
    assert_eq!(world.verbs(&web), [Verb::Restart]);
    assert_eq!(world.state(&web), "running");
}

#[test]
fn works_of_the_fleet_are_healed_and_stopped_in_any_mode_and_pause() {
    let mut config = config();
    config.healing.mode = Mode::Off;
    let mut world = World::new(config);
    pause(&mut world, None, HOUR);
    world.acks = Some(Millis::from_secs(15));
    world.input(Input::LinkUp);
    world.assign(vec![run("db", exclusive(OnLeaseLoss::Stop), 1)]);
    world.pass(Millis::from_secs(1));
    world.kill(&work("db"));
    world.pass(Millis::from_secs(1));
    assert_eq!(world.verbs(&work("db")), [Verb::Start, Verb::Restart]);
    world.acks = None;
    world.pass(Millis::from_secs(30));
    assert_eq!(world.state(&work("db")), "Stopped(LeaseLost)");
}

pub(super) fn pause(world: &mut World, service: Option<&str>, span: Millis) {
    let service = service.map(|name| ServiceName::new(name).unwrap());
    world
        .agent
        .may_pause(service.as_ref(), span, "new disk")
        .unwrap();
    world.input(Input::Pause {
        service,
        span,
        reason: "new disk".to_string(),
    });
}

#[test]
fn a_pause_holds_everything_and_ends_by_itself() {
    for whom in [None, Some("web")] {
        let mut world = World::new(config());
        let web = service("web");
        world.pass(Millis::from_secs(1));
        pause(&mut world, whom, HOUR);
        world.kill(&web);
        world.pass(HOUR - Millis::from_secs(1));
        assert_eq!(world.verbs(&web), [Verb::Start]);
        assert_eq!(world.state(&web), "paused");
        assert!(stands(&world, &Reason::Paused));
        world.restart_agent();
        world.pass(Millis(500));
        assert_eq!(world.verbs(&web), [Verb::Start], "it outlives the agent");
        world.pass(Millis::from_secs(1));
        assert_eq!(world.verbs(&web), [Verb::Start, Verb::Restart]);
        assert!(!stands(&world, &Reason::Paused));
        let ends = |e: &EventKind| match e {
            EventKind::ConditionCleared {
                reason, because, ..
            } => *reason == Reason::Paused && because == "its time is over",
            _ => false,
        };
        assert_eq!(world.told(ends), 1);
    }
}

#[test]
fn a_pause_outlives_a_reboot_and_not_its_day() {
    let mut world = World::new(config());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    pause(&mut world, None, HOUR);
    world.reboot(7);
    world.pass(HOUR - Millis::from_secs(2));
    assert_eq!(
        world.verbs(&web),
        [Verb::Start],
        "the start at boot waits too"
    );
    world.pass(Millis::from_secs(2));
    assert_eq!(world.verbs(&web), [Verb::Start, Verb::Start]);
}

#[test]
fn a_person_ends_a_pause_and_only_one_that_is_there() {
    let mut world = World::new(config());
    let web = ServiceName::new("web").unwrap();
    world.pass(Millis::from_secs(1));
    assert!(world.agent.may_resume(None).is_err());
    pause(&mut world, None, HOUR);
    let error = world.agent.may_resume(Some(&web)).unwrap_err();
    assert!(error.contains("the whole host is paused"), "{error}");
    world.kill(&service("web"));
    world.input(Input::Resume { service: None });
    assert_eq!(world.count(&service("web"), Verb::Restart), 1);
    let other = ServiceName::new("other").unwrap();
    let day = Millis(25 * HOUR.0);
    for (whom, span, reason) in [
        (Some(&other), HOUR, "x"),
        (None, day, "x"),
        (None, Millis::ZERO, "x"),
        (None, HOUR, " "),
    ] {
        assert!(world.agent.may_pause(whom, span, reason).is_err());
    }
}

#[test]
fn what_an_administrator_stops_while_it_waits_is_not_started_after() {
    let mut world = World::new(config());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    pause(&mut world, None, HOUR);
    world.kill(&web);
    world.pass(Millis::from_secs(1));
    world.thing(&web).why_not = DownCause::StoppedByOther;
    world.observe(&web);
    world.pass(Millis(2 * HOUR.0));
    assert_eq!(world.verbs(&web), [Verb::Start]);
    assert_eq!(world.state(&web), "stopped by somebody else");
}

#[test]
fn healing_waits_for_the_package_manager_and_not_for_ever() {
    let mut world = World::new(config());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    world.input(Input::PackageManager { busy: true });
    world.kill(&web);
    for _ in 0..60 {
        world.pass(Millis::from_secs(30));
        world.input(Input::PackageManager { busy: true });
    }
    assert_eq!(world.verbs(&web), [Verb::Start], "half an hour");
    assert!(world.agent.waits_for_package_manager());
    world.input(Input::PackageManager { busy: false });
    assert_eq!(world.verbs(&web), [Verb::Start, Verb::Restart]);
    world.pass(Millis::from_secs(61));
    assert!(!stands(&world, &Reason::PackageManagerBusy));
    // It hangs.
    world.input(Input::PackageManager { busy: true });
    world.kill(&web);
    for _ in 0..119 {
        world.pass(Millis::from_secs(30));
        world.input(Input::PackageManager { busy: true });
    }
    assert_eq!(world.count(&web, Verb::Restart), 1);
    world.pass(Millis::from_secs(31));
    assert_eq!(world.count(&web, Verb::Restart), 2);
    world.kill(&web);
    world.input(Input::PackageManager { busy: true });
    world.pass(Millis::from_secs(5));
    assert_eq!(world.count(&web, Verb::Restart), 3, "it goes on without");
    world.input(Input::PackageManager { busy: false });
    assert!(!stands(&world, &Reason::PackageManagerBusy));
}

fn many(names: &[String]) -> Config {
    let mut config = config();
    config.services.clear();
    for name in names {
        let one = Service {
            run: Run::Systemd {
                unit: format!("{name}.service"),
            },
            ..given::service_of(name)
        };
        config
            .services
            .insert(ServiceName::new(name.as_str()).unwrap(), one);
    }
    config
}

fn of(names: &[&str]) -> World {
    let names: Vec<String> = names.iter().map(|n| (*n).to_string()).collect();
    let mut world = World::new(many(&names));
    for name in &names {
        world.thing(&service(name)).runs = Some(None);
    }
    world.pass(Millis::from_secs(1));
    world
}

fn order(world: &mut World, unit: &str, after: &[&str], requires: &[&str]) {
    let full = |names: &[&str]| names.iter().map(|n| format!("{n}.service")).collect();
    world.input(Input::Ordering {
        unit: service(unit),
        after: full(after),
        requires: full(requires),
    });
}

fn first_act(world: &World, name: &str) -> Option<Millis> {
    let of_it = world.acts.iter().find(|(_, a)| a.unit == service(name));
    of_it.map(|(at, _)| *at)
}

#[test]
fn a_unit_comes_back_after_the_one_that_it_requires() {
    let mut world = of(&["app", "db"]);
    order(&mut world, "app", &["db"], &["db"]);
    // The name of the database comes later in the alphabet; the order of units decides.
    for name in ["app", "db"] {
        world.thing(&service(name)).runs = None;
        world.thing(&service(name)).why_not = DownCause::Killed(9);
    }
    world.observe(&service("app"));
    world.observe(&service("db"));
    world.pass(Millis::from_secs(5));
    assert!(first_act(&world, "db") <= first_act(&world, "app"));
    assert_eq!(world.state(&service("app")), "running");
}

#[test]
fn a_unit_whose_required_one_was_stopped_by_an_administrator_waits_until_that_one_is_back() {
    let mut world = of(&["app", "db"]);
    order(&mut world, "app", &["db"], &["db"]);
    world.thing(&service("db")).runs = None;
    world.thing(&service("db")).why_not = DownCause::StoppedByOther;
    world.observe(&service("db"));
    world.kill(&service("app"));
    world.pass(HOUR);
    assert_eq!(world.acts.len(), 0, "its start would bring the other back");
    assert!(stands(&world, &Reason::Down));
    world.thing(&service("db")).runs = Some(None);
    world.observe(&service("db"));
    assert_eq!(world.verbs(&service("app")), [Verb::Restart]);
}

#[test]
fn a_unit_whose_required_one_does_not_come_up_is_tried_all_the_same_in_the_end() {
    let mut world = of(&["app", "db"]);
    order(&mut world, "app", &["db"], &["db"]);
    pause(&mut world, Some("db"), HOUR);
    world.kill(&service("db"));
    world.kill(&service("app"));
    world.pass(Millis::from_secs(299));
    assert_eq!(world.acts.len(), 0);
    world.pass(Millis::from_secs(2));
    assert_eq!(world.verbs(&service("app")), [Verb::Restart]);
}

#[test]
fn two_units_that_require_each_other_do_not_wait_for_each_other() {
    let mut world = of(&["app", "db"]);
    order(&mut world, "app", &["db"], &["db"]);
    order(&mut world, "db", &["app"], &["app"]);
    pause(&mut world, None, HOUR);
    world.kill(&service("app"));
    world.kill(&service("db"));
    world.input(Input::Resume { service: None });
    world.pass(Millis::from_secs(2));
    assert_eq!(world.acts.len(), 2);
}

#[test]
fn of_a_group_one_is_acted_on_at_a_time() {
    let mut world = of(&["db-1", "db-2", "db-3"]);
    let mut next = world.config.clone();
    for service in next.services.values_mut() {
        service.group = Some("db".to_string());
    }
    world.config = next.clone();
    world.input(Input::Reconfigured(Box::new(next)));
    for name in ["db-1", "db-2", "db-3"] {
        world.kill(&service(name));
    }
    world.pass(Millis::from_secs(5));
    let at: Vec<Millis> = world.acts.iter().map(|(at, _)| *at).collect();
    assert_eq!(at.len(), 3);
    assert!(at.windows(2).all(|w| w[1] - w[0] >= ACT_TAKES), "{at:?}");
}

/// Five hundred at once: never more than ten at a time, each gets its turn, the first ones first,
/// and a few that hang hold up nobody for longer than their own act may take.
#[test]
fn five_hundred_that_fail_at_once_neither_stampede_nor_starve() {
    let names: Vec<String> = (0..500).map(|n| format!("s-{n:03}")).collect();
    let mut world = World::new(many(&names));
    for name in &names {
        world.thing(&service(name)).runs = Some(None);
    }
    world.pass(Millis::from_secs(1));
    let mut most = 0;
    for name in &names {
        world.kill(&service(name));
        most = most.max(world.agent.status(world.now).healing.under_way);
    }
    let begin = world.elapsed;
    while world.acts.len() < 500 && world.elapsed - begin < Millis::from_secs(60) {
        world.pass(Millis(5));
        most = most.max(world.agent.status(world.now).healing.under_way);
    }
    assert_eq!((most, world.acts.len()), (10, 500));
    let order: Vec<String> = world.acts.iter().map(|(_, a)| a.unit.to_string()).collect();
    assert!(order.is_sorted(), "in the order in which they failed");
    let took = world.elapsed - begin;
    assert!(took <= Millis(500 / 10 * 25), "{took}");
    world.pass(Millis::from_secs(1));
    for name in &names {
        assert_eq!(world.state(&service(name)), "running");
    }
}

#[test]
fn what_is_told_of_a_pause_is_about_the_host_or_the_service() {
    let mut world = World::new(config());
    world.pass(Millis::from_secs(1));
    pause(&mut world, None, HOUR);
    pause(&mut world, Some("web"), HOUR);
    let conditions = world.agent.status(world.now).conditions;
    let about: Vec<Component> = conditions.iter().map(|c| c.component.clone()).collect();
    let web = ServiceName::new("web").unwrap();
    assert_eq!(about, [Component::Host, Component::Service(web)]);
    let status = world.agent.status(world.now);
    assert_eq!(status.level, nodemedic_protocol::Level::Healthy);
    assert_eq!(status.healing.paused.unwrap().reason, "new disk");
    assert!(status.services[0].paused.is_some());
}
