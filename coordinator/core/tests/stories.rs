//! Stories of small fleets on virtual time: what happens, and what must be seen.
#![cfg(test)]

mod common;

use common::{World, exclusive, id, replicated, settings};
use nodemedic_coordinator_core::{Input, Refused, Request};
use nodemedic_protocol::api::{Accepted, AlertState, Decision, Liveness, Proof, Scheduling};
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::message::{CoordinatorState, Message};
use nodemedic_protocol::work::{Enforcement, OnLeaseLoss, Sharing};
use nodemedic_protocol::{Boottime, Component, Condition, Epoch, Millis, Severity, WorkName};

fn drain(node: &str, deadline: Option<u64>) -> Request {
    Request::Drain {
        node: id(node),
        reason: "new memory".into(),
        deadline: deadline.map(Millis::from_secs),
        override_budget: false,
    }
}

fn settled(nodes: &[&str]) -> World {
    let mut world = World::new(nodes);
    world.run(5);
    world.put(&[exclusive("db"), replicated("web", 2)]);
    let web = nodes.len().min(2);
    let so = |w: &World| w.serving("db") == 1 && w.serving("web") == web;
    world.until("db and web serve", 20, so);
    world
}

fn ended_by(world: &World, wanted: impl Fn(&Proof) -> bool) -> usize {
    let ends = world.decisions().filter_map(|d| match d {
        Decision::Ended { proof, .. } => Some(proof),
        _ => None,
    });
    ends.filter(|proof| wanted(proof)).count()
}

#[test]
fn works_are_placed_and_spread() {
    let world = settled(&["node-1", "node-2", "node-3"]);
    assert_eq!(world.holders("db").len(), 1);
    assert_eq!(world.holders("web").len(), 2);
    // Least loaded: the three holders are on three nodes.
    let mut all = world.holders("db");
    all.extend(world.holders("web"));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 3);
}

#[test]
fn the_work_of_a_lost_node_moves_after_its_lease_has_provably_ended_and_not_before() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let victim = world.holders("db")[0].to_string();
    world.nodes.get_mut(&victim).unwrap().up = false;
    let lost = world.until("lost", 40, |w| w.liveness(&victim) == Liveness::Lost);
    assert!(lost >= 28, "lost after {lost} s");
    world.until("db elsewhere", 60, |w| w.serving("db") == 1);
    assert_ne!(world.holders("db"), [victim.as_str()]);
    assert_eq!(ended_by(&world, |p| *p == Proof::LeaseEnded), 1);
    let granted =
        |d: &&Decision| matches!(d, Decision::Granted { work, .. } if work.as_str() == "db");
    assert_eq!(world.decisions().filter(granted).count(), 2);
}

#[test]
fn a_shorter_term_in_a_new_configuration_shortens_no_promise_that_was_given() {
    let mut long = settings();
    long.lease.term = Millis::from_secs(120);
    let mut world = World::with(&["node-1", "node-2"], long);
    world.run(5);
    world.put(&[exclusive("db")]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    let victim = world.holders("db")[0].to_string();
    world.kill();
    world.settings.lease.term = Millis::from_secs(1);
    world.nodes.get_mut(&victim).unwrap().up = false;
    world.start();
    let took = world.until("db elsewhere", 300, |w| w.serving("db") == 1);
    assert!(took >= 120, "moved after {took} s, promised were 120 s");
}

#[test]
fn work_that_is_kept_moves_only_on_a_persons_word() {
    let mut world = World::new(&["node-1", "node-2"]);
    let mut db = exclusive("db");
    db.sharing = Sharing::Exclusive {
        on_lease_loss: OnLeaseLoss::Keep,
    };
    world.put(&[db]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    let victim = world.holders("db")[0].to_string();
    let word = |world: &mut World| {
        world.ask(Request::ConfirmDown {
            node: id(&victim),
            reason: "I pulled its plug".into(),
            by: "ada".into(),
        })
    };
    assert!(
        matches!(word(&mut world), Err(Refused::Conflict(_))),
        "it is alive"
    );
    world.nodes.get_mut(&victim).unwrap().up = false;
    world.run(600);
    assert_eq!(world.serving("db"), 0, "nothing proves that it stopped");
    let waiting = &world.core().works_view(world.now)[0].waiting;
    assert!(
        waiting.iter().any(|w| w.contains("confirm-down")),
        "{waiting:?}"
    );
    word(&mut world).unwrap();
    world.until("db elsewhere", 20, |w| w.serving("db") == 1);
    assert_eq!(
        ended_by(
            &world,
            |p| matches!(p, Proof::PersonsWord { by, .. } if by == "ada")
        ),
        1
    );
}

#[test]
fn without_a_watchdog_time_proves_nothing() {
    let mut world = World::new(&["node-1", "node-2"]);
    for node in world.nodes.values_mut() {
        node.enforcement = Enforcement::None;
        node.say_birth(world.now);
    }
    world.put(&[exclusive("db")]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    let victim = world.holders("db")[0].to_string();
    world.nodes.get_mut(&victim).unwrap().connected = false;
    world.run(600);
    assert_eq!(ended_by(&world, |_| true), 0);
    // Its agent stopped the work by its own lease, and says so when it can.
    world.nodes.get_mut(&victim).unwrap().connected = true;
    world.until("db serves", 60, |w| w.serving("db") == 1);
    assert_eq!(ended_by(&world, |p| *p == Proof::StopConfirmed), 1);
}

#[test]
fn a_reboot_frees_its_grants_at_once() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let victim = world.holders("db")[0].to_string();
    let now = world.now;
    world.nodes.get_mut(&victim).unwrap().reboot(now);
    let took = world.until("db serves again", 20, |w| {
        ended_by(w, |p| *p == Proof::Rebooted) >= 1 && w.serving("db") == 1
    });
    assert!(took <= 10, "took {took} s");
}

#[test]
fn a_message_of_an_old_boot_does_not_make_a_host_look_rebooted() {
    let mut world = settled(&["node-1", "node-2"]);
    let victim = world.holders("db")[0].to_string();
    // A birth of another boot was under way for days; the host cannot answer for that boot.
    let mut old = common::node::FakeNode::new(&victim);
    old.boot = 99;
    let now = world.now;
    old.say_birth(now);
    for message in old.tick(now) {
        world.message(&victim, message, false);
    }
    world.run(60);
    assert_eq!(ended_by(&world, |_| true), 0, "{}", world.tell());
    assert_eq!(world.holders("db"), [victim.as_str()]);
}

#[test]
fn a_reboot_is_believed_over_a_broker_that_is_slower_than_the_asking() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let victim = world.holders("db")[0].to_string();
    world.slow = world.settings.commands.resend_after + world.settings.commands.resend_after;
    let now = world.now;
    world.nodes.get_mut(&victim).unwrap().reboot(now);
    world.until("the new boot is known", 60, |w| {
        let session = &w.store.nodes[&id(&victim)].session;
        *session == w.nodes[&victim].session()
    });
}

#[test]
fn an_agent_restart_changes_nothing() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let grants = world.store.grants.clone();
    let now = world.now;
    for node in world.nodes.values_mut() {
        node.restart_agent(now);
    }
    world.run(60);
    assert_eq!(world.store.grants, grants);
}

#[test]
fn a_drain_moves_replicated_work_without_a_gap_and_ends_when_all_stops_are_proved() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let victim = world.holders("web")[0].to_string();
    world.ask(drain(&victim, None)).unwrap();
    for _ in 0..120 {
        world.step();
        assert!(world.serving("web") >= 2, "a gap\n{}", world.tell());
        let view = world.core().node_view(world.now, &id(&victim)).unwrap();
        if matches!(view.scheduling, Scheduling::Drained(_)) {
            assert!(view.works.is_empty());
            assert!(!world.holders("web").contains(&victim.as_str()));
            assert!(!world.holders("db").contains(&victim.as_str()));
            return;
        }
    }
    panic!("not drained\n{}", world.tell());
}

#[test]
fn work_with_no_other_place_stays_until_the_deadline() {
    let mut world = World::new(&["node-1"]);
    world.put(&[exclusive("db")]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    world.nodes.get_mut("node-1").unwrap().sticks = Some(WorkName::new("db").unwrap());
    let alone = Request::Drain {
        node: id("node-1"),
        reason: "new memory".into(),
        deadline: Some(Millis::from_secs(60)),
        override_budget: true,
    };
    world.ask(alone).unwrap();
    world.run(50);
    assert_eq!(world.serving("db"), 1);
    let view = world.core().node_view(world.now, &id("node-1")).unwrap();
    let Scheduling::Draining(drain) = view.scheduling else {
        panic!("{:?}", view.scheduling)
    };
    assert!(
        drain.waiting[0].contains("no other node fits"),
        "{:?}",
        drain.waiting
    );
    // It does not stop: the drain is overdue, and not done however long it takes.
    world.run(60);
    let view = world.core().node_view(world.now, &id("node-1")).unwrap();
    assert!(matches!(view.scheduling, Scheduling::Draining(_)));
    let overdue = ("node/node-1/drain-overdue".to_string(), Severity::Warning);
    assert!(world.open_alerts().contains(&overdue));
    world.nodes.get_mut("node-1").unwrap().sticks = None;
    world.until("drained", 20, |w| {
        let view = w.core().node_view(w.now, &id("node-1")).unwrap();
        matches!(view.scheduling, Scheduling::Drained(_))
    });
    assert!(!world.open_alerts().contains(&overdue));
    world.ask(Request::Undrain { node: id("node-1") }).unwrap();
    world.until("db serves", 20, |w| w.serving("db") == 1);
}

#[test]
fn work_that_cannot_be_healed_moves_and_comes_back_only_after_a_person_says_so() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let victim = world.holders("db")[0].to_string();
    let node = world.nodes.get_mut(&victim).unwrap();
    node.breaks = Some(WorkName::new("db").unwrap());
    node.drain_wanted = Some("db is fenced".into());
    world.until("db elsewhere", 20, |w| {
        w.serving("db") == 1 && w.holders("db") != [victim.as_str()]
    });
    let key = format!("work/db/fenced/{victim}");
    assert!(
        world
            .open_alerts()
            .iter()
            .any(|(k, s)| *k == key && *s == Severity::Critical)
    );
    world.until("drained by its agent", 60, |w| {
        let view = w.core().node_view(w.now, &id(&victim)).unwrap();
        matches!(view.scheduling, Scheduling::Drained(_))
    });
    // The agent does not want it any more: the same one that asked takes it back.
    let node = world.nodes.get_mut(&victim).unwrap();
    node.breaks = None;
    node.drain_wanted = None;
    world.until("open", 10, |w| {
        let view = w.core().node_view(w.now, &id(&victim)).unwrap();
        view.scheduling == Scheduling::Open
    });
    assert!(
        world.open_alerts().iter().any(|(k, _)| *k == key),
        "still fenced for db"
    );
    world.ask(Request::Undrain { node: id(&victim) }).unwrap();
    world.step();
    assert!(!world.open_alerts().iter().any(|(k, _)| *k == key));
}

#[test]
fn a_person_overrules_the_wish_of_an_agent_until_it_is_a_new_wish() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let open = |w: &World| {
        let view = w.core().node_view(w.now, &id("node-1")).unwrap();
        view.scheduling == Scheduling::Open
    };
    world.nodes.get_mut("node-1").unwrap().drain_wanted = Some("disk dies".into());
    world.until("draining", 10, |w| !open(w));
    world.ask(Request::Undrain { node: id("node-1") }).unwrap();
    world.run(30);
    assert!(open(&world));
    world.nodes.get_mut("node-1").unwrap().drain_wanted = None;
    world.run(10);
    world.nodes.get_mut("node-1").unwrap().drain_wanted = Some("disk dies again".into());
    world.until("draining", 10, |w| !open(w));
}

#[test]
fn a_restarted_coordinator_takes_nothing_out_on_silence_before_its_grace_is_over() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let victim = world.holders("db")[0].to_string();
    world.kill();
    world.nodes.get_mut(&victim).unwrap().connected = false;
    world.start();
    let grace = world.core().status_view(world.now).resume_grace_left;
    // term 20 + stop grace 5 + timeout 5, by a slow clock, and the margin
    assert_eq!(grace, Millis(30_000 + 300 + 2_000));
    world.run(grace.0 / 1000 - 1);
    assert_eq!(world.liveness(&victim), Liveness::Unheard);
    assert_eq!(ended_by(&world, |_| true), 0);
    assert!(world.open_alerts().is_empty(), "{:?}", world.open_alerts());
    world.until("db elsewhere", 60, |w| w.serving("db") == 1);
}

#[test]
fn a_coordinator_that_was_away_for_long_disturbs_no_replicated_work() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let grants: Vec<_> = world.store.grants.keys().cloned().collect();
    world.kill();
    world.run(3600);
    assert_eq!(world.holders("web").len(), 2);
    assert_eq!(
        world.holders("db").len(),
        0,
        "its lease ended, as its owner chose"
    );
    world.start();
    world.until("db serves", 90, |w| w.serving("db") == 1);
    let now: Vec<_> = world.store.grants.keys().cloned().collect();
    for key in grants.iter().filter(|k| k.work.as_str() == "web") {
        assert!(now.contains(key), "{key:?} was disturbed");
    }
}

#[test]
fn a_will_of_an_old_session_and_a_late_one_of_the_current_are_hints_at_most() {
    let mut world = settled(&["node-1", "node-2"]);
    let now = world.now;
    let old = world.nodes["node-1"].will(now);
    world.nodes.get_mut("node-1").unwrap().restart_agent(now);
    world.run(5);
    world.message("node-1", old, true);
    assert_eq!(world.liveness("node-1"), Liveness::Alive);
    let will = world.nodes["node-1"].will(world.now);
    world.message("node-1", will, false);
    assert_eq!(world.liveness("node-1"), Liveness::Suspect);
    world.run(5);
    assert_eq!(world.liveness("node-1"), Liveness::Alive);
}

#[test]
fn a_planned_absence_raises_nothing_until_its_time_is_over() {
    let mut world = World::new(&["node-1", "node-2", "node-3"]);
    world.put(&[replicated("web", 2)]);
    world.until("web serves", 20, |w| w.serving("web") == 2);
    let victim = world.holders("web")[0].to_string();
    let now = world.now;
    let node = world.nodes.get_mut(&victim).unwrap();
    let farewell = node.farewell(now, Millis::from_secs(300));
    world.message(&victim, farewell, false);
    world.run(290);
    assert_eq!(world.liveness(&victim), Liveness::Away);
    assert!(world.open_alerts().is_empty(), "{:?}", world.open_alerts());
    world.run(30);
    assert_eq!(world.liveness(&victim), Liveness::Lost);
    let lost = format!("node/{victim}/lost");
    assert!(world.open_alerts().iter().any(|(k, _)| *k == lost));
}

#[test]
fn an_alert_is_told_once_and_its_end_too_however_long_the_receiver_is_away() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    world.receiver_fails = true;
    world.nodes.get_mut("node-3").unwrap().up = false;
    world.until("lost", 60, |w| w.liveness("node-3") == Liveness::Lost);
    world.run(900);
    assert!(world.told.is_empty());
    world.receiver_fails = false;
    world.run(400);
    let key = "node/node-3/lost".to_string();
    assert_eq!(world.told.iter().filter(|(k, _)| *k == key).count(), 1);
    // A restart tells nothing again.
    world.kill();
    world.start();
    world.run(120);
    assert_eq!(world.told.iter().filter(|(k, _)| *k == key).count(), 1);
    let now = world.now;
    world.nodes.get_mut("node-3").unwrap().reboot(now);
    world.until("told", 60, |w| {
        w.told.contains(&(key.clone(), AlertState::Resolved))
    });
    assert_eq!(world.told.iter().filter(|(k, _)| *k == key).count(), 2);
    world.run(1);
    assert!(world.core().alerts_view().iter().all(|a| a.delivered));
}

fn forget(world: &mut World, node: &str, reason: &str) -> Result<Accepted, Refused> {
    world.ask(Request::Forget {
        node: id(node),
        reason: reason.into(),
    })
}

fn refused(answer: Result<Accepted, Refused>, what: &str) {
    let Err(Refused::Conflict(text)) = answer else {
        panic!("not refused: {answer:?}")
    };
    assert!(text.contains(what), "{text}");
}

#[test]
fn a_node_that_is_gone_is_forgotten_with_its_alerts_and_comes_back_as_a_new_one() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let victim = world.holders("db")[0].to_string();
    let now = world.now;
    let node = world.nodes.get_mut(&victim).unwrap();
    node.happened(now);
    world.run(10);
    let drained = drain(&victim, None);
    refused(forget(&mut world, &victim, "sold"), "is alive");
    world.nodes.get_mut(&victim).unwrap().up = false;
    world.until("suspect", 40, |w| w.liveness(&victim) == Liveness::Suspect);
    refused(forget(&mut world, &victim, "sold"), "drain it");
    world.until("lost", 40, |w| w.liveness(&victim) == Liveness::Lost);
    // Nobody knows yet that the exclusive work has stopped there.
    refused(forget(&mut world, &victim, "sold"), "may still run db/1");
    refused(
        forget(&mut world, &victim, "sold"),
        "nodemedic confirm-down",
    );
    world.until("db elsewhere", 60, |w| w.serving("db") == 1);
    world.until("no grant is left", 60, |w| {
        let mut grants = w.store.grants.values();
        grants.all(|g| g.node != id(&victim))
    });
    world.ask(drained).unwrap();
    let lost = (format!("node/{victim}/lost"), Severity::Critical);
    assert!(world.open_alerts().contains(&lost));
    assert!(matches!(
        forget(&mut world, &victim, " "),
        Err(Refused::Bad(_))
    ));
    assert!(world.store.marks.contains_key(&id(&victim)));
    forget(&mut world, &victim, "sold").unwrap();
    assert_eq!(world.core().node_view(world.now, &id(&victim)), None);
    assert!(!world.store.nodes.contains_key(&id(&victim)));
    assert!(!world.store.marks.contains_key(&id(&victim)));
    assert!(world.open_alerts().is_empty(), "{:?}", world.open_alerts());
    let said = Decision::Scheduling {
        to: "forgotten".into(),
        because: "sold".into(),
    };
    assert_eq!(world.decisions().filter(|d| **d == said).count(), 1);
    assert_eq!(
        forget(&mut world, &victim, "sold"),
        Err(Refused::NoSuchNode(id(&victim)))
    );
    let resolved = (lost.0, AlertState::Resolved);
    world.until("the end is told", 20, |w| w.told.contains(&resolved));
    // Also a successor knows nothing of it.
    world.kill();
    world.start();
    world.run(120);
    assert_eq!(world.core().node_view(world.now, &id(&victim)), None);
    assert!(world.open_alerts().is_empty(), "{:?}", world.open_alerts());
    // It was not sold after all: a new node, open for work, with nothing left of its drain.
    let now = world.now;
    world.nodes.get_mut(&victim).unwrap().reboot(now);
    world.run(20);
    let view = world.core().node_view(world.now, &id(&victim)).unwrap();
    assert_eq!(
        (view.liveness, view.scheduling),
        (Liveness::Alive, Scheduling::Open)
    );
    world.put(&[replicated("web", 3)]);
    world.until("web on all", 30, |w| w.serving("web") == 3);
}

#[test]
fn a_forgotten_node_that_was_only_cut_off_stops_what_it_does_not_hold_any_more() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let victim = world.holders("web")[0].to_string();
    world.nodes.get_mut(&victim).unwrap().connected = false;
    world.until("replaced", 120, |w| {
        let mut grants = w.store.grants.values();
        w.serving("web") == 2 && w.serving("db") == 1 && grants.all(|g| g.node != id(&victim))
    });
    forget(&mut world, &victim, "sold").unwrap();
    assert!(world.holders("web").contains(&victim.as_str()), "unasked");
    // Its agent has taken assignments that this coordinator does not remember.
    let taken = world.nodes[&victim].revision;
    assert!(taken.0 > 0);
    world.nodes.get_mut(&victim).unwrap().connected = true;
    world.until("it is told to stop", 30, |w| {
        !w.holders("web").contains(&victim.as_str())
    });
    assert!(world.nodes[&victim].revision > taken);
    world.until("alive", 30, |w| w.liveness(&victim) == Liveness::Alive);
    assert_eq!(world.serving("web"), 2);
}

#[test]
fn a_lost_node_whose_work_is_kept_is_forgotten_only_after_a_persons_word() {
    let mut world = World::new(&["node-1", "node-2"]);
    let mut db = exclusive("db");
    db.sharing = Sharing::Exclusive {
        on_lease_loss: OnLeaseLoss::Keep,
    };
    world.put(&[db]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    let victim = world.holders("db")[0].to_string();
    world.nodes.get_mut(&victim).unwrap().up = false;
    world.run(600);
    let node = id(&victim);
    let forget = Request::Forget {
        node: node.clone(),
        reason: "burnt".into(),
    };
    assert!(matches!(
        world.ask(forget.clone()),
        Err(Refused::Conflict(_))
    ));
    assert!(world.store.nodes.contains_key(&node));
    let word = Request::ConfirmDown {
        node: node.clone(),
        reason: "I saw the fire".into(),
        by: "ada".into(),
    };
    world.ask(word).unwrap();
    world.ask(forget).unwrap();
    assert!(!world.store.nodes.contains_key(&node));
    world.until("db elsewhere", 20, |w| w.serving("db") == 1);
}

#[test]
fn conditions_become_alerts_and_survive_a_restart_unseen() {
    let mut world = settled(&["node-1", "node-2"]);
    let condition = Condition {
        component: Component::Disk("sda".into()),
        reason: Reason::ErrorsRising,
        severity: Severity::Warning,
        since: Boottime(1),
        since_wall: world.now.wall,
        seen: true,
        message: "sda had 7 errors".into(),
        evidence: Default::default(),
    };
    let node = world.nodes.get_mut("node-1").unwrap();
    node.conditions = vec![condition];
    node.say_health();
    world.run(1);
    let key = "node/node-1/condition/disk sda/errors rising".to_string();
    assert_eq!(world.open_alerts(), [(key.clone(), Severity::Warning)]);
    world.kill();
    world.nodes.get_mut("node-1").unwrap().connected = false;
    world.start();
    world.run(5);
    assert_eq!(world.open_alerts().len(), 1, "unseen is not recovered");
    let node = world.nodes.get_mut("node-1").unwrap();
    node.connected = true;
    node.conditions.clear();
    node.say_health();
    world.until("resolved", 20, |w| w.open_alerts().is_empty());
}

#[test]
fn events_are_stored_once_each_whatever_is_repeated() {
    let mut world = settled(&["node-1", "node-2"]);
    for _ in 0..40 {
        let now = world.now;
        world.nodes.get_mut("node-1").unwrap().happened(now);
        if world.now.boot.0.is_multiple_of(7_000) {
            world.kill();
            world.run(3);
            world.start();
        }
        world.step();
    }
    world.run(20);
    let node = &world.nodes["node-1"];
    assert_eq!(node.events_stored, 40);
    let stored = world
        .journal
        .iter()
        .filter(|e| e.node == Some(id("node-1")))
        .filter_map(|e| match &e.what {
            nodemedic_protocol::api::JournalWhat::Node(event) => Some(event.seq.0),
            nodemedic_protocol::api::JournalWhat::Coordinator(_) => None,
        });
    assert_eq!(stored.collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
}

#[test]
fn more_important_work_takes_the_place_of_less_important() {
    let mut world = World::new(&["node-1", "node-2"]);
    let needs = Capacity {
        cpu_milli: 3000,
        memory_bytes: 1 << 30,
    };
    let mut low = replicated("low", 2);
    low.needs = needs;
    world.put(&[low]);
    world.until("low serves", 20, |w| w.serving("low") == 2);
    let mut high = exclusive("high");
    high.needs = needs;
    high.priority = 10;
    world.put(&[high]);
    world.until("high serves", 20, |w| w.serving("high") == 1);
    assert_eq!(world.serving("low"), 1);
    let view = world.core().works_view(world.now);
    let low = view.iter().find(|w| w.spec.name.as_str() == "low").unwrap();
    assert!(low.waiting[0].contains("needs 3000m"), "{:?}", low.waiting);
}

#[test]
fn changed_work_is_replaced_one_at_a_time_where_there_is_no_other_place() {
    let mut world = World::new(&["node-1", "node-2"]);
    world.put(&[replicated("web", 2)]);
    world.until("web serves", 20, |w| w.serving("web") == 2);
    let mut changed = replicated("web", 2);
    changed.stop_grace = Millis::from_secs(7);
    world.put(&[changed.clone()]);
    let new = |w: &World| {
        let mut grants = w.store.grants.values();
        grants.all(|g| g.spec == changed) && w.serving("web") == 2
    };
    for _ in 0..240 {
        world.step();
        assert!(world.serving("web") >= 1);
        if new(&world) {
            return;
        }
    }
    panic!("not replaced\n{}", world.tell());
}

#[test]
fn removed_work_stops_and_its_generations_go_on_when_it_is_declared_again() {
    let mut world = settled(&["node-1", "node-2"]);
    let work = WorkName::new("db").unwrap();
    world
        .ask(Request::RemoveWork { work: work.clone() })
        .unwrap();
    world.until("stopped", 20, |w| {
        w.holders("db").is_empty() && w.store.grants.len() == 2
    });
    world.kill();
    world.start();
    world.put(&[exclusive("db")]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    let generation = world.store.generations[&work];
    assert_eq!(generation.0, 2);
}

#[test]
fn a_superseded_coordinator_acts_on_nothing_and_says_so() {
    let mut world = settled(&["node-1", "node-2"]);
    let grants = world.store.grants.clone();
    let now = world.now;
    let node = world.nodes.get_mut("node-1").unwrap();
    node.epoch_seen = Epoch(99);
    node.say_birth(now);
    world.step();
    world.nodes.get_mut("node-2").unwrap().up = false;
    world.run(300);
    assert_eq!(world.store.grants, grants);
    let refused = world.ask(drain("node-1", None));
    assert_eq!(refused, Err(Refused::Superseded(Epoch(99))));
    assert_eq!(world.open_alerts()[0].0, "coordinator/superseded");
    assert!(
        world
            .told
            .iter()
            .any(|(key, _)| key == "coordinator/superseded")
    );
}

#[test]
fn a_newer_coordinator_on_the_topic_counts_as_well_and_an_older_one_does_not() {
    let mut world = settled(&["node-1"]);
    let state = |epoch, online, wall| {
        Input::OtherCoordinator(CoordinatorState {
            epoch: Epoch(epoch),
            online,
            wall,
            version: "1".into(),
        })
    };
    let wall = world.now.wall;
    world.input(state(1, true, wall));
    world.input(state(50, false, wall));
    assert_eq!(world.core().status_view(world.now).superseded_by, None);
    world.input(state(50, true, wall));
    assert_eq!(
        world.core().status_view(world.now).superseded_by,
        Some(Epoch(50))
    );
}

#[test]
fn a_retained_command_like_message_or_an_unknown_nodes_word_changes_nothing() {
    let mut world = settled(&["node-1"]);
    let grants = world.store.grants.clone();
    let mut stranger = common::node::FakeNode::new("node-9");
    stranger.say_birth(world.now);
    let words = stranger.tick(world.now);
    for message in words {
        if matches!(message, Message::Birth(_)) {
            world.message("node-9", message, true);
        }
    }
    assert!(world.core().node_view(world.now, &id("node-9")).is_none());
    assert_eq!(world.store.grants, grants);
}

#[test]
fn a_deaf_coordinator_blames_nobody() {
    let mut settings = settings();
    settings.alerts.unplaced_for = Millis::from_secs(5);
    let mut world = World::with(&["node-1", "node-2"], settings);
    world.put(&[replicated("web", 2)]);
    world.until("web serves", 20, |w| w.serving("web") == 2);
    world.input(Input::LinkDown);
    for node in world.nodes.values_mut() {
        node.connected = false;
    }
    world.run(600);
    assert!(world.open_alerts().is_empty(), "{:?}", world.open_alerts());
    for node in world.nodes.values_mut() {
        node.connected = true;
    }
    world.input(Input::LinkUp);
    world.run(60);
    assert!(world.told.is_empty(), "{:?}", world.told);
}

#[test]
fn after_a_broker_was_away_agents_have_their_time_to_find_it_before_anybody_is_lost() {
    let mut hasty = settings();
    hasty.liveness.suspect_after = Millis::from_secs(2);
    hasty.liveness.lost_after = Millis::from_secs(3);
    let mut world = World::with(&["node-1", "node-2", "node-3"], hasty);
    world.put(&[replicated("web", 2)]);
    world.until("web serves", 20, |w| w.serving("web") == 2);
    let holders: Vec<String> = world
        .holders("web")
        .iter()
        .map(ToString::to_string)
        .collect();
    world.input(Input::LinkDown);
    for node in world.nodes.values_mut() {
        node.connected = false;
    }
    world.run(60);
    world.input(Input::LinkUp);
    // The last one finds its broker as late as an agent may.
    for name in ["node-1", "node-2", "node-3"] {
        world.run(4);
        world.nodes.get_mut(name).unwrap().connected = true;
    }
    world.run(60);
    assert_eq!(
        world.holders("web"),
        holders.iter().map(String::as_str).collect::<Vec<_>>()
    );
    let lost = |d: &Decision| {
        matches!(
            d,
            Decision::Liveness {
                to: Liveness::Lost,
                ..
            }
        )
    };
    assert!(!world.decisions().any(lost), "{}", world.tell());
}

#[test]
fn a_birth_from_long_ago_changes_nothing_also_after_a_restart() {
    let mut world = World::new(&["node-1", "node-2"]);
    let old: Vec<Message> = {
        let now = world.now;
        let node = world.nodes.get_mut("node-1").unwrap();
        node.enforcement = Enforcement::Hardware {
            timeout: Millis::from_secs(1),
        };
        node.say_birth(now);
        let words = node.tick(now);
        node.enforcement = Enforcement::None;
        words
    };
    world.run(5);
    let now = world.now;
    world.nodes.get_mut("node-1").unwrap().restart_agent(now);
    world.run(10);
    world.kill();
    world.start();
    for message in old {
        world.message("node-1", message, false);
    }
    let view = world.core().node_view(world.now, &id("node-1")).unwrap();
    assert_eq!(
        view.enforcement,
        Enforcement::None,
        "safe times rest on this"
    );
}
