//! The order of messages: which `seq` a message gets, and whether it has one already.
//!
//! The order holds nothing but what every copy of the chat must agree on: the epoch and the newest `seq` of each room,
//! and the `id`s that were taken lately. Two orders that placed the same entries are equal.
//!
//! A message is placed when the log gives it back, never before: until then it has no `seq`, so nothing has to be taken
//! back when the log refuses it. The log is whatever decides the sequence of entries. Today it is the history of this
//! process, which commits them one after the other.

use std::time::{Duration, Instant};

use starling_protocol::{Epoch, Seq};

use super::remembered::{IdKey, RememberedIds};
use crate::ids::RoomId;

/// How far the messages of a room have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Which life of the room's sequence numbers.
    pub(crate) epoch: Epoch,
    /// The newest message; 0 before the first.
    pub(crate) seq: Seq,
}

/// A message as the log gives it back: nothing of it matters for the order but this.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoggedEntry {
    /// The room or inbox it goes to.
    pub(crate) room: RoomId,
    /// The epoch the room had when the message was accepted.
    pub(crate) epoch: Epoch,
    /// The message's `id`, where it has one and this is the copy that counts.
    pub(crate) id: Option<IdKey>,
}

/// A message that was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) room: RoomId,
    pub(crate) epoch: Epoch,
    pub(crate) seq: Seq,
    /// When the server took it, milliseconds since the Unix epoch.
    pub(crate) at: u64,
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// It is the next message of its room.
    Placed(Seq),
    /// Its `id` was taken before.
    Duplicate(Placed),
    /// Its room has ended since it was accepted: it is nobody's message.
    Void,
}

/// The order of all rooms and inboxes.
#[derive(Debug)]
pub(crate) struct Order {
    /// By the room's number.
    positions: Vec<Position>,
    ids: RememberedIds<Placed>,
}

impl Order {
    /// An order without rooms that remembers `ids_max` `id`s for a time.
    pub(crate) fn new(ids_kept: Duration, ids_max: usize) -> Self {
        Self { positions: Vec::new(), ids: RememberedIds::new(ids_kept, ids_max) }
    }

    /// Begins the order of a room. The number may have been another room's before.
    pub(crate) fn open(&mut self, room: RoomId, position: Position) {
        let index = room.index();
        if self.positions.len() <= index {
            self.positions.resize(index + 1, Position { epoch: Epoch(0), seq: Seq(0) });
        }
        if let Some(slot) = self.positions.get_mut(index) {
            *slot = position;
        }
    }

    /// How far a room has come. A room that was never [opened](Self::open) is in epoch 0.
    pub(crate) fn position(&self, room: RoomId) -> Position {
        self.positions.get(room.index()).copied().unwrap_or(Position { epoch: Epoch(0), seq: Seq(0) })
    }

    /// Places an entry that the log gives back, whose message was taken at `at`, by the other clock at `taken_at`.
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

    /// Where the message with this `id` stands, if it was placed lately and its room has not ended since.
    pub(crate) fn find(&mut self, id: &IdKey, now: Instant) -> Option<Placed> {
        let placed = self.ids.find(id, now)?;
        (self.position(placed.room).epoch == placed.epoch).then_some(placed)
    }

    /// Takes over a message that was placed before this process.
    pub(crate) fn restore(&mut self, id: IdKey, placed: Placed, taken_at: Instant) {
        self.ids.insert(id, placed, taken_at);
    }

    /// Forgets `id`s whose time is over.
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
