//! Conditions that a person pretends, and what the host did beside the ladders.

use super::*;
use nodemedic_protocol::{Component, Severity};

fn pretended(condition: Option<(Severity, &str)>) -> Input {
    Input::Pretended {
        id: 3,
        component: Component::Host,
        condition: condition.map(|(severity, text)| (severity, text.to_string())),
    }
}

fn conditions(world: &World) -> Vec<String> {
    let all = world.agent.status(world.now).conditions;
    all.into_iter()
        .map(|c| format!("{} {} {}", c.component, c.reason, c.severity))
        .collect()
}

#[test]
fn a_pretended_condition_stands_until_it_is_taken_back_and_never_over_a_restart() {
    let mut world = World::new(config());
    let burns = || pretended(Some((Severity::Critical, "the rack burns")));
    world.input(burns());
    assert_eq!(conditions(&world), ["host injected fault 3 critical"]);
    world.pass(Millis::from_secs(30));
    assert_eq!(conditions(&world).len(), 1, "samples do not end it");
    world.input(pretended(None));
    assert_eq!(conditions(&world), [""; 0]);
    world.input(burns());
    world.restart_agent();
    assert_eq!(conditions(&world), [""; 0]);
    let told = |wanted: &dyn Fn(&EventKind) -> bool| {
        let of_kind = |event: &&Event| wanted(&event.kind);
        world.events.iter().filter(of_kind).count()
    };
    assert_eq!(
        told(&|kind| matches!(kind, EventKind::ConditionRaised { .. })),
        2
    );
    assert_eq!(
        told(&|kind| matches!(kind, EventKind::ConditionCleared { .. })),
        2
    );
}

#[test]
fn what_the_host_notes_is_an_event_of_its_component() {
    let mut world = World::new(config());
    let kind = EventKind::BundleTaken {
        name: "web-1".to_string(),
        why: "fence".to_string(),
        left_out: Vec::new(),
    };
    world.input(Input::Noted {
        component: Component::Service(ServiceName::new("web").unwrap()),
        kind: kind.clone(),
    });
    let last = world.events.last().unwrap();
    assert_eq!(
        (last.component.to_string().as_str(), &last.kind),
        ("service web", &kind)
    );
}
