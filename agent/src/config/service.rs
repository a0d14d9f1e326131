//! Services: how they run, how they are probed, how often they are restarted.

use nodemedic_agent_core::WINDOW_MAX;
use nodemedic_agent_core::config::{Hooks, RestartPolicy, Service, WhenSpent};
use nodemedic_agent_core::substitute::Names;
use nodemedic_edge::works::{Probe, START_GRACE, STOP_GRACE, probe};
use nodemedic_protocol::Millis;
use nodemedic_protocol::work::{ProbeSpec, Run};

use super::raw::{RawRestart, RawService, RawWhenSpent};
use super::{Mistake, healing};

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
    let probes = probes(name, raw.probe, raw.probes, &run, names)?;
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
        probes,
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

/// The probes of a service, with its own words put in for braces.
fn probes(
    service: &str,
    one: Option<Probe>,
    more: Option<Vec<Probe>>,
    run: &Run,
    names: Names<'_>,
) -> Result<Vec<ProbeSpec>, Mistake> {
    let at = |key: &[String], message: String| {
        let mut full = vec!["service", service];
        full.extend(key.iter().map(String::as_str));
        Mistake::at(&full, message)
    };
    let is_list = more.is_some();
    let read = probe::probes(one, more).map_err(|wrong| at(&wrong.key, wrong.message))?;
    let key_of = |number: usize| match is_list {
        true => vec!["probes".to_owned(), number.to_string()],
        false => vec!["probe".to_owned()],
    };
    let fill = |(probe, number): (ProbeSpec, usize)| {
        let fits = probe::fits(&probe.check, run);
        fits.map_err(|why| at(&key_of(number), why.to_owned()))?;
        names.probe(&probe).map_err(|e| at(&key_of(number), e))
    };
    read.into_iter().zip(1..).map(fill).collect()
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
