//! Blocked ports of a fenced service: rules of our own in a table of our own, `inet nodemedic`.
//!
//! Each rule carries its unit as a comment, so what is undone is exactly what was done. Packets are
//! answered with a reset: who balances load sees at once that nobody is there.

use std::collections::BTreeSet;
use std::fmt;
use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::systemctl::tool;

/// Tables of a hundred services with ten ports are a tenth of this.
const OUTPUT_MAX_BYTES: usize = 1 << 20;

/// The longest comment that nftables keeps (NFTNL_UDATA_COMMENT_MAXLEN).
const COMMENT_MAX: usize = 128;

const TABLE: &str = "inet nodemedic";
const CHAIN: &str = "inet nodemedic fenced";

/// Transport and number: `tcp/80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Port {
    transport: Transport,
    number: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    const fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.transport.name(), self.number)
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Port, String> {
        let wrong = || format!("{text:?} is no port: write it as \"tcp/80\" or \"udp/53\"");
        let (transport, number) = text.split_once('/').ok_or_else(wrong)?;
        let transport = [Transport::Tcp, Transport::Udp]
            .into_iter()
            .find(|known| known.name() == transport)
            .ok_or_else(wrong)?;
        let number = number.parse().ok().filter(|number| *number > 0);
        Ok(Port {
            transport,
            number: number.ok_or_else(wrong)?,
        })
    }
}

impl TryFrom<String> for Port {
    type Error = String;

    fn try_from(text: String) -> Result<Port, String> {
        text.parse()
    }
}

impl From<Port> for String {
    fn from(port: Port) -> String {
        port.to_string()
    }
}

/// Blocks ports of a unit that are not blocked yet, and reads the rules back.
///
/// # Errors
/// When nftables is missing or refuses.
pub async fn block(nft: &Path, unit: &str, ports: &BTreeSet<Port>) -> Result<(), String> {
    if ports.is_empty() {
        return Ok(());
    }
    if unit.len() > COMMENT_MAX {
        return Err(format!(
            "the name of {unit} is too long for a rule of its own"
        ));
    }
    let missing = |found: &[Rule]| -> BTreeSet<Port> {
        let there: BTreeSet<Port> = found.iter().map(|rule| rule.port).collect();
        ports.difference(&there).copied().collect()
    };
    let wanted = missing(&rules(nft, unit).await?);
    if !wanted.is_empty() {
        tool(nft, &["-f", "-"], &script(unit, &wanted), OUTPUT_MAX_BYTES).await?;
    }
    match missing(&rules(nft, unit).await?).first() {
        None => Ok(()),
        Some(port) => Err(format!(
            "{port} of {unit} was blocked, but the rule is not there"
        )),
    }
}

/// Takes off all rules of a unit; the table goes with the last one.
///
/// # Errors
/// When nftables refuses.
pub async fn unblock(nft: &Path, unit: &str) -> Result<(), String> {
    let mut words = String::new();
    for rule in rules(nft, unit).await? {
        // Writing into a text cannot fail.
        let _ = writeln!(words, "delete rule {CHAIN} handle {}", rule.handle);
    }
    if words.is_empty() {
        return Ok(());
    }
    tool(nft, &["-f", "-"], &words, OUTPUT_MAX_BYTES).await?;
    if !rules(nft, unit).await?.is_empty() {
        return Err(format!(
            "the rules of {unit} were removed, but are still there"
        ));
    }
    if list(nft)
        .await?
        .iter()
        .all(|item| item.get("rule").is_none())
    {
        tool(
            nft,
            &["delete", "table", "inet", "nodemedic"],
            "",
            OUTPUT_MAX_BYTES,
        )
        .await?;
    }
    Ok(())
}

fn script(unit: &str, ports: &BTreeSet<Port>) -> String {
    let mut words = format!(
        "add table {TABLE}\n\
         add chain {CHAIN} {{ type filter hook input priority -150; policy accept; }}\n"
    );
    for port in ports {
        let answer = match port.transport {
            Transport::Tcp => "reject with tcp reset",
            Transport::Udp => "reject",
        };
        let (transport, number) = (port.transport.name(), port.number);
        // A name of a unit holds no quote; a backslash stands for itself within quotes.
        let _ = writeln!(
            words,
            "add rule {CHAIN} {transport} dport {number} counter {answer} comment \"{unit}\""
        );
    }
    words
}

/// One rule of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    port: Port,
    handle: u64,
}

async fn rules(nft: &Path, unit: &str) -> Result<Vec<Rule>, String> {
    Ok(of_unit(&list(nft).await?, unit))
}

/// Everything in our chain; nothing when there is none.
async fn list(nft: &Path) -> Result<Vec<Value>, String> {
    let words = ["-j", "list", "chain", "inet", "nodemedic", "fenced"];
    let text = match tool(nft, &words, "", OUTPUT_MAX_BYTES).await {
        Ok(text) => text,
        Err(error) if error.contains("No such file or directory") && !error.contains("start") => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut answer: Value =
        serde_json::from_str(&text).map_err(|error| format!("cannot read nftables: {error}"))?;
    match answer.get_mut("nftables").map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        _ => Err("cannot read nftables: no list in its answer".to_owned()),
    }
}

fn of_unit(items: &[Value], unit: &str) -> Vec<Rule> {
    let rule = |item: &Value| {
        let rule = item.get("rule")?;
        if rule.get("comment")?.as_str()? != unit {
            return None;
        }
        let found = rule.get("expr")?.as_array()?.iter().find_map(|part| {
            let part = part.get("match")?;
            let transport = part.pointer("/left/payload/protocol")?.as_str()?;
            format!("{transport}/{}", part.get("right")?.as_u64()?)
                .parse()
                .ok()
        });
        Some(Rule {
            port: found?,
            handle: rule.get("handle")?.as_u64()?,
        })
    };
    items.iter().filter_map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_a_transport_and_a_number() {
        for good in ["tcp/80", "udp/65535"] {
            assert_eq!(good.parse::<Port>().unwrap().to_string(), good);
        }
        for bad in [
            "80",
            "tcp/0",
            "tcp/65536",
            "sctp/1",
            "tcp/ 80",
            "tcp/80/1",
            "",
        ] {
            let error = bad.parse::<Port>().unwrap_err();
            assert!(error.contains("write it as \"tcp/80\""), "{error}");
        }
    }

    #[test]
    fn the_rules_of_a_unit_are_told_from_those_of_another() {
        let text = r#"[{"chain":{"name":"fenced"}},
          {"rule":{"handle":2,"comment":"web.service","expr":[{"match":{"op":"==",
            "left":{"payload":{"protocol":"tcp","field":"dport"}},"right":80}},
            {"counter":{}},{"reject":{"type":"tcp reset"}}]}},
          {"rule":{"handle":3,"comment":"db.service","expr":[{"match":{"op":"==",
            "left":{"payload":{"protocol":"udp","field":"dport"}},"right":53}}]}},
          {"rule":{"handle":4,"expr":[]}}]"#;
        let items: Vec<Value> = serde_json::from_str(text).unwrap();
        let port = "tcp/80".parse().unwrap();
        assert_eq!(of_unit(&items, "web.service"), [Rule { port, handle: 2 }]);
        assert_eq!(of_unit(&items, "x.service"), []);
    }

    #[test]
    fn the_script_makes_what_is_missing_and_nothing_twice() {
        let ports = BTreeSet::from(["tcp/80".parse().unwrap(), "udp/53".parse().unwrap()]);
        let wanted = "add table inet nodemedic\n\
            add chain inet nodemedic fenced { type filter hook input priority -150; \
            policy accept; }\n\
            add rule inet nodemedic fenced tcp dport 80 counter reject with tcp reset \
            comment \"web.service\"\n\
            add rule inet nodemedic fenced udp dport 53 counter reject \
            comment \"web.service\"\n";
        assert_eq!(script("web.service", &ports), wanted);
    }
}
