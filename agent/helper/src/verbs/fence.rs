//! Keeps a stopped service out: on the list first, so that no moment is without a record of what
//! must be undone, then masked, then its ports blocked; each read back.

use super::Warrant;
use crate::allow::Allow;
use crate::hands::Hands;
use crate::{fenced, mask, ports};

pub(super) fn may(allow: &Allow, unit: &str) -> Result<Warrant, String> {
    let ports = allow.service(unit)?.clone();
    Ok(Warrant { ports, deed: None })
}

pub(super) async fn act(hands: &Hands, warrant: &Warrant, unit: &str) -> Result<String, String> {
    let places = &hands.places;
    let (mut list, wrong) = fenced::read(&places.state)?;
    for line in wrong {
        tracing::error!("the list of fenced units: {line}; it is dropped");
    }
    let entry = list.entry(unit.to_owned()).or_default();
    // Ports of an earlier fence stay on the list until they are unblocked.
    entry.extend(&warrant.ports);
    let blocked = entry.clone();
    fenced::write(&places.state, &list)?;
    let mut done = "on the list".to_owned();
    // A scope is made anew by whoever makes it, and has no file to mask.
    if unit.ends_with(".service") {
        mask::put(places, unit).await?;
        done.push_str(", masked");
    }
    ports::block(&places.nft, unit, &blocked).await?;
    for port in &blocked {
        done.push_str(&format!(", {port} blocked"));
    }
    Ok(done)
}
