//! Devices that read OFF for a host that runs, and what convicts nobody.

use super::*;
use nodemedic_protocol::message::{Message, WorkReport};
use nodemedic_protocol::{Revision, Seq};

/// A host that runs, of which its device said that it is off.
fn believed_a_lie() -> (World, String) {
    let (mut world, victim) = settled(one_device_each(), kept("db"));
    let device = device_of(&victim);
    world.power.manner.insert(device, Manner::Lies);
    cut(&mut world, &victim);
    // What the coordinator believes is wrong now, and the host is not its to switch off.
    world.nodes.get_mut(&victim).unwrap().works.clear();
    world.until("believed", 30, |w| !proofs(w).is_empty());
    (world, victim)
}

#[test]
fn a_device_that_lies_is_caught_and_asked_no_more_until_a_person_says_so() {
    let (mut world, victim) = believed_a_lie();
    let device = device_of(&victim);
    world.nodes.get_mut(&victim).unwrap().connected = true;
    let key = format!("fence-device/{device}/lied");
    world.until("caught", 10, |w| fires(w, &key, Severity::Critical));
    let told = victim.clone();
    world.until("back", 60, |w| w.liveness(&told) == Liveness::Alive);
    // A restart forgets it not.
    world.kill();
    world.start();
    world.run(60);
    assert!(fires(&world, &key, Severity::Critical));
    let before = asked(&world).len();
    world.ask(Request::Fence(wish(&victim))).unwrap();
    world.run(60);
    assert_eq!(asked(&world).len(), before, "it is not even asked");
    let trust = Request::TrustDevice {
        device: DeviceName::new(&*device).unwrap(),
        reason: "the plug was that of another host".into(),
        by: "ada".into(),
    };
    world.power.manner.clear();
    world.ask(trust.clone()).unwrap();
    world.until("fenced", 300, |w| w.power.is_dark(&told));
    assert!(!fires(&world, &key, Severity::Critical));
    assert!(matches!(world.ask(trust), Err(Refused::Conflict(_))));
}

#[test]
fn a_liar_whose_host_cannot_be_asked_is_caught_by_the_hosts_clock() {
    let (mut world, victim) = believed_a_lie();
    let device = device_of(&victim);
    world.deaf.insert(victim.clone());
    world.nodes.get_mut(&victim).unwrap().connected = true;
    let key = format!("fence-device/{device}/lied");
    world.until("caught", 20, |w| fires(w, &key, Severity::Critical));
}

#[test]
fn who_convicts_its_device_by_whatever_it_says_is_heard_and_not_counted_as_silent() {
    let (mut world, victim) = believed_a_lie();
    world.run(60);
    let now = world.now.boot;
    let report = WorkReport {
        session: world.nodes[&victim].session(),
        seq: Seq(1_000),
        at: now,
        revision: Revision(0),
        works: Vec::new(),
    };
    world.message(&victim, Message::Work(report), false);
    let key = format!("fence-device/{}/lied", device_of(&victim));
    assert!(fires(&world, &key, Severity::Critical), "{}", world.tell());
    assert_eq!(world.liveness(&victim), Liveness::Returning);
}

#[test]
fn messages_that_were_under_way_before_the_fence_convict_nobody() {
    let (mut world, victim) = settled(one_device_each(), kept("db"));
    let node = world.nodes.get_mut(&victim).unwrap();
    node.connected = false;
    let mut late = Vec::new();
    let (told, mut words) = (victim.clone(), 0);
    while world.liveness(&told) != Liveness::Lost {
        let now = world.now;
        late.extend(world.nodes.get_mut(&victim).unwrap().tick(now));
        world.step();
        words += 1;
        assert!(words < 200);
    }
    world.until("fenced", 60, |w| w.liveness(&told) == Liveness::Fenced);
    assert!(late.len() > 5, "nothing was under way");
    for message in late {
        world.message(&victim, message, false);
        world.run(1);
    }
    let lied = world.open_alerts();
    assert!(
        !lied.iter().any(|(key, _)| key.contains("lied")),
        "{lied:?}"
    );
    assert_eq!(world.liveness(&victim), Liveness::Fenced);
}

#[test]
fn off_that_was_read_before_the_host_came_up_again_proves_nothing_about_its_new_boot() {
    let (mut world, victim) = settled(one_device_each(), kept("db"));
    // What it reads is of the moment between two boots.
    world.power.manner.insert(device_of(&victim), Manner::Lies);
    cut(&mut world, &victim);
    let question = format!("status {} {victim}", device_of(&victim));
    world.until("it is asked for its state", 20, |w| {
        asked(w).contains(&question.as_str())
    });
    let now = world.now;
    let node = world.nodes.get_mut(&victim).unwrap();
    node.reboot(now);
    node.connected = true;
    world.run(30);
    assert_eq!(proofs(&world)[0], Proof::Rebooted, "{}", world.tell());
    let fenced = |p: &Proof| matches!(p, Proof::Fenced { .. });
    assert!(!proofs(&world).iter().any(fenced), "{}", world.tell());
    let confirmed = |d: &Decision| matches!(d, Decision::Fence(FenceStep::Confirmed { .. }));
    assert!(!world.decisions().any(confirmed), "{}", world.tell());
    world.until("db serves", 60, |w| w.serving("db") == 1);
}
