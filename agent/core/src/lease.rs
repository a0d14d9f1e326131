//! Leases of exclusive work, exactly as docs/safety.md states them.
//!
//! Heartbeat n leaves at t_n on this host's boot clock. The ack of n renews the grants that it
//! names until t_n + term, and nothing else. No clock but this host's is involved. For work with
//! `on_lease_loss = "stop"`, a lease that ended has ended for ever: its generation never runs
//! again.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use nodemedic_protocol::work::OnLeaseLoss;
use nodemedic_protocol::{BootId, Boottime, Generation, Millis, WorkName};

use crate::memory::{LeaseMemory, LeaseRecord};
use crate::mutation::{Mutation, Mutations};

/// So many send times are kept. An ack that answers an older heartbeat would renew to a moment that
/// has passed: 64 heartbeats of 5 s are longer than any sensible term.
const SENT_MAX: usize = 64;

/// Longest term that is believed. A shorter one than the coordinator reckons with is always safe.
const TERM_MAX: Millis = Millis::from_secs(3600);

/// One lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub generation: Generation,
    pub deadline: Boottime,
    pub on_loss: OnLeaseLoss,
}

/// All leases of this host, and the heartbeats that may still be answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases {
    sent: VecDeque<(u64, Boottime)>,
    held: BTreeMap<WorkName, Lease>,
    pub(crate) mutation: Mutations,
}

impl Leases {
    /// Leases of an earlier run on this boot. `wanted` says which grants the memory still holds.
    pub(crate) fn restored(
        memory: Option<LeaseMemory>,
        boot_id: &BootId,
        wanted: impl Fn(&WorkName) -> Option<(Generation, OnLeaseLoss)>,
    ) -> Leases {
        let mut leases = Leases::default();
        let Some(memory) = memory.filter(|m| m.boot_id == *boot_id) else {
            return leases;
        };
        for record in memory.leases {
            if let Some((generation, on_loss)) = wanted(&record.work)
                && generation == record.generation
            {
                leases.held.insert(
                    record.work,
                    Lease {
                        generation,
                        deadline: record.deadline,
                        on_loss,
                    },
                );
            }
        }
        leases
    }

    /// A heartbeat leaves now.
    pub(crate) fn sent(&mut self, n: u64, at: Boottime) {
        if self.sent.len() >= SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((n, at));
    }

    /// True when this grant may run now.
    pub(crate) fn covers(&self, now: Boottime, work: &WorkName, generation: Generation) -> bool {
        self.held
            .get(work)
            .is_some_and(|l| l.generation == generation && now < l.deadline)
    }

    /// When the lease of a grant ends.
    pub(crate) fn deadline(&self, work: &WorkName, generation: Generation) -> Option<Boottime> {
        self.held
            .get(work)
            .filter(|l| l.generation == generation)
            .map(|l| l.deadline)
    }

    /// The ack of heartbeat `n` names this grant. Returns whether it holds now.
    pub(crate) fn renew(
        &mut self,
        now: Boottime,
        n: u64,
        term: Millis,
        work: &WorkName,
        generation: Generation,
        on_loss: OnLeaseLoss,
    ) -> bool {
        let Some((_, sent_at)) = self.sent.iter().find(|(sent, _)| *sent == n) else {
            return false;
        };
        let from = if self.mutation.has(Mutation::LeaseFromAck) {
            now
        } else {
            *sent_at
        };
        let deadline = from + Millis(term.0.min(TERM_MAX.0));
        if deadline <= now {
            return false;
        }
        match self.held.get_mut(work) {
            Some(held) if held.generation == generation => {
                let over = held.on_loss == OnLeaseLoss::Stop && held.deadline <= now;
                if over && !self.mutation.has(Mutation::RenewAfterEnd) {
                    return false;
                }
                held.deadline = held.deadline.max(deadline);
                true
            }
            Some(held) if held.generation > generation => false,
            _ => {
                self.held.insert(
                    work.clone(),
                    Lease {
                        generation,
                        deadline,
                        on_loss,
                    },
                );
                true
            }
        }
    }

    /// Grants whose lease is over and whose owner chose `stop`.
    pub(crate) fn lost(&self, now: Boottime) -> Vec<(WorkName, Generation)> {
        self.held
            .iter()
            .filter(|(_, l)| l.deadline <= now)
            .filter(|(_, l)| {
                l.on_loss == OnLeaseLoss::Stop || self.mutation.has(Mutation::KeepIsStop)
            })
            .map(|(work, l)| (work.clone(), l.generation))
            .collect()
    }

    /// The grant is proved stopped: nothing is promised for it any more.
    pub(crate) fn forget(&mut self, work: &WorkName) {
        self.held.remove(work);
    }

    /// The leases with a promise behind them.
    pub(crate) fn promised(&self) -> impl Iterator<Item = (&WorkName, &Lease)> {
        self.held
            .iter()
            .filter(|(_, l)| l.on_loss == OnLeaseLoss::Stop)
    }

    /// The next end of a lease that matters, for work that is not on its way out.
    pub(crate) fn next_end(
        &self,
        running: impl Fn(&WorkName) -> bool,
    ) -> Option<(Boottime, WorkName)> {
        self.promised()
            .filter(|(work, _)| running(work))
            .map(|(work, l)| (l.deadline, work.clone()))
            .min()
    }

    /// What a restarted agent must know.
    pub(crate) fn records(&self) -> Vec<LeaseRecord> {
        self.held
            .iter()
            .map(|(work, l)| LeaseRecord {
                work: work.clone(),
                generation: l.generation,
                deadline: l.deadline,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Millis = Millis::from_secs(15);

    fn work() -> WorkName {
        WorkName::new("db").unwrap()
    }

    fn renew(leases: &mut Leases, now: u64, n: u64, generation: u64) -> bool {
        leases.renew(
            Boottime(now),
            n,
            TERM,
            &work(),
            Generation(generation),
            OnLeaseLoss::Stop,
        )
    }

    #[test]
    fn a_lease_runs_from_the_send_time_however_late_the_ack() {
        let mut leases = Leases::default();
        leases.sent(1, Boottime(1000));
        assert!(renew(&mut leases, 9000, 1, 3));
        assert!(leases.covers(Boottime(15_999), &work(), Generation(3)));
        assert!(!leases.covers(Boottime(16_000), &work(), Generation(3)));
    }

    #[test]
    fn an_ack_that_comes_after_its_own_deadline_renews_nothing() {
        let mut leases = Leases::default();
        leases.sent(1, Boottime(1000));
        assert!(!renew(&mut leases, 16_000, 1, 3));
        assert!(!renew(&mut leases, 1001, 2, 3), "heartbeat 2 never left");
    }

    #[test]
    fn an_ended_lease_stays_ended_for_its_generation() {
        let mut leases = Leases::default();
        leases.sent(1, Boottime(1000));
        leases.sent(2, Boottime(14_000));
        assert!(renew(&mut leases, 1100, 1, 3));
        assert_eq!(leases.lost(Boottime(15_999)), []);
        assert_eq!(leases.lost(Boottime(16_000)), [(work(), Generation(3))]);
        assert!(!renew(&mut leases, 16_000, 2, 3), "too late for 3");
        assert!(renew(&mut leases, 16_000, 2, 4), "4 is another grant");
        assert!(!renew(&mut leases, 16_001, 2, 3), "3 is older than 4");
    }

    #[test]
    fn an_older_ack_never_shortens_and_the_table_is_bounded() {
        let mut leases = Leases::default();
        for n in 0..100 {
            leases.sent(n, Boottime(n * 100));
        }
        assert!(!renew(&mut leases, 9901, 10, 1), "10 is forgotten");
        assert!(renew(&mut leases, 9901, 99, 1));
        assert!(renew(&mut leases, 9901, 50, 1));
        assert_eq!(
            leases.deadline(&work(), Generation(1)),
            Some(Boottime(24_900))
        );
    }

    #[test]
    fn another_boot_and_a_missing_file_mean_over() {
        let boot = |b: &str| BootId::new(b).unwrap();
        let wanted = |_: &WorkName| Some((Generation(3), OnLeaseLoss::Stop));
        let mut leases = Leases::default();
        leases.sent(1, Boottime(1000));
        renew(&mut leases, 1001, 1, 3);
        let memory = LeaseMemory {
            boot_id: boot("a"),
            leases: leases.records(),
            epoch_seen: nodemedic_protocol::Epoch(0),
            declared: false,
        };
        let same = Leases::restored(Some(memory.clone()), &boot("a"), wanted);
        assert!(same.covers(Boottime(2000), &work(), Generation(3)));
        let other = Leases::restored(Some(memory), &boot("b"), wanted);
        assert!(!other.covers(Boottime(2000), &work(), Generation(3)));
        let none = Leases::restored(None, &boot("a"), wanted);
        assert!(!none.covers(Boottime(2000), &work(), Generation(3)));
    }
}
