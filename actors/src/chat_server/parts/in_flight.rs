//! Messages in flight: given to the log and not yet returned, each with the senders that wait for its outcome.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::remembered::IdKey;
use crate::chat_server::command::{Frame, PostReply};
use crate::clock::Instant;
use crate::credits::Ticket;
use crate::history::EntryNumber;
use crate::ids::{RoomId, SessionId};
use crate::moderation::Decision;

/// The sender of a message, which gets the outcome.
#[derive(Debug)]
pub(crate) enum Asker {
    /// A client, identified by its frame. The ticket of the first sender's frame has moved to the delivery.
    Client(Frame),
    /// An operator, over HTTP.
    Operator(PostReply),
}

/// A message in flight.
#[derive(Debug)]
pub(crate) struct MessageInFlight {
    pub(crate) asker: Asker,
    /// Senders of the same message with the same `id`, sent while it was in flight.
    pub(crate) repeats: Vec<Asker>,
    pub(crate) id: Option<IdKey>,
    /// The room, or the inboxes of the sender and the receiver.
    pub(crate) rooms: SmallVec<[RoomId; 2]>,
    /// The time at which it was accepted and its `id` was looked up. It is placed with this time too, so that both
    /// lookups see the same `id`s as not yet expired.
    pub(crate) accepted_at: Instant,
    pub(crate) ticket: Ticket,
    /// For the audit log, once it is placed.
    pub(crate) record: Option<Box<Decision>>,
}

impl MessageInFlight {
    pub(crate) fn new(
        asker: Asker,
        id: Option<IdKey>,
        rooms: SmallVec<[RoomId; 2]>,
        accepted_at: Instant,
        ticket: Ticket,
    ) -> Self {
        Self { asker, repeats: Vec::new(), id, rooms, accepted_at, ticket, record: None }
    }
}

/// All messages in flight, by number.
///
/// Bounded by the credits in circulation: each message of a client holds one. A message of an operator holds its HTTP
/// request.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    /// The number of the first of `messages`.
    first: u64,
    /// `None` for a message that has returned before an older one.
    messages: VecDeque<Option<Box<MessageInFlight>>>,
    by_id: FxHashMap<IdKey, EntryNumber>,
}

impl InFlight {
    /// Adds a message and returns its number.
    #[inline]
    pub(crate) fn begin(&mut self, message: MessageInFlight) -> EntryNumber {
        let number = EntryNumber(self.first + self.messages.len() as u64);
        if let Some(id) = message.id {
            self.by_id.insert(id, number);
        }
        self.messages.push_back(Some(Box::new(message)));
        number
    }

    fn slot(&mut self, number: EntryNumber) -> Option<&mut Option<Box<MessageInFlight>>> {
        let index = usize::try_from(number.0.checked_sub(self.first)?).ok()?;
        self.messages.get_mut(index)
    }

    /// Notes what the audit log gets once a change is placed.
    pub(crate) fn record(&mut self, number: EntryNumber, decision: Decision) {
        if let Some(Some(message)) = self.slot(number) {
            message.record = Some(Box::new(decision));
        }
    }

    /// Removes a message that the log has returned.
    pub(crate) fn finish(&mut self, number: EntryNumber) -> Option<Box<MessageInFlight>> {
        let finished = self.slot(number)?.take()?;
        while self.messages.front().is_some_and(Option::is_none) {
            self.messages.pop_front();
            self.first += 1;
        }
        if let Some(id) = finished.id
            && let Some(newest) = self.by_id.remove(&id)
            && newest != number
        {
            self.by_id.insert(id, newest);
        }
        Some(finished)
    }

    /// Removes all messages, because the log will return none of them.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Box<MessageInFlight>> + use<> {
        std::mem::take(self).messages.into_iter().flatten()
    }

    /// The session that sent a message in flight first; `None`: an operator did, or the message is not in flight.
    pub(crate) fn session(&self, number: EntryNumber) -> Option<SessionId> {
        let index = usize::try_from(number.0.checked_sub(self.first)?).ok()?;
        match &self.messages.get(index)?.as_ref()?.asker {
            Asker::Client(frame) => Some(frame.session),
            Asker::Operator(_) => None,
        }
    }

    /// Finds the newest message in flight with this `id`.
    pub(crate) fn find(&self, id: &IdKey) -> Option<EntryNumber> {
        self.by_id.get(id).copied()
    }

    /// Adds another sender to a message in flight that has the same `id`.
    pub(crate) fn repeat(&mut self, number: EntryNumber, asker: Asker) {
        if let Some(Some(message)) = self.slot(number) {
            message.repeats.push(asker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::ids::HubId;

    fn message(room: u32) -> MessageInFlight {
        let asker = Asker::Client(Frame { session: SessionId::new(HubId(0), 0, 0), id: None, ticket: None });
        let accepted_at = clock::now();
        let ticket = Ticket::without_credit(accepted_at);
        let rooms = SmallVec::from_iter([RoomId(room)]);
        MessageInFlight { asker, repeats: Vec::new(), id: None, rooms, accepted_at, ticket, record: None }
    }

    #[test]
    fn messages_may_come_back_in_any_order_and_each_comes_back_once() {
        let mut in_flight = InFlight::default();
        let numbers: Vec<_> = (0..4).map(|room| in_flight.begin(message(room))).collect();
        for room in [2, 0, 3, 1] {
            let finished = in_flight.finish(numbers[room as usize]).expect("it waits");
            assert_eq!(finished.rooms[..], [RoomId(room)]);
            assert!(in_flight.finish(numbers[room as usize]).is_none());
        }
        assert!(in_flight.messages.is_empty());
        assert_eq!(in_flight.begin(message(9)), EntryNumber(4), "a number is not given again");
    }
}
