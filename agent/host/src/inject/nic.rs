//! A dummy interface that loses and finds its carrier, made for this and deleted afterwards. Where
//! the kernel has no `dummy` it is one end of a `veth` pair.

use std::collections::BTreeMap;
use std::path::Path;

use nodemedic_edge::child::{self, Spec};
use nodemedic_protocol::inject::Fault;
use nodemedic_protocol::{Boottime, Millis};

use super::record::{Record, Records, Undo};

/// Each call answers within milliseconds.
const CALL_WITHIN: Millis = Millis::from_secs(2);

const OUTPUT_MAX_BYTES: usize = 4096;

/// Names of interfaces have at most 15 bytes.
const NUMBERS: u64 = 10_000;

/// Shorter ones are below what a sampler sees, longer ones are no flapping.
const EVERY_MIN: Millis = Millis(100);
const EVERY_MAX: Millis = Millis::from_secs(60);

/// The turning of one interface.
#[derive(Debug)]
pub struct Flap {
    name: String,
    every: Millis,
    next: Boottime,
    carrier: bool,
}

impl Flap {
    /// Of a record that made an interface.
    pub fn of(record: &Record, now: Boottime) -> Option<Flap> {
        let (Fault::FlapNic { every }, Undo::DeleteLink { name }) = (&record.fault, &record.undo)
        else {
            return None;
        };
        Some(Flap {
            name: name.clone(),
            every: *every,
            next: now + *every,
            carrier: true,
        })
    }

    /// When it turns next.
    pub const fn due(&self) -> Boottime {
        self.next
    }

    /// Loses or finds the carrier.
    pub async fn turn(&mut self, now: Boottime) {
        self.next = now + self.every;
        self.carrier = !self.carrier;
        let peer = peer_of(&self.name);
        let turned = if exists(&peer) {
            let state = if self.carrier { "up" } else { "down" };
            ip(&["link", "set", "dev", &peer, state]).await
        } else {
            let state = if self.carrier { "on" } else { "off" };
            ip(&["link", "set", "dev", &self.name, "carrier", state]).await
        };
        if let Err(error) = turned {
            tracing::warn!("{} does not turn: {error}", self.name);
        }
    }
}

fn peer_of(name: &str) -> String {
    name.replace("nmflap", "nmpeer")
}

fn exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// Makes the interface, up and with a carrier.
pub async fn make(records: &Records, record: &mut Record) -> Result<(), String> {
    let Fault::FlapNic { every } = record.fault else {
        return Err("no interface is to be made".to_owned());
    };
    if !(EVERY_MIN..=EVERY_MAX).contains(&every) {
        return Err(format!("it flaps every {EVERY_MIN} to {EVERY_MAX}"));
    }
    let name = format!("nmflap{}", record.id % NUMBERS);
    let peer = peer_of(&name);
    if exists(&name) || exists(&peer) {
        return Err(format!("{name} is there already: ip link delete {name}"));
    }
    record.undo = Undo::DeleteLink { name: name.clone() };
    records.keep(record)?;
    let add = ["link", "add", "name", &name, "type"];
    let dummy = ip(&[&add[..], &["dummy"]].concat()).await;
    if let Err(why) = dummy {
        let veth = ip(&[&add[..], &["veth", "peer", "name", &peer]].concat()).await;
        veth.map_err(|error| {
            format!("cannot make an interface: {why}; {error}; the agent needs CAP_NET_ADMIN")
        })?;
        ip(&["link", "set", "dev", &peer, "up"]).await?;
    }
    ip(&["link", "set", "dev", &name, "up"]).await?;
    record.detail = format!("made {name}");
    Ok(())
}

/// Deletes it; its other end goes with it.
pub async fn delete(name: &str) -> Result<(), String> {
    if !name.starts_with("nmflap") || !exists(name) {
        return Ok(());
    }
    ip(&["link", "delete", "dev", name]).await
}

async fn ip(args: &[&str]) -> Result<(), String> {
    let finished = child::run(Spec {
        program: "ip".into(),
        args: args.iter().map(|word| (*word).to_owned()).collect(),
        env: BTreeMap::new(),
        cwd: None,
        stdin: Vec::new(),
        timeout: CALL_WITHIN,
        output_max_bytes: OUTPUT_MAX_BYTES,
    });
    let finished = finished.await.map_err(|error| error.to_string())?;
    if finished.code == Some(0) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&finished.stderr);
    Err(format!("ip {}: {}", args.join(" "), said.trim()))
}
