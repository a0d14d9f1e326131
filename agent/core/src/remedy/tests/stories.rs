//! What is done about a condition, in which order, and when nothing is.

use super::*;

fn both() -> Host {
    Host::new(&[("mild", remedy(1)), ("hard", remedy(2))])
}

#[test]
fn the_mildest_comes_first_and_what_helped_is_the_last() {
    let mut host = both();
    host.helps = Some(name("mild"));
    host.bad = true;
    host.pass(Millis::from_secs(8));
    assert_eq!(host.done(), [""; 0], "it has not stood for long enough");
    host.pass(MINUTE);
    assert_eq!(host.done(), ["mild"]);
    host.pass(HOUR);
    assert_eq!(host.done(), ["mild"]);
    assert!(!host.given_up());
    let EventKind::Remedy(record) = &host
        .events
        .iter()
        .find(|e| matches!(e.kind, EventKind::Remedy(_)))
        .unwrap()
        .kind
    else {
        unreachable!();
    };
    assert_eq!(record.evidence["latency_ms"], "9000");
    assert!(
        record.cause.contains("it does not answer"),
        "{}",
        record.cause
    );
    assert_eq!(record.budget.unwrap().used, 1);
    assert_eq!(
        (record.command.as_str(), record.took),
        ("as declared", SECOND)
    );
}

#[test]
fn one_that_fails_is_followed_by_the_next_at_once_and_one_that_does_not_help_after_a_while() {
    let mut host = both();
    host.fails
        .insert(name("mild"), Outcome::Failed("no space".into()));
    host.bad = true;
    host.pass(Millis::from_secs(20));
    assert_eq!(host.done(), ["mild", "hard"]);
    assert!(!host.given_up(), "it has its time to help");
    host.pass(MINUTE);
    assert!(host.given_up());
    assert_eq!(host.told(), ["mild Failed(\"no space\")", "hard Done"]);
    // Neither a death of the agent nor a reboot pages again, or tries again.
    host.restart();
    host.pass(MINUTE);
    host.reboot();
    host.pass(MINUTE);
    assert!(host.given_up());
    assert_eq!(host.done(), ["mild", "hard"]);
    let page = |e: &&Event| match &e.kind {
        EventKind::ConditionRaised { reason, .. } => *reason == Reason::RemediesSpent,
        _ => false,
    };
    assert_eq!(host.events.iter().filter(page).count(), 1);
    // The condition ends: all of it is forgotten, and begins anew with the next one.
    host.bad = false;
    host.pass(MINUTE);
    assert!(!host.given_up());
    host.bad = true;
    host.pass(Millis::from_secs(20));
    assert_eq!(host.done(), ["mild", "hard", "mild", "hard"]);
}

#[test]
fn without_a_declaration_nothing_is_done() {
    let mut host = Host::new(&[]);
    host.bad = true;
    host.pass(HOUR);
    assert_eq!(host.done(), [""; 0]);
    assert_eq!(host.word(), None);
    assert!(!host.given_up());
    let answer = host.permit_now("c1");
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
}

#[test]
fn advice_is_given_once_and_nothing_is_done() {
    let advise = Remedy {
        mode: Mode::Advise,
        ..remedy(1)
    };
    let mut host = Host::new(&[("mild", advise), ("hard", remedy(2))]);
    host.bad = true;
    host.pass(HOUR);
    assert_eq!(host.told(), ["mild advised"]);
    assert_eq!(
        host.done(),
        [""; 0],
        "nor is the next one: nobody knows whether this would help"
    );
    let mut off = both();
    off.config.healing.mode = Mode::Off;
    off.restart();
    off.bad = true;
    off.pass(HOUR);
    assert_eq!((off.done(), off.told()), (vec![], vec![]));
}

#[test]
fn a_pause_holds_remedies_and_takes_a_wish_back() {
    let mut host = Host::new(&[("reboot", reboot(1, None))]);
    host.bad = true;
    host.pass(MINUTE);
    assert!(host.wants());
    host.input(Input::Pause {
        service: None,
        span: HOUR,
        reason: "disks".into(),
    });
    host.pass(MINUTE);
    assert!(!host.wants());
    let answer = host.permit_now("c1");
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    host.pass(HOUR);
    assert!(host.wants(), "the pause is over");
    assert_eq!(
        host.told(),
        ["reboot Wanted", "reboot Dropped", "reboot Wanted"]
    );
    assert!(host.treated.is_empty());
}

#[test]
fn a_budget_is_real_time_and_what_is_spent_is_left_out() {
    let once = Remedy {
        max: 1,
        ..remedy(1)
    };
    let mut host = Host::new(&[("mild", once)]);
    for _ in 0..2 {
        host.bad = true;
        host.pass(MINUTE);
        host.bad = false;
        host.pass(MINUTE);
    }
    assert_eq!(host.told(), ["mild Done", "mild left out"]);
    host.pass(HOUR);
    host.bad = true;
    host.pass(MINUTE);
    assert_eq!(host.done(), ["mild", "mild"]);
}

#[test]
fn a_reboot_waits_for_its_permit_and_the_host_stays_out_until_it_is_well() {
    let mut host = Host::new(&[("mild", remedy(1)), ("reboot", reboot(2, None))]);
    host.bad = true;
    host.pass(HOUR);
    assert_eq!(host.done(), ["mild"]);
    let Some(RebootWord::Wanted(wanted)) = host.word() else {
        panic!("{:?}", host.word());
    };
    assert!(wanted.why.contains("tried: mild"), "{}", wanted.why);
    assert_eq!(wanted.stay_out, Millis::from_secs(120));
    assert_eq!(host.permit_now("c1"), Answer::Taken);
    assert!(matches!(
        host.word(),
        Some(RebootWord::Going { permit: Some(_) })
    ));
    // The same once more, and another one: it goes once.
    for id in ["c1", "c2"] {
        assert!(matches!(host.permit_now(id), Answer::Refused(_)));
    }
    host.bad = false;
    host.pass(MINUTE);
    assert_eq!(host.boots, 2);
    assert_eq!(host.done(), ["mild", "reboot"]);
    assert!(matches!(host.word(), Some(RebootWord::StaysOut { .. })));
    host.pass(MINUTE);
    assert!(matches!(host.word(), Some(RebootWord::StaysOut { .. })));
    host.pass(Millis::from_secs(90));
    assert_eq!(host.word(), None);
    assert_eq!(
        host.told()[1..],
        [
            "reboot Wanted",
            "reboot Begun",
            "reboot Back",
            "reboot Well"
        ]
    );
}

#[test]
fn what_a_reboot_did_not_help_is_a_persons() {
    let mut host = Host::new(&[("reboot", reboot(5, None))]);
    host.bad = true;
    host.pass(MINUTE);
    assert_eq!(host.permit_now("c1"), Answer::Taken);
    host.pass(HOUR);
    assert_eq!(host.boots, 2, "once is enough for one condition");
    assert!(host.given_up());
    assert!(
        matches!(host.word(), Some(RebootWord::StaysOut { .. })),
        "it is not well"
    );
}

#[test]
fn a_permit_for_another_boot_or_after_its_time_does_nothing() {
    let mut host = Host::new(&[("reboot", reboot(1, None))]);
    host.bad = true;
    host.pass(MINUTE);
    let later = host.now.boot + MINUTE;
    for (boot, until) in [(2, later), (1, host.now.boot - SECOND)] {
        let answer = host.permit("c1", boot, until);
        assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    }
    assert!(host.treated.is_empty());
    host.bad = false;
    host.pass(MINUTE);
    let answer = host.permit_now("c2");
    assert!(
        matches!(answer, Answer::Refused(_)),
        "not wanted any more: {answer:?}"
    );
}

#[test]
fn cut_off_it_goes_by_its_own_policy_and_by_no_other() {
    let mut never = Host::new(&[("reboot", reboot(3, None))]);
    let mut allow = Host::new(&[("reboot", reboot(3, Some(HOUR)))]);
    for host in [&mut never, &mut allow] {
        host.bad = true;
        host.pass(MINUTE);
        // As long as a coordinator answers it waits.
        host.pass(HOUR.scaled(3, 1));
        assert!(host.treated.is_empty() && host.wants());
        host.acked = false;
        host.pass(MINUTE.scaled(58, 1));
        assert!(host.treated.is_empty());
        host.pass(MINUTE.scaled(4, 1));
    }
    assert!(never.treated.is_empty());
    assert_eq!(allow.done(), ["reboot"]);
    assert_eq!((allow.boots, allow.under.as_slice()), (2, &[None][..]));
}

#[test]
fn a_reboot_that_does_not_happen_is_told_and_not_tried_again() {
    let mut host = Host::new(&[("reboot", reboot(3, None))]);
    host.fails
        .insert(name("reboot"), Outcome::Failed("no systemd".into()));
    host.bad = true;
    host.pass(MINUTE);
    host.permit_now("c1");
    host.pass(MINUTE);
    assert_eq!(
        host.told(),
        ["reboot Wanted", "reboot Begun", "reboot Failed"]
    );
    assert!(host.given_up());
    assert_eq!(host.word(), None);
    assert!(matches!(host.permit_now("c1"), Answer::Refused(_)));
}

#[test]
fn exclusive_work_that_is_not_proved_stopped_keeps_the_host_up() {
    let boot = boot_id(1);
    let mut doctor = crate::remedy::Doctor::restored(boot, Default::default(), Boottime(0));
    let now = Now {
        boot: Boottime(100_000),
        wall: WallTime(1),
    };
    let mut out = crate::out::Out::new(now);
    let settings = BTreeMap::from([(name("reboot"), reboot(1, Some(MINUTE)))]);
    doctor.wish = Some(crate::remedy::Wish {
        case: (nodemedic_protocol::Component::Host, Reason::Unresponsive),
        remedy: name("reboot"),
        why: "it hangs".into(),
        since: Now {
            boot: Boottime(0),
            ..now
        },
        policy: settings[&name("reboot")].reboot.unwrap(),
    });
    let mut around = crate::remedy::Around {
        mode: Mode::Act,
        held: None,
        exclusive: Some("work db".into()),
        well: true,
    };
    let id = CommandId::new("c1").unwrap();
    let refused = doctor
        .permit(&mut out, &settings, &around, &id)
        .unwrap_err();
    assert!(
        refused.contains("work db is not proved stopped"),
        "{refused}"
    );
    doctor.go_if_cut_off(&mut out, &settings, &around);
    assert!(out.host.is_empty());
    around.exclusive = None;
    doctor.permit(&mut out, &settings, &around, &id).unwrap();
    assert_eq!(out.host.len(), 1);
}
