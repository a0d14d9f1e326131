//! What the coordinator hears, in which order, and what survives the link.

use super::*;
use nodemedic_protocol::health::Level;
use nodemedic_protocol::sample::{Cpu, PerMille};

fn kinds(world: &World) -> Vec<&'static str> {
    world
        .sent
        .iter()
        .filter_map(|m| m.kind())
        .map(|k| k.as_str())
        .collect()
}

#[test]
fn a_new_link_is_told_everything_from_the_beginning() {
    let mut world = World::new(config());
    world.pass(Millis::from_secs(2));
    assert_eq!(world.sent, [], "nobody listens yet");
    world.input(Input::LinkUp);
    assert_eq!(
        kinds(&world),
        ["presence", "birth", "health", "heartbeat", "event"]
    );
    let Message::Birth(birth) = &world.sent[1] else {
        panic!("{:?}", world.sent[1]);
    };
    let Message::Heartbeat(heartbeat) = &world.sent[3] else {
        panic!("{:?}", world.sent[3]);
    };
    assert_eq!(birth.seq, Seq(1));
    assert_eq!(heartbeat.seq_sent, Seq(2));
    assert_eq!(heartbeat.level, Level::Healthy);
    world.sent.clear();
    world.pass(Millis::from_secs(11));
    let mut repeated = kinds(&world);
    repeated.sort_unstable();
    assert_eq!(
        repeated,
        ["heartbeat", "heartbeat", "sample", "sample"],
        "nothing else without a change"
    );
    world.sent.clear();
    world.input(Input::LinkDown {
        error: "reset".to_string(),
    });
    world.pass(Millis::from_secs(60));
    assert_eq!(world.sent, []);
    world.input(Input::LinkUp);
    assert_eq!(
        kinds(&world),
        ["presence", "birth", "health", "heartbeat", "event"],
        "the events go again: nobody said that they are stored"
    );
}

#[test]
fn health_is_unknown_until_everything_was_looked_at() {
    let world = World::new(config());
    assert_eq!(world.agent.status(world.now).level, Level::Unknown);
    let mut world = World::new(config());
    world.pass(Millis::from_secs(1));
    assert_eq!(world.agent.status(world.now).level, Level::Healthy);
    world.sampled = false;
    world.pass(Millis::from_secs(10));
    assert_eq!(
        world.agent.status(world.now).level,
        Level::Unknown,
        "samples stopped coming"
    );
}

#[test]
fn a_condition_survives_an_agent_restart_and_is_not_seen_until_it_is_measured() {
    let mut world = World::new(config());
    world.sampled = false;
    let busy = |at| {
        Input::Sample(Box::new(Sample {
            at,
            cpu: Some(Cpu {
                online: 1,
                busy: Some(PerMille(1000)),
                ..Cpu::default()
            }),
            ..Sample::default()
        }))
    };
    for _ in 0..=901 {
        world.input(busy(world.now.boot));
        world.pass(Millis::from_secs(1));
    }
    assert_eq!(world.agent.status(world.now).conditions.len(), 1);
    world.restart_agent();
    let condition = world.agent.status(world.now).conditions[0].clone();
    assert!(!condition.seen);
    world.input(busy(world.now.boot));
    let again = world.agent.status(world.now).conditions[0].clone();
    assert!(again.seen);
    assert_eq!(again.since, condition.since);
    let raised = world.told(|e| matches!(e, EventKind::ConditionRaised { .. }));
    assert_eq!(raised, 1, "it did not begin again");
}

#[test]
fn events_are_forgotten_only_when_stored_in_this_stream() {
    let mut world = World::new(config());
    world.pass(Millis::from_secs(1));
    world.input(Input::LinkUp);
    world.pass(Millis::from_secs(1));
    let spooled = world.spool.events.len();
    assert!(spooled > 0);
    let mut ack = world.ack(1, Millis::from_secs(15), vec![]);
    ack.events_stored = Seq(1);
    world.input(Input::Received {
        message: ToNode::Lease(ack.clone()),
        retained: false,
    });
    assert_eq!(world.spool.events.len(), spooled, "of no stream");
    ack.stream = Some(world.spool.stream.clone());
    world.input(Input::Received {
        message: ToNode::Lease(ack),
        retained: false,
    });
    assert_eq!(world.spool.events.len(), spooled - 1);
    assert_eq!(world.spool.trimmed, Seq(1));
    world.restart_agent();
    let seqs: Vec<u64> = world.spool.events.iter().map(|e| e.seq.0).collect();
    assert!(seqs.windows(2).all(|w| w[1] == w[0] + 1), "{seqs:?}");
}

#[test]
fn a_planned_end_is_said_and_nothing_is_stopped() {
    let mut world = World::new(config());
    world.pass(Millis::from_secs(1));
    world.input(Input::LinkUp);
    world.sent.clear();
    world.input(Input::GoingDown {
        reason: "agent stop".to_string(),
        back_within: Millis::from_secs(30),
    });
    let gone = world.sent.iter().any(|m| {
        matches!(m, Message::Presence(p) if !p.online
            && p.going_down.as_ref().is_some_and(|g| g.reason == "agent stop"))
    });
    assert!(gone, "{:?}", world.sent);
    assert_eq!(world.verbs(&service("web")), [Verb::Start]);
}

#[test]
fn bad_messages_are_told_once_a_minute() {
    let mut world = World::new(config());
    for _ in 0..100 {
        world.input(Input::Malformed {
            error: "dropped a message".to_string(),
        });
    }
    let told = |w: &World| w.told(|e| matches!(e, EventKind::MessageRefused { .. }));
    assert_eq!(told(&world), 1);
    world.pass(Millis::from_secs(61));
    world.input(Input::Malformed {
        error: "dropped a message".to_string(),
    });
    assert_eq!(told(&world), 2);
    let last = world.events.last().unwrap();
    let EventKind::MessageRefused { error } = &last.kind else {
        panic!("{last:?}");
    };
    assert_eq!(error, "dropped a message (and 99 more like it before)");
}
