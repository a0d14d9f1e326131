//! What the disk refused of the event spool, kept in order until the disk takes it.
//!
//! Bounded by the core: each write stands for an event that the core still holds, of which it holds
//! so many at most; what it drops or knows to be stored elsewhere leaves here too.

use std::collections::VecDeque;

use nodemedic_protocol::Seq;
use nodemedic_protocol::event::Event;

/// One change of the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One more event.
    Append(Box<Event>),
    /// One event in the place of several.
    Replace {
        /// The first one.
        first: Seq,
        /// The last one.
        last: Seq,
        /// What stands for them.
        with: Box<Event>,
    },
}

impl Change {
    const fn seq(&self) -> Seq {
        match self {
            Change::Append(event) => event.seq,
            Change::Replace { with, .. } => with.seq,
        }
    }
}

/// Changes that are not on disk yet, oldest first.
#[derive(Debug, Default)]
pub struct Backlog(VecDeque<Change>);

impl Backlog {
    /// One more, behind those that wait.
    pub fn push(&mut self, change: Change) {
        // What it stands for needs no place of its own any more.
        if let Change::Replace { first, last, .. } = &change {
            self.0
                .retain(|waits| !(*first..=*last).contains(&waits.seq()));
        }
        self.0.push_back(change);
    }

    /// All events up to this one are stored elsewhere.
    pub fn trim(&mut self, through: Seq) {
        self.0.retain(|waits| waits.seq() > through);
    }

    /// Tries all in their order, up to the first that is refused.
    ///
    /// # Errors
    /// Why it was refused; it and those behind it wait on.
    pub fn flush<E>(&mut self, mut write: impl FnMut(&Change) -> Result<(), E>) -> Result<(), E> {
        while let Some(change) = self.0.front() {
            write(change)?;
            self.0.pop_front();
        }
        Ok(())
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::event::EventKind;
    use nodemedic_protocol::{BootId, Boottime, Component, WallTime};

    fn event(seq: u64, kind: EventKind) -> Box<Event> {
        Box::new(Event {
            seq: Seq(seq),
            boot_id: BootId::new("boot-1").unwrap(),
            at: Boottime(seq),
            wall: WallTime(seq),
            component: Component::Host,
            kind,
        })
    }

    fn append(seq: u64) -> Change {
        Change::Append(event(seq, EventKind::ConfigReloaded))
    }

    fn replace(first: u64, last: u64) -> Change {
        let (first, last) = (Seq(first), Seq(last));
        let with = event(last.0, EventKind::Dropped { first, last });
        Change::Replace { first, last, with }
    }

    fn seqs(backlog: &Backlog) -> Vec<u64> {
        backlog.0.iter().map(|change| change.seq().0).collect()
    }

    /// A disk with room for so many more.
    fn flush(backlog: &mut Backlog, mut room: usize, disk: &mut Vec<Change>) -> Result<(), ()> {
        backlog.flush(|change| {
            room = room.checked_sub(1).ok_or(())?;
            disk.push(change.clone());
            Ok(())
        })
    }

    #[test]
    fn what_was_refused_comes_first_and_nothing_overtakes_it() {
        let mut backlog = Backlog::default();
        let mut disk = Vec::new();
        for (seq, room) in [(1, 1), (2, 0), (3, 0), (4, 2)] {
            backlog.push(append(seq));
            let _refused = flush(&mut backlog, room, &mut disk);
        }
        assert_eq!(disk, [append(1), append(2), append(3)]);
        assert_eq!(seqs(&backlog), [4]);
        assert_eq!(flush(&mut backlog, 9, &mut disk), Ok(()));
        assert_eq!(disk.last(), Some(&append(4)));
        assert_eq!(backlog.waiting(), 0);
    }

    #[test]
    fn what_is_dropped_or_stored_elsewhere_waits_no_more() {
        let mut backlog = Backlog::default();
        for seq in 5..=10 {
            backlog.push(append(seq));
        }
        // The core drops the oldest over and over: one place for all of them.
        backlog.push(replace(1, 6));
        backlog.push(replace(1, 8));
        assert_eq!(seqs(&backlog), [9, 10, 8]);
        backlog.trim(Seq(9));
        assert_eq!(seqs(&backlog), [10]);
        assert_eq!(backlog.waiting(), 1);
    }
}
