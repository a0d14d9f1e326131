//! Events that may not leave yet: after a crash the number of one that is not durable would be
//! given to another event, and the coordinator would take that one for stored.

use nodemedic_agent_core::Token;
use nodemedic_protocol::Seq;
use nodemedic_protocol::event::EventBatch;
use nodemedic_protocol::message::Message;

/// What was held back of the newest batch. There is one at most: the core sends no other before
/// this one's token came back, and if it repeats itself instead, the repetition has all of it.
#[derive(Debug, Default)]
pub struct Withheld(Option<(EventBatch, Option<Token>)>);

impl Withheld {
    /// What may leave of a message: of events only those that are durable. The token goes with the
    /// last part.
    pub fn pass(
        &mut self,
        message: Message,
        token: Option<Token>,
        durable: Seq,
    ) -> Option<(Message, Option<Token>)> {
        let Message::Event(mut batch) = message else {
            return Some((message, token));
        };
        let mut later = batch.clone();
        batch.events.retain(|event| event.seq <= durable);
        later.events.retain(|event| event.seq > durable);
        let token = match later.events.is_empty() {
            true => {
                self.0 = None;
                token
            }
            false => {
                self.0 = Some((later, token));
                None
            }
        };
        (!batch.events.is_empty()).then_some((Message::Event(batch), token))
    }

    /// What may leave now of what was held back.
    pub fn due(&mut self, durable: Seq) -> Option<(Message, Option<Token>)> {
        let (batch, token) = self.0.take()?;
        self.pass(Message::Event(batch), token, durable)
    }

    /// Another event stands for these now. What was held back is of before that, and is left to the
    /// outbox's repetition.
    pub fn replaced(&mut self, first: Seq, last: Seq) {
        let is_hit = |(batch, _): &(EventBatch, _)| {
            let mut events = batch.events.iter();
            events.any(|event| (first..=last).contains(&event.seq))
        };
        if self.0.as_ref().is_some_and(is_hit) {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::event::{Event, EventKind};
    use nodemedic_protocol::message::{Presence, Session};
    use nodemedic_protocol::{BootId, Boottime, Component, SessionId, StreamId, WallTime};
    use std::ops::RangeInclusive;

    const TOKEN: Option<Token> = Some(Token(3));

    fn batch(seqs: RangeInclusive<u64>) -> Message {
        let event = |seq| Event {
            seq: Seq(seq),
            boot_id: BootId::new("boot-1").unwrap(),
            at: Boottime(seq),
            wall: WallTime(seq),
            component: Component::Host,
            kind: EventKind::ConfigReloaded,
        };
        Message::Event(EventBatch {
            stream: StreamId::new("stream").unwrap(),
            events: seqs.map(event).collect(),
        })
    }

    #[test]
    fn only_what_is_durable_leaves_and_the_token_goes_with_the_last_of_it() {
        let mut withheld = Withheld::default();
        let mut pass = |durable| withheld.pass(batch(7..=9), TOKEN, Seq(durable));
        assert_eq!(pass(6), None);
        assert_eq!(pass(8), Some((batch(7..=8), None)));
        assert_eq!(withheld.due(Seq(8)), None, "still not");
        assert_eq!(withheld.due(Seq(9)), Some((batch(9..=9), TOKEN)));
        assert_eq!(withheld.due(Seq(10)), None, "once");
        let whole = Some((batch(7..=9), TOKEN));
        assert_eq!(withheld.pass(batch(7..=9), TOKEN, Seq(9)), whole);
        assert_eq!(withheld.due(Seq(9)), None);
    }

    #[test]
    fn a_repetition_takes_the_place_of_what_was_held_back() {
        let mut withheld = Withheld::default();
        assert_eq!(withheld.pass(batch(7..=9), TOKEN, Seq(6)), None);
        let repeated = withheld.pass(batch(5..=9), Some(Token(4)), Seq(6));
        assert_eq!(repeated, Some((batch(5..=6), None)));
        let rest = Some((batch(7..=9), Some(Token(4))));
        assert_eq!(withheld.due(Seq(9)), rest);
    }

    #[test]
    fn what_another_event_stands_for_never_leaves() {
        for (first, last, left) in [(1, 6, true), (1, 7, false), (9, 9, false), (10, 12, true)] {
            let mut withheld = Withheld::default();
            assert_eq!(withheld.pass(batch(7..=9), TOKEN, Seq(6)), None);
            withheld.replaced(Seq(first), Seq(last));
            assert_eq!(withheld.due(Seq(9)).is_some(), left, "{first} to {last}");
        }
    }

    #[test]
    fn everything_else_goes_on() {
        let presence = Message::Presence(Presence {
            session: Session {
                boot_id: BootId::new("boot-1").unwrap(),
                session_id: SessionId::new("run-1").unwrap(),
            },
            online: true,
            wall: WallTime(1),
            going_down: None,
        });
        let passed = Withheld::default().pass(presence.clone(), None, Seq(0));
        assert_eq!(passed, Some((presence, None)));
    }
}
