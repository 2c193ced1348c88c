//! The rooms and inboxes, and the connections in them.
//!
//! No lookup finds a room that has ended. The room is forgotten, and its number reused, once no message of it is in
//! flight.

use rustc_hash::FxHashMap;
use slab::Slab;
use smallvec::SmallVec;
use starling_protocol::{ClientId, Epoch, RoomName, Seq, limits};

use super::parted::PartedMap;
use super::room::{Ended, OnNode, Room, Viewer};
use super::vacancies::Vacancies;
use crate::clock::Instant;
use crate::config::ChatConfig;
use crate::history::RoomKey;
use crate::ids::{RoomId, SessionId};
use crate::nodes::record::Incarnation;

/// Most rooms that end in one tick, so that messages do not wait while very many rooms end.
pub(crate) const ENDED_AT_ONCE_MAX: usize = 512;

/// Most rooms that are examined for one list. If there are more, and a token allows few of them, the list may be
/// incomplete; it then says that it is truncated.
const LOOKED_AT_MAX: usize = 50_000;

/// Whether there is space for a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Free,
    /// There is space if this room is dropped.
    Instead(RoomId),
    /// The table is full, and no room in it may be dropped.
    Full,
}

/// All rooms and inboxes.
#[derive(Debug)]
pub(crate) struct Rooms {
    all: Slab<Room>,
    by_name: PartedMap<RoomName, RoomId>,
    most: usize,
    vacancies: Vacancies,
    /// With other nodes: rooms that the history has, and the log has not opened yet. No lookup finds them.
    asleep: FxHashMap<RoomKey, (RoomId, Epoch)>,
    /// With other nodes: the rooms and inboxes that each client is in on each node, as the log says.
    present_in: FxHashMap<(Incarnation, ClientId), SmallVec<[RoomId; 2]>>,
}

impl Rooms {
    /// Starts without rooms. At most `CHAT_ROOMS` rooms have a name; restored rooms and the lobby may exceed that.
    pub(crate) fn new(config: &ChatConfig) -> Self {
        let (most, vacancies) = (config.rooms as usize, Vacancies::new(config));
        Self {
            all: Slab::new(),
            by_name: PartedMap::default(),
            most,
            vacancies,
            asleep: FxHashMap::default(),
            present_in: FxHashMap::default(),
        }
    }

    pub(crate) fn get(&self, room: RoomId) -> Option<&Room> {
        self.all.get(room.index())
    }

    /// Changes a room and updates its entries among the vacancies.
    fn change<T>(&mut self, id: RoomId, change: impl FnOnce(&mut Room) -> T) -> Option<T> {
        let room = self.all.get_mut(id.index())?;
        let outcome = change(room);
        self.vacancies.note(id, room);
        Some(outcome)
    }

    /// Finds a room by its name, unless it has ended.
    pub(crate) fn find(&self, name: &str) -> Option<RoomId> {
        self.by_name.get(name).copied()
    }

    /// The number of rooms with a name, including empty rooms that are still kept.
    pub(crate) fn count(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is space for a room of this name. There always is for the lobby, and for a room that exists.
    pub(crate) fn space_for(&self, name: &RoomName, now: Instant) -> Space {
        if self.count() < self.most || name.as_str() == limits::LOBBY || self.find(name.as_str()).is_some() {
            return Space::Free;
        }
        self.vacancies.first_disposable(now).map_or(Space::Full, Space::Instead)
    }

    /// Makes a room or an inbox. `None`: all room numbers are in use.
    pub(crate) fn make(&mut self, key: RoomKey, now: Instant) -> Option<RoomId> {
        let id = RoomId(u32::try_from(self.all.vacant_key()).ok()?);
        if let RoomKey::Room(name) = &key {
            self.by_name.insert(name.clone(), id);
        }
        self.all.insert(Room::new(key, now, self.vacancies.follows_log()));
        self.change(id, |_| ())?;
        Some(id)
    }

    /// Makes a room that the history has stored before this process, with so many kept messages and the newest one.
    pub(crate) fn restore(&mut self, key: RoomKey, (kept, seq): (u64, Seq), now: Instant) -> Option<RoomId> {
        let id = self.make(key, now)?;
        self.change(id, |room| (room.kept, room.said) = (kept, seq.0))?;
        Some(id)
    }

    /// With other nodes: makes a room that the history has, until the log [opens](Self::make_at) it.
    pub(crate) fn put_to_sleep(
        &mut self,
        key: RoomKey,
        epoch: Epoch,
        (kept, seq): (u64, Seq),
        now: Instant,
    ) -> Option<RoomId> {
        let room = self.restore(key.clone(), (kept, seq), now)?;
        if let Some(it) = self.all.get_mut(room.index()) {
            it.stored_upto = seq;
            if let RoomKey::Room(name) = &key {
                self.by_name.remove(name);
            }
        }
        self.asleep.insert(key, (room, epoch));
        Some(room)
    }

    /// Makes a room whose newest message is `seq`. With other nodes, if the history has it from before this process, it
    /// is the one that the history has.
    pub(crate) fn make_at(&mut self, key: RoomKey, epoch: Epoch, seq: Seq, now: Instant) -> Option<RoomId> {
        if let Some(known) = self.wake(&key, epoch, seq) {
            self.change(known, |room| (room.said, room.empty_since) = (seq.0, Some(now)))?;
            return Some(known);
        }
        let id = self.make(key, now)?;
        self.change(id, |room| (room.said, room.lacks_messages) = (seq.0, seq > Seq(0)))?;
        Some(id)
    }

    /// With other nodes: the log opens a room in this epoch, with its newest message. Returns the room that the history
    /// has of it, unless that lacks messages in between.
    fn wake(&mut self, key: &RoomKey, epoch: Epoch, seq: Seq) -> Option<RoomId> {
        let (room, _) = *self.asleep.get(key).filter(|(_, asleep)| *asleep == epoch)?;
        if self.all.get(room.index()).is_none_or(|it| it.stored_upto < seq) {
            return None;
        }
        self.asleep.remove(key);
        if let RoomKey::Room(name) = key {
            self.by_name.insert(name.clone(), room);
        }
        Some(room)
    }

    /// With other nodes: removes the rooms that the history has and the log has not opened.
    pub(crate) fn forget_asleep(&mut self) -> Vec<RoomId> {
        let rooms: Vec<_> = self.asleep.drain().map(|(_, (room, _))| room).collect();
        for room in &rooms {
            let Some(it) = self.all.get_mut(room.index()) else { continue };
            it.ended = Some(Ended { reply: None });
            self.vacancies.note(*room, it);
            self.all.remove(room.index());
        }
        rooms
    }

    /// Adds a connection. `is_further`: another connection of its client is already in the room.
    pub(crate) fn enter(&mut self, room: RoomId, session: SessionId, is_further: bool) {
        self.change(room, |room| {
            room.insert(session);
            room.further_connections += u32::from(is_further);
        });
    }

    /// Removes a connection. `was_further`: another connection of its client stays in the room.
    pub(crate) fn leave(&mut self, room: RoomId, session: SessionId, was_further: bool, now: Instant) {
        self.change(room, |room| {
            room.remove(session, now);
            room.further_connections = room.further_connections.saturating_sub(u32::from(was_further));
        });
    }

    /// There are other nodes: the log alone says which rooms are empty. Called before there are rooms.
    pub(crate) fn follow_log(&mut self) {
        self.vacancies.follow_log();
    }

    /// Notes that a client with connections on another node has got its first connection here, or lost its last.
    pub(crate) fn is_here_too(&mut self, room: RoomId, is_here: bool) {
        self.change(room, |room| room.is_here_too(is_here));
    }

    /// See [`Room::set_present`].
    pub(crate) fn set_present(
        &mut self,
        room: RoomId,
        name: &ClientId,
        (on, is_in): (OnNode, bool),
        of: &Viewer,
    ) -> bool {
        if is_in {
            let rooms = self.present_in.entry((on.life, name.clone())).or_default();
            if !rooms.contains(&room) {
                rooms.push(room);
            }
        } else {
            self.forget_present(room, name, on.life);
        }
        self.change(room, |room| room.set_present(name, on, is_in, of)).unwrap_or(false)
    }

    fn forget_present(&mut self, room: RoomId, name: &ClientId, life: Incarnation) {
        let key = (life, name.clone());
        let Some(rooms) = self.present_in.get_mut(&key) else { return };
        rooms.retain(|other| *other != room);
        if rooms.is_empty() {
            self.present_in.remove(&key);
        }
    }

    /// The rooms and inboxes that a client is in on the node of a life, as the log says.
    pub(crate) fn present_in(&self, name: &ClientId, life: Incarnation) -> SmallVec<[RoomId; 2]> {
        self.present_in.get(&(life, name.clone())).cloned().unwrap_or_default()
    }

    /// All clients in rooms and inboxes on the node of a life, as the log says.
    pub(crate) fn present_on(&self, life: Incarnation) -> Vec<(RoomId, ClientId)> {
        let there = self.present_in.iter().filter(|((other, _), _)| *other == life);
        there.flat_map(|((_, name), rooms)| rooms.iter().map(|room| (*room, name.clone()))).collect()
    }

    /// Notes that a message for the room was given to the log.
    pub(crate) fn message_begins(&mut self, id: RoomId) {
        let Some(room) = self.all.get_mut(id.index()) else { return };
        room.in_flight += 1;
        if room.empty_since.is_some() {
            self.vacancies.note(id, room);
        }
    }

    /// Notes that a message for the room is stored. `kept` is the number of messages that the history keeps now; `None`
    /// if it has dropped no older one for this message.
    pub(crate) fn message_stored(&mut self, id: RoomId, kept: Option<u64>) {
        let Some(room) = self.all.get_mut(id.index()) else { return };
        room.in_flight = room.in_flight.saturating_sub(1);
        room.said += 1;
        room.kept = kept.unwrap_or(room.kept + 1);
        if room.empty_since.is_some() || room.said == 1 {
            self.vacancies.note(id, room);
        }
    }

    /// Notes that the log has refused a message for the room.
    pub(crate) fn message_refused(&mut self, room: RoomId) {
        self.change(room, |room| room.in_flight = room.in_flight.saturating_sub(1));
    }

    /// Notes that the history has dropped the oldest messages of the room; it now keeps `kept` messages.
    pub(crate) fn trimmed(&mut self, room: RoomId, kept: u64) {
        // The other nodes drop what is as old, and what this node lacks is older.
        self.change(room, |room| (room.kept, room.lacks_messages) = (kept, false));
    }

    /// Notes the largest number of messages that the history keeps of this room, if it has a limit of its own.
    pub(crate) fn keep_at_most(&mut self, room: RoomId, messages: Option<u64>) {
        self.change(room, |room| room.kept_at_most = messages);
    }

    /// Ends a room: from now on no lookup finds it.
    pub(crate) fn end(&mut self, id: RoomId, ended: Ended) {
        let Some(room) = self.all.get_mut(id.index()) else { return };
        room.ended = Some(ended);
        if let RoomKey::Room(name) = room.key() {
            self.by_name.remove(name);
        }
        self.vacancies.note(id, room);
        let present = room.present().flat_map(|(name, nodes)| nodes.iter().map(|node| (node.life, name.clone())));
        for (life, name) in present.collect::<Vec<_>>() {
            self.forget_present(id, &name, life);
        }
    }

    /// Forgets a room that has ended, once none of its messages is in flight.
    pub(crate) fn take_if_over(&mut self, id: RoomId) -> Option<Ended> {
        let room = self.all.get(id.index())?;
        if room.ended.is_none() || room.in_flight > 0 {
            return None;
        }
        self.all.remove(id.index()).ended
    }

    /// The first room that is due to end: it has been empty for long enough, and the history keeps no message of it.
    pub(crate) fn first_over(&self, now: Instant) -> Option<RoomId> {
        self.vacancies.first_over(now)
    }

    /// The rooms that a lookup finds, without inboxes.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&RoomName, RoomId)> {
        self.by_name.values().filter_map(|id| Some((self.get(*id)?.key().room()?, *id)))
    }

    /// Lists the rooms that have members or messages and that `is_wanted` selects, those with the most members first.
    /// The flag tells whether the list was cut, after [`limits::ROOMS_LISTED_MAX`] rooms or [`LOOKED_AT_MAX`] examined
    /// ones.
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
            let follows_log = self.vacancies.follows_log();
            let is_empty = if follows_log { room.is_vacant() } else { room.is_empty() };
            assert_eq!(room.empty_since().is_some(), is_empty, "a room without members has its time");
            assert!(!follows_log || room.is_empty() || !is_empty, "the log knows of a room with members here");
            self.vacancies.check(id, room);
            if let Some(name) = room.key().room().filter(|_| room.ended.is_none()) {
                let is_asleep = self.asleep.values().any(|(asleep, _)| *asleep == id);
                assert!(is_asleep || self.find(name.as_str()) == Some(id), "a room has its name");
            }
            if !room.has_ended() {
                for (name, node) in room.present().flat_map(|(name, nodes)| nodes.iter().map(move |node| (name, node)))
                {
                    assert!(self.present_in(name, node.life).contains(&id), "{name} is in {id:?}, and known to be");
                }
            }
        }
        let rooms = self.iter().filter(|(_, room)| !room.has_ended());
        let present: usize = rooms.flat_map(|(_, room)| room.present()).map(|(_, nodes)| nodes.len()).sum();
        let known: usize = self.present_in.values().map(SmallVec::len).sum();
        assert_eq!(present, known, "nobody is in a room that has ended");
    }
}
