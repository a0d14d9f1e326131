//! The fleet's own words as sentences for people: events, decisions, states, and how each stands
//! out. Texts are cleaned where they are printed, not here.

use nodemedic_protocol::api::{
    AlertState, Decision, FenceAnswer, FenceStep, JournalEntry, JournalWhat, Liveness, Proof,
    Scheduling,
};
use nodemedic_protocol::event::{ActionRecord, Event, EventKind, HookRecord, LastWords, Outcome};
use nodemedic_protocol::health::{Level, Severity};
use nodemedic_protocol::work::{Enforcement, OnLeaseLoss, Sharing, StopCause, WorkState};
use nodemedic_protocol::{Millis, NodeId};

use crate::out::{Paint, Screen, clean, clock_time, cut, width};
use crate::{blast, reboot};

/// How a liveness stands out.
pub const fn liveness_paint(liveness: Liveness) -> Paint {
    match liveness {
        Liveness::Alive => Paint::Good,
        Liveness::Suspect | Liveness::Returning | Liveness::Away => Paint::Warn,
        Liveness::Lost | Liveness::Fenced => Paint::Bad,
        Liveness::Unheard => Paint::Dim,
    }
}

/// How a level stands out.
pub const fn level_paint(level: Level) -> Paint {
    match level {
        Level::Healthy => Paint::Good,
        Level::Unknown => Paint::Dim,
        Level::Degraded => Paint::Warn,
        Level::Failed => Paint::Bad,
    }
}

/// How a severity stands out.
pub const fn severity_paint(severity: Severity) -> Paint {
    match severity {
        Severity::Info => Paint::Plain,
        Severity::Warning => Paint::Warn,
        Severity::Critical => Paint::Bad,
    }
}

/// An alert's state in a word.
pub const fn alert_state(state: AlertState) -> &'static str {
    match state {
        AlertState::Firing => "firing",
        AlertState::Resolved => "resolved",
    }
}

/// A work's state on a node in words; `-` while the node has not said.
pub const fn work_state(state: Option<WorkState>) -> (&'static str, Paint) {
    match state {
        None => ("-", Paint::Dim),
        Some(WorkState::Starting) => ("starting", Paint::Warn),
        Some(WorkState::Running) => ("running", Paint::Good),
        Some(WorkState::Failing) => ("failing", Paint::Bad),
        Some(WorkState::Stopping) => ("stopping", Paint::Warn),
        Some(WorkState::Unknown) => ("unknown", Paint::Dim),
        Some(WorkState::Stopped(StopCause::Asked)) => ("stopped", Paint::Dim),
        Some(WorkState::Stopped(StopCause::LeaseLost)) => ("stopped: lease lost", Paint::Warn),
        Some(WorkState::Stopped(StopCause::Fenced)) => ("stopped: fenced", Paint::Bad),
        Some(WorkState::Stopped(StopCause::Refused)) => ("stopped: refused", Paint::Bad),
    }
}

/// Whether a node takes new work, in a word.
pub const fn scheduling(scheduling: &Scheduling) -> (&'static str, Paint) {
    match scheduling {
        Scheduling::Open => ("open", Paint::Plain),
        Scheduling::Cordoned { .. } => ("cordoned", Paint::Warn),
        Scheduling::DrainWaits(_) => ("drain waits", Paint::Warn),
        Scheduling::Draining(_) => ("draining", Paint::Warn),
        Scheduling::Drained(_) => ("drained", Paint::Warn),
    }
}

/// Why a node takes no new work; `None` when it does.
pub fn scheduling_reason(scheduling: &Scheduling) -> Option<&str> {
    match scheduling {
        Scheduling::Open => None,
        Scheduling::Cordoned { reason } => Some(reason),
        Scheduling::DrainWaits(drain)
        | Scheduling::Draining(drain)
        | Scheduling::Drained(drain) => Some(&drain.reason),
    }
}

/// How a work is shared, in words.
pub fn sharing(sharing: Sharing) -> String {
    match sharing {
        Sharing::Exclusive {
            on_lease_loss: OnLeaseLoss::Stop,
        } => "exclusive (stop)".to_owned(),
        Sharing::Exclusive {
            on_lease_loss: OnLeaseLoss::Keep,
        } => "exclusive (keep)".to_owned(),
        Sharing::Replicated { replicas } => format!("{replicas} replicas"),
    }
}

/// Who keeps a node's promises, in words.
pub fn enforcement(enforcement: Enforcement) -> String {
    match enforcement {
        Enforcement::Hardware { timeout } => format!("hardware watchdog, {timeout}"),
        Enforcement::Software { timeout } => format!("software watchdog, {timeout}"),
        Enforcement::None => "nobody".to_owned(),
    }
}

/// One entry as one line that fits the terminal.
pub fn line(entry: &JournalEntry, screen: &Screen) -> String {
    let (text, paint) = self::entry(entry);
    let number = format!("{:>5}", entry.number);
    let node = entry.node.as_ref().map_or("fleet", NodeId::as_str);
    let head = format!("{number}  {}  {node:<8}  ", clock_time(entry.stored));
    let room = screen
        .width
        .map_or(usize::MAX, |columns| columns.saturating_sub(width(&head)));
    let text = cut(&clean(&text), room.max(20));
    format!(
        "{}{}",
        screen.paint(Paint::Dim, &head),
        screen.paint(paint, &text)
    )
}

/// A journal entry as one sentence.
pub fn entry(entry: &JournalEntry) -> (String, Paint) {
    match &entry.what {
        JournalWhat::Node(event) => node_event(event),
        JournalWhat::Coordinator(decided) => decision(decided),
    }
}

/// What a node reported, as one sentence.
pub fn node_event(event: &Event) -> (String, Paint) {
    let about = &event.component;
    match &event.kind {
        EventKind::AgentStarted { version, new_boot } => (began(version, *new_boot), Paint::Plain),
        EventKind::AgentStopping { reason } => (format!("agent stops: {reason}"), Paint::Plain),
        EventKind::Down { cause } => (format!("{about} is down: {cause}"), Paint::Bad),
        EventKind::Up { after } => (format!("{about} works again after {after}"), Paint::Good),
        EventKind::Action(record) => action(&about.to_string(), record),
        EventKind::Advised {
            verb,
            cause,
            command,
        } => {
            let what = format!("{verb} by: {command} (because {cause})");
            (format!("{about} would be healed now: {what}"), Paint::Warn)
        }
        EventKind::ConditionRaised {
            reason,
            severity,
            message,
            ..
        } => (
            format!("{about}: {reason} ({severity}): {message}"),
            severity_paint(*severity),
        ),
        EventKind::ConditionCleared {
            reason,
            after,
            because,
        } => (
            format!("{about}: no longer {reason}, after {after}: {because}"),
            Paint::Good,
        ),
        EventKind::LeaseLost { generation } => (
            format!("{about} lost its lease (generation {generation})"),
            Paint::Bad,
        ),
        EventKind::ConfigReloaded => ("configuration read again".to_owned(), Paint::Plain),
        EventKind::ConfigRefused { error } => (
            format!("configuration refused, the old one stays in force: {error}"),
            Paint::Bad,
        ),
        EventKind::MessageRefused { error } => (format!("message refused: {error}"), Paint::Warn),
        EventKind::WatchdogActed {
            device_reset,
            words,
        } => (watchdog(*device_reset, words.as_ref()), Paint::Bad),
        EventKind::Remedy(record) => reboot::remedy(record),
        EventKind::Reboot(step) => reboot::of_host(step),
        EventKind::BundleTaken {
            name,
            why,
            left_out,
        } => (bundle(name, why, left_out), Paint::Plain),
        EventKind::FaultInjected { id, fault, span } => (injected(*id, fault, *span), Paint::Warn),
        EventKind::FaultUndone { id, fault, because } => (
            format!("fault {id} undone: {fault} ({because})"),
            Paint::Good,
        ),
        EventKind::Dropped { first, last } => (
            format!("events {first} to {last} are gone: the spool was full"),
            Paint::Bad,
        ),
    }
}

fn began(version: &str, new_boot: bool) -> String {
    let after = if new_boot {
        " after a boot of the host"
    } else {
        ""
    };
    format!("agent {version} started{after}")
}

fn bundle(name: &str, why: &str, left_out: &[String]) -> String {
    let missing = match left_out {
        [] => String::new(),
        _ => format!("; without {}", left_out.join(", ")),
    };
    format!("diagnostics taken ({why}): nodemedic diagnose {name}{missing}")
}

fn injected(id: u64, fault: &str, span: Millis) -> String {
    let until = match span {
        Millis::ZERO => String::new(),
        span => format!(", for {span}"),
    };
    format!("fault {id} on purpose: {fault}{until}")
}

fn watchdog(device_reset: bool, words: Option<&LastWords>) -> String {
    let device = "the watchdog's device had reset the host before this boot";
    match (device_reset, words) {
        (true, None) => device.to_owned(),
        (false, None) => "the watchdog acted, and left no words".to_owned(),
        (reset, Some(words)) => {
            let device = if reset {
                format!("{device}; ")
            } else {
                String::new()
            };
            format!(
                "{device}the watchdog {} ({}): {}",
                words.verdict, words.target, words.why
            )
        }
    }
}

fn action(about: &str, record: &ActionRecord) -> (String, Paint) {
    let verb = record.verb;
    let (how, paint) = match &record.outcome {
        Outcome::Done => (format!("done in {}", record.took), Paint::Plain),
        Outcome::Failed(seen) => (format!("failed after {}: {seen}", record.took), Paint::Bad),
        Outcome::TimedOut => (format!("no answer within {}", record.took), Paint::Bad),
        Outcome::Interrupted => (
            "interrupted, nobody knows how it ended".to_owned(),
            Paint::Warn,
        ),
    };
    let budget = record.budget.map_or_else(String::new, |b| {
        format!(", {} of {} within {}", b.used, b.of, b.window)
    });
    let hooks = record.hooks.iter().map(hook).collect::<String>();
    (
        format!(
            "{verb} {about}: {how}{budget}{hooks} (because {})",
            record.cause
        ),
        paint,
    )
}

fn hook(record: &HookRecord) -> String {
    let how = match &record.outcome {
        Outcome::Done => format!("done in {}", record.took),
        Outcome::Failed(seen) => format!("failed: {seen}"),
        Outcome::TimedOut => format!("killed after {}", record.took),
        Outcome::Interrupted => "interrupted".to_owned(),
    };
    format!(", {} {how}", record.hook)
}

/// What a coordinator decided or saw, as one sentence.
pub fn decision(decision: &Decision) -> (String, Paint) {
    match decision {
        Decision::Started { epoch } => (
            format!("coordinator took the lead, epoch {epoch}"),
            Paint::Plain,
        ),
        Decision::Liveness { from, to, because } => {
            (format!("{from} -> {to}: {because}"), liveness_paint(*to))
        }
        Decision::Granted {
            work,
            generation,
            because,
        } => (
            format!("gets {work} (generation {generation}): {because}"),
            Paint::Plain,
        ),
        Decision::Releasing {
            work,
            generation,
            because,
        } => (
            format!("gives up {work} (generation {generation}): {because}"),
            Paint::Warn,
        ),
        Decision::Ended {
            work,
            generation,
            proof,
        } => (
            format!(
                "no longer holds {work} (generation {generation}): {}",
                proof_words(proof)
            ),
            Paint::Plain,
        ),
        Decision::Scheduling { to, because } => (format!("{to}: {because}"), Paint::Warn),
        Decision::AlertRaised { key, summary } => (format!("ALERT {summary} [{key}]"), Paint::Bad),
        Decision::AlertResolved { key } => (format!("resolved [{key}]"), Paint::Good),
        Decision::Reserved {
            purpose,
            out,
            limit,
            overridden,
        } => blast::reserved(*purpose, *out, *limit, overridden),
        Decision::GivenBack { purpose } => (
            format!("back and well: {purpose} is over, its place is free"),
            Paint::Good,
        ),
        Decision::Brake(change) => blast::change(change),
        Decision::Fence(step) => (format!("fence: {step}"), fence_paint(step)),
        Decision::Reboot(step) => reboot::step(step),
        Decision::WorkChanged { works, how } => {
            let names: Vec<&str> = works.iter().map(|work| work.as_str()).collect();
            (format!("work {how}: {}", names.join(", ")), Paint::Plain)
        }
    }
}

/// How a step of a fence stands out.
const fn fence_paint(step: &FenceStep) -> Paint {
    match step {
        FenceStep::Confirmed { .. } | FenceStep::DeviceTrusted { .. } => Paint::Good,
        FenceStep::Wanted { .. } => Paint::Warn,
        FenceStep::Failed { .. } | FenceStep::DeviceLied { .. } => Paint::Bad,
        FenceStep::Said(said) if matches!(said.answer, FenceAnswer::Failed(_)) => Paint::Warn,
        FenceStep::Said(_) | FenceStep::Asked { .. } | FenceStep::Dropped { .. } => Paint::Plain,
    }
}

fn proof_words(proof: &Proof) -> String {
    match proof {
        Proof::StopConfirmed => "the node proved that it is stopped".to_owned(),
        Proof::Rebooted => "the node rebooted".to_owned(),
        Proof::LeaseEnded => "its lease has provably ended".to_owned(),
        Proof::Fenced { devices } => {
            let names: Vec<&str> = devices.iter().map(|device| device.as_str()).collect();
            format!("fenced, read OFF by {}", names.join(", "))
        }
        Proof::PersonsWord { by, reason } => format!("{by} says so: {reason}"),
        Proof::NotNeeded => "not exclusive, so no proof is needed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::event::{BudgetUse, Hook, Verb};
    use nodemedic_protocol::health::{Component, Reason};
    use nodemedic_protocol::{BootId, Boottime, Generation, Seq, WallTime, WorkName};
    use std::collections::BTreeMap;

    fn event(kind: EventKind) -> String {
        node_event(&Event {
            seq: Seq(7),
            boot_id: BootId::new("b").unwrap(),
            at: Boottime(1),
            wall: WallTime(1),
            component: Component::Work(WorkName::new("ledger").unwrap()),
            kind,
        })
        .0
    }

    #[test]
    fn events_read_as_sentences() {
        assert_eq!(
            event(EventKind::Down {
                cause: "killed by signal 9".into()
            }),
            "work ledger is down: killed by signal 9"
        );
        assert_eq!(
            event(EventKind::Action(ActionRecord {
                verb: Verb::Restart,
                cause: "killed by signal 9".into(),
                command: "nodemedic sample".into(),
                outcome: Outcome::Done,
                took: Millis(12),
                budget: Some(BudgetUse {
                    used: 1,
                    of: 5,
                    window: Millis(600_000)
                }),
                evidence: BTreeMap::new(),
                hooks: vec![HookRecord {
                    hook: Hook::BeforeRestart,
                    command: "/usr/bin/clear-spool".into(),
                    outcome: Outcome::TimedOut,
                    took: Millis(30_000),
                }],
            })),
            "restart work ledger: done in 12ms, 1 of 5 within 10m00s, before_restart killed after \
             30.0s (because killed by signal 9)"
        );
        assert_eq!(
            event(EventKind::Advised {
                verb: Verb::Kill,
                cause: "killed by signal 9".into(),
                command: "SIGKILL to its session, then /usr/bin/ledger".into(),
            }),
            "work ledger would be healed now: kill and restart by: SIGKILL to its session, then \
             /usr/bin/ledger (because killed by signal 9)"
        );
        assert_eq!(
            event(EventKind::ConditionRaised {
                reason: Reason::Fenced,
                severity: Severity::Critical,
                message: "5 restarts in 10m00s did not help".into(),
                evidence: Default::default(),
            }),
            "work ledger: fenced (critical): 5 restarts in 10m00s did not help"
        );
    }

    #[test]
    fn decisions_read_as_sentences() {
        let ended = Decision::Ended {
            work: WorkName::new("ledger").unwrap(),
            generation: Generation(3),
            proof: Proof::PersonsWord {
                by: "ann".into(),
                reason: "pulled the plug".into(),
            },
        };
        assert_eq!(
            decision(&ended).0,
            "no longer holds ledger (generation 3): ann says so: pulled the plug"
        );
        let lost = Decision::Liveness {
            from: Liveness::Suspect,
            to: Liveness::Lost,
            because: "silent for 3.0s".into(),
        };
        assert_eq!(
            decision(&lost),
            ("suspect -> lost: silent for 3.0s".into(), Paint::Bad)
        );
    }
}
