//! What stands in braces in commands and probes: `{node}` and `{vars.KEY}`. A pure function of the
//! host's own configuration; what it does not know is refused, never passed on.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::work::{Check, ProbeSpec, Run};
use nodemedic_protocol::{NodeId, WorkName};

/// What the braces may name.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The host's name in the fleet.
    pub node: &'a NodeId,
    /// `[vars]` of its configuration.
    pub vars: &'a BTreeMap<String, String>,
}

impl Names<'_> {
    /// The text with every brace replaced. A brace that opens no name of ours is an error; JSON in
    /// an argument therefore needs a file, which is the better place for it.
    ///
    /// # Errors
    /// Which brace, and what to do.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| format!("in {text:?} a brace is not closed"))?;
            filled.push_str(self.value(name, text)?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn value(&self, name: &str, text: &str) -> Result<&str, String> {
        if name == "node" {
            return Ok(self.node.as_str());
        }
        let Some(key) = name.strip_prefix("vars.") else {
            return Err(format!(
                "in {text:?} {{{name}}} is unknown: use {{node}} or {{vars.KEY}}"
            ));
        };
        self.vars.get(key).map(String::as_str).ok_or_else(|| {
            format!(
                "in {text:?} {{{name}}} is unknown here: set {key} under [vars] in this host's \
                 agent.toml"
            )
        })
    }

    fn fill_all(&self, texts: &[String]) -> Result<Vec<String>, String> {
        texts.iter().map(|t| self.fill(t)).collect()
    }

    fn fill_some(&self, text: Option<&String>) -> Result<Option<String>, String> {
        text.map(|text| self.fill(text)).transpose()
    }

    /// A run with every brace replaced.
    ///
    /// # Errors
    /// As [`Names::fill`].
    pub fn run(&self, run: &Run) -> Result<Run, String> {
        Ok(match run {
            Run::Systemd { unit } => Run::Systemd {
                unit: self.fill(unit)?,
            },
            Run::Command {
                start,
                stop,
                environment,
            } => Run::Command {
                start: self.fill_all(start)?,
                stop: self.fill_all(stop)?,
                environment: environment
                    .iter()
                    .map(|(k, v)| Ok((k.clone(), self.fill(v)?)))
                    .collect::<Result<_, String>>()?,
            },
        })
    }

    /// A probe with every brace replaced.
    ///
    /// # Errors
    /// As [`Names::fill`].
    pub fn probe(&self, probe: &ProbeSpec) -> Result<ProbeSpec, String> {
        let check = match &probe.check {
            Check::Process => Check::Process,
            Check::Tcp { address } => Check::Tcp {
                address: self.fill(address)?,
            },
            Check::Http { url, ca, address } => Check::Http {
                url: self.fill(url)?,
                ca: self.fill_some(ca.as_ref())?,
                address: self.fill_some(address.as_ref())?,
            },
            Check::Exec { command } => Check::Exec {
                command: self.fill_all(command)?,
            },
            // What is said and heard may hold braces of its own, as JSON does.
            Check::Unix { path, send, expect } => Check::Unix {
                path: self.fill(path)?,
                send: send.clone(),
                expect: expect.clone(),
            },
            Check::Log { max_age, file } => Check::Log {
                max_age: *max_age,
                file: self.fill_some(file.as_ref())?,
            },
            Check::Watchdog { .. } | Check::Limits(_) => probe.check.clone(),
        };
        Ok(ProbeSpec {
            check,
            ..probe.clone()
        })
    }
}

/// The instance of a template unit for a work: `web@.service` and `shop` give `web@shop.service`.
pub(crate) fn instance(template: &str, work: &WorkName) -> Result<String, String> {
    match template.split_once('@') {
        Some((prefix, ".service")) if !prefix.is_empty() => Ok(format!("{prefix}@{work}.service")),
        _ => Err(format!(
            "unit {template:?} is no template: work needs one such as \"web@.service\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use nodemedic_protocol::Millis;

    fn fill(text: &str) -> Result<String, String> {
        let vars = BTreeMap::from([("port".to_string(), "8080".to_string())]);
        let node = NodeId::new("node-1").unwrap();
        Names {
            node: &node,
            vars: &vars,
        }
        .fill(text)
    }

    #[test]
    fn names_are_replaced_and_values_are_not_read_again() {
        assert_eq!(fill("plain").unwrap(), "plain");
        assert_eq!(
            fill("http://{node}:{vars.port}/x").unwrap(),
            "http://node-1:8080/x"
        );
    }

    #[test]
    fn what_is_unknown_is_refused_with_the_remedy() {
        assert_eq!(
            fill("{vars.prot}").unwrap_err(),
            "in \"{vars.prot}\" {vars.prot} is unknown here: set prot under [vars] in this \
             host's agent.toml"
        );
        assert!(fill("{host}").unwrap_err().contains("use {node}"));
        assert!(fill("{node").unwrap_err().contains("not closed"));
    }

    #[test]
    fn names_in_probes_are_replaced_but_not_in_what_is_said_to_a_socket() {
        let vars = BTreeMap::from([("port".to_string(), "8080".to_string())]);
        let node = NodeId::new("node-1").unwrap();
        let names = Names {
            node: &node,
            vars: &vars,
        };
        let filled = |check| {
            let spec = ProbeSpec {
                check,
                interval: Millis(1),
                timeout: Millis(1),
                fail_for: Millis(1),
                within: None,
            };
            names.probe(&spec).map(|spec| spec.check)
        };
        let text = |text: &str| Some(text.to_string());
        let asked = filled(Check::Http {
            url: "https://{node}/".to_string(),
            ca: text("/etc/{node}.pem"),
            address: text("127.0.0.1:{vars.port}"),
        });
        let wanted = Check::Http {
            url: "https://node-1/".to_string(),
            ca: text("/etc/node-1.pem"),
            address: text("127.0.0.1:8080"),
        };
        assert_eq!(asked.unwrap(), wanted);
        let said = Check::Unix {
            path: "/run/s".to_string(),
            send: text("{\"ping\":{}}"),
            expect: text("{\"pong\":{}}"),
        };
        assert_eq!(filled(said.clone()).unwrap(), said);
        let file = text("/run/{vars.prot}");
        let max_age = Millis(1);
        assert!(filled(Check::Log { max_age, file }).is_err());
    }

    #[test]
    fn work_runs_in_an_instance_of_a_template_only() {
        let work = WorkName::new("shop").unwrap();
        assert_eq!(instance("web@.service", &work).unwrap(), "web@shop.service");
        for bad in ["web.service", "@.service", "web@x.service", "web@.socket"] {
            assert!(instance(bad, &work).is_err(), "{bad}");
        }
    }
}
