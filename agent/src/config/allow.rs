//! What of this host may be acted on: units of services with their ports, and templates for works.
//! The packaged helper reads the same keys as root, and its word counts.

use std::collections::{BTreeMap, BTreeSet};

use nodemedic_agent_core::config::Service;
use nodemedic_helper::{Allow, Port, names};
use nodemedic_protocol::ServiceName;
use nodemedic_protocol::work::Run;

use super::Mistake;
use super::raw::RawService;

/// Ports of one service; more are a mistake in a generated file.
const PORTS_MAX: usize = 64;

/// The ports of each service.
pub(super) type Ports = BTreeMap<String, BTreeSet<Port>>;

pub(super) fn ports(services: &BTreeMap<String, RawService>) -> Result<Ports, Mistake> {
    let read = |(name, raw): (&String, &RawService)| {
        let at = |message: String| Mistake::at(&["service", name, "block_ports"], message);
        if raw.unit.is_none() && !raw.block_ports.is_empty() {
            return Err(at(
                "is for a unit: what a command listens on ends with it".to_owned()
            ));
        }
        if raw.block_ports.len() > PORTS_MAX {
            return Err(at(format!("has more than {PORTS_MAX} ports")));
        }
        let ports = raw.block_ports.iter().map(|port| port.parse().map_err(at));
        Ok((name.clone(), ports.collect::<Result<_, _>>()?))
    };
    services.iter().map(read).collect()
}

pub(super) fn allow(
    services: &BTreeMap<ServiceName, Service>,
    ports: &Ports,
    templates: BTreeSet<String>,
) -> Result<Allow, Mistake> {
    if let Some(bad) = templates.iter().find(|name| !names::is_template(name)) {
        let message = format!("{bad:?} is no template: write it such as \"web@.service\"");
        return Err(Mistake::at(&["work", "units"], message));
    }
    let mut allow = Allow::default();
    for (name, service) in services {
        if let Run::Systemd { unit } = &service.run {
            let unit = names::instance_of(unit, name.as_str());
            let own = ports.get(name.as_str()).cloned().unwrap_or_default();
            allow.services.entry(unit).or_default().extend(own);
        }
    }
    // Root may act on any unit, as ever; the list is for an agent that is not.
    Ok(allow)
}
