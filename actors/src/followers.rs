//! Followers of rooms: parts outside the chat that read every entry of a room in its order, such as webhooks.
//!
//! The chat only notes that a room has a new entry. A follower reads it from the history at its own speed, so a slow
//! follower costs the chat nothing.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use starling_protocol::{Epoch, RoomName, Seq};
use tokio::sync::Notify;

/// The position of the newest entry of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomPosition {
    /// A named room.
    pub room: RoomName,
    /// The epoch of the room.
    pub epoch: Epoch,
    /// The newest committed entry; 0 in a room without one.
    pub seq: Seq,
}

/// The rooms that have new entries for one follower. Holds each room once, so `CHAT_ROOMS` bounds it.
#[derive(Debug, Clone, Default)]
pub struct NewEntries(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rooms: Mutex<HashSet<RoomName>>,
    has_some: Notify,
}

impl NewEntries {
    /// Notes that a room has a new entry.
    pub fn note(&self, room: &RoomName) {
        let mut rooms = self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if !rooms.contains(room) {
            rooms.insert(room.clone());
            self.0.has_some.notify_one();
        }
    }

    /// Takes the rooms that were noted so far.
    pub fn take(&self) -> HashSet<RoomName> {
        std::mem::take(&mut *self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until a room is noted. It may complete once although none is.
    pub async fn wait(&self) {
        self.0.has_some.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn a_room_is_noted_once_until_it_is_taken() {
        let entries = NewEntries::default();
        let [dev, tea] = ["dev", "tea"].map(|name| RoomName::parse(name).unwrap());
        for room in [&dev, &dev, &tea] {
            entries.note(room);
        }
        entries.wait().await;
        assert_eq!(entries.take(), HashSet::from([dev.clone(), tea]));
        assert_eq!(entries.take(), HashSet::new());
        entries.note(&dev);
        assert_eq!(entries.take(), HashSet::from([dev]));
    }
}
