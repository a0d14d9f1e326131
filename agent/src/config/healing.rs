//! Healing: how far it goes, by which rungs, between which hooks, how many acts at once.

use nodemedic_agent_core::config::{Healing, Hooks, Ladder, Retry};
use nodemedic_edge::config::span;
use nodemedic_protocol::Millis;
use nodemedic_protocol::healing::Mode;

use super::Mistake;
use super::raw::{RawHealing, RawLadder, RawMode, RawService};

/// More rungs of one kind are no ladder: the budget ends it long before.
const RUNG_MAX: u32 = 100;

/// A hook that takes longer keeps its service down, and one of the few acts under way busy.
const HOOK_TIMEOUT_MAX: Millis = Millis::from_secs(3600);

/// Enough to clear a spool or to repair a table.
const HOOK_TIMEOUT: Millis = Millis::from_secs(30);

/// A host starts its services within a minute, most times; what is dead is started at once all the
/// same, this is only for what runs and does not answer yet.
const BOOT_GRACE: Millis = Millis::from_secs(60);

/// A boot that takes longer is looked at by a person.
const BOOT_GRACE_MAX: Millis = Millis::from_secs(3600);

/// More acts at once than this are a stampede on any host.
const AT_ONCE_MAX: u32 = 1000;

/// A service that was tried again so often is for a person.
const RETRIES_MAX: u32 = 100;

pub(super) const fn mode(raw: RawMode) -> Mode {
    match raw {
        RawMode::Act => Mode::Act,
        RawMode::Advise => Mode::Advise,
        RawMode::Off => Mode::Off,
    }
}

pub(super) fn ladder(service: &str, raw: &RawLadder) -> Result<Ladder, Mistake> {
    let standard = Ladder::default();
    let ladder = Ladder {
        restarts: raw.restarts.unwrap_or(standard.restarts),
        with_hook: raw.with_hook.unwrap_or(standard.with_hook),
    };
    let all = [
        ("restarts", ladder.restarts),
        ("with_hook", ladder.with_hook),
    ];
    for (key, number) in all {
        if number > RUNG_MAX {
            let message = format!("is above {RUNG_MAX}: a ladder that long has no second rung");
            return Err(Mistake::at(&["service", service, "ladder", key], message));
        }
    }
    Ok(ladder)
}

pub(super) fn hooks(service: &str, raw: &RawService) -> Result<Option<Hooks>, Mistake> {
    let at = |key: &str, message: String| Mistake::at(&["service", service, key], message);
    let both = [
        ("before_restart", &raw.before_restart),
        ("after_restart", &raw.after_restart),
    ];
    for (key, command) in both {
        if command.first().is_some_and(String::is_empty) {
            return Err(at(key, "is empty: name a program first".to_owned()));
        }
    }
    if raw.before_restart.is_empty() && raw.after_restart.is_empty() {
        let hint = "is for hooks, and there are none: set before_restart or after_restart";
        if raw.hook_timeout.is_some() {
            return Err(at("hook_timeout", hint.to_owned()));
        }
        if raw.ladder.with_hook.is_some_and(|number| number > 0) {
            let key = ["service", service, "ladder", "with_hook"];
            return Err(Mistake::at(&key, hint));
        }
        return Ok(None);
    }
    let timeout = raw.hook_timeout.unwrap_or(HOOK_TIMEOUT);
    if timeout == Millis::ZERO || timeout > HOOK_TIMEOUT_MAX {
        let message = format!("must be above zero and at most {HOOK_TIMEOUT_MAX}");
        return Err(at("hook_timeout", message));
    }
    Ok(Some(Hooks {
        before: raw.before_restart.clone(),
        after: raw.after_restart.clone(),
        timeout,
    }))
}

pub(super) fn group(service: &str, raw: Option<&String>) -> Result<Option<String>, Mistake> {
    match raw {
        Some(name) if name.trim().is_empty() => {
            let message = "is empty: name the group, or leave it out";
            Err(Mistake::at(&["service", service, "group"], message))
        }
        name => Ok(name.cloned()),
    }
}

/// `longest` is the longest window of a budget, and whose.
pub(super) fn healing(raw: &RawHealing, longest: (Millis, &str)) -> Result<Healing, Mistake> {
    let standard = Healing::default();
    let at_once = raw.at_once.unwrap_or(standard.at_once);
    if at_once == 0 || at_once > AT_ONCE_MAX {
        let message =
            format!("must be from 1 to {AT_ONCE_MAX}; to heal nothing, write mode = \"off\"");
        return Err(Mistake::at(&["healing", "at_once"], message));
    }
    Ok(Healing {
        mode: mode(raw.mode),
        respect_package_manager: raw
            .respect_package_manager
            .unwrap_or(standard.respect_package_manager),
        boot_grace: boot_grace(raw.boot_grace)?,
        at_once,
        retry: retry(raw, longest)?,
    })
}

fn boot_grace(raw: Option<Millis>) -> Result<Millis, Mistake> {
    let grace = raw.unwrap_or(BOOT_GRACE);
    if grace > BOOT_GRACE_MAX {
        let message = format!("is above {BOOT_GRACE_MAX}: what hangs would stay so for as long");
        return Err(Mistake::at(&["healing", "boot_grace"], message));
    }
    Ok(grace)
}

fn retry(raw: &RawHealing, (longest, whose): (Millis, &str)) -> Result<Option<Retry>, Mistake> {
    let at = |key: &str, message: String| Mistake::at(&["healing", key], message);
    let times = raw.retries.unwrap_or(0);
    if times > RETRIES_MAX {
        let message = format!("is above {RETRIES_MAX}: what is still broken then is for a person");
        return Err(at("retries", message));
    }
    let after = match raw.retry_after.as_deref() {
        None | Some("off") => None,
        Some(text) => {
            let after = span::parse(text).map_err(|error| at("retry_after", error))?;
            Some(after)
        }
    };
    match (after, times) {
        (None, 0) => Ok(None),
        (None, _) => {
            let message = "says how often, and retry_after says not when: set both or none";
            Err(at("retries", message.to_owned()))
        }
        (Some(_), 0) => {
            let message = "says when, and retries says not how often: set both or none";
            Err(at("retry_after", message.to_owned()))
        }
        (Some(after), _) if after < longest => {
            let message = format!(
                "is below {longest}, the window of the restart budget of service {whose}: a try \
                 must find its budget whole"
            );
            Err(at("retry_after", message))
        }
        (Some(after), times) => Ok(Some(Retry { after, times })),
    }
}
