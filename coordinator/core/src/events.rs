//! The events of nodes: stored once each, in order, before they are acknowledged.
//!
//! A number that is missing holds everything after it back until it comes; only a `Dropped` event,
//! which stands in the place of what it dropped, or a new stream explains one away.

use alloc::format;

use nodemedic_protocol::api::JournalWhat;
use nodemedic_protocol::event::{Event, EventBatch, EventKind};
use nodemedic_protocol::{NodeId, Now, Seq};

use crate::coordinator::Coordinator;
use crate::effect::LogLevel;
use crate::stored::{EventMark, Write};

/// What becomes of one event after those up to `stored`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is the next one.
    Store,
    /// It is stored already.
    Known,
    /// Something before it is missing.
    Gap,
}

/// Judges one event.
#[must_use]
pub fn next(stored: Seq, event: &Event) -> Next {
    if event.seq <= stored {
        return Next::Known;
    }
    let explained = match &event.kind {
        EventKind::Dropped { first, last } => *first <= stored.next() && *last <= event.seq,
        _ => false,
    };
    if event.seq == stored.next() || explained {
        Next::Store
    } else {
        Next::Gap
    }
}

impl Coordinator {
    pub(crate) fn hear_events(&mut self, now: Now, name: &NodeId, batch: EventBatch) {
        if self.superseded.is_some() {
            return;
        }
        // Only a birth says which stream counts; an unknown one is sent again after it.
        let mark = self.marks.get(name);
        let Some(mark) = mark.filter(|m| m.stream == batch.stream) else {
            return;
        };
        let mut seq = mark.seq;
        for event in batch.events {
            match next(seq, &event) {
                Next::Known => {}
                Next::Store => {
                    seq = event.seq;
                    self.out.journal(now, Some(name), JournalWhat::Node(event));
                }
                Next::Gap => {
                    let text = format!(
                        "event {} of {name} waits for {}, which did not come yet",
                        event.seq,
                        seq.next()
                    );
                    self.out.log(LogLevel::Debug, text);
                    break;
                }
            }
        }
        if seq == mark.seq {
            return;
        }
        let mark = EventMark {
            stream: batch.stream,
            seq,
        };
        self.marks.insert(name.clone(), mark.clone());
        let node = name.clone();
        self.out.store(Write::EventMark { node, mark });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::{BootId, Boottime, Component, WallTime};

    fn event(seq: u64, kind: EventKind) -> Event {
        Event {
            seq: Seq(seq),
            boot_id: BootId::new("b").unwrap(),
            at: Boottime(0),
            wall: WallTime(0),
            component: Component::Host,
            kind,
        }
    }

    fn dropped(first: u64, last: u64) -> Event {
        let kind = EventKind::Dropped {
            first: Seq(first),
            last: Seq(last),
        };
        event(last, kind)
    }

    #[test]
    fn only_the_next_one_or_what_explains_the_gap_is_stored() {
        let plain = |seq| event(seq, EventKind::ConfigReloaded);
        assert_eq!(next(Seq(4), &plain(5)), Next::Store);
        assert_eq!(next(Seq(4), &plain(4)), Next::Known);
        assert_eq!(next(Seq(4), &plain(6)), Next::Gap);
        assert_eq!(next(Seq(4), &dropped(5, 9)), Next::Store);
        // Some of what was dropped had arrived before.
        assert_eq!(next(Seq(4), &dropped(2, 9)), Next::Store);
        assert_eq!(next(Seq(4), &dropped(6, 9)), Next::Gap);
        assert_eq!(next(Seq(9), &dropped(2, 9)), Next::Known);
    }
}
