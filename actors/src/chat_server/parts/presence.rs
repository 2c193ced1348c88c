//! Presence: who came to a room and who left it, told at most once a second to those who watch.
//!
//! A room that nobody watches costs nothing here.

use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};
use starling_protocol::{ClientId, limits};

use crate::ids::{RoomId, SessionId};

/// The least time between two `presence` events of one room.
pub(crate) const PRESENCE_INTERVAL: Duration = Duration::from_secs(1);

/// What a room's watchers are told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) joined: Vec<ClientId>,
    pub(crate) left: Vec<ClientId>,
    pub(crate) watchers: Vec<SessionId>,
}

/// The watched rooms.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    rooms: FxHashMap<RoomId, Watched>,
    /// Rooms with changes that wait for their second to pass.
    due: Vec<RoomId>,
}

#[derive(Debug, Default)]
struct Watched {
    watchers: FxHashSet<SessionId>,
    joined: Names,
    left: Names,
    changed: bool,
    /// Whether the room is on the list of those that are due.
    is_due: bool,
    /// Whether somebody has begun to watch after something was noted. To that watcher a change that undoes it is news.
    is_seen_between: bool,
    last_sent: Option<Instant>,
    /// The count that the last event told. With more names than one event may hold, only the count may have changed.
    last_count: u32,
}

#[derive(Debug, Default)]
struct Names {
    names: Vec<ClientId>,
    /// Whether there were more than one frame may hold.
    is_cut: bool,
}

impl Presence {
    /// Lets a session watch a room, or no longer.
    pub(crate) fn watch(&mut self, session: SessionId, room: RoomId, wanted: bool) {
        if wanted {
            let watched = self.rooms.entry(room).or_default();
            let is_new = watched.watchers.insert(session);
            watched.is_seen_between |= is_new && watched.changed;
        } else if let Some(watched) = self.rooms.get_mut(&room) {
            watched.watchers.remove(&session);
        }
    }

    /// The room has ended.
    pub(crate) fn forget(&mut self, room: RoomId) {
        self.rooms.remove(&room);
    }

    /// Notes a client that came or went.
    pub(crate) fn note(&mut self, room: RoomId, joined: Option<&ClientId>, left: Option<&ClientId>) {
        let Some(watched) = self.rooms.get_mut(&room).filter(|watched| !watched.watchers.is_empty()) else { return };
        watched.changed = true;
        if let Some(name) = joined {
            note_one(name, &mut watched.joined, &mut watched.left, watched.is_seen_between);
        }
        if let Some(name) = left {
            note_one(name, &mut watched.left, &mut watched.joined, watched.is_seen_between);
        }
    }

    /// The rooms whose second may have passed.
    pub(crate) fn take_due(&mut self) -> Vec<RoomId> {
        let due = std::mem::take(&mut self.due);
        for room in &due {
            if let Some(watched) = self.rooms.get_mut(room) {
                watched.is_due = false;
            }
        }
        due
    }

    /// The changes of a room, in which `count` clients are, that its watchers are to be told now. Changes that come too
    /// soon after the last ones become [due](Self::take_due).
    pub(crate) fn take(&mut self, room: RoomId, count: u32, now: Instant) -> Option<Changes> {
        let watched = self.rooms.get_mut(&room).filter(|watched| watched.changed)?;
        if watched.last_sent.is_some_and(|last| now.saturating_duration_since(last) < PRESENCE_INTERVAL) {
            if !std::mem::replace(&mut watched.is_due, true) {
                self.due.push(room);
            }
            return None;
        }
        watched.changed = false;
        watched.is_seen_between = false;
        let (joined, left) = (std::mem::take(&mut watched.joined).names, std::mem::take(&mut watched.left).names);
        let says_nothing = joined.is_empty() && left.is_empty() && watched.last_count == count;
        if watched.watchers.is_empty() || says_nothing {
            return None;
        }
        watched.last_sent = Some(now);
        watched.last_count = count;
        Some(Changes { joined, left, watchers: watched.watchers.iter().copied().collect() })
    }
}

/// Notes a name on one list, unless that undoes what the other list says, or might: it may be among those that were
/// too many for the other list. Where somebody has begun to watch in between, it is told all the same: who knew of the
/// one before learns nothing wrong by it. Past the names that one frame may hold the count alone tells.
fn note_one(name: &ClientId, list: &mut Names, opposite: &mut Names, is_seen_between: bool) {
    let undone = opposite.names.iter().position(|other| other == name);
    if let Some(at) = undone {
        opposite.names.remove(at);
    }
    if undone.is_some() && !is_seen_between {
        return;
    }
    if list.names.len() == limits::PRESENCE_NAMES_MAX {
        list.is_cut = true;
    } else if undone.is_some() || !opposite.is_cut {
        list.names.push(name.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::ids::HubId;

    const ROOM: RoomId = RoomId(4);

    fn session(slot: u32) -> SessionId {
        SessionId::new(HubId(0), slot, 1)
    }

    fn name(text: &str) -> ClientId {
        ClientId::parse(text).unwrap()
    }

    #[test]
    fn nothing_is_noted_where_nobody_watches() {
        let (mut presence, now) = (Presence::default(), clock::now());
        presence.note(ROOM, Some(&name("alice")), None);
        assert_eq!(presence.take(ROOM, 1, now), None);
        presence.watch(session(1), ROOM, true);
        assert_eq!(presence.take(ROOM, 1, now), None, "nothing has changed since");
        presence.watch(session(1), ROOM, false);
        presence.note(ROOM, Some(&name("bob")), None);
        assert_eq!(presence.take(ROOM, 2, now), None);
    }

    #[test]
    fn presence_is_due_a_second_after_the_last_and_not_before() {
        let (mut presence, start) = (Presence::default(), clock::now());
        presence.watch(session(1), ROOM, true);
        presence.note(ROOM, Some(&name("alice")), None);
        let changes = Changes { joined: vec![name("alice")], left: vec![], watchers: vec![session(1)] };
        assert_eq!(presence.take(ROOM, 2, start), Some(changes), "the first is told at once");
        presence.note(ROOM, None, Some(&name("alice")));
        for _ in 0..2 {
            assert_eq!(presence.take(ROOM, 1, start + Duration::from_millis(999)), None);
        }
        assert_eq!(presence.take_due(), [ROOM]);
        assert!(presence.take(ROOM, 1, start + PRESENCE_INTERVAL).is_some());
        assert_eq!(presence.take(ROOM, 1, start + 2 * PRESENCE_INTERVAL), None);
    }
}
