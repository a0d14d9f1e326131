//! The configuration files of a fleet on one machine, written as an operator would write them.

use std::net::SocketAddr;

use nodemedic_edge::config::span;
use nodemedic_edge::files;
use nodemedic_protocol::Millis;

use super::layout::Layout;
use crate::failure::Failure;

/// The ports of the two works on one node.
#[derive(Clone, Copy, Debug)]
pub struct NodePorts {
    /// Of the exclusive work.
    pub ledger: u16,
    /// Of the replicated work.
    pub web: u16,
}

/// Addresses and names of a fleet.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Name of the site.
    pub site: &'static str,
    /// The coordinator's API and page.
    pub api: SocketAddr,
    /// The embedded broker.
    pub broker: SocketAddr,
    /// One entry for each node.
    pub ports: Vec<NodePorts>,
    /// Who is paged, if anybody.
    pub webhook: Option<SocketAddr>,
}

impl Shape {
    /// The coordinator's address.
    pub fn url(&self) -> String {
        format!("http://{}", self.api)
    }

    /// Where the exclusive work would answer on node `n`, counted from 1.
    pub fn ledger(&self, n: usize) -> Option<SocketAddr> {
        self.ports
            .get(n.checked_sub(1)?)
            .map(|p| SocketAddr::from(([127, 0, 0, 1], p.ledger)))
    }

    /// Where the replicated work would answer on node `n`, counted from 1.
    pub fn web(&self, n: usize) -> Option<SocketAddr> {
        self.ports
            .get(n.checked_sub(1)?)
            .map(|p| SocketAddr::from(([127, 0, 0, 1], p.web)))
    }

    /// The numbers of the nodes.
    pub fn nodes(&self) -> std::ops::RangeInclusive<usize> {
        1..=self.ports.len()
    }
}

/// How fast a fleet reacts. A demonstration reacts in seconds; the defaults of the daemons are for
/// production, where a false alarm costs more than half a minute.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two heartbeats of an agent.
    pub heartbeat: Millis,
    /// A lease runs so long from the heartbeat that renewed it.
    pub term: Millis,
    /// Clocks may drift so much, in thousandths.
    pub drift_per_mille: u64,
    /// Added to every safe time.
    pub margin: Millis,
    /// A work may take so long to stop.
    pub stop_grace: Millis,
    /// A watchdog acts within so long.
    pub watchdog: Millis,
    /// A silent node is suspect after so long ...
    pub suspect_after: Millis,
    /// ... and lost after so long.
    pub lost_after: Millis,
    /// A node that is back must stay so for so long before it gets work.
    pub returning_for: Millis,
}

impl Timing {
    /// Fast enough to watch; slow enough that a machine that builds beside it raises no false
    /// alarm.
    pub const DEMONSTRATION: Timing = Timing {
        heartbeat: Millis(500),
        term: Millis(3000),
        drift_per_mille: 10,
        margin: Millis(250),
        stop_grace: Millis(1000),
        watchdog: Millis(1000),
        suspect_after: Millis(1600),
        lost_after: Millis(3000),
        returning_for: Millis(1500),
    };

    /// After the last acknowledged heartbeat of a node that went silent, the longest time in which
    /// an exclusive work may still live there: what the coordinator waits before it grants anew
    /// ((term + stop grace + enforcement) x (1 + drift) + margin, see docs/safety.md).
    pub const fn safe_time(&self) -> Millis {
        let by_its_clock = Millis(self.term.0 + self.stop_grace.0 + self.watchdog.0);
        Millis(by_its_clock.scaled(1000 + self.drift_per_mille, 1000).0 + self.margin.0)
    }
}

/// Writes all configuration files.
pub fn write(layout: &Layout, shape: &Shape, timing: &Timing) -> Result<(), Failure> {
    let text = coordinator(layout, shape, timing);
    files::write_atomic(&layout.coordinator_config(), text.as_bytes(), 0o600)?;
    for (i, ports) in shape.ports.iter().enumerate() {
        let n = i + 1;
        for part in ["state", "run"] {
            files::ensure_dir(&layout.node(n).join(part), 0o700)?;
        }
        files::ensure_dir(&layout.watchdog_state(n), 0o700)?;
        let text = agent(layout, shape, timing, n, *ports);
        files::write_atomic(&layout.agent_config(n), text.as_bytes(), 0o600)?;
    }
    Ok(())
}

fn coordinator(layout: &Layout, shape: &Shape, timing: &Timing) -> String {
    let webhook = shape.webhook.map_or_else(String::new, |address| {
        format!("\n[webhook.pager]\nurl = \"http://{address}/\"\n")
    });
    format!(
        r#"# Written by nodemedic; written anew at each start.
site = "{site}"

[api]
listen = "{api}"

[broker]
listen = "{broker}"

[state]
directory = "{state}"

[lease]
term = "{term}"
drift_per_mille = {drift}
margin = "{margin}"

[liveness]
heartbeat = "{heartbeat}"
reconnect_within = "{lost}"
suspect_after = "{suspect}"
lost_after = "{lost}"
returning_for = "{returning}"
{webhook}"#,
        site = shape.site,
        api = shape.api,
        broker = shape.broker,
        state = layout.coordinator_state().display(),
        term = span::write(timing.term),
        drift = timing.drift_per_mille,
        margin = span::write(timing.margin),
        heartbeat = span::write(timing.heartbeat),
        suspect = span::write(timing.suspect_after),
        lost = span::write(timing.lost_after),
        returning = span::write(timing.returning_for),
    )
}

/// More restarts than the default and a short back-off: who tries things out kills a service often.
/// A service that ran well for a second counts as healed, so each kill is a first one.
const RESTART: &str = "{ max = 12, window = \"10m\", backoff = \"50ms\", \
    backoff_max = \"200ms\", healthy_after = \"1s\" }";

fn agent(layout: &Layout, shape: &Shape, timing: &Timing, n: usize, ports: NodePorts) -> String {
    format!(
        r#"# Written by nodemedic; written anew at each start.
node = "node-{n}"
site = "{site}"
zone = "zone-{n}"

[vars]
ledger_port = "{ledger}"
web_port = "{web}"

[broker]
url = "mqtt://{broker}"

[paths]
state = "{state}"
run = "{run}"
last_words = "{last_words}"

[heartbeat]
interval = "{heartbeat}"

[work]
allow_command = true
restart = {RESTART}
"#,
        site = shape.site,
        ledger = ports.ledger,
        web = ports.web,
        broker = shape.broker,
        state = layout.node(n).join("state").display(),
        run = layout.node(n).join("run").display(),
        last_words = layout.watchdog_state(n).join("last-words").display(),
        heartbeat = span::write(timing.heartbeat),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_safe_time_is_the_formula_of_the_lease() {
        let timing = Timing {
            drift_per_mille: 10,
            ..Timing::DEMONSTRATION
        };
        assert_eq!(timing.safe_time(), Millis(5000 + 50 + 250));
    }

    #[test]
    fn every_node_gets_a_configuration_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        let ports = |n: u16| NodePorts {
            ledger: 7000 + n,
            web: 8000 + n,
        };
        let shape = Shape {
            site: "test",
            api: ([127, 0, 0, 1], 7780).into(),
            broker: ([127, 0, 0, 1], 1883).into(),
            ports: vec![ports(1), ports(2)],
            webhook: Some(([127, 0, 0, 1], 9000).into()),
        };
        write(&layout, &shape, &Timing::DEMONSTRATION).unwrap();
        let read = |path: &std::path::Path| {
            String::from_utf8(files::read_capped(path, 1 << 16).unwrap().unwrap())
        };
        let second = read(&layout.agent_config(2)).unwrap();
        assert!(second.contains("node = \"node-2\"") && second.contains("web_port = \"8002\""));
        // Not the words of the host's own watchdog.
        assert!(second.contains("node-2/watchdog/last-words\""), "{second}");
        let coordinator = read(&layout.coordinator_config()).unwrap();
        assert!(
            coordinator.contains("url = \"http://127.0.0.1:9000/\""),
            "{coordinator}"
        );
        assert!(
            coordinator.contains("drift_per_mille = 10"),
            "{coordinator}"
        );
        assert_eq!(shape.ledger(2), Some(([127, 0, 0, 1], 7002).into()));
        assert_eq!((shape.ledger(0), shape.web(3)), (None, None));
    }
}
