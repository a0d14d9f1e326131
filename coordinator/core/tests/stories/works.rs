//! Works that are changed, removed, or compete for room.

use super::*;

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
