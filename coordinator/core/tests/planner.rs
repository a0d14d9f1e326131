//! Properties of the planner over random fleets: every plan passes the linter, planning is
//! repeatable, and carrying plans out comes to rest with everything placed that fits.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};

use nodemedic_coordinator_core::lease::{LeaseEnd, WhyNever};
use nodemedic_coordinator_core::mutation::Mutations;
use nodemedic_coordinator_core::plan::{
    Evict, Holder, NoNewWork, PlanInput, PlanNode, Presence, Serving, lint, plan,
};
use nodemedic_protocol::api::Liveness;
use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::work::{OnLeaseLoss, Run, Sharing, WorkSpec};
use nodemedic_protocol::{Boottime, Generation, Level, Millis, NodeId, WorkName};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn capacity(cpu: u64) -> Capacity {
    Capacity {
        cpu_milli: cpu * 1000,
        memory_bytes: cpu << 30,
    }
}

fn work_name(n: u8) -> WorkName {
    WorkName::new(format!("work-{n}")).unwrap()
}

fn node_name(n: u8) -> NodeId {
    NodeId::new(format!("node-{n}")).unwrap()
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(Just("disk".to_string()), "[ab]", 0..2)
}

fn spec(n: u8) -> impl Strategy<Value = WorkSpec> {
    let sharing = prop_oneof![
        Just(Sharing::Exclusive {
            on_lease_loss: OnLeaseLoss::Stop
        }),
        (0u16..5).prop_map(|replicas| Sharing::Replicated { replicas }),
    ];
    (sharing, -1i32..3, 0u64..4, labels()).prop_map(move |(sharing, priority, cpu, node_labels)| {
        WorkSpec {
            name: work_name(n),
            sharing,
            run: Run::Systemd {
                unit: "w@.service".into(),
            },
            probes: Vec::new(),
            priority,
            needs: capacity(cpu),
            node_labels,
            start_grace: Millis::from_secs(1),
            stop_grace: Millis::from_secs(1),
        }
    })
}

fn node() -> impl Strategy<Value = PlanNode> {
    let closed = prop_oneof![
        5 => Just(None),
        1 => Just(Some(NoNewWork::Liveness(Liveness::Suspect))),
        1 => Just(Some(NoNewWork::Cordoned)),
    ];
    let state = prop_oneof![
        6 => Just((Evict::No, Presence::Here)),
        1 => Just((Evict::Move, Presence::Here)),
        1 => Just((Evict::Force, Presence::Here)),
        1 => Just((Evict::No, Presence::Gone)),
    ];
    let zone = prop_oneof![Just(None), "[xyz]".prop_map(Some)];
    let level = prop_oneof![
        Just(Level::Healthy),
        Just(Level::Degraded),
        Just(Level::Failed)
    ];
    let barred = proptest::collection::btree_set((0u8..6).prop_map(work_name), 0..2);
    (closed, state, zone, labels(), 0u64..12, level, barred).prop_map(
        |(closed, (evict, presence), zone, labels, cpu, level, barred)| PlanNode {
            closed: match (evict, presence) {
                (_, Presence::Gone) => Some(NoNewWork::Liveness(Liveness::Lost)),
                (Evict::No, Presence::Here) => closed,
                _ => Some(NoNewWork::Draining),
            },
            evict,
            presence,
            zone,
            labels,
            capacity: capacity(cpu),
            level,
            barred,
        },
    )
}

fn serving() -> impl Strategy<Value = Serving> {
    prop_oneof![3 => Just(Serving::Yes), 1 => Just(Serving::No), 1 => Just(Serving::Unknown)]
}

/// A picture that a real fleet could show: one holder a work and node, and of exclusive work one
/// holder at most unless it was replicated before.
fn picture() -> impl Strategy<Value = PlanInput> {
    let works = (0u8..6).map(spec).collect::<Vec<_>>();
    let nodes = vec(node(), 0..7);
    let holder = (
        0u8..8,
        0u8..7,
        serving(),
        any::<bool>(),
        prop::bool::weighted(0.2),
        0u64..4,
    );
    (works, nodes, vec(holder, 0..14), 0usize..7).prop_map(|(works, nodes, holders, declared)| {
        let works: BTreeMap<WorkName, WorkSpec> = works
            .into_iter()
            .take(declared)
            .map(|spec| (spec.name.clone(), spec))
            .collect();
        let nodes: BTreeMap<NodeId, PlanNode> = (0u8..).map(node_name).zip(nodes).collect();
        let (mut places, mut list) = (BTreeSet::new(), Vec::new());
        for (n, (work, at, serving, releasing, outdated, cpu)) in holders.into_iter().enumerate() {
            let (work, at) = (work_name(work), node_name(at));
            if !nodes.contains_key(&at) || !places.insert((work.clone(), at.clone())) {
                continue;
            }
            let spec = works.get(&work);
            let exclusive =
                spec.is_some_and(|s| matches!(s.sharing, Sharing::Exclusive { .. })) != outdated;
            if exclusive && list.iter().any(|h: &Holder| h.work == work) {
                continue;
            }
            list.push(Holder {
                priority: spec.map_or(0, |s| s.priority),
                work,
                generation: Generation(n as u64 + 1),
                node: at,
                exclusive,
                needs: capacity(cpu),
                serving,
                releasing,
                outdated,
                lease: if releasing {
                    LeaseEnd::At(Boottime(5))
                } else {
                    LeaseEnd::Never(WhyNever::Kept)
                },
            });
        }
        list.sort_by(|a, b| (&a.work, a.generation).cmp(&(&b.work, b.generation)));
        PlanInput {
            works: works.into(),
            nodes,
            holders: list,
            mutation: Mutations::NONE,
        }
    })
}

/// What the fleet makes of a plan: what is released ends, what is granted serves.
fn carry_out(input: &mut PlanInput, next: &mut u64) -> bool {
    let (plan, _) = plan(input);
    let lints = lint(input, &plan);
    assert!(lints.is_empty(), "{lints:?}\n{plan:#?}\n{input:#?}");
    let released: BTreeSet<_> = plan.releases.iter().map(|r| r.key.clone()).collect();
    let changed = !plan.grants.is_empty() || !released.is_empty();
    let before = input.holders.len();
    input.holders.retain(|h| {
        let gone = input.nodes[&h.node].presence == Presence::Gone;
        let named = released
            .iter()
            .any(|k| k.work == h.work && k.generation == h.generation);
        !(named || (h.releasing && !gone))
    });
    let ended = input.holders.len() != before;
    for holder in &mut input.holders {
        if input.nodes[&holder.node].presence == Presence::Here {
            holder.serving = Serving::Yes;
        }
    }
    for grant in plan.grants {
        let spec = &input.works[&grant.work];
        *next += 1;
        input.holders.push(Holder {
            work: grant.work.clone(),
            generation: Generation(*next),
            node: grant.node,
            exclusive: matches!(spec.sharing, Sharing::Exclusive { .. }),
            needs: spec.needs,
            priority: spec.priority,
            serving: Serving::Yes,
            releasing: false,
            outdated: false,
            lease: LeaseEnd::Never(WhyNever::Kept),
        });
    }
    changed || ended
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_plan_passes_the_linter_and_is_repeatable(input in picture()) {
        let (first, report) = plan(&input);
        let lints = lint(&input, &first);
        prop_assert!(lints.is_empty(), "{lints:?}\n{first:#?}");
        prop_assert_eq!((first, report), plan(&input));
    }

    #[test]
    fn carrying_out_plans_comes_to_rest(mut input in picture()) {
        let mut next = 1000;
        let mut rounds = 0;
        while carry_out(&mut input, &mut next) {
            rounds += 1;
            prop_assert!(rounds < 60, "it never rests: {input:#?}");
        }
        // At rest, whatever is not as wanted has a reason.
        let (_, report) = plan(&input);
        for spec in input.works.values() {
            let wanted = match spec.sharing {
                Sharing::Exclusive { .. } => 1,
                Sharing::Replicated { replicas } => usize::from(replicas),
            };
            let held = input.holders.iter().filter(|h| {
                h.work == spec.name && input.nodes[&h.node].presence == Presence::Here
            });
            if held.count() < wanted {
                prop_assert!(report.waiting.contains_key(&spec.name), "{} is silent", spec.name);
            }
        }
    }
}
