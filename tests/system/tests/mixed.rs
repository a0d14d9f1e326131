//! Every fault that this bed can play, mixed at random for a while, then calm: no exclusive work
//! ever had two holders, and every work has its holders again.
//!
//! `NODEMEDIC_SEED` chooses another run, `NODEMEDIC_CHAOS` another length in seconds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};
use nodemedic_protocol::api::{Decision, JournalWhat, Proof};
use nodemedic_protocol::rng::Rng;
use nodemedic_system_tests::realm::{HOSTS, Part, Realm};
use nodemedic_system_tests::scenario::all_living;
use nodemedic_system_tests::terms::{Terms, WORKS};
use nodemedic_system_tests::wait::stays;

const DEFAULT_S: u64 = 45;

/// So many faults hold at once at the most: with every host in trouble all the time the storm brake
/// would hold, nothing would ever be granted, and nothing could go wrong.
const AT_ONCE_MAX: usize = 2;

macro_rules! faults {
    ($($fault:ident,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        enum Fault {
            $($fault,)+
        }

        use Fault::*;

        const FAULTS: &[Fault] = &[$($fault,)+];
    };
}

faults! {
    CablePulled,
    HostToBroker,
    BrokerToHost,
    AgentFrozen,
    WatchdogFrozen,
    AgentKilled,
    WatchdogKilled,
    BothKilled,
    PowerCut,
    WorkFrozen,
    CoordinatorKilled,
    BrokerKilled,
}

impl Fault {
    /// Two of these on one host would break what software enforcement assumes: that the watchdog
    /// runs, or is back at once, whenever the agent does not.
    const fn is_of_programs(self) -> bool {
        matches!(
            self,
            AgentFrozen | WatchdogFrozen | AgentKilled | WatchdogKilled | BothKilled | PowerCut
        )
    }

    const fn is_of_the_site(self) -> bool {
        matches!(self, CoordinatorKilled | BrokerKilled)
    }

    /// How long it holds, in milliseconds. A service manager has a dead watchdog back at once.
    const fn lasts(self, rng: &mut Rng) -> u64 {
        match self {
            WatchdogKilled | BothKilled | WorkFrozen => 0,
            _ => rng.below(12_000),
        }
    }
}

struct Held {
    fault: Fault,
    host: &'static str,
    until: Instant,
}

fn strike(realm: &mut Realm, fault: Fault, host: &str) {
    match fault {
        CablePulled => realm.net.cut(host),
        HostToBroker => realm.net.drop_frames(host, "broker"),
        BrokerToHost => realm.net.drop_frames("broker", host),
        AgentFrozen => realm.signal(host, Part::Agent, SIGSTOP),
        WatchdogFrozen => realm.signal(host, Part::Watchdog, SIGSTOP),
        AgentKilled => realm.kill9(host, Part::Agent),
        WatchdogKilled => realm.kill9(host, Part::Watchdog),
        BothKilled => {
            realm.kill9(host, Part::Watchdog);
            realm.kill9(host, Part::Agent);
        }
        PowerCut => realm.cut_power(host),
        WorkFrozen => {
            if let Some(work) = all_living(realm).iter().find(|i| i.node == host) {
                realm.signal_work(work, SIGSTOP);
            }
        }
        CoordinatorKilled => realm.kill9_coordinator(),
        BrokerKilled => realm.broker.kill9(),
    }
}

fn heal(realm: &mut Realm, fault: Fault, host: &str) {
    match fault {
        CablePulled => realm.net.join(host),
        HostToBroker => realm.net.pass_frames(host, "broker"),
        BrokerToHost => realm.net.pass_frames("broker", host),
        AgentFrozen => {
            realm.signal(host, Part::Agent, SIGCONT);
            realm.tend(host);
        }
        WatchdogFrozen => realm.signal(host, Part::Watchdog, SIGCONT),
        AgentKilled | WatchdogKilled | BothKilled => realm.tend(host),
        PowerCut => realm.boot(host),
        WorkFrozen => {}
        CoordinatorKilled => realm.start_coordinator(),
        BrokerKilled => realm.broker.restart(),
    }
}

/// What may be struck now, without leaving the model.
fn fits(fault: Fault, host: &str, held: &[Held]) -> bool {
    let same_host = |h: &&Held| h.host == host && !h.fault.is_of_the_site();
    let on_host: Vec<Fault> = held.iter().filter(same_host).map(|h| h.fault).collect();
    if fault.is_of_the_site() {
        return !held.iter().any(|h| h.fault == fault);
    }
    let doubled = on_host.contains(&fault);
    let two_programs = fault.is_of_programs() && on_host.iter().any(|f| f.is_of_programs());
    let nothing_there = fault == WorkFrozen && on_host.contains(&PowerCut);
    !(doubled || two_programs || nothing_there)
}

/// The broker and the coordinator are struck in a quarter of their turns: while they are away, and
/// for a resume grace after, nothing moves.
fn draw(rng: &mut Rng) -> Fault {
    loop {
        let index = usize::try_from(rng.below(FAULTS.len() as u64)).expect("small");
        if !FAULTS[index].is_of_the_site() || rng.chance(250) {
            return FAULTS[index];
        }
    }
}

fn pause(realm: &Realm, rng: &mut Rng) {
    let span = Duration::from_millis(rng.below(1500));
    stays("never two holders", span, || {
        for work in WORKS.iter().filter(|work| work.exclusive()) {
            let living = realm.living(work.name);
            if living.iter().any(|i| i.met) {
                return Err(format!("{living:?}"));
            }
        }
        Ok(())
    });
}

fn heal_due(realm: &mut Realm, held: &mut Vec<Held>, now: Instant) {
    for index in (0..held.len()).rev() {
        if held[index].until <= now {
            let over = held.remove(index);
            heal(realm, over.fault, over.host);
        }
    }
}

#[test]
fn all_faults_mixed_at_random_never_make_two_holders() {
    let mut rng = Rng::new(nodemedic_system_tests::seed(7));
    let asked = std::env::var("NODEMEDIC_CHAOS").ok();
    let span = Duration::from_secs(asked.and_then(|s| s.parse().ok()).unwrap_or(DEFAULT_S));
    let mut realm = Realm::start(Terms::HASTY);
    let mut counts: BTreeMap<Fault, u32> = BTreeMap::new();
    let mut held: Vec<Held> = Vec::new();
    let began = Instant::now();
    while began.elapsed() < span {
        let fault = draw(&mut rng);
        let host = HOSTS[usize::try_from(rng.below(3)).expect("small")];
        let lasts = Duration::from_millis(fault.lasts(&mut rng));
        if held.len() < AT_ONCE_MAX && fits(fault, host, &held) {
            let at = began.elapsed().as_secs_f32();
            println!(
                "{at:5.1} s: {fault:?} at {host} for {:.1} s",
                lasts.as_secs_f32()
            );
            strike(&mut realm, fault, host);
            *counts.entry(fault).or_default() += 1;
            let until = Instant::now() + lasts;
            held.push(Held { fault, host, until });
            heal_due(&mut realm, &mut held, Instant::now());
        }
        pause(&realm, &mut rng);
        heal_due(&mut realm, &mut held, Instant::now());
    }
    heal_due(&mut realm, &mut held, Instant::now() + span);
    for host in HOSTS {
        realm.tend(host);
    }
    let took = realm.settle();
    realm.prove();
    println!(
        "calm: all well after {:.1} s; faults: {counts:?}",
        took.as_secs_f32()
    );
    let journal = realm.journal().expect("the journal");
    let ended = |wanted: &Proof| {
        let proofs = journal.iter().filter_map(|entry| match &entry.what {
            JournalWhat::Coordinator(Decision::Ended { proof, .. }) => Some(proof),
            _ => None,
        });
        proofs.filter(|proof| *proof == wanted).count()
    };
    println!(
        "grants ended by time {}, by a confirmed stop {}",
        ended(&Proof::LeaseEnded),
        ended(&Proof::StopConfirmed)
    );
    for work in WORKS {
        let book = realm.book();
        let last = book.of(work.name).last().map(|i| i.generation);
        println!(
            "{}: {} instances, generation {last:?}",
            work.name,
            book.of(work.name).len()
        );
    }
}
