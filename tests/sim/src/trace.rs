//! The record of a world: a hash of every fact in order, and the facts themselves when wanted.

use crate::clock::True;
use crate::fact::Fact;

/// FNV-1a, 64 bits: enough to tell two traces apart, and ten lines (Fowler, Noll, Vo 1991).
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// All facts so far.
pub struct Trace {
    hash: u64,
    count: u64,
    kept: Option<Vec<(True, Fact)>>,
}

impl Trace {
    /// An empty trace; `keep` keeps the facts, which a run of many seeds does not need.
    #[must_use]
    pub const fn new(keep: bool) -> Trace {
        Trace {
            hash: OFFSET,
            count: 0,
            kept: if keep { Some(Vec::new()) } else { None },
        }
    }

    /// Records one fact.
    pub fn add(&mut self, at: True, fact: &Fact) {
        self.count += 1;
        for byte in format!("{at} {fact:?}").bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(PRIME);
        }
        if let Some(kept) = &mut self.kept {
            kept.push((at, fact.clone()));
        }
    }

    /// The same for the same facts.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// How many facts there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The facts, if they were kept.
    #[must_use]
    pub fn facts(&self) -> &[(True, Fact)] {
        self.kept.as_deref().unwrap_or_default()
    }
}
