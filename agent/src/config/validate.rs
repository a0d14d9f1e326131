//! From raw text to a valid value: every number in its range, every name a name.

use std::collections::BTreeMap;

use nodemedic_agent_core::Config;
use nodemedic_agent_core::config::{SPOOL_EVENTS_MAX, Service};
use nodemedic_agent_core::mutation::Mutations;
use nodemedic_agent_core::substitute::Names;
use nodemedic_agent_host::plugin::PluginSpec;
use nodemedic_agent_host::sampler::Roots;
use nodemedic_protocol::{Millis, NodeId, ServiceName, SiteId};

use super::raw::{Raw, RawInject, RawPlugin, RawSampling};
use super::{
    Inject, Mistake, Sampling, Settings, allow, broker, healing, paths, remedy, rules, service,
};

/// A faster sampler costs more than it shows: the kernel's own averages are over ten seconds.
const SAMPLE_MIN: Millis = Millis(100);

/// A faster heartbeat loads the broker; leases need a third of their term.
const HEARTBEAT_MIN: Millis = Millis(100);

/// A slower one makes every lease and every verdict on this host slow.
const HEARTBEAT_MAX: Millis = Millis::from_secs(60);

/// Longer lists of processes make samples larger than what anybody reads.
const TOP_MAX: usize = 50;

/// More services on one host than this is a mistake in a generated file; each has a task.
const SERVICES_MAX: usize = 1024;

/// Each plugin is a process every minute.
const PLUGINS_MAX: usize = 64;

pub(super) fn settings(raw: Raw) -> Result<Settings, Mistake> {
    let node = node(raw.node)?;
    let site = SiteId::new(raw.site.unwrap_or_else(|| "default".to_owned()))
        .map_err(|e| Mistake::at(&["site"], e.to_string()))?;
    if raw.service.len() > SERVICES_MAX {
        let message = format!("more than {SERVICES_MAX} services on one host");
        return Err(Mistake::at(&["service"], message));
    }
    let names = Names {
        node: &node,
        vars: &raw.vars,
    };
    let ports = allow::ports(&raw.service)?;
    let mut services = BTreeMap::new();
    for (name, raw) in raw.service {
        let valid = ServiceName::new(name.clone())
            .map_err(|e| Mistake::at(&["service", &name], e.to_string()))?;
        services.insert(valid, service::service(&name, raw, names)?);
    }
    let longest = services
        .iter()
        .map(|(name, service): (&ServiceName, &Service)| (service.restart.window, name.as_str()))
        .max()
        .unwrap_or((Millis::ZERO, ""));
    let healing = healing::healing(&raw.healing, longest)?;
    let sampling = sampling(&raw.sampling)?;
    let heartbeat_every = raw.heartbeat.interval;
    if !(HEARTBEAT_MIN..=HEARTBEAT_MAX).contains(&heartbeat_every) {
        let message = format!("must be from {HEARTBEAT_MIN} to {HEARTBEAT_MAX}");
        return Err(Mistake::at(&["heartbeat", "interval"], message));
    }
    let paths = paths::paths(raw.paths)?;
    let mut allow = allow::allow(&services, &ports, raw.work.units)?;
    let (remedies, deeds) = remedy::remedies(raw.remedy)?;
    let named = deeds
        .iter()
        .map(|(name, deed)| (name.to_string(), deed.clone()));
    allow.remedies = named.collect();
    Ok(Settings {
        allow,
        fenced: paths.fenced,
        watchdog: paths.watchdog,
        core: Config {
            node,
            zone: raw.zone,
            labels: raw.labels,
            heartbeat_every,
            report_every: raw.sampling.report_every,
            sample_every: sampling.interval,
            allow_command: raw.work.allow_command,
            healing,
            services,
            work_restart: service::restart(&["work", "restart"], &raw.work.restart)?,
            remedies,
            rules: rules::rules(&raw.rules)?,
            spool_events_max: SPOOL_EVENTS_MAX,
            vars: raw.vars,
            mutation: Mutations::NONE,
        },
        site,
        broker: raw.broker.map(broker::broker).transpose()?,
        state: paths.state,
        run: paths.run,
        last_words: paths.last_words,
        sampling,
        deeds,
        plugins: plugins(raw.plugin)?,
        inject: inject(raw.inject)?,
    })
}

fn node(node: Option<String>) -> Result<NodeId, Mistake> {
    match node {
        Some(node) => NodeId::new(node).map_err(|e| Mistake::at(&["node"], e.to_string())),
        None => {
            let host = nix::unistd::gethostname()
                .map_err(|e| format!("the host name cannot be read: {e}"))
                .and_then(|name| {
                    name.into_string()
                        .map_err(|name| format!("the host name {name:?} is not UTF-8"))
                })
                .and_then(|name| NodeId::new(name).map_err(|e| e.to_string()));
            host.map_err(|e| Mistake::at(&[], format!("{e}; set node = \"NAME\"")))
        }
    }
}

fn sampling(raw: &RawSampling) -> Result<Sampling, Mistake> {
    if raw.interval < SAMPLE_MIN {
        let message = format!("is below {SAMPLE_MIN}");
        return Err(Mistake::at(&["sampling", "interval"], message));
    }
    if raw.report_every < raw.interval {
        let message = format!("is below the interval of {}", raw.interval);
        return Err(Mistake::at(&["sampling", "report_every"], message));
    }
    if raw.top > TOP_MAX {
        let message = format!("is above {TOP_MAX}");
        return Err(Mistake::at(&["sampling", "top"], message));
    }
    Ok(Sampling {
        interval: raw.interval,
        top: raw.top,
        roots: Roots {
            proc_root: raw.proc_root.clone(),
            sys_root: raw.sys_root.clone(),
        },
    })
}

fn plugins(raw: BTreeMap<String, RawPlugin>) -> Result<BTreeMap<String, PluginSpec>, Mistake> {
    if raw.len() > PLUGINS_MAX {
        let message = format!("more than {PLUGINS_MAX} plugins on one host");
        return Err(Mistake::at(&["plugin"], message));
    }
    raw.into_iter()
        .map(|(name, plugin)| {
            let at = |key: &str, message: &str| Mistake::at(&["plugin", &name, key], message);
            if plugin.command.first().is_none_or(String::is_empty) {
                return Err(at("command", "is empty: name a program first"));
            }
            if plugin.timeout == Millis::ZERO {
                return Err(at("timeout", "is zero: no program answers in no time"));
            }
            if plugin.interval < plugin.timeout {
                let message = "is below the timeout: a run would be due before the last one ended";
                return Err(at("interval", message));
            }
            let spec = PluginSpec {
                command: plugin.command,
                interval: plugin.interval,
                timeout: plugin.timeout,
            };
            Ok((name, spec))
        })
        .collect()
}

fn inject(raw: RawInject) -> Result<Inject, Mistake> {
    for path in &raw.fill_paths {
        if !path.is_absolute() {
            let message = format!("{path:?} is relative: write the whole path");
            return Err(Mistake::at(&["inject", "fill_paths"], message));
        }
    }
    Ok(Inject {
        allow: raw.allow,
        fill_paths: raw.fill_paths,
    })
}
