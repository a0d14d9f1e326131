//! Worlds that drive at one fault: small, calm, and with a script.

use nodemedic_sim::faults::{Fault, Ill};
use nodemedic_sim::fence::Manner;
use nodemedic_sim::watchdog::Kind;
use nodemedic_sim::{Knobs, Plot};
use nodemedic_sim_agent_core::UnitKey;
use nodemedic_sim_coordinator_core::Request;
use nodemedic_sim_coordinator_core::fencing::requests::FenceWish;

const S: u64 = 1_000;

/// Random weather over a few hosts.
pub fn any(seed: u64) -> Knobs {
    let mut knobs = Knobs::draw(seed);
    knobs.set_hosts(5 + usize::try_from(seed % 4).unwrap_or(0));
    knobs
}

/// Three hosts with a software watchdog, and a script.
fn scripted(seed: u64, script: Vec<(u64, Fault)>) -> Knobs {
    let mut knobs = Knobs::calm(seed, 3);
    knobs.zones = 0;
    knobs.watchdogs = Some(Kind::Software(10 * S));
    knobs.fault_ms = 200 * S;
    knobs.plot = Plot::Script(script);
    knobs
}

/// The same fault on each of the three hosts in turn, with time to recover in between.
fn in_turn(fault: impl Fn(usize) -> Vec<(u64, Fault)>) -> Vec<(u64, Fault)> {
    let mut script = Vec::new();
    for host in 0..3 {
        let begin = (60 + 120 * host as u64) * S;
        script.extend(
            fault(host)
                .into_iter()
                .map(|(at, fault)| (begin + at, fault)),
        );
    }
    script
}

fn turns(seed: u64, fault: impl Fn(usize) -> Vec<(u64, Fault)>) -> Knobs {
    let mut knobs = scripted(seed, in_turn(fault));
    knobs.fault_ms = 420 * S;
    knobs
}

fn drain(host: usize) -> Fault {
    Fault::Person(Box::new(Request::Drain {
        node: node(host),
        reason: "new memory".into(),
        deadline: None,
        override_budget: false,
    }))
}

fn undrain(host: usize) -> Fault {
    Fault::Person(Box::new(Request::Undrain { node: node(host) }))
}

fn fence(host: usize) -> Fault {
    Fault::Person(Box::new(Request::Fence(FenceWish {
        node: node(host),
        reason: "it smells".into(),
        by: "operator".into(),
        override_budget: false,
        then: None,
    })))
}

fn node(host: usize) -> nodemedic_protocol::NodeId {
    nodemedic_protocol::NodeId::new(format!("host-{host}")).unwrap()
}

fn db() -> UnitKey {
    UnitKey::Work(nodemedic_protocol::WorkName::new("db-0").unwrap())
}

fn cut(host: usize, span: u64) -> Fault {
    Fault::Cut {
        hosts: vec![host],
        up: true,
        down: true,
        span,
    }
}

/// Nothing slows a message, adds a margin or ends a promise early, and the clocks run apart as far
/// as they may.
fn exact(knobs: &mut Knobs) {
    knobs.watchdogs = Some(Kind::Worst(10 * S));
    knobs.apart = true;
    knobs.margin_ms = 0;
    knobs.delay_ms = 0;
}

/// The agent freezes: what is promised runs until the last millisecond of the slowest clock within
/// the drift, and the coordinator's is the fastest.
pub fn the_last_tick(seed: u64) -> Knobs {
    let mut knobs = turns(seed, |host| {
        vec![(0, Fault::AgentFreezes { host, span: 60 * S })]
    });
    exact(&mut knobs);
    knobs
}

/// Answers take a while, then the agent freezes: sooner or later after its last heartbeat.
pub fn late_answers(seed: u64) -> Knobs {
    let mut knobs = turns(seed, |host| {
        let (by, span) = (S, 30 * S);
        let freeze = Fault::AgentFreezes { host, span: 60 * S };
        let then = 20 * S + 900 * (seed % 6);
        vec![(0, Fault::Slow { host, by, span }), (then, freeze)]
    });
    exact(&mut knobs);
    knobs
}

/// A host is to be drained and nothing can be killed on it; then it falls silent, its agent frozen.
pub fn silence_while_a_stop_hangs(seed: u64) -> Knobs {
    let mut knobs = turns(seed, |host| {
        let span = 60 * S;
        vec![
            (0, Fault::Unkillable { host, span: 90 * S }),
            (10, drain(host)),
            (20 * S, Fault::AgentFreezes { host, span }),
            (20 * S, cut(host, span)),
            (100 * S, undrain(host)),
        ]
    });
    knobs.watchdogs = Some(Kind::Worst(10 * S));
    knobs.lost_ms = 15 * S;
    knobs
}

/// Answers take so long that each lease ends before the next answer is there, while the work does
/// not end at once.
pub fn very_late_answers(seed: u64) -> Knobs {
    turns(seed, |host| {
        let stubborn = Fault::Process {
            host,
            unit: db(),
            how: Ill::Stubborn,
        };
        let (by, span) = (8_500, 60 * S);
        vec![(0, stubborn), (1, Fault::Slow { host, by, span })]
    })
}

/// A host is to be drained and nothing can be killed on it.
pub fn a_stop_that_hangs(seed: u64) -> Knobs {
    let mut knobs = turns(seed, |host| {
        vec![
            (0, Fault::Unkillable { host, span: 90 * S }),
            (10, drain(host)),
            (100 * S, undrain(host)),
        ]
    });
    knobs.watchdogs = Some(Kind::Hardware(10 * S));
    knobs
}

/// A new coordinator leads, and the agents hear words of the one before it again.
pub fn replays(seed: u64) -> Knobs {
    turns(seed, |host| {
        let boss = Fault::Boss {
            back: 300,
            reboots: false,
        };
        let mut script = vec![(0, drain(host)), (S, undrain(host)), (2 * S, boss)];
        for n in 2..10 {
            script.push((2 * n * S, Fault::Replay { host, times: 100 }));
        }
        script
    })
}

/// A host boots, and then its old words are heard again.
pub fn replays_of_a_boot(seed: u64) -> Knobs {
    turns(seed, |host| {
        vec![
            (0, Fault::Power { host, off: 10 * S }),
            (50 * S, Fault::Replay { host, times: 20 }),
            (60 * S, Fault::Replay { host, times: 20 }),
            (70 * S, Fault::Replay { host, times: 20 }),
        ]
    })
}

/// A service dies again and again, and its agent dies around each restart of it.
pub fn crashes_at_restarts(seed: u64) -> Knobs {
    let unit = UnitKey::Service(nodemedic_protocol::ServiceName::new("sshd").unwrap());
    let mut script = Vec::new();
    for n in 0..12 {
        let (at, host) = ((60 + 8 * n) * S, 0);
        let unit = unit.clone();
        let how = Ill::Dies;
        script.push((at, Fault::Process { host, unit, how }));
        let effects = (seed + n) % 6;
        script.push((at + 10, Fault::AgentCrash { host, effects }));
    }
    scripted(seed, script)
}

/// The coordinator dies between two effects, again and again, while work has to move.
pub fn crashes_at_grants(seed: u64) -> Knobs {
    let mut script = Vec::new();
    for n in 0..60 {
        let host = usize::try_from(n % 3).unwrap_or(0);
        script.push(((40 + 10 * n) * S, drain(host)));
        script.push(((47 + 10 * n) * S, undrain(host)));
    }
    let mut knobs = scripted(seed, script);
    knobs.fault_ms = 700 * S;
    knobs.crash_every_effects = 15;
    knobs
}

/// The coordinator dies and a host falls silent at that moment, its agent frozen.
pub fn a_new_coordinator(seed: u64) -> Knobs {
    let mut knobs = turns(seed, |host| {
        let span = 60 * S;
        vec![
            (
                0,
                Fault::BossAndHost {
                    host,
                    back: 500,
                    span,
                },
            ),
            (1, Fault::AgentFreezes { host, span }),
        ]
    });
    knobs.watchdogs = Some(Kind::Worst(10 * S));
    knobs
}

/// A connection drops and is made again.
pub fn a_lost_connection(seed: u64) -> Knobs {
    turns(seed, |host| vec![(0, Fault::Drop { host })])
}

/// A host is cut off, and its fence device says that it has switched, and has not.
pub fn half_a_fence(seed: u64) -> Knobs {
    let mut knobs = turns(seed, |host| {
        let manner = Manner::HalfWorks;
        vec![
            (
                0,
                Fault::Devices {
                    host,
                    manner,
                    span: 90 * S,
                },
            ),
            (10, cut(host, 90 * S)),
        ]
    });
    knobs.fenced = 1_000;
    knobs
}

/// A host is cut off, and its fence device says that it has switched, and that the power is off.
pub fn a_device_that_lies(seed: u64) -> Knobs {
    let (host, manner, span) = (0, Manner::Lies, 100 * S);
    let lies = Fault::Devices { host, manner, span };
    let mut knobs = scripted(seed, vec![(60 * S, lies), (61 * S, cut(host, 90 * S))]);
    knobs.fenced = 1_000;
    knobs
}

/// A person wants a host fenced while its device is busy, being asked whether it is well and slow
/// to answer; then another host falls silent.
pub fn a_busy_device(seed: u64) -> Knobs {
    let mut knobs = turns(seed, |host| {
        let (manner, span) = (Manner::Hangs, 40 * S);
        let (other, off) = ((host + 1) % 3, 60 * S);
        let mut script = vec![(0, Fault::Devices { host, manner, span })];
        script.push((25 * S, fence(host)));
        script.push((25 * S + 500, Fault::Power { host: other, off }));
        script
    });
    knobs.fenced = 1_000;
    knobs
}

/// An agent freezes, and there is no device.
pub fn a_frozen_agent(seed: u64) -> Knobs {
    turns(seed, |host| {
        vec![(0, Fault::AgentFreezes { host, span: 90 * S })]
    })
}

/// An agent freezes, and there is a device.
pub fn a_frozen_agent_and_a_device(seed: u64) -> Knobs {
    let mut knobs = a_frozen_agent(seed);
    knobs.watchdogs = Some(Kind::Hardware(10 * S));
    knobs
}

/// Agent and watchdog die in one moment, and only the watchdog comes back soon.
pub fn everything_dies_at_once(seed: u64) -> Knobs {
    turns(seed, |host| {
        let dog = Fault::WatchdogDies {
            host,
            back: 500,
            agent_too: false,
        };
        let leases_lost = false;
        let agent = Fault::AgentDies {
            host,
            back: 90 * S,
            leases_lost,
        };
        vec![(0, dog), (0, agent)]
    })
}

/// Words are long on their way: what has failed too often is given up by its host, and that is told
/// to run it, and other work besides, by a coordinator that does not know of it yet.
pub fn crossing_words(seed: u64) -> Knobs {
    let unit = UnitKey::Work(nodemedic_protocol::WorkName::new("store-0").unwrap());
    turns(seed, |host| {
        let (by, span) = (9 * S, 60 * S);
        let other = (host + 1) % 3;
        let then = 6 * S + 2 * S * (seed % 10);
        let dies = |n: u64| {
            let (unit, how) = (unit.clone(), Ill::Dies);
            (3 * n * S, Fault::Process { host, unit, how })
        };
        let mut script: Vec<(u64, Fault)> = (0..10).map(dies).collect();
        script.push((1, Fault::Slow { host, by, span }));
        script.push((then, drain(other)));
        script.push((then + 30 * S, undrain(other)));
        script
    })
}

/// The only host that may take work loses its lease and comes back before time has proved anything:
/// the next generation goes where the last was.
pub fn nowhere_else(seed: u64) -> Knobs {
    let reason = "look at it".into();
    let cordon = Request::Cordon {
        node: node(1),
        reason,
    };
    let uncordon = Request::Uncordon { node: node(1) };
    let script = vec![
        (40 * S, Fault::Person(Box::new(cordon))),
        (60 * S, cut(0, 28 * S)),
        (150 * S, Fault::Person(Box::new(uncordon))),
    ];
    let mut knobs = scripted(seed, script);
    knobs.set_hosts(2);
    knobs.lost_ms = 120 * S;
    knobs
}

/// Two hosts are to be drained while a third one has no power.
pub fn too_much_at_once(seed: u64) -> Knobs {
    scripted(
        seed,
        vec![
            (
                60 * S,
                Fault::Power {
                    host: 0,
                    off: 100 * S,
                },
            ),
            (120 * S, drain(1)),
            (130 * S, drain(2)),
        ],
    )
}

/// Three of five hosts fall silent.
pub fn many_fall_silent(seed: u64) -> Knobs {
    let hosts = vec![0, 1, 2];
    let (up, down, span) = (true, true, 100 * S);
    let mut knobs = scripted(
        seed,
        vec![(
            60 * S,
            Fault::Cut {
                hosts,
                up,
                down,
                span,
            },
        )],
    );
    knobs.set_hosts(5);
    knobs
}
