//! Sentences that hold whatever happens, in whatever order. [`World::check`] watches budgets and
//! leases at every step; the rest is said at the end of each test.

use super::*;
use nodemedic_protocol::message::Answer;
use proptest::prelude::*;

/// Something that happens to a host.
#[derive(Clone, Debug)]
enum Blow {
    Pass(u64),
    Kill(usize),
    Break(usize, bool),
    Hide(usize, bool),
    Probe(usize, u8),
    RestartAgent,
    Reboot(u64),
    Link(bool),
    Acks(bool),
    Assign {
        work: u64,
        generation: u64,
        stop: bool,
    },
    Stale {
        back: u64,
    },
    Reorder,
    DiskFull(bool),
    DiskTakes(u64),
    SetBack,
}

fn blow() -> impl Strategy<Value = Blow> {
    prop_oneof![
        6 => (1_u64..40_000).prop_map(Blow::Pass),
        6 => (0_usize..3).prop_map(Blow::Kill),
        2 => (0_usize..3, any::<bool>()).prop_map(|(t, b)| Blow::Break(t, b)),
        1 => (0_usize..3, any::<bool>()).prop_map(|(t, b)| Blow::Hide(t, b)),
        1 => (0_usize..3, 0_u8..3).prop_map(|(t, v)| Blow::Probe(t, v)),
        2 => Just(Blow::RestartAgent),
        1 => any::<u64>().prop_map(Blow::Reboot),
        2 => any::<bool>().prop_map(Blow::Link),
        2 => any::<bool>().prop_map(Blow::Acks),
        3 => (0_u64..3, 1_u64..6, any::<bool>())
            .prop_map(|(work, generation, stop)| Blow::Assign { work, generation, stop }),
        1 => (1_u64..4).prop_map(|back| Blow::Stale { back }),
        1 => Just(Blow::Reorder),
        2 => any::<bool>().prop_map(Blow::DiskFull),
        2 => (0_u64..30_000).prop_map(Blow::DiskTakes),
        1 => Just(Blow::SetBack),
    ]
}

fn keys() -> [UnitKey; 3] {
    [service("web"), work("db"), work("shop")]
}

struct Run {
    world: World,
    newest: BTreeMap<UnitKey, Generation>,
    checked: usize,
}

impl Run {
    fn new() -> Run {
        let mut config = config();
        for service in config.services.values_mut() {
            service.probes = vec![http()];
        }
        Run {
            world: World::new(config),
            newest: BTreeMap::new(),
            checked: 0,
        }
    }

    fn blow(&mut self, blow: Blow) {
        let world = &mut self.world;
        match blow {
            Blow::Pass(ms) => world.pass(Millis(ms)),
            Blow::Kill(i) => world.kill(&keys()[i]),
            Blow::Break(i, broken) => world.thing(&keys()[i]).broken = broken,
            Blow::Hide(i, hidden) => {
                world.thing(&keys()[i]).hidden = hidden;
                world.observe(&keys()[i]);
            }
            Blow::Probe(i, verdict) => {
                world.thing(&keys()[i]).probe = match verdict {
                    0 => Verdict::Pass,
                    1 => Verdict::Fail("refused".to_string()),
                    _ => Verdict::Unknown("?".to_string()),
                }
            }
            Blow::RestartAgent => world.restart_agent(),
            Blow::Reboot(wall) => {
                // What a full disk did not take is forgotten with its boot.
                if world.full {
                    self.newest.clear();
                }
                world.reboot(wall);
            }
            Blow::Link(true) => world.input(Input::LinkUp),
            Blow::Link(false) => world.input(Input::LinkDown {
                error: "cut".to_string(),
            }),
            Blow::Acks(on) => world.acks = on.then_some(Millis::from_secs(15)),
            Blow::Assign {
                work,
                generation,
                stop,
            } => self.assign(work, generation, stop),
            Blow::Stale { back } => {
                let revision = world.revision.saturating_sub(back);
                let before = world.agent.status(world.now);
                // As after a reboot on a full disk.
                if before.revision < Revision(revision) {
                    return;
                }
                let command = world.assignment(revision, vec![]);
                world.sent.clear();
                world.receive(command);
                let after = world.agent.status(world.now);
                assert_eq!(before.revision, after.revision);
                assert_eq!(before.works, after.works, "an old revision did something");
            }
            Blow::Reorder => world.pending.reverse(),
            Blow::DiskFull(full) => world.fill_disk(full),
            Blow::DiskTakes(ms) => world.disk_takes = Millis(ms),
            // As empty as it can be: the copy of this boot is what is left.
            Blow::SetBack => {
                world.memory = Memory::default();
                world.restart_agent();
            }
        }
        self.check_generations();
    }

    /// One of: the work alone, or with its neighbour.
    fn assign(&mut self, which: u64, generation: u64, stop: bool) {
        let desired = if stop { Desired::Stop } else { Desired::Run };
        let mut db = run("db", exclusive(OnLeaseLoss::Stop), generation);
        db.desired = desired;
        let shop = run("shop", Sharing::Replicated { replicas: 1 }, generation);
        let works = match which {
            0 => vec![db],
            1 => vec![shop],
            _ => vec![db, shop],
        };
        self.world.assign(works);
    }

    /// No start is ever under an older generation than one before it, of the same work, for as long
    /// as the work stays assigned.
    fn check_generations(&mut self) {
        let works = self.world.agent.status(self.world.now).works;
        let known = |key: &UnitKey| works.iter().any(|w| UnitKey::Work(w.work.clone()) == *key);
        self.newest.retain(|key, _| known(key));
        let new = self.world.acts.split_off(self.checked);
        self.checked += new.len();
        for (_, act) in &new {
            if !known(&act.unit) || !matches!(act.unit, UnitKey::Work(_)) {
                continue;
            }
            let generation = act.generation.unwrap();
            let newest = self.newest.entry(act.unit.clone()).or_insert(generation);
            if act.verb.starts() {
                assert!(generation >= *newest, "{} after {newest}", generation);
            }
            *newest = (*newest).max(generation);
        }
        self.world.acts.extend(new);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Budgets and leases hold under any order of blows (the world checks at each step).
    #[test]
    fn budgets_and_leases_hold_whatever_happens(blows in prop::collection::vec(blow(), 1..80)) {
        let mut run = Run::new();
        for blow in blows {
            run.blow(blow);
        }
        run.world.check();
    }

    /// With nothing but unknowns, nothing is done.
    #[test]
    fn unknown_alone_never_acts(waits in prop::collection::vec(1_u64..100_000, 1..20)) {
        let mut run = Run::new();
        run.world.pass(Millis::from_secs(3));
        run.world.acts.clear();
        let web = service("web");
        for (i, wait) in waits.into_iter().enumerate() {
            run.world.thing(&web).hidden = i % 2 == 0;
            run.world.thing(&web).probe = Verdict::Unknown("?".to_string());
            run.world.observe(&web);
            run.world.pass(Millis(wait));
        }
        prop_assert!(run.world.acts.is_empty(), "{:?}", run.world.acts);
    }

    /// When the blows stop and everything works again, the assigned work runs and nothing is left
    /// half done.
    #[test]
    fn it_converges_when_the_blows_stop(blows in prop::collection::vec(blow(), 1..40)) {
        let mut run = Run::new();
        for blow in blows {
            run.blow(blow);
        }
        let world = &mut run.world;
        world.disk_takes = Millis::ZERO;
        world.fill_disk(false);
        for key in keys() {
            let thing = world.thing(&key);
            thing.broken = false;
            thing.hidden = false;
            thing.probe = Verdict::Pass;
            world.observe(&key);
        }
        world.acks = Some(Millis::from_secs(15));
        world.input(Input::LinkUp);
        world.sent.clear();
        world.assign(vec![run_of("db", 1000), run_of("shop", 1000)]);
        let taken = |m: &Message| matches!(m, Message::Ack(a) if a.answer == Answer::Taken);
        let taken = world.sent.iter().any(taken);
        prop_assert!(taken);
        world.pass(Millis::from_secs(900));
        for key in [work("db"), work("shop")] {
            prop_assert_eq!(world.state(&key), "Running");
        }
        prop_assert!(world.memory.intents.is_empty());
        let web = world.state(&service("web"));
        prop_assert!(web == "running" || web == "fenced", "{}", web);
    }
}

fn run_of(name: &str, generation: u64) -> Assigned {
    run(name, exclusive(OnLeaseLoss::Stop), generation)
}
