//! Hosts that are gone for good.

use super::*;

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
    let (mut world, victim) = kept();
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
