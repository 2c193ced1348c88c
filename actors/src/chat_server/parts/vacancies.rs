//! The rooms in three orders: by the time of their end, by their priority for being dropped from a full table, and by
//! their position in the list of rooms.
//!
//! An ordered set holds each order, so a lookup stays fast with many rooms.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use starling_protocol::limits;

use super::room::{Noted, Room, Worth};
use crate::ids::RoomId;

/// A room with more kept messages than this is never dropped for another room.
pub(crate) const DISPOSABLE_MESSAGES_MAX: usize = 16;

const WORTH_MAX: Worth = 1 + DISPOSABLE_MESSAGES_MAX;

/// The ordered sets.
#[derive(Debug)]
pub(super) struct Vacancies {
    /// How long an empty room is kept.
    kept_for: Duration,
    /// Whether a room exists for as long as the history keeps a message of it.
    history_is_stored: bool,
    /// Whether the lobby never ends.
    keeps_lobby: bool,
    by_end: BTreeSet<(Instant, RoomId)>,
    /// One set for each worth, with the longest empty room first.
    disposable: [BTreeSet<(Instant, RoomId)>; WORTH_MAX + 1],
    listed: BTreeSet<(Reverse<u32>, RoomId)>,
}

impl Vacancies {
    pub(super) fn new(kept_for: Duration, history_is_stored: bool) -> Self {
        let (by_end, listed) = (BTreeSet::new(), BTreeSet::new());
        Self { kept_for, history_is_stored, keeps_lobby: false, by_end, disposable: Default::default(), listed }
    }

    /// From now on the lobby never ends. Called before there are rooms.
    pub(super) fn keep_lobby(&mut self) {
        self.keeps_lobby = true;
    }

    /// The keys that the room should have in the ordered sets.
    fn noted_now(&self, room: &Room) -> Noted {
        if room.ended.is_some() {
            return Noted::default();
        }
        let listed = room.is_listed().then(|| room.count());
        let is_vacant = room.in_flight == 0 && !room.has_members_elsewhere();
        let Some(since) = room.empty_since().filter(|_| is_vacant) else {
            return Noted { listed, ..Noted::default() };
        };
        let is_for_later = self.history_is_stored || room.key().owner().is_some();
        let is_kept = self.keeps_lobby && room.key().room().is_some_and(|name| name.as_str() == limits::LOBBY);
        let ends_at = (!is_kept && (!is_for_later || room.kept() == 0)).then(|| since + self.kept_for);
        let worth =
            if room.is_spoken_in { usize::try_from(room.kept()).unwrap_or(usize::MAX).saturating_add(1) } else { 0 };
        let is_disposable = room.is_ordinary() && worth <= WORTH_MAX;
        Noted { ends_at, disposable: is_disposable.then_some((worth, since)), listed }
    }

    /// Updates the entries of a room that has changed.
    pub(super) fn note(&mut self, id: RoomId, room: &mut Room) {
        let (before, after) = (room.noted, self.noted_now(room));
        if before == after {
            return;
        }
        room.noted = after;
        if before.ends_at != after.ends_at {
            before.ends_at.map(|at| self.by_end.remove(&(at, id)));
            self.by_end.extend(after.ends_at.map(|at| (at, id)));
        }
        if before.disposable != after.disposable {
            if let Some((worth, since)) = before.disposable
                && let Some(rooms) = self.disposable.get_mut(worth)
            {
                rooms.remove(&(since, id));
            }
            if let Some((worth, since)) = after.disposable
                && let Some(rooms) = self.disposable.get_mut(worth)
            {
                rooms.insert((since, id));
            }
        }
        if before.listed != after.listed {
            before.listed.map(|count| self.listed.remove(&(Reverse(count), id)));
            self.listed.extend(after.listed.map(|count| (Reverse(count), id)));
        }
    }

    /// The first room whose time has passed.
    pub(super) fn first_over(&self, now: Instant) -> Option<RoomId> {
        self.by_end.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }

    /// The room to drop first for another one: the longest empty room without any message. If there is none, the room
    /// with the fewest messages among those that have been empty for at least `kept_for`.
    pub(super) fn first_disposable(&self, now: Instant) -> Option<RoomId> {
        let (silent, spoken_in) = self.disposable.split_first()?;
        let is_over = |(since, _): &&(Instant, RoomId)| now.saturating_duration_since(*since) >= self.kept_for;
        let spoken_in = spoken_in.iter().filter_map(|rooms| rooms.first().filter(is_over));
        silent.first().into_iter().chain(spoken_in).next().map(|(_, id)| *id)
    }

    /// The listed rooms, those with the most members first.
    pub(super) fn listed(&self) -> impl Iterator<Item = RoomId> + '_ {
        self.listed.iter().map(|(_, id)| *id)
    }

    /// Panics if the entries of a room do not match its state. For tests.
    pub(super) fn check(&self, id: RoomId, room: &Room) {
        let noted = self.noted_now(room);
        assert_eq!(room.noted, noted, "{id:?} is noted where it belongs");
        assert!(noted.ends_at.is_none_or(|at| self.by_end.contains(&(at, id))));
        assert!(noted.disposable.is_none_or(|(worth, since)| {
            self.disposable.get(worth).is_some_and(|rooms| rooms.contains(&(since, id)))
        }));
        assert!(noted.listed.is_none_or(|count| self.listed.contains(&(Reverse(count), id))));
    }
}
