//! Presence: tells the watchers of a room, at most once a second, which clients have joined and left.
//!
//! A room without watchers costs nothing here.

use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use starling_protocol::{ClientId, limits};

use crate::clock::Instant;
use crate::ids::{RoomId, SessionId};

/// The least time between two `presence` events of one room.
pub(crate) const PRESENCE_INTERVAL: Duration = Duration::from_secs(1);

/// The content and the receivers of one `presence` event.
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
    /// Rooms with changes that wait until [`PRESENCE_INTERVAL`] has passed.
    due: Vec<RoomId>,
}

#[derive(Debug, Default)]
struct Watched {
    watchers: FxHashSet<SessionId>,
    joined: Names,
    left: Names,
    changed: bool,
    /// Whether the room is in `due`.
    is_due: bool,
    /// Whether a session has started to watch since the first pending change. For this watcher, a change that undoes an
    /// earlier one is still new.
    is_seen_between: bool,
    last_sent: Option<Instant>,
    /// The member count in the last event. If there are more names than one event may hold, only the count may differ.
    last_count: u32,
}

#[derive(Debug, Default)]
struct Names {
    names: Vec<ClientId>,
    /// Whether names were left out because one event holds no more.
    is_cut: bool,
}

impl Presence {
    /// Starts or stops watching a room for a session.
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

    /// Notes that a client has joined or left. A rename notes both.
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

    /// Takes the rooms whose interval may have passed.
    pub(crate) fn take_due(&mut self) -> Vec<RoomId> {
        let due = std::mem::take(&mut self.due);
        for room in &due {
            if let Some(watched) = self.rooms.get_mut(room) {
                watched.is_due = false;
            }
        }
        due
    }

    /// Takes the changes of a room that its watchers get now; `count` is the room's current member count. If the last
    /// event is too recent, the room becomes [due](Self::take_due) instead.
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

/// Adds a name to one list, unless this change undoes one in the opposite list. If names were left out of that list, it
/// may undo one of those. If a session has started to watch in between, the name is listed all the same; for the other
/// watchers that is redundant but not wrong. Past the limit of names, watchers learn the change from the count alone.
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
