//! The rooms and inboxes, and which connections are in them.
//!
//! A room that ends is found by nobody from then on. It is forgotten, and its number given to another, when nothing of it
//! is in flight any more.

use std::time::{Duration, Instant};

use slab::Slab;
use starling_protocol::{RoomName, limits};

use super::parted::PartedMap;
use super::room::{Ended, Room};
use super::vacancies::Vacancies;
use crate::history::RoomKey;
use crate::ids::{RoomId, SessionId};

/// Most rooms that end in one tick, so that no message waits for a crowd of them.
pub(crate) const ENDED_AT_ONCE_MAX: usize = 512;

/// Most rooms that are looked at for one list: where more are there, and a token allows few of them, the list may lack
/// rooms, and says that there are more.
const LOOKED_AT_MAX: usize = 50_000;

/// Whether there is space for a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// There is.
    Free,
    /// There is if this room goes.
    Instead(RoomId),
    /// There is none.
    Full,
}

/// All rooms and inboxes.
#[derive(Debug)]
pub(crate) struct Rooms {
    all: Slab<Room>,
    by_name: PartedMap<RoomName, RoomId>,
    most: usize,
    vacancies: Vacancies,
}

impl Rooms {
    /// No rooms yet. At most `most` get a name beside those that are restored, and the lobby.
    pub(crate) fn new(most: usize, empty_room_kept: Duration, history_is_stored: bool) -> Self {
        let vacancies = Vacancies::new(empty_room_kept, history_is_stored);
        Self { all: Slab::new(), by_name: PartedMap::default(), most, vacancies }
    }

    pub(crate) fn get(&self, room: RoomId) -> Option<&Room> {
        self.all.get(room.index())
    }

    /// Changes a room, and notes where it belongs then.
    fn change<T>(&mut self, id: RoomId, change: impl FnOnce(&mut Room) -> T) -> Option<T> {
        let room = self.all.get_mut(id.index())?;
        let outcome = change(room);
        self.vacancies.note(id, room);
        Some(outcome)
    }

    /// The room of this name.
    pub(crate) fn find(&self, name: &str) -> Option<RoomId> {
        self.by_name.get(name).copied()
    }

    /// How many rooms have a name, empty ones that are still kept among them.
    pub(crate) fn count(&self) -> usize {
        self.by_name.len()
    }

    /// Whether a room of this name may be made, or is there. The lobby always may.
    pub(crate) fn space_for(&self, name: &RoomName, now: Instant) -> Space {
        if self.count() < self.most || name.as_str() == limits::LOBBY || self.find(name.as_str()).is_some() {
            return Space::Free;
        }
        self.vacancies.first_disposable(now).map_or(Space::Full, Space::Instead)
    }

    /// Makes a room or an inbox. `None`: there are no more numbers.
    pub(crate) fn make(&mut self, key: RoomKey, now: Instant) -> Option<RoomId> {
        let id = RoomId(u32::try_from(self.all.vacant_key()).ok()?);
        if let RoomKey::Room(name) = &key {
            self.by_name.insert(name.clone(), id);
        }
        self.all.insert(Room::new(key, now));
        self.change(id, |_| ())?;
        Some(id)
    }

    /// Makes a room that was there before this process.
    pub(crate) fn restore(&mut self, key: RoomKey, kept: u64, is_spoken_in: bool, now: Instant) -> Option<RoomId> {
        let id = self.make(key, now)?;
        self.change(id, |room| (room.kept, room.is_spoken_in) = (kept, is_spoken_in))?;
        Some(id)
    }

    /// Adds a connection. `is_further`: its client is in the room already, with another one.
    pub(crate) fn enter(&mut self, room: RoomId, session: SessionId, is_further: bool) {
        self.change(room, |room| {
            room.insert(session);
            room.further_connections += u32::from(is_further);
        });
    }

    /// Takes a connection out. `was_further`: its client stays, with another one.
    pub(crate) fn leave(&mut self, room: RoomId, session: SessionId, was_further: bool, now: Instant) {
        self.change(room, |room| {
            room.remove(session, now);
            room.further_connections = room.further_connections.saturating_sub(u32::from(was_further));
        });
    }

    /// A message for the room is given to the log.
    pub(crate) fn message_begins(&mut self, id: RoomId) {
        let Some(room) = self.all.get_mut(id.index()) else { return };
        room.in_flight += 1;
        if room.is_empty() {
            self.vacancies.note(id, room);
        }
    }

    /// A message for the room is stored. `kept`: how many are kept now, where older ones were dropped for it.
    pub(crate) fn message_stored(&mut self, id: RoomId, kept: Option<u64>) {
        let Some(room) = self.all.get_mut(id.index()) else { return };
        room.in_flight = room.in_flight.saturating_sub(1);
        let was_spoken_in = std::mem::replace(&mut room.is_spoken_in, true);
        room.kept = kept.unwrap_or(room.kept + 1);
        if room.is_empty() || !was_spoken_in {
            self.vacancies.note(id, room);
        }
    }

    /// A message for the room is not stored.
    pub(crate) fn message_refused(&mut self, room: RoomId) {
        self.change(room, |room| room.in_flight = room.in_flight.saturating_sub(1));
    }

    /// The history has dropped the oldest messages of the room; so many are kept.
    pub(crate) fn trimmed(&mut self, room: RoomId, kept: u64) {
        self.change(room, |room| room.kept = kept);
    }

    /// Ends a room: nobody finds it from now on.
    pub(crate) fn end(&mut self, id: RoomId, ended: Ended) {
        let Some(room) = self.all.get_mut(id.index()) else { return };
        room.ended = Some(ended);
        if let RoomKey::Room(name) = room.key() {
            self.by_name.remove(name);
        }
        self.vacancies.note(id, room);
    }

    /// Forgets a room that has ended, once nothing of it is in flight.
    pub(crate) fn take_if_over(&mut self, id: RoomId) -> Option<Ended> {
        let room = self.all.get(id.index())?;
        if room.ended.is_none() || room.in_flight > 0 {
            return None;
        }
        self.all.remove(id.index()).ended
    }

    /// A room that ends now: nobody has been in it for long enough, and nothing of it is kept.
    pub(crate) fn first_over(&self, now: Instant) -> Option<RoomId> {
        self.vacancies.first_over(now)
    }

    /// Names of rooms that have members or messages, and are wanted, the fullest first, and whether there are more than
    /// [`limits::ROOMS_LISTED_MAX`].
    pub(crate) fn list(&self, is_wanted: impl Fn(&RoomName) -> bool) -> (Vec<(&RoomName, RoomId, &Room)>, bool) {
        let mut listed: Vec<(&RoomName, RoomId, &Room)> = Vec::new();
        let mut truncated = false;
        for (looked_at, id) in self.vacancies.listed().enumerate() {
            truncated = looked_at >= LOOKED_AT_MAX;
            if truncated {
                break;
            }
            let Some(room) = self.all.get(id.index()) else { continue };
            let Some(name) = room.key().room().filter(|name| is_wanted(name)) else { continue };
            truncated = listed.len() == limits::ROOMS_LISTED_MAX;
            if truncated {
                break;
            }
            listed.push((name, id, room));
        }
        listed.sort_unstable_by(|(name, _, room), (other, _, next)| {
            next.count().cmp(&room.count()).then_with(|| name.cmp(other))
        });
        (listed, truncated)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RoomId, &Room)> {
        let id = |slot| RoomId(u32::try_from(slot).unwrap_or(u32::MAX));
        self.all.iter().map(move |(slot, room)| (id(slot), room))
    }

    /// Panics if an invariant of this module does not hold. For tests.
    pub(crate) fn check(&self) {
        for (id, room) in self.iter() {
            assert_eq!(room.empty_since().is_some(), room.is_empty(), "an empty room knows since when");
            self.vacancies.check(id, room);
            if let Some(name) = room.key().room().filter(|_| room.ended.is_none()) {
                assert_eq!(self.find(name.as_str()), Some(id), "a room has its name");
            }
        }
    }
}
