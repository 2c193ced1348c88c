//! What nodes tell each other beside the log: that they live, and private messages that are not stored.
//!
//! A relay and its answer are messages on the subject of a life. Nothing is told twice.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use starling_actors::nodes::heard::{Heard, RelayedMessage};
use starling_actors::nodes::record::Incarnation;

/// The format of what nodes tell each other.
const FORMAT: u8 = 1;

/// A relay that is not answered within this time counts as not delivered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// Something that one node tells another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// It lives.
    Alive(Incarnation),
    /// It has a private message. The number 0 asks for no answer.
    Relay { from: Incarnation, number: u64, message: Box<RelayedMessage> },
    /// It answers a relay.
    Answer { from: Incarnation, number: u64, is_delivered: bool },
}

const ALIVE: u8 = 0;
const RELAY: u8 = 1;
const ANSWER: u8 = 2;

impl Told {
    pub(super) fn write(&self) -> Bytes {
        let (kind, from, number) = match self {
            Self::Alive(from) => (ALIVE, from, 0),
            Self::Relay { from, number, .. } => (RELAY, from, *number),
            Self::Answer { from, number, .. } => (ANSWER, from, *number),
        };
        let mut out = vec![FORMAT, kind];
        out.extend(from.0.to_be_bytes());
        out.extend(number.to_be_bytes());
        match self {
            Self::Alive(_) => {}
            Self::Relay { message, .. } => out.extend(message.write()),
            Self::Answer { is_delivered, .. } => out.push(u8::from(*is_delivered)),
        }
        out.into()
    }

    /// Reads what [`write`](Self::write) has written; `None`: no node of this version has.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (&[format, kind], rest) = bytes.split_first_chunk()?;
        let (from, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (from, number) = (Incarnation(u64::from_be_bytes(*from)), u64::from_be_bytes(*number));
        match (format, kind) {
            (FORMAT, ALIVE) => Some(Self::Alive(from)),
            (FORMAT, RELAY) => {
                let message = RelayedMessage::read(rest).ok()?;
                Some(Self::Relay { from, number, message: Box::new(message) })
            }
            (FORMAT, ANSWER) => rest.first().map(|told| Self::Answer { from, number, is_delivered: *told == 1 }),
            _ => None,
        }
    }
}

/// The relays that are not answered.
#[derive(Debug, Default)]
pub(super) struct Relays(HashMap<(Incarnation, u64), Instant>);

impl Relays {
    /// A relay is on its way, and is to be answered.
    pub(super) fn asked(&mut self, to: Incarnation, number: u64, now: Instant) {
        if number != 0 {
            self.0.insert((to, number), now);
        }
    }

    /// A relay is answered. Returns what the chat hears, if it has not heard it yet.
    pub(super) fn answered(&mut self, from: Incarnation, number: u64, is_delivered: bool) -> Option<Heard> {
        self.0.remove(&(from, number)).map(|_| Heard::RelayAnswer { from, number, is_delivered })
    }

    /// The relays that were not answered in time: they are not delivered, as far as this node can tell.
    pub(super) fn late(&mut self, now: Instant) -> impl Iterator<Item = Heard> {
        let late = self.0.extract_if(move |_, asked| now.saturating_duration_since(*asked) >= ANSWERED_WITHIN);
        late.map(|((from, number), _)| Heard::RelayAnswer { from, number, is_delivered: false })
    }
}

#[cfg(test)]
mod tests {
    use starling_actors::clock;
    use starling_protocol::ClientId;

    use super::*;

    #[test]
    fn what_is_told_is_read_as_it_was_written_and_nothing_else_is() {
        let client = |name| ClientId::parse(name).unwrap();
        let message = RelayedMessage { client_id: client("a"), to: client("b"), text: "hi".into(), at: 5, id: None };
        let from = Incarnation(u64::MAX);
        for told in [
            Told::Alive(from),
            Told::Relay { from, number: 7, message: Box::new(message) },
            Told::Answer { from, number: 7, is_delivered: true },
            Told::Answer { from, number: 7, is_delivered: false },
        ] {
            let bytes = told.write();
            assert_eq!(Told::read(&bytes), Some(told.clone()));
            let mut newer = bytes.to_vec();
            newer[0] = FORMAT + 1;
            assert_eq!(Told::read(&newer), None, "{told:?}");
        }
        for foreign in [&b""[..], b"x", &[FORMAT, RELAY], &[FORMAT, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]]
        {
            assert_eq!(Told::read(foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn a_relay_is_answered_once_and_counts_as_not_delivered_after_its_time() {
        let (mut relays, to, now) = (Relays::default(), Incarnation(3), clock::now());
        for number in [0, 1, 2] {
            relays.asked(to, number, now);
        }
        assert!(relays.answered(to, 0, true).is_none(), "it asks for no answer");
        assert!(relays.answered(Incarnation(4), 1, true).is_none(), "somebody else's");
        assert!(matches!(relays.answered(to, 1, true), Some(Heard::RelayAnswer { is_delivered: true, .. })));
        assert!(relays.answered(to, 1, true).is_none());
        assert_eq!(relays.late(now + ANSWERED_WITHIN / 2).count(), 0);
        let late: Vec<_> = relays.late(now + ANSWERED_WITHIN).collect();
        assert!(matches!(late[..], [Heard::RelayAnswer { number: 2, is_delivered: false, .. }]), "{late:?}");
        assert!(relays.answered(to, 2, true).is_none());
    }
}
