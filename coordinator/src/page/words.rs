//! Words and colours for what the protocol names.

use nodemedic_protocol::api::{
    BrakeChange, Decision, FenceAnswer, FenceStep, Liveness, Proof, Purpose, RebootStep,
};
use nodemedic_protocol::event::{ActionRecord, Event, EventKind, LastWords, Outcome, Verb};
use nodemedic_protocol::health::{Level, Severity};
use nodemedic_protocol::work::{StopCause, WorkState};
use nodemedic_protocol::{Component, Millis};

/// One line of the journal: its colour, what happened, and what else there is to know.
pub(super) struct Line {
    pub(super) class: &'static str,
    pub(super) what: String,
    pub(super) more: String,
}

fn line(class: &'static str, what: impl Into<String>, more: impl Into<String>) -> Line {
    Line {
        class,
        what: what.into(),
        more: more.into(),
    }
}

pub(super) fn liveness_class(liveness: Liveness) -> &'static str {
    match liveness {
        Liveness::Alive => "good",
        Liveness::Suspect | Liveness::Returning => "warn",
        Liveness::Lost | Liveness::Fenced => "bad",
        Liveness::Unheard | Liveness::Away => "info",
    }
}

pub(super) fn level_class(level: Level) -> &'static str {
    match level {
        Level::Healthy => "good",
        Level::Unknown => "info",
        Level::Degraded => "warn",
        Level::Failed => "bad",
    }
}

pub(super) fn state_class(state: Option<WorkState>) -> &'static str {
    match state {
        Some(WorkState::Running) => "good",
        Some(WorkState::Starting | WorkState::Stopping) => "warn",
        Some(WorkState::Failing) => "bad",
        Some(WorkState::Stopped(_) | WorkState::Unknown) | None => "info",
    }
}

pub(super) fn state(state: Option<WorkState>) -> &'static str {
    match state {
        None => "not reported yet",
        Some(WorkState::Starting) => "starting",
        Some(WorkState::Running) => "running",
        Some(WorkState::Failing) => "failing",
        Some(WorkState::Stopping) => "stopping",
        Some(WorkState::Stopped(StopCause::Asked)) => "stopped",
        Some(WorkState::Stopped(StopCause::LeaseLost)) => "stopped: lease lost",
        Some(WorkState::Stopped(StopCause::Fenced)) => "stopped: fenced",
        Some(WorkState::Stopped(StopCause::Refused)) => "stopped: refused",
        Some(WorkState::Unknown) => "cannot be seen",
    }
}

pub(super) fn event(event: &Event) -> Line {
    let about = &event.component;
    match &event.kind {
        EventKind::AgentStarted { version, new_boot } => {
            let what = if *new_boot {
                "host booted, agent started"
            } else {
                "agent started"
            };
            line("info", what, format!("version {version}"))
        }
        EventKind::AgentStopping { reason } => line("info", "agent stopping", reason),
        EventKind::Down { cause } => line("bad", format!("{about} is down"), cause),
        EventKind::Up { after } => line(
            "good",
            format!("{about} works again"),
            format!("after {after}"),
        ),
        EventKind::Action(action) => acted(about, action),
        EventKind::Advised {
            verb,
            cause,
            command,
        } => advised(about, *verb, cause, command),
        EventKind::ConditionRaised {
            reason,
            severity,
            message,
            ..
        } => line(
            severity_class(*severity),
            format!("{about}: {reason}"),
            message,
        ),
        EventKind::ConditionCleared {
            reason,
            after,
            because,
        } => line(
            "good",
            format!("{about}: {reason} is over"),
            format!("after {after}; {because}"),
        ),
        EventKind::LeaseLost { generation } => line(
            "warn",
            format!("{about} lost its lease"),
            format!("generation {generation}"),
        ),
        EventKind::ConfigReloaded => line("info", "configuration read again", ""),
        EventKind::ConfigRefused { error } => {
            line("warn", "configuration refused, the old one stays", error)
        }
        EventKind::MessageRefused { error } => line("warn", "message refused", error),
        EventKind::WatchdogActed {
            device_reset,
            words,
        } => watchdog(*device_reset, words.as_ref()),
        EventKind::Remedy(_) | EventKind::Reboot(_) => of_host(about, &event.kind),
        EventKind::BundleTaken { name, why, .. } => bundle(about, name, why),
        EventKind::FaultInjected { id, fault, span } => injected(*id, fault, *span),
        EventKind::FaultUndone { id, fault, because } => {
            line("good", format!("fault {id} undone: {fault}"), because)
        }
        EventKind::Dropped { first, last } => line(
            "warn",
            "events lost",
            format!("the spool was full: {first} to {last}"),
        ),
    }
}

fn of_host(about: &Component, kind: &EventKind) -> Line {
    let text = match kind {
        EventKind::Remedy(record) => record.to_string(),
        EventKind::Reboot(step) => step.to_string(),
        _ => String::new(),
    };
    line("warn", about.to_string(), text)
}

fn bundle(about: &Component, name: &str, why: &str) -> Line {
    let text = format!("{why}; on the host: nodemedic diagnose {name}");
    line("info", format!("{about}: diagnostics taken"), text)
}

fn injected(id: u64, fault: &str, span: Millis) -> Line {
    let what = format!("fault {id} on purpose: {fault}");
    line("warn", what, format!("for {span}"))
}

fn advised(about: &Component, verb: Verb, cause: &str, command: &str) -> Line {
    let what = format!("{about} would be healed now: {verb}");
    line("warn", what, format!("by: {command}; because {cause}"))
}

fn watchdog(device_reset: bool, words: Option<&LastWords>) -> Line {
    let Some(words) = words else {
        return line("bad", "the watchdog's device had reset the host", "");
    };
    let device = if device_reset {
        "; the device says so too"
    } else {
        ""
    };
    let what = format!("watchdog {}", words.verdict);
    let why = format!("{}: {}{device}", words.target, words.why);
    line("bad", what, why)
}

fn severity_class(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "bad",
        Severity::Warning => "warn",
        Severity::Info => "info",
    }
}

fn acted(about: &Component, action: &ActionRecord) -> Line {
    let verb = action.verb;
    let (class, ending) = match &action.outcome {
        Outcome::Done => ("good", format!("done in {}", action.took)),
        Outcome::Failed(error) => ("bad", format!("failed: {error}")),
        Outcome::TimedOut => ("bad", format!("no end after {}", action.took)),
        Outcome::Interrupted => ("warn", "interrupted, the end is unknown".to_owned()),
    };
    let budget = action
        .budget
        .map(|budget| format!("; {} of {} in {}", budget.used, budget.of, budget.window))
        .unwrap_or_default();
    let more = format!("{ending}{budget}; because {}", action.cause);
    line(class, format!("{verb} {about}"), more)
}

pub(super) fn decision(decision: &Decision) -> Line {
    match decision {
        Decision::Started { epoch } => {
            line("info", format!("coordinator leads, epoch {epoch}"), "")
        }
        Decision::Liveness { from, to, because } => {
            line(liveness_class(*to), format!("{to} (was {from})"), because)
        }
        Decision::Granted {
            work,
            generation,
            because,
        } => line(
            "info",
            format!("{work} granted"),
            format!("generation {generation}; {because}"),
        ),
        Decision::Releasing {
            work,
            generation,
            because,
        } => line(
            "warn",
            format!("{work} taken away"),
            format!("generation {generation}; {because}"),
        ),
        Decision::Ended {
            work,
            generation,
            proof,
        } => line(
            "info",
            format!("{work} ended"),
            format!("generation {generation}; {}", proved(proof)),
        ),
        Decision::Scheduling { to, because } => line("info", to, because),
        Decision::AlertRaised { summary, .. } => line("bad", "incident", summary),
        Decision::AlertResolved { key } => line("good", "incident over", key),
        Decision::Reserved {
            purpose,
            out,
            limit,
            overridden,
        } => reserved(*purpose, *out, *limit, overridden),
        Decision::GivenBack { purpose } => {
            line("good", "back and well", format!("{purpose} is over"))
        }
        Decision::Brake(change) => brake(change),
        Decision::Fence(step) => fence(step),
        Decision::Reboot(step) => reboot(step),
        Decision::WorkChanged { works, how } => {
            let names: Vec<&str> = works.iter().map(|work| work.as_str()).collect();
            line("info", format!("work {how}"), names.join(", "))
        }
    }
}

fn reserved(purpose: Purpose, out: u32, limit: u32, overridden: &[String]) -> Line {
    let room = format!("{out} of at most {limit} hosts are out with it");
    match overridden {
        [] => line("info", format!("place reserved: {purpose}"), room),
        reasons => line(
            "warn",
            format!("budget overridden: {purpose}"),
            format!("{room}; {}", reasons.join("; ")),
        ),
    }
}

fn brake(change: &BrakeChange) -> Line {
    match change {
        BrakeChange::Engaged {
            silent,
            threshold,
            hosts,
        } => line(
            "bad",
            "storm brake engaged",
            format!("{silent} of {hosts} hosts are silent at once, {threshold} engage it"),
        ),
        BrakeChange::Lifted => line("good", "storm brake lifted", ""),
        BrakeChange::Released { span, reason } => line(
            "warn",
            format!("storm brake released by a person for {span}"),
            reason,
        ),
        BrakeChange::ReleaseEnded => line("warn", "release of the storm brake ended", ""),
    }
}

fn fence(step: &FenceStep) -> Line {
    let class = match step {
        FenceStep::Confirmed { .. } | FenceStep::DeviceTrusted { .. } => "good",
        FenceStep::Wanted { .. } => "warn",
        FenceStep::Failed { .. } | FenceStep::DeviceLied { .. } => "bad",
        FenceStep::Said(said) if matches!(said.answer, FenceAnswer::Failed(_)) => "warn",
        FenceStep::Said(_) | FenceStep::Asked { .. } | FenceStep::Dropped { .. } => "info",
    };
    line(class, "fence", step.to_string())
}

fn reboot(step: &RebootStep) -> Line {
    let class = match step {
        RebootStep::Back | RebootStep::Well { .. } => "good",
        RebootStep::Wanted { .. } | RebootStep::Permitted { .. } | RebootStep::Lapsed { .. } => {
            "warn"
        }
        RebootStep::Dropped { .. } | RebootStep::Emptying => "info",
    };
    line(class, "reboot", step.to_string())
}

fn proved(proof: &Proof) -> String {
    match proof {
        Proof::StopConfirmed => "its node proved the stop".to_owned(),
        Proof::Rebooted => "its node has rebooted".to_owned(),
        Proof::LeaseEnded => "its lease has provably ended".to_owned(),
        Proof::Fenced { devices } => {
            let names: Vec<&str> = devices.iter().map(|device| device.as_str()).collect();
            format!("fenced: {} read OFF", names.join(", "))
        }
        Proof::PersonsWord { by, reason } => format!("{by} confirmed it: {reason}"),
        Proof::NotNeeded => "no proof needed".to_owned(),
    }
}

/// Thousandths of a processor as processors.
pub(super) fn cpus(milli: u64) -> String {
    match milli % 1000 / 100 {
        0 => (milli / 1000).to_string(),
        tenth => format!("{}.{tenth}", milli / 1000),
    }
}

/// Bytes in the largest unit that keeps a digit before the point.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    match UNITS.into_iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) if bytes < 10 * size => {
            format!("{}.{} {unit}", bytes / size, bytes % size * 10 / size)
        }
        Some((size, unit)) => format!("{} {unit}", bytes / size),
        None => format!("{bytes} B"),
    }
}
