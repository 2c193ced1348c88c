//! Messages that a bot has sent and the server has not answered.

use std::collections::VecDeque;
use std::time::Duration;

use starling_protocol::MessageId;

use crate::clock::Nanos;
use crate::marker::OwnWait;

/// For whom a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addressee {
    /// The bot's room.
    Room,
    /// The bot's friend of this number, from 0.
    Friend(u32),
}

/// Most messages of one bot that may be under way unanswered; at the bound, the bot waits for an ack, and its plan's
/// times stay. Below the 20 errors in a row at which the server closes a connection, so that a bot that is refused
/// for its rate learns it in time.
pub(crate) const IN_FLIGHT_MAX: usize = 16;

/// A message that has a number, on its way.
///
/// Small: its text is written anew whenever it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) to: Addressee,
    /// The bot's count of its messages to this addressee.
    pub(crate) number: u32,
    pub(crate) planned: Nanos,
    /// How long the bot itself has kept it waiting since then.
    pub(crate) own_wait: OwnWait,
    pub(crate) bytes: u32,
}

impl Outgoing {
    /// How long it has taken until now, without what the bot itself kept it waiting.
    pub(crate) fn latency(&self, now: Nanos) -> Duration {
        now.since(self.planned).saturating_sub(self.own_wait.duration())
    }
}

/// The messages of one bot that are under way, in the order in which they were sent.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    messages: VecDeque<(u64, Outgoing)>,
    last_serial: u64,
}

impl InFlight {
    /// Adds a message; the answer gives back its serial number.
    pub(crate) fn add(&mut self, message: Outgoing) -> u64 {
        self.last_serial += 1;
        self.messages.push_back((self.last_serial, message));
        self.last_serial
    }

    /// Takes the message that was answered. `None`: it had been answered before.
    pub(crate) fn take(&mut self, serial: u64) -> Option<Outgoing> {
        self.take_where(|known| known == serial)
    }

    /// Takes the first message whose serial number is as wanted. `None`: there is none.
    pub(crate) fn take_where(&mut self, is_wanted: impl Fn(u64) -> bool) -> Option<Outgoing> {
        let index = self.messages.iter().position(|(serial, _)| is_wanted(*serial))?;
        self.messages.remove(index).map(|(_, message)| message)
    }

    /// Takes all messages, in the order in which they were sent.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Outgoing> {
        self.messages.drain(..).map(|(_, message)| message)
    }

    /// Whether no more may be added.
    pub(crate) fn is_full(&self) -> bool {
        self.messages.len() >= IN_FLIGHT_MAX
    }

    /// All messages, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Outgoing> {
        self.messages.iter_mut().map(|(_, message)| message)
    }

    /// All messages with their serial numbers, in the order in which they were sent.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Outgoing)> {
        self.messages.iter().copied()
    }
}

/// The `id` of a message: no other of the same name has it, in this run or another. Bots may share a name.
pub(crate) fn message_id(run: u32, bot: u32, serial: u64) -> MessageId {
    #[expect(clippy::expect_used, reason = "at most 8 + 1 + 8 + 1 + 20 characters, and not empty")]
    MessageId::parse(&format!("{run:08x}-{bot:x}-{serial}")).expect("a run and a serial number make an id")
}

/// The serial number in the `id` that an answer carries. `None`: the answer is not to a message.
pub(crate) fn serial_of(id: &MessageId) -> Option<u64> {
    id.as_str().rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u32) -> Outgoing {
        Outgoing { to: Addressee::Room, number, planned: Nanos(0), own_wait: OwnWait::default(), bytes: 40 }
    }

    #[test]
    fn an_answer_finds_its_message_once() {
        let mut in_flight = InFlight::default();
        let serials: Vec<u64> = (1..=3).map(|number| in_flight.add(message(number))).collect();
        let second = message_id(7, 0, serials[1]);
        assert_eq!(in_flight.take(serial_of(&second).unwrap()), Some(message(2)));
        assert_eq!(in_flight.take(serials[1]), None);
        assert_eq!(in_flight.iter().map(|(_, m)| m.number).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn what_may_be_under_way_is_bounded() {
        let mut in_flight = InFlight::default();
        for number in 1..=u32::try_from(IN_FLIGHT_MAX).unwrap() {
            assert!(!in_flight.is_full());
            in_flight.add(message(number));
        }
        assert!(in_flight.is_full());
    }

    #[test]
    fn ids_of_two_runs_and_of_two_bots_differ() {
        assert_ne!(message_id(1, 1, 1), message_id(2, 1, 1));
        assert_ne!(message_id(1, 1, 1), message_id(1, 2, 1));
        assert_eq!(message_id(0xab, 3, 12).as_str(), "000000ab-3-12");
    }
}
