//! What the watchdog did is told once.

use super::*;
use nodemedic_protocol::event::{LastWords, WatchdogVerdict};

fn words(boot: &str, at: u64) -> LastWords {
    LastWords {
        boot_id: BootId::new(boot).unwrap(),
        at: Boottime(at),
        wall: WallTime(7),
        verdict: WatchdogVerdict::Reset,
        target: "session 4242".to_string(),
        why: "the agent is frozen".to_string(),
    }
}

fn told(world: &World) -> Vec<(bool, Option<u64>)> {
    let acted = |e: &Event| match &e.kind {
        EventKind::WatchdogActed {
            device_reset,
            words,
        } => Some((*device_reset, words.as_ref().map(|w| w.at.0))),
        _ => None,
    };
    world.events.iter().filter_map(acted).collect()
}

#[test]
fn a_reset_is_told_once_with_both_what_was_written_and_what_the_device_says() {
    let mut world = World::new(config());
    world.input(Input::LastWords(words("boot-0", 71_000)));
    world.pass(Millis::from_secs(2));
    assert_eq!(told(&world), [], "the device has not spoken yet");
    world.input(Input::BootStatus { reset: true });
    assert_eq!(told(&world), [(true, Some(71_000))]);
    world.input(Input::BootStatus { reset: true });
    world.restart_agent();
    world.input(Input::LastWords(words("boot-0", 71_000)));
    world.input(Input::BootStatus { reset: true });
    world.pass(Millis::from_secs(60));
    assert_eq!(told(&world).len(), 1, "once, over restarts of the agent");
    // The next boot, with the same old file and a quiet device, has no news.
    world.reboot(1);
    world.input(Input::LastWords(words("boot-0", 71_000)));
    world.input(Input::BootStatus { reset: false });
    assert_eq!(told(&world).len(), 1);
    // The one after that was a reset again, and left nothing written.
    world.reboot(1);
    world.input(Input::BootStatus { reset: true });
    assert_eq!(told(&world)[1..], [(true, None)]);
}

#[test]
fn last_words_without_a_device_are_told_after_a_wait() {
    let mut world = World::new(config());
    world.input(Input::LastWords(words("boot-0", 71_000)));
    world.pass(Millis::from_secs(9));
    assert_eq!(told(&world), []);
    world.pass(Millis::from_secs(2));
    assert_eq!(told(&world), [(false, Some(71_000))]);
    // Newer words of this very boot: it killed what an agent had left.
    world.restart_agent();
    world.input(Input::LastWords(words("boot-1", 12_000)));
    world.input(Input::BootStatus { reset: false });
    assert_eq!(told(&world)[1..], [(false, Some(12_000))]);
}
