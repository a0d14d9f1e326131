//! One log line per peer and minute: a peer that sends nonsense must not fill the disk with it.

use std::collections::BTreeMap;

use nodemedic_protocol::{Boottime, Millis};

/// A person who reads the log sees each peer's newest complaint at least this often.
const EVERY: Millis = Millis::from_secs(60);

/// Peers remembered at once. More than a fleet has; a flood of made-up peers shares one line.
const PEERS_MAX: usize = 4096;

/// Counts complaints per peer and lets one per minute through.
#[derive(Debug, Default)]
pub struct Quiet {
    peers: BTreeMap<String, Peer>,
}

#[derive(Debug)]
struct Peer {
    said: Boottime,
    held_back: u64,
}

impl Quiet {
    /// `Some(n)` when a line about this peer may be logged now; `n` were held back before it.
    pub fn may_say(&mut self, peer: &str, now: Boottime) -> Option<u64> {
        if self.peers.len() >= PEERS_MAX {
            self.peers.retain(|_, peer| now.since(peer.said) < EVERY);
        }
        let key = if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(peer) {
            "many peers"
        } else {
            peer
        };
        match self.peers.get_mut(key) {
            Some(known) if now.since(known.said) < EVERY => {
                known.held_back = known.held_back.saturating_add(1);
                None
            }
            Some(known) => {
                known.said = now;
                Some(std::mem::take(&mut known.held_back))
            }
            None => {
                self.peers.insert(
                    key.to_owned(),
                    Peer {
                        said: now,
                        held_back: 0,
                    },
                );
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noisy_peer_gets_one_line_a_minute_and_hides_no_other() {
        let mut quiet = Quiet::default();
        assert_eq!(quiet.may_say("a", Boottime(0)), Some(0));
        for at in 1..50 {
            assert_eq!(quiet.may_say("a", Boottime(at * 1000)), None);
        }
        assert_eq!(quiet.may_say("b", Boottime(50_000)), Some(0));
        assert_eq!(quiet.may_say("a", Boottime(60_000)), Some(49));
    }

    #[test]
    fn made_up_peers_do_not_grow_memory() {
        let mut quiet = Quiet::default();
        let said = (0..20_000).filter(|n| quiet.may_say(&format!("p{n}"), Boottime(1)).is_some());
        assert_eq!(said.count(), PEERS_MAX + 1);
        assert!(quiet.peers.len() <= PEERS_MAX + 1);
    }
}
