//! The order of messages: assigns each message its `seq`, and detects messages that already have one.
//!
//! The order contains only the data that every replica of the chat must agree on: the epoch and the newest `seq` of
//! each room, its newest deletion of a message, and the recent message `id`s. Two orders that have placed the same entries are equal.
//!
//! A message is placed when the log returns it, never before. Until then it has no `seq`, so nothing has to be undone
//! if the log refuses it. The log is the component that decides the sequence of entries. At present that is the history
//! of this process, which commits entries one after the other.

use std::time::Duration;

use rustc_hash::FxHashMap;
use starling_protocol::{Epoch, Seq};

use super::remembered::{IdKey, RememberedIds};
use crate::clock::Instant;
use crate::ids::RoomId;

/// The position of a room: its newest `seq` in its current epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Changes when a room of this name is made again; `seq` then starts anew.
    pub(crate) epoch: Epoch,
    /// The newest message; 0 before the first.
    pub(crate) seq: Seq,
}

/// The fields of a returned log entry that the order depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoggedEntry {
    /// The room or inbox it goes to.
    pub(crate) room: RoomId,
    /// The epoch of the room when the chat accepted the message.
    pub(crate) epoch: Epoch,
    /// The `id` of the message. `None` if it has none, or if this is the sender's copy of a private message.
    pub(crate) id: Option<IdKey>,
}

/// A message that was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) room: RoomId,
    pub(crate) epoch: Epoch,
    pub(crate) seq: Seq,
    /// The time at which the server accepted it, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
}

/// The result of placing an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// It is the next message of its room.
    Placed(Seq),
    /// A message with the same `id` was placed before.
    Duplicate(Placed),
    /// The room has ended since the message was accepted, so the message is dropped.
    Void,
}

/// The order of all rooms and inboxes.
#[derive(Debug)]
pub(crate) struct Order {
    /// By the room's number.
    positions: Vec<Position>,
    ids: RememberedIds<Placed>,
    /// The newest deletion of a message in each room that had one.
    deletions: FxHashMap<RoomId, Seq>,
}

impl Order {
    /// Starts without rooms. Remembers at most `ids_max` message `id`s, each for `ids_kept`.
    pub(crate) fn new(ids_kept: Duration, ids_max: usize) -> Self {
        Self { positions: Vec::new(), ids: RememberedIds::new(ids_kept, ids_max), deletions: FxHashMap::default() }
    }

    /// Starts the order of a room. An ended room may have had the same number.
    pub(crate) fn open(&mut self, room: RoomId, position: Position) {
        let index = room.index();
        if self.positions.len() <= index {
            self.positions.resize(index + 1, Position { epoch: Epoch(0), seq: Seq(0) });
        }
        if let Some(slot) = self.positions.get_mut(index) {
            *slot = position;
        }
        self.deletions.remove(&room);
    }

    /// Ends the order of a room that was forgotten: no `id` of a message in it is known any more.
    pub(crate) fn close(&mut self, room: RoomId) {
        if let Some(slot) = self.positions.get_mut(room.index()) {
            *slot = Position { epoch: Epoch(0), seq: Seq(0) };
        }
        self.deletions.remove(&room);
    }

    /// The newest deletion of a message in a room; 0 if there was none.
    pub(crate) fn last_deletion(&self, room: RoomId) -> Seq {
        if self.deletions.is_empty() { Seq(0) } else { self.deletions.get(&room).copied().unwrap_or(Seq(0)) }
    }

    /// Notes that a message in a room was deleted.
    pub(crate) fn note_deletion(&mut self, room: RoomId, seq: Seq) {
        self.deletions.insert(room, seq);
    }

    /// The position of a room. A room that was never [opened](Self::open) is in epoch 0.
    pub(crate) fn position(&self, room: RoomId) -> Position {
        self.positions.get(room.index()).copied().unwrap_or(Position { epoch: Epoch(0), seq: Seq(0) })
    }

    /// Places an entry that the log returns. `at` is the wall clock time at which the server accepted the message,
    /// `taken_at` the same moment on the monotonic clock.
    pub(crate) fn place(&mut self, entry: &LoggedEntry, at: u64, taken_at: Instant) -> Placement {
        let LoggedEntry { room, epoch, id } = *entry;
        if let Some(placed) = id.and_then(|id| self.find(&id, taken_at)) {
            return Placement::Duplicate(placed);
        }
        let Some(position) = self.positions.get_mut(room.index()).filter(|position| position.epoch == epoch) else {
            return Placement::Void;
        };
        position.seq = position.seq.next();
        let seq = position.seq;
        if let Some(id) = id {
            self.ids.insert(id, Placed { room, epoch, seq, at }, taken_at);
        }
        Placement::Placed(seq)
    }

    /// Finds the message with this `id`, if it was placed recently and its room has not ended since.
    pub(crate) fn find(&mut self, id: &IdKey, now: Instant) -> Option<Placed> {
        let placed = self.ids.find(id, now)?;
        (self.position(placed.room).epoch == placed.epoch).then_some(placed)
    }

    /// Like [`find`](Self::find), but changes nothing, because other nodes do not perform this lookup.
    pub(crate) fn peek(&self, id: &IdKey, now: Instant) -> Option<Placed> {
        let placed = self.ids.peek(id, now)?;
        (self.position(placed.room).epoch == placed.epoch).then_some(placed)
    }

    /// The remembered `id`s.
    pub(crate) fn ids(&self) -> &RememberedIds<Placed> {
        &self.ids
    }

    /// The remembered `id`s, to be restored.
    pub(crate) fn ids_mut(&mut self) -> &mut RememberedIds<Placed> {
        &mut self.ids
    }

    /// Restores a message that an earlier process has placed.
    pub(crate) fn restore(&mut self, id: IdKey, placed: Placed, taken_at: Instant) {
        self.ids.insert(id, placed, taken_at);
    }

    /// Forgets the `id`s that are older than `ids_kept`.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.ids.expire(now);
    }
}

#[cfg(test)]
mod tests {
    use starling_protocol::{ClientId, ClientKey, MessageId};

    use super::super::remembered::IdHasher;
    use super::*;
    use crate::clock;
    use crate::identity::IdOwner;

    const ROOM: RoomId = RoomId(0);
    const EPOCH: Epoch = Epoch(7);

    fn order() -> Order {
        let mut order = Order::new(Duration::from_mins(5), 100);
        order.open(ROOM, Position { epoch: EPOCH, seq: Seq(0) });
        order
    }

    fn entry(id: Option<IdKey>) -> LoggedEntry {
        LoggedEntry { room: ROOM, epoch: EPOCH, id }
    }

    fn key() -> IdKey {
        let owner = IdOwner::keyed(&ClientId::parse("alice").unwrap(), ClientKey(1));
        IdHasher::default().key(owner, &MessageId::parse("m1").unwrap())
    }

    #[test]
    fn each_entry_gets_the_next_seq_of_its_room() {
        let (mut order, now) = (order(), clock::now());
        let placed: Vec<_> = (0..3).map(|_| order.place(&entry(None), 5, now)).collect();
        assert_eq!(placed, [1, 2, 3].map(|seq| Placement::Placed(Seq(seq))));
        assert_eq!(order.position(ROOM), Position { epoch: EPOCH, seq: Seq(3) });
    }

    #[test]
    fn an_id_is_placed_once_while_its_room_lives() {
        let (mut order, now, key) = (order(), clock::now(), key());
        assert_eq!(order.place(&entry(Some(key)), 5, now), Placement::Placed(Seq(1)));
        let first = Placed { room: ROOM, epoch: EPOCH, seq: Seq(1), at: 5 };
        assert_eq!(order.place(&entry(Some(key)), 6, now), Placement::Duplicate(first));
        assert_eq!(order.place(&entry(None), 7, now), Placement::Placed(Seq(2)), "a duplicate takes no seq");
        order.open(ROOM, Position { epoch: Epoch(8), seq: Seq(0) });
        let later = LoggedEntry { epoch: Epoch(8), ..entry(Some(key)) };
        assert_eq!(order.place(&later, 8, now), Placement::Placed(Seq(1)), "its room has ended and begun anew");
    }

    #[test]
    fn an_entry_of_a_room_that_has_ended_is_void() {
        let (mut order, now) = (order(), clock::now());
        order.open(ROOM, Position { epoch: Epoch(8), seq: Seq(0) });
        assert_eq!(order.place(&entry(None), 5, now), Placement::Void);
        assert_eq!(order.place(&LoggedEntry { room: RoomId(9), ..entry(None) }, 5, now), Placement::Void);
    }
}
