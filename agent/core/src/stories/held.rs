//! Sentences about manners that hold whatever happens, in whatever order: what is held is left
//! alone, and what an administrator stopped stays stopped. Budgets are watched at every step.

use super::*;
use alloc::collections::BTreeSet;
use nodemedic_protocol::healing::Mode;
use proptest::prelude::*;

const NAMES: [&str; 4] = ["act", "advise", "hooked", "off"];

#[derive(Clone, Debug)]
enum Blow {
    Pass(u64),
    Kill(usize),
    Break(usize, bool),
    Probe(usize, bool),
    Stop(usize),
    StartByHand(usize),
    Pause(Option<usize>, u64),
    Resume(Option<usize>),
    Packages(bool),
    RestartAgent,
    DieAfter(usize),
    Reboot,
    HostMode(bool),
}

fn blow() -> impl Strategy<Value = Blow> {
    let one = 0_usize..NAMES.len();
    let some = prop::option::of(0_usize..NAMES.len());
    prop_oneof![
        6 => (1_u64..60_000).prop_map(Blow::Pass),
        6 => one.clone().prop_map(Blow::Kill),
        2 => (one.clone(), any::<bool>()).prop_map(|(i, b)| Blow::Break(i, b)),
        2 => (one.clone(), any::<bool>()).prop_map(|(i, b)| Blow::Probe(i, b)),
        2 => one.clone().prop_map(Blow::Stop),
        1 => one.prop_map(Blow::StartByHand),
        2 => (some.clone(), 1_u64..600_000).prop_map(|(i, ms)| Blow::Pause(i, ms)),
        1 => some.prop_map(Blow::Resume),
        1 => any::<bool>().prop_map(Blow::Packages),
        1 => Just(Blow::RestartAgent),
        3 => (1_usize..12).prop_map(Blow::DieAfter),
        1 => Just(Blow::Reboot),
        1 => any::<bool>().prop_map(Blow::HostMode),
    ]
}

struct Run {
    world: World,
    /// Until when each is paused, as a person reckons it; `None` is the host.
    paused: BTreeMap<Option<usize>, Millis>,
    stopped: BTreeSet<usize>,
    checked: usize,
}

impl Run {
    fn new(jobs_go_on: bool) -> Run {
        let mut config = rungs::with_hooks();
        let plain = given::service_of("/usr/bin/web");
        let hooked = config.services.values().next().unwrap().clone();
        config.services.clear();
        for name in NAMES {
            let mut service = if name == "hooked" {
                hooked.clone()
            } else {
                plain.clone()
            };
            service.mode = match name {
                "advise" => Mode::Advise,
                "off" => Mode::Off,
                _ => Mode::Act,
            };
            service.probes = alloc::vec![http()];
            config
                .services
                .insert(ServiceName::new(name).unwrap(), service);
        }
        let mut world = World::new(config);
        world.jobs_go_on = jobs_go_on;
        for name in NAMES {
            world.thing(&service(name)).runs = Some(None);
        }
        world.pass(Millis::from_secs(2));
        world.acts.clear();
        Run {
            world,
            paused: BTreeMap::new(),
            stopped: BTreeSet::new(),
            checked: 0,
        }
    }

    fn blow(&mut self, blow: Blow) {
        let now = self.world.elapsed;
        match blow {
            Blow::Pass(ms) => self.pass(Millis(ms)),
            Blow::Kill(i) => self.world.kill(&service(NAMES[i])),
            Blow::Break(i, broken) => self.world.thing(&service(NAMES[i])).broken = broken,
            Blow::Probe(i, well) => {
                let verdict = if well {
                    Verdict::Pass
                } else {
                    Verdict::Fail("?".to_string())
                };
                self.world.thing(&service(NAMES[i])).probe = verdict;
            }
            Blow::Stop(i) => self.stop(i),
            Blow::StartByHand(i) => {
                self.stopped.remove(&i);
                self.world.thing(&service(NAMES[i])).runs = Some(None);
                self.world.observe(&service(NAMES[i]));
            }
            Blow::Pause(whom, ms) => {
                manners::pause(&mut self.world, whom.map(|i| NAMES[i]), Millis(ms));
                self.paused.insert(whom, now + Millis(ms));
            }
            Blow::Resume(whom) => {
                let name = whom.map(|i| ServiceName::new(NAMES[i]).unwrap());
                self.paused.remove(&whom);
                self.world.input(Input::Resume { service: name });
            }
            Blow::Packages(busy) => self.world.input(Input::PackageManager { busy }),
            Blow::RestartAgent => self.world.restart_agent(),
            Blow::DieAfter(effects) => self.world.die_after = Some(effects),
            Blow::Reboot => {
                self.stopped.clear();
                self.world.reboot(9);
            }
            Blow::HostMode(advise) => {
                let mut next = self.world.config.clone();
                next.healing.mode = if advise { Mode::Advise } else { Mode::Act };
                self.world.config = next.clone();
                self.world.input(Input::Reconfigured(Box::new(next)));
            }
        }
        self.check();
    }

    /// Step by step, so that an act is judged by what held when it began.
    fn pass(&mut self, span: Millis) {
        let end = self.world.elapsed + span;
        while self.world.elapsed < end {
            let step = (end - self.world.elapsed).min(Millis(2_000));
            let ends = self.paused.values().filter(|at| **at > self.world.elapsed);
            let to_end = ends.map(|at| *at - self.world.elapsed).min();
            self.world.pass(to_end.map_or(step, |left| left.min(step)));
            self.check();
        }
    }

    /// `systemctl stop` of what runs, while nothing is being done to it.
    fn stop(&mut self, i: usize) {
        let key = service(NAMES[i]);
        let busy = |(_, p): &(Boottime, Pending)| matches!(p, Pending::Done(a) if a.unit == key);
        let busy = self.world.pending.iter().any(busy);
        if busy || self.world.thing(&key).runs.take().is_none() {
            return;
        }
        self.world.thing(&key).why_not = DownCause::StoppedByOther;
        self.stopped.insert(i);
        self.world.observe(&key);
    }

    fn check(&mut self) {
        let act_mode = self.world.config.healing.mode == Mode::Act;
        for (at, act) in &self.world.acts[self.checked..] {
            assert!(
                act_mode,
                "an act on a host that is only advised on: {act:?}"
            );
            let i = NAMES.iter().position(|n| service(n) == act.unit).unwrap();
            assert!(!matches!(NAMES[i], "advise" | "off"), "{act:?}");
            for whom in [None, Some(i)] {
                let held = self.paused.get(&whom).is_some_and(|until| at < until);
                assert!(!held, "{} of {} in its pause", act.verb, NAMES[i]);
            }
            let stopped = self.stopped.contains(&i) && act.verb.starts();
            assert!(
                !stopped,
                "{} of {}, which somebody stopped",
                act.verb, NAMES[i]
            );
        }
        self.checked = self.world.acts.len();
        self.world.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Nothing is ever done to a service that is paused, advised on or off; nothing that an
    /// administrator stopped is started; and no budget is exceeded, on whatever rung.
    #[test]
    fn what_is_held_is_left_alone_whatever_happens(
        jobs_go_on in any::<bool>(),
        blows in prop::collection::vec(blow(), 1..60),
    ) {
        let mut run = Run::new(jobs_go_on);
        for blow in blows {
            run.blow(blow);
        }
    }
}
