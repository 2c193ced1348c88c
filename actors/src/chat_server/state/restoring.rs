//! Restores the state that the history has kept from before this process.

use starling_protocol::Seq;

use super::ChatState;
use crate::chat_server::parts::order::{Placed, Position};
use crate::clock::Now;
use crate::history::{Restored, RoomKey, StoredId, StoredRoom};

impl ChatState {
    /// Restores rooms, inboxes and remembered `id`s. Called once, before the first command.
    ///
    /// All stored rooms are restored, even if they exceed the limit of rooms.
    pub fn restore(&mut self, restored: Restored, now: Now) {
        debug_assert!(self.rooms.count() == 0, "nothing has happened yet");
        let Restored { rooms, ids, mark: _ } = restored;
        for room in rooms {
            self.restore_room(room, now);
        }
        self.restore_ids(ids, now);
    }

    fn restore_room(&mut self, stored: StoredRoom, now: Now) {
        let StoredRoom { key, epoch, seq, oldest, delivered, unclaimed } = stored;
        let kept = (seq.0 + 1).saturating_sub(oldest.0);
        let Some(room) = self.rooms.restore(key.clone(), kept, seq > Seq(0), now.at) else { return };
        self.order.open(room, Position { epoch, seq });
        if let RoomKey::Inbox(owner) = key {
            self.inboxes.add(&owner, room);
            self.inboxes.restore_sent(room, delivered);
        }
        if let Some(made) = unclaimed {
            self.inboxes.made_by(room, &made.maker);
            if !made.is_alone {
                self.inboxes.share(room);
            }
        }
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
