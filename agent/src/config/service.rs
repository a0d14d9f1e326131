//! Services: how they run, how they are probed, how often they are restarted.

use nodemedic_agent_core::WINDOW_MAX;
use nodemedic_agent_core::config::{Hooks, RestartPolicy, Service, WhenSpent};
use nodemedic_agent_core::substitute::Names;
use nodemedic_edge::works::{
    PROBE_FAIL_FOR, PROBE_INTERVAL, PROBE_TIMEOUT, Probe, START_GRACE, STOP_GRACE,
};
use nodemedic_protocol::Millis;
use nodemedic_protocol::work::{Check, ProbeSpec, Run};

use super::raw::{RawRestart, RawService, RawWhenSpent};
use super::{Mistake, healing};

/// A shorter interval asks more than any service can be expected to bear.
const PROBE_INTERVAL_MIN: Millis = Millis(100);

/// A budget of more restarts is none.
const RESTARTS_MAX: u32 = 1000;

pub(super) fn service(name: &str, raw: RawService, names: Names<'_>) -> Result<Service, Mistake> {
    let at = |key: &str, message: String| Mistake::at(&["service", name, key], message);
    let run = run(name, &raw)?;
    let run = names.run(&run).map_err(|e| {
        let key = if raw.unit.is_some() {
            "unit"
        } else {
            "command"
        };
        at(key, e)
    })?;
    let hooks = healing::hooks(name, &raw)?;
    let probe = raw.probe.map(|probe| read_probe(name, probe)).transpose()?;
    let probe = probe
        .map(|probe| names.probe(&probe))
        .transpose()
        .map_err(|e| at("probe", e))?;
    let hooks = hooks
        .map(|hooks| substitute(&hooks, names))
        .transpose()
        .map_err(|(key, e)| at(key, e))?;
    Ok(Service {
        ladder: healing::ladder(name, &raw.ladder)?,
        hooks,
        mode: healing::mode(raw.mode),
        group: healing::group(name, raw.group.as_ref())?,
        run,
        probe,
        restart: restart(&["service", name, "restart"], &raw.restart)?,
        when_spent: match raw.when_spent {
            RawWhenSpent::Fence => WhenSpent::Fence,
            RawWhenSpent::FenceAndDrain => WhenSpent::FenceAndDrain,
        },
        start_grace: raw.start_grace.unwrap_or(START_GRACE),
        stop_grace: raw.stop_grace.unwrap_or(STOP_GRACE),
    })
}

/// Braces in hooks stand for what they stand for in commands.
fn substitute(hooks: &Hooks, names: Names<'_>) -> Result<Hooks, (&'static str, String)> {
    let words = |key, words: &[String]| {
        let all = words.iter().map(|word| names.fill(word));
        all.collect::<Result<Vec<_>, _>>().map_err(|e| (key, e))
    };
    Ok(Hooks {
        before: words("before_restart", &hooks.before)?,
        after: words("after_restart", &hooks.after)?,
        timeout: hooks.timeout,
    })
}

fn run(name: &str, raw: &RawService) -> Result<Run, Mistake> {
    let at = |key: &[&str], message: &str| {
        let mut full = vec!["service", name];
        full.extend(key);
        Mistake::at(&full, message)
    };
    match (&raw.unit, &raw.command) {
        (Some(unit), None) => {
            if !raw.stop_command.is_empty() || !raw.environment.is_empty() {
                let message = "stop_command and environment are for a command; a unit has its own";
                return Err(at(&[], message));
            }
            if !is_unit_name(unit) {
                let message = "is no name of a systemd unit: write it with its suffix, such as \
                               \"nginx.service\"";
                return Err(at(&["unit"], message));
            }
            Ok(Run::Systemd { unit: unit.clone() })
        }
        (None, Some(command)) => {
            if command.first().is_none_or(String::is_empty) {
                return Err(at(&["command"], "is empty: name a program first"));
            }
            Ok(Run::Command {
                start: command.clone(),
                stop: raw.stop_command.clone(),
                environment: raw.environment.clone(),
            })
        }
        (Some(_), Some(_)) => Err(at(&[], "has both unit and command: keep one")),
        (None, None) => Err(at(
            &[],
            "says not how it runs: set unit = \"NAME.service\" or command = [\"/path/to/program\"]",
        )),
    }
}

/// As systemd.unit(5) has it, for the two types that hold processes.
fn is_unit_name(unit: &str) -> bool {
    let stem = unit
        .strip_suffix(".service")
        .or_else(|| unit.strip_suffix(".scope"));
    stem.is_some_and(|stem| {
        !stem.is_empty()
            && unit.len() <= 255
            && stem
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ":-_.\\@{}".contains(c))
    })
}

fn read_probe(service: &str, raw: Probe) -> Result<ProbeSpec, Mistake> {
    let at = |key: &[&str], message: &str| {
        let mut full = vec!["service", service, "probe"];
        full.extend(key);
        Mistake::at(&full, message)
    };
    let mut checks = Vec::new();
    if let Some(url) = raw.http {
        if !url.starts_with("http://") {
            return Err(at(&["http"], "must begin with http://"));
        }
        checks.push(Check::Http { url });
    }
    if let Some(address) = raw.tcp {
        if !address.contains(':') {
            return Err(at(&["tcp"], "has no port: write \"host:port\""));
        }
        checks.push(Check::Tcp { address });
    }
    if let Some(command) = raw.exec {
        if command.is_empty() {
            return Err(at(&["exec"], "is empty: name a program first"));
        }
        checks.push(Check::Exec { command });
    }
    if raw.process {
        checks.push(Check::Process);
    }
    let check = match checks.pop() {
        Some(check) if checks.is_empty() => check,
        _ => {
            return Err(at(
                &[],
                "asks not exactly one thing: set one of http, tcp, exec, process",
            ));
        }
    };
    let interval = raw.interval.unwrap_or(PROBE_INTERVAL);
    if interval < PROBE_INTERVAL_MIN {
        return Err(at(
            &["interval"],
            "is below 100ms, which is a load and no probe",
        ));
    }
    Ok(ProbeSpec {
        check,
        interval,
        timeout: raw.timeout.unwrap_or(PROBE_TIMEOUT),
        fail_for: raw.fail_for.unwrap_or(PROBE_FAIL_FOR),
    })
}

pub(super) fn restart(key: &[&str], raw: &RawRestart) -> Result<RestartPolicy, Mistake> {
    let at = |last: &str, message: String| {
        let mut full = key.to_vec();
        full.push(last);
        Mistake::at(&full, message)
    };
    let standard = RestartPolicy::default();
    let policy = RestartPolicy {
        max: raw.max.unwrap_or(standard.max),
        window: raw.window.unwrap_or(standard.window),
        backoff: raw.backoff.unwrap_or(standard.backoff),
        backoff_max: raw.backoff_max.unwrap_or(standard.backoff_max),
        healthy_after: raw.healthy_after.unwrap_or(standard.healthy_after),
    };
    if policy.max > RESTARTS_MAX {
        let message = format!("is above {RESTARTS_MAX}: a budget that large stops no crash loop");
        return Err(at("max", message));
    }
    if policy.window == Millis::ZERO || policy.window > WINDOW_MAX {
        let message = format!("must be above zero and at most {WINDOW_MAX}");
        return Err(at("window", message));
    }
    if policy.backoff_max < policy.backoff {
        let message = format!(
            "{} is below backoff, {}",
            policy.backoff_max, policy.backoff
        );
        return Err(at("backoff_max", message));
    }
    Ok(policy)
}
