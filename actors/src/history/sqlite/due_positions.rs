//! The notes of read positions that wait for a commit.
//!
//! Invariants:
//! - a client has at most one note in a room, the newest;
//! - at most [`NOTES_MAX`] notes wait. While the storage fails, each further one takes the place of the oldest.

use std::collections::BTreeMap;

use super::schema::DbRoom;
use crate::history::Standing;
use crate::identity::IdOwner;

/// Most notes that wait.
const NOTES_MAX: usize = 100_000;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct DuePositions {
    /// The notes by the order in which they were made. `None`: a position is dropped.
    notes: BTreeMap<u64, (DbRoom, IdOwner, Option<Standing>)>,
    numbers: BTreeMap<(DbRoom, IdOwner), u64>,
    made: u64,
}

impl DuePositions {
    /// Adds a note. Returns whether an older one was dropped for it.
    pub(super) fn note(&mut self, owner: IdOwner, room: DbRoom, standing: Option<Standing>) -> bool {
        self.made += 1;
        if let Some(earlier) = self.numbers.insert((room, owner), self.made) {
            self.notes.remove(&earlier);
        }
        self.notes.insert(self.made, (room, owner, standing));
        let oldest = if self.notes.len() > NOTES_MAX { self.notes.pop_first() } else { None };
        if let Some((_, (room, owner, _))) = &oldest {
            self.numbers.remove(&(*room, *owner));
        }
        oldest.is_some()
    }

    /// The notes, in the order in which they were made.
    pub(super) fn iter(&self) -> impl Iterator<Item = (DbRoom, IdOwner, Option<Standing>)> {
        self.notes.values().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// The room has ended.
    pub(super) fn forget_room(&mut self, room: DbRoom) {
        let of_room = (room, IdOwner(0))..=(room, IdOwner(u64::MAX));
        let ended: Vec<_> = self.numbers.range(of_room).map(|(place, number)| (*place, *number)).collect();
        for (place, number) in ended {
            self.numbers.remove(&place);
            self.notes.remove(&number);
        }
    }

    /// All notes are stored.
    pub(super) fn clear(&mut self) {
        self.notes.clear();
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use starling_protocol::Seq;

    use super::*;

    fn read(upto: u64) -> Standing {
        Standing { upto: Seq(upto), since: Seq(0) }
    }

    fn all(due: &DuePositions) -> Vec<(i64, u64, Option<u64>)> {
        assert_eq!(due.notes.len(), due.numbers.len());
        due.iter().map(|(room, owner, seq)| (room.0.into(), owner.0, seq.map(|seq| seq.upto.0))).collect()
    }

    #[test]
    fn the_newest_note_of_a_client_counts_in_the_order_of_the_notes_and_a_room_takes_its_own_along() {
        let mut due = DuePositions::default();
        for (owner, room, seq) in
            [(1, 4, Some(1)), (2, 4, Some(1)), (1, 5, Some(9)), (1, 4, Some(3)), (u64::MAX, 4, None)]
        {
            assert!(!due.note(IdOwner(owner), DbRoom(room), seq.map(read)));
        }
        assert_eq!(all(&due), [(4, 2, Some(1)), (5, 1, Some(9)), (4, 1, Some(3)), (4, u64::MAX, None)]);
        due.forget_room(DbRoom(4));
        assert_eq!(all(&due), [(5, 1, Some(9))]);
        due.clear();
        assert!(due.is_empty() && all(&due).is_empty());
    }

    #[test]
    fn beyond_the_limit_the_oldest_note_is_dropped() {
        let mut due = DuePositions::default();
        for owner in 0..NOTES_MAX as u64 {
            assert!(!due.note(IdOwner(owner), DbRoom(4), Some(read(1))));
        }
        assert!(!due.note(IdOwner(0), DbRoom(4), Some(read(2))), "it replaces its own");
        assert!(due.note(IdOwner(u64::MAX), DbRoom(4), Some(read(1))));
        let left = all(&due);
        assert_eq!((left.len(), left[0]), (NOTES_MAX, (4, 2, Some(1))));
    }
}
