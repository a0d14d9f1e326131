//! What holds whatever happens: the agent dies between any two effects, the host loses its power,
//! permits come twice, late, or for another boot, and time passes.

use proptest::prelude::*;

use super::*;

/// More reboots than this in any 24 hours of real time are a broken promise.
const PER_DAY: u32 = 2;

fn host() -> Host {
    Host::new(&[
        ("mild", remedy(1)),
        ("reboot", reboot(PER_DAY, Some(MINUTE.scaled(20, 1)))),
    ])
}

#[derive(Clone, Debug)]
enum Do {
    Bad(bool),
    Pass(u64),
    Permit(u64),
    Again,
    Late,
    Foreign,
    Die(usize),
    Power,
    Acked(bool),
    Fails(bool),
}

fn acts() -> impl Strategy<Value = Vec<Do>> {
    let act = prop_oneof![
        3 => any::<bool>().prop_map(Do::Bad),
        5 => (1u64..4000).prop_map(Do::Pass),
        5 => (0u64..5).prop_map(Do::Permit),
        2 => Just(Do::Again),
        1 => Just(Do::Late),
        1 => Just(Do::Foreign),
        4 => (0usize..12).prop_map(Do::Die),
        1 => Just(Do::Power),
        1 => any::<bool>().prop_map(Do::Acked),
        1 => any::<bool>().prop_map(Do::Fails),
    ];
    proptest::collection::vec(act, 1..60)
}

fn act(host: &mut Host, act: &Do, last: &mut Option<(u64, u64)>, permits: &mut u64) {
    let soon = host.now.boot + Millis::from_secs(30);
    match act {
        Do::Bad(bad) => host.bad = *bad,
        Do::Pass(seconds) => host.pass(Millis::from_secs(*seconds)),
        Do::Permit(wait) => {
            *permits += 1;
            *last = Some((*permits, host.boots));
            host.permit(&format!("c{permits}"), host.boots, soon);
            host.pass(Millis::from_secs(*wait));
        }
        Do::Again => {
            if let Some((id, boot)) = *last {
                host.permit(&format!("c{id}"), boot, soon);
            }
        }
        Do::Late => {
            let past = host.now.boot - SECOND;
            host.permit("late", host.boots, past);
        }
        Do::Foreign => {
            host.permit("foreign", host.boots + 1, soon);
        }
        Do::Die(after) => host.die_after = Some(*after),
        Do::Power => host.reboot(),
        Do::Acked(acked) => host.acked = *acked,
        Do::Fails(fails) => {
            host.fails.clear();
            if *fails {
                host.fails.insert(name("reboot"), Outcome::TimedOut);
            }
        }
    }
}

/// No window of real time holds more uses of a remedy than its budget, and no permit two reboots.
fn judge(host: &Host) {
    for (remedy, settings) in &host.config.remedies {
        let times: Vec<Millis> = host
            .treated
            .iter()
            .filter(|(_, t)| t.remedy == *remedy)
            .map(|(at, _)| *at)
            .collect();
        let max = usize::try_from(settings.max).unwrap();
        for pair in times.windows(max + 1) {
            let span = pair[max] - pair[0];
            assert!(span >= settings.window, "{remedy}: {times:?}");
        }
    }
    for (at, permit) in host.under.iter().enumerate() {
        let again = host.under[at + 1..].contains(permit);
        assert!(permit.is_none() || !again, "{permit:?} twice");
        let made_up = ["late", "foreign"].map(|id| CommandId::new(id).ok());
        assert!(!made_up.contains(permit), "{permit:?} was void");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_budget_is_exceeded_and_no_permit_used_twice(acts in acts()) {
        let mut host = host();
        host.bad = true;
        let (mut last, mut permits) = (None, 0);
        for one in &acts {
            act(&mut host, one, &mut last, &mut permits);
            judge(&host);
        }
    }
}

/// The whole way of a reboot under a permit, with one death of the agent.
fn one_reboot(die_after: Option<usize>) -> (usize, Host) {
    let mut host = Host::new(&[("mild", remedy(1)), ("reboot", reboot(PER_DAY, None))]);
    host.bad = true;
    host.pass(MINUTE.scaled(2, 1));
    assert!(host.wants());
    let before: usize = 1000;
    host.die_after = die_after.or(Some(before));
    host.permit_now("c1");
    host.helps = None;
    host.pass(SECOND.scaled(3, 1));
    let effects = before - host.die_after.unwrap_or(before);
    host.die_after = None;
    // A coordinator that heard no Going says it again while it is valid.
    if !host.under.iter().any(|permit| permit.is_some()) {
        host.permit_now("c1");
    }
    host.pass(MINUTE.scaled(15, 1));
    (effects, host)
}

#[test]
fn one_permit_is_one_reboot_wherever_the_agent_dies() {
    let (effects, host) = one_reboot(None);
    assert_eq!((host.boots, host.under.len()), (2, 1));
    assert!(effects >= 5, "{effects} effects");
    for die_after in 0..=effects {
        let (_, host) = one_reboot(Some(die_after));
        assert!(
            host.under.len() <= 1,
            "death after {die_after}: {:?}",
            host.under
        );
        let uses = host.memory.remedies.uses.iter();
        let counted = uses.filter(|u| u.unit == name("reboot")).count();
        assert!(counted >= host.under.len(), "death after {die_after}");
        assert!(
            counted <= 1,
            "death after {die_after}: {counted} uses for one permit"
        );
        // Where it died between the memory and the act it stays, and a person is told.
        assert!(
            host.boots == 2 || host.given_up(),
            "death after {die_after}"
        );
    }
}
