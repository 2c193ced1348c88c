//! Messages and other requests that a bot has sent and that the server has not answered.

use std::collections::VecDeque;
use std::time::Duration;

use starling_protocol::{Epoch, MessageId};

use crate::clock::Nanos;
use crate::marker::OwnWait;

/// The receiver of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addressee {
    /// The bot's room.
    Room,
    /// The bot's friend with this number, from 0.
    Friend(u32),
}

/// The most unanswered requests of one bot. At the limit, the bot waits for an ack, and the planned times of its
/// messages stay. The limit is below the 20 consecutive errors at which the server closes a connection, so a bot that
/// is refused for its rate learns it in time.
pub(crate) const IN_FLIGHT_MAX: usize = 16;

/// A message that has a number and is not answered yet.
///
/// Small: its text is generated again whenever it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) to: Addressee,
    /// The number of this message among the bot's messages to this addressee.
    pub(crate) number: u32,
    pub(crate) planned: Nanos,
    /// How long the bot itself has delayed it since then.
    pub(crate) own_wait: OwnWait,
    pub(crate) bytes: u32,
}

impl Outgoing {
    /// The time from its planned time until now, without the bot's own delay.
    pub(crate) fn latency(&self, now: Nanos) -> Duration {
        now.since(self.planned).saturating_sub(self.own_wait.duration())
    }
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// The message gets another text, of as many bytes as this one says.
    Edit(Outgoing),
    Delete,
    React {
        emoji: &'static str,
        remove: bool,
    },
}

/// A request to change a message of the bot's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskedChange {
    /// The epoch of the room to which `of` belongs.
    pub(crate) epoch: Epoch,
    /// The `seq` of the message.
    pub(crate) of: u64,
    pub(crate) kind: ChangeKind,
}

/// Anything that a bot asks of the server, and that the server must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Message(Outgoing),
    Change(AskedChange),
    /// The bot has read its room up to `seq`.
    Read {
        epoch: Epoch,
        seq: u64,
    },
    /// It wants to visit the room of this number.
    Join(u32),
    /// It wants to leave a visited room.
    Leave(u32),
}

impl Request {
    /// The message, if it is one.
    pub(crate) fn message(self) -> Option<Outgoing> {
        if let Self::Message(message) = self { Some(message) } else { None }
    }
}

/// The unanswered requests of one bot, in the order in which they were sent.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    requests: VecDeque<(u64, Request)>,
    last_serial: u64,
}

impl InFlight {
    /// Adds a request and returns its serial number, which the answer repeats.
    pub(crate) fn add(&mut self, request: Request) -> u64 {
        self.last_serial += 1;
        self.requests.push_back((self.last_serial, request));
        self.last_serial
    }

    /// Takes the request with this serial number, because it was answered. `None` if it had been answered before.
    pub(crate) fn take(&mut self, serial: u64) -> Option<Request> {
        self.take_where(|known| known == serial)
    }

    /// The request of this serial number, if it is not answered.
    pub(crate) fn get(&self, serial: u64) -> Option<Request> {
        self.iter().find(|(known, _)| *known == serial).map(|(_, request)| request)
    }

    /// Takes the first request whose serial number satisfies the condition. `None` if there is none.
    pub(crate) fn take_where(&mut self, is_wanted: impl Fn(u64) -> bool) -> Option<Request> {
        let index = self.requests.iter().position(|(serial, _)| is_wanted(*serial))?;
        self.requests.remove(index).map(|(_, request)| request)
    }

    /// Takes all requests that satisfy the condition, in the order in which they were sent.
    pub(crate) fn take_all(&mut self, is_wanted: impl Fn(Request) -> bool) -> Vec<Request> {
        let (taken, kept) = self.requests.drain(..).partition::<VecDeque<_>, _>(|(_, request)| is_wanted(*request));
        self.requests = kept;
        taken.into_iter().map(|(_, request)| request).collect()
    }

    /// Whether the limit is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.requests.len() >= IN_FLIGHT_MAX
    }

    /// All requests, mutable.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Request> {
        self.requests.iter_mut().map(|(_, request)| request)
    }

    /// All requests with their serial numbers, in the order in which they were sent.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Request)> {
        self.requests.iter().copied()
    }
}

/// The `id` of a request. No other request of the same name has it, in this run or another, even if bots share a name.
pub(crate) fn message_id(run: u32, bot: u32, serial: u64) -> MessageId {
    #[expect(clippy::expect_used, reason = "at most 8 + 1 + 8 + 1 + 20 characters, and not empty")]
    MessageId::parse(&format!("{run:08x}-{bot:x}-{serial}")).expect("a run and a serial number make an id")
}

/// The serial number in the `id` that an answer carries. `None`: the answer is not to a request of this bot in this
/// run.
pub(crate) fn serial_of(id: &MessageId, run: u32, bot: u32) -> Option<u64> {
    let (sender, serial) = id.as_str().rsplit_once('-')?;
    let (run_of_sender, number) = sender.split_once('-')?;
    let is = |text, number| u32::from_str_radix(text, 16) == Ok(number);
    if is(run_of_sender, run) && is(number, bot) { serial.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u32) -> Request {
        let (planned, own_wait) = (Nanos(0), OwnWait::default());
        Request::Message(Outgoing { to: Addressee::Room, number, planned, own_wait, bytes: 40 })
    }

    #[test]
    fn an_answer_finds_its_message_once() {
        let mut in_flight = InFlight::default();
        let serials: Vec<u64> = (1..=3).map(|number| in_flight.add(message(number))).collect();
        let second = message_id(7, 0, serials[1]);
        let serial = serial_of(&second, 7, 0).unwrap();
        assert_eq!(in_flight.get(serial), Some(message(2)));
        assert_eq!((in_flight.take(serial), in_flight.get(serial)), (Some(message(2)), None));
        assert_eq!(in_flight.take(serials[1]), None);
        assert_eq!(in_flight.iter().map(|(_, it)| it).collect::<Vec<_>>(), [message(1), message(3)]);
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

    #[test]
    fn an_answer_to_another_bot_or_run_is_no_answer() {
        let id = |text: &str| MessageId::parse(text).unwrap();
        for (text, serial) in [
            ("000000ab-3-12", Some(12)),
            ("000000ab-4-12", None),
            ("000000ac-3-12", None),
            ("12", None),
            ("3-12", None),
            ("x-000000ab-3-12", None),
            ("000000ab-3-x", None),
            ("resume", None),
        ] {
            assert_eq!(serial_of(&id(text), 0xab, 3), serial, "{text}");
        }
    }
}
