//! Undoes what a fence did: what the list says, and no more. Off the list before systemd reloads,
//! because the generator would mask it again.

use super::Warrant;
use crate::allow::Allow;
use crate::hands::{Hands, Places};
use crate::{fenced, mask, ports};

pub(super) fn may(allow: &Allow, unit: &str) -> Result<Warrant, String> {
    allow.service(unit).map(|_| Warrant::default())
}

pub(super) async fn act(hands: &Hands, unit: &str) -> Result<String, String> {
    lift(&hands.places, unit).await
}

/// For a person who is root, too: whatever the configuration says by now.
///
/// # Errors
/// When it could not be undone, or not be proved.
pub async fn lift(places: &Places, unit: &str) -> Result<String, String> {
    let (mut list, _) = fenced::read(&places.state)?;
    let Some(entry) = list.remove(unit) else {
        return Ok("it was not kept out".to_owned());
    };
    if !entry.is_empty() {
        ports::unblock(&places.nft, unit).await?;
    }
    fenced::write(&places.state, &list)?;
    let mut done = "off the list".to_owned();
    if unit.ends_with(".service") {
        match mask::lift(places, unit).await? {
            None => done.push_str(", unmasked"),
            Some(other) => {
                done.push_str(", ");
                done.push_str(other);
            }
        }
    }
    for port in entry {
        done.push_str(&format!(", {port} unblocked"));
    }
    Ok(done)
}
