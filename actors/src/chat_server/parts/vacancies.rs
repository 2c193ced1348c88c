//! The rooms in three orders: by the time of their end, by their priority for being dropped from a full table, and by
//! their position in the list of rooms.
//!
//! An ordered set holds each order, so a lookup stays fast with many rooms.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use starling_protocol::{RoomName, limits};

use super::room::{Noted, Room, Worth};
use crate::clock::Instant;
use crate::config::ChatConfig;
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
    /// Most messages that the history keeps of a room without a limit of its own.
    messages_max: u64,
    /// Whether there are other nodes. Then the lobby never ends, and the log alone says which room is dropped first.
    follows_log: bool,
    by_end: BTreeSet<(Instant, RoomId)>,
    /// One set for each worth, with the longest empty room first. The name decides between rooms that are empty for
    /// equally long, because each node has its own numbers of rooms.
    disposable: [BTreeSet<(Instant, RoomName, RoomId)>; WORTH_MAX + 1],
    listed: BTreeSet<(Reverse<u32>, RoomId)>,
}

impl Vacancies {
    pub(super) fn new(config: &ChatConfig) -> Self {
        Self {
            kept_for: config.empty_room_kept,
            history_is_stored: config.history_is_stored,
            messages_max: config.history_keep_messages,
            follows_log: false,
            by_end: BTreeSet::new(),
            disposable: Default::default(),
            listed: BTreeSet::new(),
        }
    }

    /// There are other nodes. Called before there are rooms.
    pub(super) fn follow_log(&mut self) {
        self.follows_log = true;
    }

    pub(super) fn follows_log(&self) -> bool {
        self.follows_log
    }

    /// The keys that the room should have in the ordered sets.
    fn noted_now(&self, room: &Room) -> Noted {
        if room.ended.is_some() {
            return Noted::default();
        }
        let listed = room.is_listed().then(|| room.count());
        let Some(since) = room.empty_since() else {
            return Noted { listed, ..Noted::default() };
        };
        let is_quiet = room.in_flight == 0;
        let is_for_later = self.history_is_stored || room.key().owner().is_some();
        let is_kept = self.follows_log && room.key().room().is_some_and(|name| name.as_str() == limits::LOBBY);
        let has_nothing = room.kept() == 0 && !room.lacks_messages;
        let ends_at = (is_quiet && !is_kept && (!is_for_later || has_nothing)).then(|| since + self.kept_for);
        let is_disposable = room.is_ordinary() && (is_quiet || self.follows_log);
        let worth = self.worth(room).filter(|_| is_disposable);
        Noted { ends_at, disposable: worth.map(|worth| (worth, since)), listed }
    }

    /// The worth of a room that may be dropped for another one. Nodes may keep different messages, so with other nodes
    /// the messages count that the log has placed.
    fn worth(&self, room: &Room) -> Option<Worth> {
        let most = room.kept_at_most.unwrap_or(self.messages_max);
        let kept = if self.follows_log { room.said.min(most) } else { room.kept() };
        let worth = if room.said > 0 { usize::try_from(kept).ok()?.checked_add(1)? } else { 0 };
        (worth <= WORTH_MAX).then_some(worth)
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
            if let Some((worth, entry)) = disposable(id, room, before)
                && let Some(rooms) = self.disposable.get_mut(worth)
            {
                rooms.remove(&entry);
            }
            if let Some((worth, entry)) = disposable(id, room, after)
                && let Some(rooms) = self.disposable.get_mut(worth)
            {
                rooms.insert(entry);
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
        let is_over =
            |(since, ..): &&(Instant, RoomName, RoomId)| now.saturating_duration_since(*since) >= self.kept_for;
        let spoken_in = spoken_in.iter().filter_map(|rooms| rooms.first().filter(is_over));
        silent.first().into_iter().chain(spoken_in).next().map(|(.., id)| *id)
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
        assert!(
            disposable(id, room, noted).is_none_or(|(worth, entry)| {
                self.disposable.get(worth).is_some_and(|rooms| rooms.contains(&entry))
            })
        );
        assert!(noted.listed.is_none_or(|count| self.listed.contains(&(Reverse(count), id))));
    }
}

/// The set of the worth that a room has, and its entry there.
fn disposable(id: RoomId, room: &Room, noted: Noted) -> Option<(Worth, (Instant, RoomName, RoomId))> {
    let ((worth, since), name) = noted.disposable.zip(room.key().room())?;
    Some((worth, (since, name.clone(), id)))
}
