//! What the history knows from before this process.

use std::collections::HashSet;
use std::time::Duration;

use starling_protocol::Seq;

use super::ChatState;
use crate::chat_server::parts::order::{Placed, Position};
use crate::clock::Now;
use crate::history::{Restored, RoomKey, StoredId, StoredRoom};
use crate::ids::RoomId;

impl ChatState {
    /// Takes over rooms, inboxes and remembered `id`s. Called once, before the first command.
    ///
    /// All rooms are there again, also where they are more than may be made.
    pub fn restore(&mut self, restored: Restored, now: Now) {
        debug_assert!(self.rooms.count() == 0, "nothing has happened yet");
        let Restored { rooms, ids } = restored;
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
        let owner_of = |room: RoomId| self.rooms.get(room).and_then(|room| room.key().owner());
        let received =
            ids.iter().filter(|stored| owner_of(stored.room).is_some_and(|owner| *owner != stored.client_id));
        let received: HashSet<_> = received.map(|stored| (stored.owner, stored.id.clone())).collect();
        for StoredId { room, seq, at, client_id, owner, id } in ids {
            let Some(entry) = self.rooms.get(room) else { continue };
            // A private message stands in two inboxes, and its receiver's counts. Only a message to oneself stands in the
            // sender's alone.
            if entry.key().owner() == Some(&client_id) && received.contains(&(owner, id.clone())) {
                continue;
            }
            let age = Duration::from_millis(now.unix_ms.saturating_sub(at));
            let taken_at = now.at.checked_sub(age).unwrap_or(now.at);
            let placed = Placed { room, epoch: self.order.position(room).epoch, seq, at };
            self.order.restore(self.ids.key(owner, &id), placed, taken_at);
        }
    }
}
