//! No event is lost and none is doubled in the journal, except what a `Dropped` event declares.

use std::collections::{BTreeMap, BTreeSet};

use nodemedic_protocol::api::JournalWhat;
use nodemedic_protocol::event::{Event, EventKind};
use nodemedic_sim_coordinator_core::Write;

use super::Checker;
use crate::clock::True;
use crate::fact::{Fact, Host};

/// An event as nothing else is: where, in which boot, when, and as which number.
type Identity = (Host, String, u64, u64, String);

/// See the file.
#[derive(Default)]
pub struct Journal {
    spooled: BTreeSet<Identity>,
    stored: BTreeSet<Identity>,
    last: u64,
    /// Ranges that were declared as dropped.
    dropped: BTreeMap<Host, Vec<(u64, u64)>>,
}

fn identity(host: Host, event: &Event) -> Identity {
    let kind = format!("{:?}", event.kind);
    (
        host,
        event.boot_id.to_string(),
        event.at.0,
        event.seq.0,
        kind,
    )
}

impl Checker for Journal {
    fn property(&self) -> &'static str {
        "no event is lost and none is doubled"
    }

    fn see(&mut self, _at: True, fact: &Fact) -> Option<String> {
        match fact {
            Fact::Spooled { host, event, .. } => {
                if let EventKind::Dropped { first, last } = event.kind {
                    self.dropped
                        .entry(*host)
                        .or_default()
                        .push((first.0, last.0));
                }
                self.spooled.insert(identity(*host, event));
                None
            }
            Fact::SpoolLost { host } => {
                self.spooled.retain(|id| id.0 != *host);
                self.dropped.remove(host);
                None
            }
            Fact::Committed(write) => {
                let Write::Journal(entry) = &**write else {
                    return None;
                };
                let expected = self.last + 1;
                self.last = entry.number;
                if entry.number != expected {
                    return Some(format!("entry {} came as {expected}", entry.number));
                }
                let (Some(node), JournalWhat::Node(event)) = (&entry.node, &entry.what) else {
                    return None;
                };
                let host: Host = node.as_str().strip_prefix("host-")?.parse().ok()?;
                let new = self.stored.insert(identity(host, event));
                (!new).then(|| format!("event {} of {node} is stored twice: {event:?}", event.seq))
            }
            Fact::End => {
                let lost = self.spooled.iter().find(|id| {
                    let dropped = self.dropped.get(&id.0).is_some_and(|ranges| {
                        ranges.iter().any(|(a, b)| (*a..=*b).contains(&id.3))
                    });
                    !self.stored.contains(*id) && !dropped
                })?;
                Some(format!(
                    "event {} of host-{} is lost: {}",
                    lost.3, lost.0, lost.4
                ))
            }
            _ => None,
        }
    }
}
