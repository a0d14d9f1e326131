//! The book of grants: who may hold which work under which generation, and how each grant ends.
//!
//! Granted, then held, then releasing, then ended by a [`Proof`]. A grant that is releasing is not
//! renewed any more and never taken back; one that has ended is gone from the book.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;

use nodemedic_protocol::api::{Decision, Proof};
use nodemedic_protocol::work::{Enforcement, GrantRef, Sharing, WorkSpec};
use nodemedic_protocol::{BootId, Boottime, Generation, Millis, NodeId, Now, WorkName};

use crate::lease::{LeaseEnd, lease_end};
use crate::mutation::{Mutation, Mutations};
use crate::out::Out;
use crate::settings::LeaseSettings;
use crate::stored::{GrantKey, GrantRecord, ReleaseWhy, Write};

/// One grant that has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) record: GrantRecord,
    /// The last moment at which its lease may have been renewed, by this coordinator or the one
    /// before it.
    pub(crate) renewed: Boottime,
    /// When it was granted, released, or last changed its state; for views.
    pub(crate) since: Boottime,
}

impl Grant {
    pub(crate) const fn is_exclusive(&self) -> bool {
        matches!(self.record.spec.sharing, Sharing::Exclusive { .. })
    }

    pub(crate) const fn releasing(&self) -> bool {
        self.record.releasing.is_some()
    }

    pub(crate) fn lease_end(
        &self,
        enforcement: Enforcement,
        settings: &LeaseSettings,
        mutation: Mutations,
    ) -> LeaseEnd {
        let (spec, settings) = (&self.record.spec, promised(&self.record, settings));
        lease_end(spec, enforcement, self.renewed, &settings, mutation)
    }
}

/// The settings under which a grant's lease may have been renewed at the longest.
pub(crate) fn promised(record: &GrantRecord, settings: &LeaseSettings) -> LeaseSettings {
    LeaseSettings {
        term: settings.term.max(record.term),
        ..*settings
    }
}

/// All grants that have not ended.
#[derive(Debug)]
pub(crate) struct Grants {
    open: BTreeMap<GrantKey, Grant>,
    highest: BTreeMap<WorkName, Generation>,
    term: Millis,
    mutation: Mutations,
}

impl Grants {
    /// The predecessor may have renewed each lease up to the moment before this start.
    pub(crate) fn new(
        stored: BTreeMap<GrantKey, GrantRecord>,
        highest: BTreeMap<WorkName, Generation>,
        now: Boottime,
        term: Millis,
        mutation: Mutations,
    ) -> Grants {
        let renewed = if mutation.has(Mutation::SkipResumeGrace) {
            Boottime(0)
        } else {
            now
        };
        let open = stored.into_iter().map(|(key, record)| {
            let since = now;
            let grant = Grant {
                record,
                renewed,
                since,
            };
            (key, grant)
        });
        Grants {
            open: open.collect(),
            highest,
            term,
            mutation,
        }
    }

    /// Notes a longer term than before on every grant, before the first renewal under it.
    pub(crate) fn raise_terms(&mut self, out: &mut Out) {
        for grant in self.open.values_mut().filter(|g| g.record.term < self.term) {
            grant.record.term = self.term;
            out.store(Write::Grant(grant.record.clone()));
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Grant> {
        self.open.values()
    }

    pub(crate) fn get(&self, key: &GrantKey) -> Option<&Grant> {
        self.open.get(key)
    }

    pub(crate) fn on<'a>(&'a self, node: &NodeId) -> impl Iterator<Item = &'a Grant> {
        self.open.values().filter(move |g| g.record.node == *node)
    }

    pub(crate) fn of<'a>(&'a self, work: &WorkName) -> impl Iterator<Item = &'a Grant> {
        self.open
            .values()
            .filter(move |g| g.record.key.work == *work)
    }

    pub(crate) fn touch(&mut self, key: &GrantKey, now: Boottime) {
        if let Some(grant) = self.open.get_mut(key) {
            grant.since = now;
        }
    }

    /// Makes a grant under a generation that was never given before.
    pub(crate) fn grant(
        &mut self,
        out: &mut Out,
        now: Now,
        spec: &WorkSpec,
        node: &NodeId,
        boot_id: &BootId,
        because: &str,
    ) {
        let generation = self
            .highest
            .get(&spec.name)
            .copied()
            .unwrap_or_default()
            .next();
        self.raise(out, &spec.name, generation);
        let key = GrantKey {
            work: spec.name.clone(),
            generation,
        };
        let record = GrantRecord {
            key: key.clone(),
            node: node.clone(),
            boot_id: boot_id.clone(),
            spec: spec.clone(),
            granted: now.wall,
            term: self.term,
            releasing: None,
        };
        out.store(Write::Grant(record.clone()));
        let decision = Decision::Granted {
            work: spec.name.clone(),
            generation,
            because: because.to_string(),
        };
        out.decide(now, Some(node), decision);
        let grant = Grant {
            record,
            renewed: now.boot,
            since: now.boot,
        };
        self.open.insert(key, grant);
    }

    fn raise(&mut self, out: &mut Out, work: &WorkName, generation: Generation) {
        self.highest.insert(work.clone(), generation);
        if !self.mutation.has(Mutation::ForgetGenerations) {
            let work = work.clone();
            out.store(Write::HighestGeneration { work, generation });
        }
    }

    /// A node speaks of a generation that was never given here (an old store was restored): what
    /// is given from now on lies above it.
    pub(crate) fn seen(&mut self, out: &mut Out, work: &WorkName, generation: Generation) {
        if generation > self.highest.get(work).copied().unwrap_or_default() {
            self.raise(out, work, generation);
        }
    }

    /// Begins to take a grant away; a second time changes nothing.
    pub(crate) fn release(&mut self, out: &mut Out, now: Now, key: &GrantKey, why: ReleaseWhy) {
        let Some(grant) = self.open.get_mut(key).filter(|g| !g.releasing()) else {
            return;
        };
        grant.record.releasing = Some(why);
        grant.since = now.boot;
        out.store(Write::Grant(grant.record.clone()));
        let decision = Decision::Releasing {
            work: key.work.clone(),
            generation: key.generation,
            because: why.to_string(),
        };
        out.decide(now, Some(&grant.record.node), decision);
    }

    /// Ends a grant on a proof.
    pub(crate) fn end(&mut self, out: &mut Out, now: Now, key: &GrantKey, proof: Proof) {
        let Some(grant) = self.open.remove(key) else {
            return;
        };
        out.store(Write::EndGrant(key.clone()));
        let decision = Decision::Ended {
            work: key.work.clone(),
            generation: key.generation,
            proof,
        };
        out.decide(now, Some(&grant.record.node), decision);
    }

    /// The exclusive grants that a node holds and that are not being taken away, as of now renewed.
    pub(crate) fn renew(&mut self, node: &NodeId, now: Boottime) -> Vec<GrantRef> {
        let unnoted = self.mutation.has(Mutation::RenewUnnoted);
        let held = self.open.values_mut().filter(|g| g.record.node == *node);
        held.filter(|g| g.is_exclusive() && !g.releasing())
            .map(|grant| {
                if !unnoted {
                    grant.renewed = now;
                }
                GrantRef {
                    work: grant.record.key.work.clone(),
                    generation: grant.record.key.generation,
                }
            })
            .collect()
    }
}
