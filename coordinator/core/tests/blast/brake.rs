//! The storm brake: so many silent hosts at once are not believed.

use super::*;

#[test]
fn two_of_three_hosts_lost_at_once_move_nothing_until_a_person_says_that_it_is_real() {
    let (mut world, holder) = with_db(3);
    let other = others(&world, &holder)[0].clone();
    for name in [&holder, &other] {
        connect(&mut world, name, false);
    }
    world.until("engaged", 20, |w| brake(w) == BrakeState::Engaged);
    world.run(600);
    assert_eq!(by_time(&world), 0, "{}", world.tell());
    assert_eq!(told(&world, AlertState::Firing)[0], "fleet/mass-loss");
    let lost = |key: &&&str| key.ends_with("/lost") || **key == "fleet/mass-loss";
    let firing = told(&world, AlertState::Firing);
    assert_eq!(firing.iter().filter(lost).count(), 1, "{firing:?}");
    let db = &world.core().works_view(world.now)[0];
    assert!(
        db.waiting.iter().any(|w| w.contains("storm brake holds")),
        "{:?}",
        db.waiting
    );
    let view = world.core().status_view(world.now).brake;
    assert_eq!((view.threshold, view.hosts), (2, 3));
    assert_eq!(view.silent.len(), 2);
    world.ask(release(120)).unwrap();
    world.until("db elsewhere", 20, |w| w.serving("db") == 1);
    assert_eq!(by_time(&world), 1);
    world.run(120);
    assert_eq!(brakes(&world), ["engaged", "released", "ended"]);
    assert_eq!(brake(&world), BrakeState::Engaged);
    // One host comes back: below B. What is still true then is told.
    connect(&mut world, &other, true);
    world.until("lifted", 120, |w| brake(w) == BrakeState::Off);
    world.run(5);
    assert!(told(&world, AlertState::Resolved).contains(&"fleet/mass-loss"));
    let still = format!("node/{holder}/lost");
    assert!(told(&world, AlertState::Firing).contains(&still.as_str()));
    assert!(
        !world
            .told
            .iter()
            .any(|(key, _)| *key == format!("node/{other}/lost"))
    );
}

#[test]
fn one_of_three_and_one_of_two_fail_over_as_ever() {
    for many in [2, 3] {
        let (mut world, holder) = with_db(many);
        connect(&mut world, &holder, false);
        let took = world.until("db elsewhere", 60, |w| {
            w.serving("db") == 1 && w.holders("db") != [holder.as_str()]
        });
        assert!(took <= 45, "took {took} s");
        assert!(brakes(&world).is_empty());
    }
}

#[test]
fn when_all_hosts_fall_silent_it_is_us_and_their_return_is_the_end_of_it() {
    let (mut world, _) = with_db(5);
    for name in names(5) {
        connect(&mut world, &name, false);
    }
    world.run(900);
    assert_eq!(by_time(&world), 0);
    for name in names(5) {
        connect(&mut world, &name, true);
    }
    world.until("db serves", 60, |w| w.serving("db") == 1);
    world.until("lifted", 120, |w| brake(w) == BrakeState::Off);
    world.run(5);
    assert_eq!(by_time(&world), 0);
    assert!(world.open_alerts().is_empty(), "{:?}", world.open_alerts());
    assert!(!world.told.iter().any(|(key, _)| key.ends_with("/lost")));
}

#[test]
fn hosts_that_are_lost_one_after_another_engage_the_brake_at_the_second() {
    let (mut world, first) = with_db(6);
    for name in std::iter::once(first.clone())
        .chain(others(&world, &first))
        .take(4)
    {
        connect(&mut world, &name, false);
        world.run(45);
    }
    // The first one alone failed over; from the second on nothing moved by time.
    assert_eq!(by_time(&world), 1);
    assert_eq!(brakes(&world), ["engaged"]);
    let firing = told(&world, AlertState::Firing);
    let lost = firing.iter().filter(|key| key.ends_with("/lost")).count();
    assert_eq!(lost, 1, "{firing:?}");
}

#[test]
fn a_host_that_died_alone_long_ago_does_not_stop_the_next_fail_over() {
    let (mut world, first) = with_db(3);
    connect(&mut world, &first, false);
    world.until("db elsewhere", 60, |w| {
        w.serving("db") == 1 && w.holders("db") != [first.as_str()]
    });
    world.run(600);
    let second = world.holders("db")[0].to_string();
    connect(&mut world, &second, false);
    let took = world.until("db on the last one", 60, |w| {
        w.serving("db") == 1 && w.holders("db") != [second.as_str()]
    });
    assert!(took <= 50, "took {took} s");
    assert!(brakes(&world).is_empty(), "{}", world.tell());
    // Heard again, it counts again.
    connect(&mut world, &first, true);
    world.run(30);
    connect(&mut world, &first, false);
    world.until("engaged", 30, |w| brake(w) == BrakeState::Engaged);
}

#[test]
fn hosts_that_come_and_go_keep_the_brake_on() {
    let (mut world, holder) = with_db(4);
    let other = others(&world, &holder)[0].clone();
    connect(&mut world, &holder, false);
    for _ in 0..10 {
        connect(&mut world, &other, false);
        world.run(40);
        connect(&mut world, &other, true);
        world.run(20);
    }
    assert_eq!(by_time(&world), 0);
    assert_eq!(brakes(&world), ["engaged"]);
    // It stays, and the one that is really gone fails over.
    world.until("db elsewhere", 120, |w| w.serving("db") == 1);
    assert_eq!(brakes(&world), ["engaged", "lifted"]);
}

#[test]
fn a_rack_that_loses_power_fails_over_at_once() {
    let mut world = zones(100);
    let mut db = exclusive("db");
    db.node_labels = BTreeMap::from([("first".to_string(), "rack".to_string())]);
    for node in world.nodes.values_mut() {
        let in_first = node.zone.as_deref() == Some("rack-0");
        let label = if in_first { "rack" } else { "other" };
        node.labels.insert("first".into(), label.into());
        node.say_birth(world.now);
    }
    world.run(3);
    world.put(std::slice::from_ref(&db));
    world.until("db serves", 20, |w| w.serving("db") == 1);
    for node in world.nodes.values_mut() {
        if node.zone.as_deref() == Some("rack-0") {
            node.up = false;
        }
    }
    db.node_labels.clear();
    world.put(&[db]);
    let took = world.until("db elsewhere", 60, |w| w.serving("db") == 1);
    assert!(took <= 45, "took {took} s");
    assert!(brakes(&world).is_empty());
}

#[test]
fn a_third_of_a_large_fleet_is_a_storm() {
    let mut world = zones(100);
    world.put(&[exclusive("db")]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    let holder = world.holders("db")[0].to_string();
    connect(&mut world, &holder, false);
    for name in others(&world, &holder).iter().take(32) {
        connect(&mut world, name, false);
    }
    world.run(120);
    assert_eq!(by_time(&world), 0);
    assert_eq!(brakes(&world), ["engaged"]);
}

#[test]
fn a_coordinator_that_is_restarted_in_a_storm_goes_on_holding() {
    let (mut world, holder) = with_db(3);
    let other = others(&world, &holder)[0].clone();
    for name in [&holder, &other] {
        connect(&mut world, name, false);
    }
    world.until("engaged", 30, |w| brake(w) == BrakeState::Engaged);
    for _ in 0..5 {
        world.kill();
        world.run(10);
        world.start();
        assert_eq!(brake(&world), BrakeState::Engaged);
        world.run(100);
    }
    assert_eq!(by_time(&world), 0);
    assert_eq!(brakes(&world), ["engaged"]);
    world.ask(release(3600)).unwrap();
    world.kill();
    world.start();
    assert_eq!(brake(&world), BrakeState::Released);
    world.until("db elsewhere", 120, |w| w.serving("db") == 1);
    assert_eq!(by_time(&world), 1);
}

#[test]
fn a_storm_that_begins_while_the_coordinator_is_away_is_one_all_the_same() {
    let (mut world, holder) = with_db(3);
    let other = others(&world, &holder)[0].clone();
    world.kill();
    for name in [&holder, &other] {
        connect(&mut world, name, false);
    }
    world.run(60);
    world.start();
    world.run(300);
    assert_eq!(by_time(&world), 0);
    assert_eq!(brakes(&world), ["engaged"]);
}

#[test]
fn who_said_that_it_goes_is_drained_or_known_to_be_down_is_not_counted() {
    let (mut world, holder) = with_db(5);
    let others = others(&world, &holder);
    let now = world.now;
    let farewell = world
        .nodes
        .get_mut(&others[0])
        .unwrap()
        .farewell(now, Millis::from_secs(3600));
    world.message(&others[0], farewell, false);
    world.ask(drain(&others[1], true)).unwrap();
    world.until("drained", 20, |w| {
        matches!(scheduling(w, &others[1]), Scheduling::Drained(_))
    });
    for name in [&others[1], &others[2]] {
        connect(&mut world, name, false);
    }
    world.run(30);
    world
        .ask(Request::ConfirmDown {
            node: id(&others[2]),
            reason: "I pulled its plug".into(),
            by: "ada".into(),
        })
        .unwrap();
    connect(&mut world, &holder, false);
    let took = world.until("db elsewhere", 60, |w| {
        w.serving("db") == 1 && w.holders("db") != [holder.as_str()]
    });
    assert!(took <= 45, "took {took} s");
    assert!(brakes(&world).is_empty(), "{}", world.tell());
    // The one that was down is heard, and falls silent again: now it counts.
    connect(&mut world, &others[2], true);
    world.run(30);
    connect(&mut world, &others[2], false);
    world.run(40);
    assert_eq!(brakes(&world), ["engaged"]);
}

#[test]
fn in_a_storm_no_drain_begins_that_a_host_asks_for_and_giving_back_goes_on() {
    let mut many = settings();
    many.budget.percent = 90;
    let names = names(6);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::with(&names, many);
    world.run(5);
    world.ask(drain("node-1", false)).unwrap();
    world.nodes.get_mut("node-2").unwrap().drain_wanted = Some("disk dies".into());
    world.until("both out", 10, |w| is_out_by_drain(w, "node-2"));
    for name in ["node-5", "node-6"] {
        connect(&mut world, name, false);
    }
    world.until("engaged", 30, |w| brake(w) == BrakeState::Engaged);
    world.nodes.get_mut("node-3").unwrap().drain_wanted = Some("disk dies".into());
    world.run(30);
    let why = waits_for(&world, "node-3");
    assert!(why[0].contains("the storm brake holds"), "{why:?}");
    // Persons' words count, what is under way goes on, and giving back is never held.
    world.ask(drain("node-4", false)).unwrap();
    assert!(is_out_by_drain(&world, "node-4"));
    assert!(is_out_by_drain(&world, "node-2"));
    undrain(&mut world, "node-1");
    world.nodes.get_mut("node-2").unwrap().drain_wanted = None;
    world.until("open", 10, |w| {
        scheduling(w, "node-1") == Scheduling::Open && scheduling(w, "node-2") == Scheduling::Open
    });
    assert_eq!(brake(&world), BrakeState::Engaged);
}

#[test]
fn a_stop_that_is_confirmed_and_a_reboot_count_in_a_storm_too() {
    let (mut world, holder) = with_db(6);
    let silent: Vec<String> = others(&world, &holder).into_iter().take(2).collect();
    for name in &silent {
        connect(&mut world, name, false);
    }
    world.until("engaged", 30, |w| brake(w) == BrakeState::Engaged);
    let now = world.now;
    world.nodes.get_mut(&holder).unwrap().reboot(now);
    let rebooted = |d: &Decision| {
        let proof = Proof::Rebooted;
        matches!(d, Decision::Ended { proof: p, .. } if *p == proof)
    };
    world.until("db serves", 20, |w| {
        w.decisions().any(rebooted) && w.serving("db") == 1
    });
    let holder = world.holders("db")[0].to_string();
    world.ask(drain(&holder, true)).unwrap();
    world.until("db elsewhere", 20, |w| {
        w.serving("db") == 1 && w.holders("db") != [holder.as_str()]
    });
    assert_eq!(by_time(&world), 0);
}

#[test]
fn the_others_of_a_partition_are_counted_before_the_first_lease_of_it_counts_as_ended() {
    // Everything is as short as it may be, so that time alone would prove the end long before.
    let mut short = settings();
    short.lease.term = Millis::from_secs(2);
    short.lease.margin = Millis::ZERO;
    short.liveness.suspect_after = Millis::from_secs(15);
    short.liveness.lost_after = Millis(15_001);
    for shift in 0..10 {
        let mut world = World::with(&["node-1", "node-2", "node-3"], short.clone());
        world.run(5);
        let mut db = exclusive("db");
        db.stop_grace = Millis::ZERO;
        world.put(&[db]);
        world.until("db serves", 20, |w| w.serving("db") == 1);
        let holder = world.holders("db")[0].to_string();
        let other = others(&world, &holder)[0].clone();
        // The holder's cut is noticed up to one heartbeat before the other's.
        connect(&mut world, &holder, false);
        for _ in 0..shift {
            world.step();
        }
        connect(&mut world, &other, false);
        world.run(120);
        assert_eq!(by_time(&world), 0, "cut {shift} steps apart");
    }
}

#[test]
fn a_release_needs_a_storm_a_reason_and_a_sane_time() {
    let mut world = fleet(3);
    assert!(matches!(world.ask(release(60)), Err(Refused::Conflict(_))));
    for span in [0, 90_000] {
        assert!(matches!(world.ask(release(span)), Err(Refused::Bad(_))));
    }
    let silent = Request::ReleaseBrake {
        span: Millis::from_secs(60),
        reason: " ".into(),
    };
    assert!(matches!(world.ask(silent), Err(Refused::Bad(_))));
}

#[test]
fn kept_work_of_a_storm_moves_on_a_persons_word_about_the_host() {
    let mut world = fleet(3);
    let mut db = exclusive("db");
    db.sharing = Sharing::Exclusive {
        on_lease_loss: OnLeaseLoss::Keep,
    };
    world.put(&[db]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    let holder = world.holders("db")[0].to_string();
    let other = others(&world, &holder)[0].clone();
    world.nodes.get_mut(&holder).unwrap().up = false;
    connect(&mut world, &other, false);
    world.until("engaged", 30, |w| brake(w) == BrakeState::Engaged);
    world
        .ask(Request::ConfirmDown {
            node: id(&holder),
            reason: "I pulled its plug".into(),
            by: "ada".into(),
        })
        .unwrap();
    world.until("db elsewhere", 20, |w| w.serving("db") == 1);
    world.until("lifted", 90, |w| brake(w) == BrakeState::Off);
}
