//! Restores the state that the history has kept from before this process.

use super::ChatState;
use crate::chat_server::parts::order::{Placed, Position};
use crate::chat_server::parts::positions::Reader;
use crate::clock::Now;
use crate::history::{Restored, RoomKey, Standing, StoredId, StoredPosition, StoredRoom};
use crate::ids::RoomId;

impl ChatState {
    /// Restores rooms, inboxes and remembered `id`s. Called once, before the first command.
    ///
    /// All stored rooms are restored, even if they exceed the limit of rooms.
    ///
    /// # Panics
    /// If a room gets another number than its index in [`Restored::rooms`]. The store knows it by that index, so its
    /// messages would go to another room.
    pub fn restore(&mut self, restored: Restored, now: Now) {
        debug_assert!(self.rooms.count() == 0, "nothing has happened yet");
        let Restored { rooms, ids, read, moderation, mark: _ } = restored;
        self.moderation = moderation;
        for (index, stored) in (0..).zip(rooms) {
            let room = self.restore_room(stored, now);
            assert_eq!(room, Some(RoomId(index)), "the number of a restored room is its index");
        }
        self.restore_ids(ids, now);
        for StoredPosition { owner, room, standing: Standing { upto, since } } in read {
            let (reader, newest) = (Reader { owner, is_guest: false }, self.order.position(room).seq);
            self.positions.put(reader, room, Standing { upto: upto.min(newest), since: since.min(newest) });
        }
    }

    fn restore_room(&mut self, stored: StoredRoom, now: Now) -> Option<RoomId> {
        let StoredRoom { key, epoch, seq, oldest, sent, unclaimed } = stored;
        let kept = (seq.0 + 1).saturating_sub(oldest.0);
        let room = self.rooms.restore(key.clone(), (kept, seq), now.at)?;
        self.order.open(room, Position { epoch, seq });
        match key {
            RoomKey::Inbox(owner) => {
                self.inboxes.add(&owner, room);
                self.inboxes.restore_sent(room, sent);
            }
            RoomKey::Room(_) => self.limit_new_room(room),
        }
        if let Some(made) = unclaimed {
            self.inboxes.made_by(room, &made.maker);
            if !made.is_alone {
                self.inboxes.share(room);
            }
        }
        Some(room)
    }

    fn restore_ids(&mut self, ids: Vec<StoredId>, now: Now) {
        for StoredId { room, seq, at, age, owner, id } in ids {
            if self.rooms.get(room).is_none() {
                continue;
            }
            let taken_at = now.at.checked_sub(age).unwrap_or(now.at);
            let placed = Placed { room, epoch: self.order.position(room).epoch, seq, at };
            self.order.restore(self.ids.key(owner, &id), placed, taken_at);
        }
    }
}
