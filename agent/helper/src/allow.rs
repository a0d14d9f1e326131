//! What the agent may touch: read by root from the agent's configuration, which only root writes.
//!
//! Only the keys that grant something are looked at, and read leniently: whether the rest is valid
//! is the agent's business. What was read last from a file without mistakes stays in force, as it
//! does in the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nodemedic_agent_core::substitute::Names;
use nodemedic_edge::{config, files};
use nodemedic_protocol::NodeId;
use serde::{Deserialize, Serialize};

use crate::deeds::{Bounce, Clean, Deed, Rebind};
use crate::names;
use crate::ports::Port;
use crate::verbs::REBOOT;

/// A list for the largest host that the agent takes, many times over.
const LIST_MAX_BYTES: usize = 1 << 20;

/// What may be touched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allow {
    /// Units of services, and the ports that are closed when one is fenced.
    pub services: BTreeMap<String, BTreeSet<Port>>,
    /// Templates that works may be instances of; absent for an agent that is root itself.
    pub templates: Option<BTreeSet<String>>,
    /// What each remedy of the host does.
    #[serde(default)]
    pub remedies: BTreeMap<String, Deed>,
}

/// The keys that matter, of a file that has many more.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    node: Option<String>,
    vars: BTreeMap<String, String>,
    service: BTreeMap<String, ServiceKeys>,
    work: WorkKeys,
    remedy: BTreeMap<String, DeedKeys>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServiceKeys {
    unit: Option<String>,
    block_ports: BTreeSet<Port>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WorkKeys {
    units: BTreeSet<String>,
}

/// Of a remedy, what it does. The agent reads the same keys, and more.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DeedKeys {
    /// See [`Deed::Clean`].
    pub clean: Option<Clean>,
    /// See [`Deed::Remount`].
    pub remount: Option<PathBuf>,
    /// See [`Deed::Bounce`].
    pub bounce: Option<Bounce>,
    /// See [`Deed::Rebind`].
    pub rebind: Option<Rebind>,
    /// See [`Deed::Restart`].
    pub restart: Option<Vec<String>>,
}

impl DeedKeys {
    /// What it does: the one key that it has, or the reboot by its name.
    ///
    /// # Errors
    /// The key that is wrong, if it is one, and why.
    pub fn deed(self, name: &str) -> Result<Deed, (Option<&'static str>, String)> {
        let reboot = name == REBOOT;
        let mut deeds: Vec<Deed> = [
            self.clean.map(Deed::Clean),
            self.remount.map(Deed::Remount),
            self.bounce.map(Deed::Bounce),
            self.rebind.map(Deed::Rebind),
            self.restart.map(Deed::Restart),
            reboot.then_some(Deed::Reboot),
        ]
        .into_iter()
        .flatten()
        .collect();
        match (deeds.pop(), deeds.len()) {
            (Some(deed), 0) => {
                deed.check().map_err(|(key, why)| (Some(key), why))?;
                Ok(deed)
            }
            (Some(Deed::Reboot), _) => {
                let why = "it is the reboot, and does nothing else: name the other one otherwise";
                Err((None, why.to_owned()))
            }
            _ => {
                let why = "give it exactly one of clean, remount, bounce, rebind, restart; the \
                           reboot is called [remedy.reboot]";
                Err((None, why.to_owned()))
            }
        }
    }
}

impl Allow {
    /// Reads the agent's configuration: the main file, then those of the directory beside it.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn from_config(main: &Path) -> Result<Allow, String> {
        let more = main.with_extension("d");
        let keys: Keys = config::load(main, Some(&more)).map_err(|error| error.to_string())?;
        let node = node(keys.node)?;
        let filler = Names {
            node: &node,
            vars: &keys.vars,
        };
        let mut services = BTreeMap::new();
        for (name, service) in keys.service {
            let Some(unit) = service.unit else { continue };
            let unit = names::instance_of(&filler.fill(&unit)?, &name);
            if !names::is_unit(&unit) {
                return Err(format!("service.{name}: {unit:?} is no name of a unit"));
            }
            let ports: &mut BTreeSet<Port> = services.entry(unit).or_default();
            ports.extend(service.block_ports);
        }
        if let Some(bad) = keys
            .work
            .units
            .iter()
            .find(|name| !names::is_template(name))
        {
            return Err(format!(
                "work.units: {bad:?} is no template: write it such as \"web@.service\""
            ));
        }
        let mut remedies = BTreeMap::new();
        for (name, deed) in keys.remedy {
            let deed = deed.deed(&name).map_err(|(key, why)| match key {
                Some(key) => format!("remedy.{name}.{key}: {why}"),
                None => format!("remedy.{name}: {why}"),
            })?;
            remedies.insert(name, deed);
        }
        Ok(Allow {
            services,
            templates: Some(keys.work.units),
            remedies,
        })
    }

    /// Reads what [`Allow::save`] wrote.
    ///
    /// # Errors
    /// When it is not there, or is not what root wrote.
    pub fn load(path: &Path) -> Result<Allow, String> {
        let bytes = files::read_capped(path, LIST_MAX_BYTES).map_err(|e| e.to_string())?;
        let remedy = "systemctl restart nodemedic-agent writes it";
        let bytes = bytes.ok_or_else(|| format!("{} is not there: {remedy}", path.display()))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| format!("cannot read {}: {error}; {remedy}", path.display()))
    }

    /// Keeps it for the helper. For everybody to read: it says nothing that the units do not.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), String> {
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| error.to_string())?;
        files::write_atomic(path, &bytes, 0o644).map_err(|error| error.to_string())
    }

    /// The ports of a service that may be fenced.
    ///
    /// # Errors
    /// When it is none of the configuration.
    pub fn service(&self, unit: &str) -> Result<&BTreeSet<Port>, String> {
        self.services
            .get(unit)
            .filter(|_| names::is_unit(unit))
            .ok_or_else(|| format!("{unit} is the unit of no service in the agent's configuration"))
    }

    /// Whether a unit may be killed.
    ///
    /// # Errors
    /// When it may not: what to write so that it may.
    pub fn unit(&self, unit: &str) -> Result<(), String> {
        let of_work = || match &self.templates {
            None => names::is_unit(unit),
            Some(templates) => templates.iter().any(|name| names::is_instance(unit, name)),
        };
        if self.service(unit).is_ok() || of_work() {
            return Ok(());
        }
        Err(format!(
            "{unit} is neither the unit of a service nor an instance of a template of [work] units \
             in /etc/nodemedic/agent.toml: add it there, then systemctl reload nodemedic-agent"
        ))
    }
}

fn node(given: Option<String>) -> Result<NodeId, String> {
    let name = match given {
        Some(name) => name,
        None => nix::unistd::gethostname()
            .map_err(|error| format!("the host name cannot be read: {error}"))?
            .to_string_lossy()
            .into_owned(),
    };
    NodeId::new(name).map_err(|error| format!("node: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Allow, String> {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("agent.toml");
        files::write_atomic(&main, text.as_bytes(), 0o644).unwrap();
        Allow::from_config(&main)
    }

    #[test]
    fn only_what_the_configuration_names_may_be_touched() {
        let allow = read(
            "node = \"n1\"\n[vars]\nkind = \"lite\"\n[work]\nunits = [\"db@.service\"]\n\
             [sampling]\ninterval = \"2s\"\n[service.web]\nunit = \"nginx-{vars.kind}.service\"\n\
             block_ports = [\"tcp/80\", \"udp/53\"]\n[service.pg]\nunit = \"pg@.service\"\n\
             [service.own]\ncommand = [\"/bin/own\"]\n",
        )
        .unwrap();
        let ports = allow.service("nginx-lite.service").unwrap();
        assert_eq!(
            ports.iter().map(Port::to_string).collect::<Vec<_>>(),
            ["tcp/80", "udp/53"]
        );
        assert!(allow.service("pg@pg.service").unwrap().is_empty());
        for unit in ["nginx-lite.service", "pg@pg.service", "db@orders.service"] {
            allow.unit(unit).unwrap();
        }
        for unit in [
            "sshd.service",
            "pg@x.service",
            "db@.service",
            "db@a/../b.service",
            "",
        ] {
            assert!(allow.unit(unit).is_err(), "{unit}");
        }
        // Work is stopped and killed, and never masked.
        assert!(allow.service("db@orders.service").is_err());
    }

    #[test]
    fn a_remedy_does_what_root_wrote_and_only_the_reboot_reboots() {
        let allow = read(
            "[remedy.reboot]\nper_day = 1\n[remedy.srv]\nremount = \"/srv\"\n\
             [remedy.logs]\nstep = 2\n\
             clean = { directories = [\"/var/log/a\"], pattern = \"*.gz\", older_than = \"1d\" }\n",
        )
        .unwrap();
        assert_eq!(allow.remedies["reboot"], Deed::Reboot);
        assert_eq!(allow.remedies["srv"], Deed::Remount("/srv".into()));
        let said = allow.remedies["logs"].to_string();
        assert_eq!(said, "remove files *.gz older than 1d in /var/log/a");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("allowed.json");
        allow.save(&path).unwrap();
        assert_eq!(Allow::load(&path).unwrap(), allow);
    }

    #[test]
    fn a_mistake_leaves_no_list() {
        for bad in [
            "[service.web]\nunit = \"a b.service\"\n",
            "[service.web]\nunit = \"{vars.nothing}.service\"\n",
            "[service.web]\nunit = \"web.service\"\nblock_ports = [\"80\"]\n",
            "[work]\nunits = [\"db.service\"]\n",
            "[work\n",
            "[remedy.x]\n",
            "[remedy.x]\nremount = \"/\"\n",
            "[remedy.x]\nremount = \"/srv\"\nrestart = [\"a.service\"]\n",
            "[remedy.reboot]\nremount = \"/srv\"\n",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_kept_is_what_was_read_and_a_missing_list_allows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("allowed.json");
        let error = Allow::load(&path).unwrap_err();
        assert!(
            error.contains("systemctl restart nodemedic-agent"),
            "{error}"
        );
        let text = "[service.web]\nunit = \"web.service\"\nblock_ports = [\"tcp/80\"]\n";
        let allow = read(text).unwrap();
        allow.save(&path).unwrap();
        assert_eq!(Allow::load(&path).unwrap(), allow);
    }
}
