//! The steps of one fence, by every answer that there is.

use super::*;
use alloc::string::ToString;
use alloc::vec;
use nodemedic_protocol::rng::Rng;

fn device(name: &str) -> DeviceName {
    DeviceName::new(name).unwrap()
}

fn levels() -> Vec<Vec<DeviceName>> {
    vec![vec![device("bmc")], vec![device("pdu-a"), device("pdu-b")]]
}

fn fence() -> FenceRecord {
    let mut fence = FenceRecord {
        by: FenceBy::Coordinator,
        because: "a test".into(),
        since: WallTime(0),
        overriding: false,
        then: FenceThen::On,
        stage: FenceStage::Waits,
        attempts: 0,
        said: Vec::new(),
        switched: Vec::new(),
    };
    fence.begin();
    fence
}

fn hear(fence: &mut FenceRecord, answer: FenceAnswer) -> Next {
    fence.hear(&levels(), answer, Mutations::NONE)
}

fn asks(fence: &FenceRecord) -> String {
    let levels = levels();
    let asked = fence.to_ask(&levels);
    asked.map_or_else(String::new, |(device, verb)| {
        alloc::format!("{verb} {device}")
    })
}

#[test]
fn off_is_read_back_before_it_counts() {
    let mut fence = fence();
    assert_eq!(asks(&fence), "off bmc");
    assert_eq!(hear(&mut fence, FenceAnswer::Done), Next::Goes);
    assert_eq!(asks(&fence), "status bmc");
    let next = hear(&mut fence, FenceAnswer::PowerOff);
    assert_eq!(next, Next::Confirmed { level: 0 });
}

#[test]
fn both_devices_of_a_level_are_switched_off_and_read_one_after_the_other() {
    let mut fence = fence();
    hear(&mut fence, FenceAnswer::Failed("no route".into()));
    let mut order = Vec::new();
    for answer in [FenceAnswer::Done, FenceAnswer::PowerOff, FenceAnswer::Done] {
        order.push(asks(&fence));
        assert_eq!(hear(&mut fence, answer), Next::Goes);
    }
    order.push(asks(&fence));
    assert_eq!(
        order,
        ["off pdu-a", "status pdu-a", "off pdu-b", "status pdu-b"]
    );
    let next = hear(&mut fence, FenceAnswer::PowerOff);
    assert_eq!(next, Next::Confirmed { level: 1 });
}

#[test]
fn who_was_asked_may_have_switched_off_and_who_did_not_answer_well_may_do_it_yet() {
    let off = |fence: &mut FenceRecord, name: &str, answer: Option<FenceAnswer>| {
        fence.asks_off(&device(name));
        if let Some(answer) = answer {
            hear(fence, answer);
        }
    };
    let mut fence = fence();
    off(&mut fence, "bmc", None);
    assert_eq!(fence.may_have_switched_off(), ["bmc"].map(device));
    assert_eq!(fence.may_switch_off_late(), ["bmc"].map(device));
    hear(&mut fence, FenceAnswer::Done);
    assert!(fence.may_switch_off_late().is_empty(), "it has done it");
    hear(&mut fence, FenceAnswer::PowerOn);
    off(&mut fence, "pdu-a", Some(FenceAnswer::Failed("x".into())));
    // The next attempt forgets none of them.
    fence.begin();
    assert_eq!(fence.may_have_switched_off(), ["bmc", "pdu-a"].map(device));
    // Asked again, because nobody heard the first answer: that may still be under way.
    off(&mut fence, "bmc", None);
    off(&mut fence, "bmc", Some(FenceAnswer::Done));
    assert_eq!(fence.may_have_switched_off(), ["bmc", "pdu-a"].map(device));
    assert_eq!(fence.may_switch_off_late(), ["bmc", "pdu-a"].map(device));
}

/// Whatever devices answer: confirmed is only what, in this attempt, ended `off` well and then
/// read OFF, for every device of one level.
#[test]
fn no_row_of_answers_confirms_without_an_off_and_a_reading_of_each_device() {
    let mut rng = Rng::new(7);
    let (mut confirmed, mut failed) = (0, 0);
    for _ in 0..20_000 {
        let mut fence = fence();
        let next = loop {
            let answer = match rng.below(5) {
                0 | 1 if fence.to_ask(&levels()).unwrap().1 == FenceVerb::Off => FenceAnswer::Done,
                0 | 1 => FenceAnswer::PowerOff,
                2 => FenceAnswer::Done,
                3 => FenceAnswer::PowerOn,
                _ => FenceAnswer::Failed("x".to_string()),
            };
            match hear(&mut fence, answer) {
                Next::Goes => {}
                end => break end,
            }
        };
        match next {
            Next::Confirmed { level } => {
                confirmed += 1;
                for device in &levels()[level] {
                    let said = |verb, answer| {
                        fence.said.iter().position(|s| {
                            s.device == *device && s.verb == verb && s.answer == answer
                        })
                    };
                    let off = said(FenceVerb::Off, FenceAnswer::Done);
                    let read = said(FenceVerb::Status, FenceAnswer::PowerOff);
                    assert!(off.is_some() && off < read, "{:?}", fence.said);
                }
            }
            Next::Failed => {
                failed += 1;
                assert_eq!((fence.stage, fence.attempts), (FenceStage::Failed, 1));
            }
            Next::Goes => unreachable!("the loop goes on"),
        }
    }
    assert!(confirmed > 1000 && failed > 1000, "{confirmed} {failed}");
}
