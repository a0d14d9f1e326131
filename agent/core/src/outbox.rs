//! Events on their way: numbered, spooled on disk, sent in batches, and forgotten only when the
//! coordinator has said that it stored them.
//!
//! The broker's word for a batch only lets the next one leave; a broker may forget everything.
//! Bounded: when the spool is full, the oldest events that are not critical make room, and one
//! `Dropped` event stands in their place.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use nodemedic_protocol::codec;
use nodemedic_protocol::event::{Event, EventBatch, EventKind, Verb};
use nodemedic_protocol::message::Message;
use nodemedic_protocol::{BootId, Boottime, Component, Millis, Seq, Severity, StreamId};

use crate::effect::{Effect, Token};
use crate::facts::Spooled;
use crate::out::Out;

/// Most events in one message.
pub const BATCH_EVENTS_MAX: usize = 64;

/// Most bytes of events in one message: a quarter of what a message may have.
pub const BATCH_BYTES_MAX: usize = codec::MESSAGE_MAX_BYTES / 4;

/// So many events may be with the broker and not yet stored: what a coordinator that is down for a
/// while finds in its broker's queue, and what is sent twice at worst.
const WINDOW_EVENTS: usize = 1024;

/// After so long without progress everything unstored is sent again: three heartbeats, each of
/// which is answered with what is stored.
const RESEND_AFTER: Millis = Millis::from_secs(15);

/// The wait doubles up to this while the coordinator says nothing.
const RESEND_AFTER_MAX: Millis = Millis::from_secs(300);

/// When full, this share of the spool is freed at once, so that a full spool is not rewritten for
/// each event.
const DROP_SHARE: usize = 16;

/// So many events are kept in memory for the local socket, stored or not.
const HISTORY_MAX: usize = 256;

/// The spool and what is under way of it.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    stream: StreamId,
    boot_id: BootId,
    events: VecDeque<Event>,
    history: VecDeque<Event>,
    last: Seq,
    stored: Seq,
    /// What the newest ack says is stored: less than `stored` when a coordinator lost its store.
    told: Option<Seq>,
    sent: Seq,
    in_flight: Option<Token>,
    last_token: u64,
    quiet_since: Boottime,
    resend_after: Millis,
    dropped: u64,
}

impl Outbox {
    pub(crate) fn new(boot_id: BootId, spool: Spooled, dropped: u64) -> Outbox {
        let last = spool.events.last().map_or(spool.trimmed, |e| e.seq);
        let history = spool
            .events
            .iter()
            .rev()
            .take(HISTORY_MAX)
            .rev()
            .cloned()
            .collect();
        Outbox {
            stream: spool.stream,
            boot_id,
            events: spool.events.into(),
            history,
            last: last.max(spool.trimmed),
            stored: spool.trimmed,
            told: None,
            sent: spool.trimmed,
            in_flight: None,
            last_token: 0,
            quiet_since: Boottime(0),
            resend_after: RESEND_AFTER,
            dropped,
        }
    }

    pub(crate) const fn stream(&self) -> &StreamId {
        &self.stream
    }

    pub(crate) fn waiting(&self) -> u64 {
        u64::try_from(self.events.len()).unwrap_or(u64::MAX)
    }

    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// True while the next event costs an older one.
    pub(crate) fn is_crowded(&self, max: usize) -> bool {
        self.dropped > 0 && self.events.len() >= max.saturating_sub(max / DROP_SHARE + 1)
    }

    /// The newest events, oldest first.
    pub(crate) fn newest(&self, count: usize) -> Vec<Event> {
        let skip = self.history.len().saturating_sub(count);
        self.history.iter().skip(skip).cloned().collect()
    }

    /// Numbers an event and spools it. `max` bounds the spool.
    pub(crate) fn push(
        &mut self,
        out: &Out,
        spool: &mut Vec<Effect>,
        component: Component,
        kind: EventKind,
        max: usize,
    ) {
        if self.events.len() >= max.max(DROP_SHARE) {
            self.make_room(spool, max.max(DROP_SHARE));
        }
        self.last = self.last.next();
        let event = Event {
            seq: self.last,
            boot_id: self.boot_id.clone(),
            at: out.now.boot,
            wall: out.now.wall,
            component,
            kind,
        };
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(event.clone());
        self.events.push_back(event.clone());
        spool.push(Effect::SpoolAppend(event));
    }

    /// Frees a share of the spool: the oldest run of events that are not critical goes first; only
    /// when there is none, the oldest critical ones.
    fn make_room(&mut self, spool: &mut Vec<Effect>, max: usize) {
        let mut left = (max / DROP_SHARE).max(1);
        while left > 0 && self.events.len() > 1 {
            let start = self
                .events
                .iter()
                .position(|e| !is_critical(e) && !is_dropped(e))
                .unwrap_or_else(|| self.events.iter().take_while(|e| is_dropped(e)).count());
            let run = self
                .events
                .iter()
                .skip(start)
                .take(left)
                .take_while(|e| !is_dropped(e))
                .take_while(|e| is_critical(e) == is_critical(&self.events[start]))
                .count();
            if run == 0 {
                return;
            }
            left -= run;
            self.replace(spool, start, run);
        }
    }

    /// Puts one `Dropped` in the place of a run, joined with the ones beside it.
    fn replace(&mut self, spool: &mut Vec<Effect>, start: usize, run: usize) {
        self.dropped = self
            .dropped
            .saturating_add(u64::try_from(run).unwrap_or(u64::MAX));
        let joins = |i: usize| self.events.get(i).is_some_and(is_dropped);
        let from = if start > 0 && joins(start - 1) {
            start - 1
        } else {
            start
        };
        let to = if joins(start + run) {
            start + run
        } else {
            start + run - 1
        };
        let (Some(oldest), Some(newest)) = (self.events.get(from), self.events.get(to)) else {
            return;
        };
        let first = match oldest.kind {
            EventKind::Dropped { first, .. } => first,
            _ => oldest.seq,
        };
        let last = newest.seq;
        let with = Event {
            component: Component::Agent("spool".into()),
            kind: EventKind::Dropped { first, last },
            ..newest.clone()
        };
        spool.push(Effect::SpoolReplace {
            first,
            last,
            with: with.clone(),
        });
        self.events.drain(from..=to);
        self.events.insert(from, with);
    }

    /// The link stands: everything that is not stored goes again.
    pub(crate) fn link_up(&mut self, now: Boottime) {
        self.rewind(now);
        self.resend_after = RESEND_AFTER;
    }

    pub(crate) const fn link_down(&mut self) {
        self.in_flight = None;
    }

    const fn rewind(&mut self, now: Boottime) {
        self.in_flight = None;
        self.sent = self.stored;
        self.quiet_since = now;
    }

    pub(crate) fn delivered(&mut self, token: Token) {
        if self.in_flight == Some(token) {
            self.in_flight = None;
        }
    }

    /// The coordinator's word on what it has stored.
    pub(crate) fn stored(&mut self, now: Boottime, stream: &StreamId, through: Seq) -> Vec<Effect> {
        if *stream != self.stream {
            return Vec::new();
        }
        self.told = Some(through);
        if through <= self.stored || through > self.last {
            return Vec::new();
        }
        self.stored = through;
        if through >= self.sent {
            // Nothing is under way any more, whether or not the broker says so too.
            self.in_flight = None;
            self.sent = through;
        }
        self.quiet_since = now;
        self.resend_after = RESEND_AFTER;
        while self.events.front().is_some_and(|e| e.seq <= through) {
            self.events.pop_front();
        }
        alloc::vec![Effect::SpoolTrim { through }]
    }

    /// A coordinator that lost its store waits for events that were stored once and are gone here:
    /// a
    /// `Dropped` says so, or it would wait for ever.
    fn explain_what_is_gone(&mut self) {
        let (Some(told), Some(oldest)) = (self.told, self.events.front()) else {
            return;
        };
        if told >= self.stored {
            return;
        }
        let (first, last) = (told.next(), self.stored);
        let gone = Event {
            seq: last,
            component: Component::Agent("spool".into()),
            kind: EventKind::Dropped { first, last },
            ..oldest.clone()
        };
        self.events.push_front(gone);
        self.stored = told;
    }

    /// Sends what may be sent. Call while the link is up.
    pub(crate) fn pump(&mut self, out: &mut Out) {
        let now = out.now.boot;
        if self.resend_at().is_some_and(|at| at <= now) {
            self.explain_what_is_gone();
            self.rewind(now);
            self.resend_after = Millis(self.resend_after.0.saturating_mul(2)).min(RESEND_AFTER_MAX);
        }
        if self.in_flight.is_some() {
            return;
        }
        let under_way = self
            .events
            .iter()
            .take_while(|e| e.seq <= self.sent)
            .count();
        let room = WINDOW_EVENTS.saturating_sub(under_way);
        let mut batch = Vec::new();
        let mut bytes = 0_usize;
        for event in self.events.iter().skip(under_way) {
            bytes = bytes.saturating_add(codec::to_bytes(event).map_or(0, |b| b.len()));
            let full = batch.len() >= BATCH_EVENTS_MAX.min(room) || bytes > BATCH_BYTES_MAX;
            if full && (!batch.is_empty() || room == 0) {
                break;
            }
            batch.push(event.clone());
        }
        let Some(newest) = batch.last() else { return };
        if self.sent == self.stored {
            self.quiet_since = now;
        }
        self.sent = newest.seq;
        self.last_token += 1;
        let token = Token(self.last_token);
        self.in_flight = Some(token);
        let message = Message::Event(EventBatch {
            stream: self.stream.clone(),
            events: batch,
        });
        out.messages.push((message, Some(token)));
    }

    /// When the silence has lasted too long.
    pub(crate) fn resend_at(&self) -> Option<Boottime> {
        (self.sent > self.stored).then(|| self.quiet_since + self.resend_after)
    }
}

const fn is_dropped(event: &Event) -> bool {
    matches!(event.kind, EventKind::Dropped { .. })
}

/// What on-call must not miss: critical conditions, lost leases, and what was fenced.
const fn is_critical(event: &Event) -> bool {
    match &event.kind {
        EventKind::ConditionRaised { severity, .. } => matches!(severity, Severity::Critical),
        EventKind::LeaseLost { .. } => true,
        EventKind::Action(record) => matches!(record.verb, Verb::Fence),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
