//! A fence in which the coordinator dies, at any moment.

use super::*;

/// A host is lost with kept work, its first level half-works, the second confirms; the coordinator
/// dies before effect `crash_at`.
fn lost_and_fenced(crash_at: Option<u64>) -> World {
    let (mut world, victim) = settled(two_levels(), kept("db"));
    world.power.manner.insert("ipmi".into(), Manner::HalfWorks);
    for node in NODES {
        world
            .power
            .plugs
            .insert(("ipmi".into(), node.into()), false);
        for pdu in ["pdu-a", "pdu-b"] {
            world.power.plugs.insert((pdu.into(), node.into()), true);
        }
    }
    world.effects = 0;
    world.crash_at = crash_at;
    world.nodes.get_mut(&victim).unwrap().connected = false;
    world.live(60);
    world.nodes.get_mut(&victim).unwrap().connected = true;
    world.live(120);
    world.crash_at = None;
    if world.core.is_none() {
        world.start();
    }
    let at = crash_at.unwrap_or(u64::MAX);
    let well = |w: &World| {
        w.serving("db") == 1
            && w.holders("db").len() == 1
            && NODES.iter().all(|n| w.liveness(n) == Liveness::Alive)
            && w.core().fences_view(w.now).fences.is_empty()
            && w.open_alerts().is_empty()
    };
    world.until(&format!("all is well after a crash at {at}"), 300, well);
    world
}

#[test]
fn a_crash_at_any_moment_of_a_fence_neither_loses_nor_believes_it() {
    let whole = lost_and_fenced(None);
    let effects = whole.effects;
    assert!(effects > 80, "too short to prove much: {effects} effects");
    for crash_at in 0..effects {
        let world = lost_and_fenced(Some(crash_at));
        believed_only_what_was_read(&world, crash_at);
    }
}

/// Each confirmation follows, in the journal of one and the same coordinator, an `off` and then an
/// OFF of each of its devices.
fn believed_only_what_was_read(world: &World, crash_at: u64) {
    use nodemedic_protocol::api::{FenceAnswer, FenceVerb};
    let mut said: Vec<(DeviceName, FenceVerb)> = Vec::new();
    for decision in world.decisions() {
        match decision {
            Decision::Started { .. } => said.clear(),
            Decision::Fence(FenceStep::Said(word)) => {
                let well = matches!(
                    (word.verb, &word.answer),
                    (FenceVerb::Off, FenceAnswer::Done)
                        | (FenceVerb::Status, FenceAnswer::PowerOff)
                );
                if well {
                    said.push((word.device.clone(), word.verb));
                }
            }
            Decision::Fence(FenceStep::Confirmed { devices }) => {
                for device in devices {
                    for verb in [FenceVerb::Off, FenceVerb::Status] {
                        let read = said.contains(&(device.clone(), verb));
                        assert!(read, "{crash_at}: {device} {verb}\n{}", world.tell());
                    }
                }
            }
            _ => {}
        }
    }
}
