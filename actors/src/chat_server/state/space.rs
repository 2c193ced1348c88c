//! Space in full tables, and the end of rooms and inboxes: nobody is kept out by what another has left behind.

use std::time::Instant;

use starling_protocol::{JoinedEvent, RoomName, ServerEvent, limits};

use super::{ChatState, tell};
use crate::chat_server::command::{DropError, DropReply, Effect};
use crate::clock::Now;
use crate::history::RoomKey;
use crate::ids::RoomId;
use crate::room::Room;

/// A room with more kept messages is never dropped for another one.
pub(super) const DISPOSABLE_MESSAGES_MAX: u64 = 16;

/// How long after a look at all rooms for those that can be dropped the next one may come.
const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

impl ChatState {
    /// Whether there is space for a room of this name: it exists, the table is not full, or a room could be dropped for
    /// it. The lobby always has space.
    ///
    /// A full table drops an empty room in which nothing was said, the one that is empty for longest; without one, an
    /// empty room that has been kept for as long as it must, and has few messages, the fewest first.
    pub(super) fn make_space_for(&mut self, room: &RoomName, now: Now, effects: &mut Vec<Effect>) -> bool {
        let is_full = self.rooms_by_name.len() >= self.config.rooms as usize;
        if !is_full || room.as_str() == limits::LOBBY || self.rooms_by_name.contains_key(room) {
            return true;
        }
        let silent = self.silent.pop_first().and_then(|(_, name)| self.rooms_by_name.get(&name).copied());
        let Some(chosen) = silent.or_else(|| self.next_small_room(now)) else { return false };
        self.dropped_for_space += 1;
        self.end_room(chosen, None, effects);
        true
    }

    fn next_small_room(&mut self, now: Now) -> Option<RoomId> {
        loop {
            while let Some((room, since)) = self.small.pop() {
                let entry = self.rooms.get(room.0 as usize);
                if entry.is_some_and(|entry| entry.empty_since == Some(since) && self.is_small(entry, now)) {
                    return Some(room);
                }
            }
            if self.looked_for_small.is_some_and(|at| now.at.saturating_duration_since(at) < LOOK_INTERVAL) {
                return None;
            }
            self.looked_for_small = Some(now.at);
            let small = self.rooms_by_name.values().filter_map(|id| {
                let entry = self.rooms.get(id.0 as usize).filter(|entry| self.is_small(entry, now))?;
                Some((entry.kept_messages(), entry.empty_since?, *id))
            });
            let mut small: Vec<(u64, Instant, RoomId)> = small.collect();
            small.sort_unstable();
            // One look serves many: it costs as much as there are rooms.
            small.truncate(self.rooms_by_name.len().div_ceil(100));
            self.small = small.into_iter().rev().map(|(_, since, room)| (room, since)).collect();
        }
    }

    fn is_small(&self, entry: &Room, now: Now) -> bool {
        let kept = self.config.empty_room_kept;
        let is_over = entry.empty_since.is_some_and(|since| now.at.saturating_duration_since(since) >= kept);
        let is_lobby = entry.key.room().is_none_or(|name| name.as_str() == limits::LOBBY);
        is_over && !is_lobby && entry.pending.is_empty() && entry.kept_messages() <= DISPOSABLE_MESSAGES_MAX
    }

    /// Notes whether a room is one in which nothing was said and nobody is.
    pub(super) fn note_silence(&mut self, room: RoomId) {
        let Some(entry) = self.rooms.get(room.0 as usize) else { return };
        let (Some(name), Some(since)) = (entry.key.room(), entry.empty_since) else { return };
        if entry.is_silent() && name.as_str() != limits::LOBBY && self.rooms_by_name.get(name) == Some(&room) {
            self.silent.insert((since, name.clone()));
        }
    }

    /// A room is entered, spoken in, or ends: it is no longer one that nobody needs.
    pub(super) fn end_silence(&mut self, room: RoomId) {
        let Some(entry) = self.rooms.get(room.0 as usize).filter(|entry| entry.is_silent()) else { return };
        if let (Some(name), Some(since)) = (entry.key.room(), entry.empty_since) {
            self.silent.remove(&(since, name.clone()));
        }
    }

    /// Drops a room or an inbox with all that was said in it, for an operator. Its members are told that they have left;
    /// the owner of an inbox who is here is given an empty one.
    pub(super) fn drop_room(&mut self, key: &RoomKey, reply: DropReply, now: Now, effects: &mut Vec<Effect>) {
        let known = match key {
            RoomKey::Room(name) => self.rooms_by_name.get(name),
            RoomKey::Inbox(owner) => self.inboxes.get(owner),
        };
        let Some(room) = known.copied() else {
            // Whoever asked may have gone.
            return reply.send(Err(DropError::NotThere)).unwrap_or_default();
        };
        let members: Vec<_> = self.rooms.get(room.0 as usize).into_iter().flat_map(Room::members).collect();
        for session in &members {
            self.answer_unproven(*session, room, effects);
            effects.push(Effect::Dismiss { session: *session, room });
            self.replays.remove(&(*session, room));
            if let (RoomKey::Room(name), Some(member)) = (key, self.sessions.get_mut(*session)) {
                member.rooms.retain(|other| *other != room);
                effects.push(tell(*session, ServerEvent::Left { id: None, room: name.clone() }));
            }
            if let Some(entry) = self.rooms.get_mut(room.0 as usize) {
                entry.remove(*session, now.at);
            }
        }
        self.end_room(room, Some(reply), effects);
        let RoomKey::Inbox(owner) = key else { return };
        if members.is_empty() {
            return;
        }
        let Some(fresh) = self.find_or_make_inbox(owner, now, effects) else { return };
        let Some(entry) = self.rooms.get_mut(fresh.0 as usize) else { return };
        for session in &members {
            entry.insert(*session);
        }
        let (seq, epoch, count) = (entry.seq, entry.epoch, entry.count());
        for session in members {
            if let Some(member) = self.sessions.get_mut(session) {
                member.inbox = Some(fresh);
            }
            let joined = JoinedEvent { id: None, room: None, inbox: true, seq, epoch, count, recovered: None };
            effects.push(tell(session, ServerEvent::Joined(joined)));
            effects.push(Effect::Admit { session, room: fresh });
        }
    }

    /// Ends a room that has no members: nobody finds it from now on, and its history is dropped when what waits to be
    /// stored is stored.
    pub(super) fn end_room(&mut self, room: RoomId, reply: Option<DropReply>, effects: &mut Vec<Effect>) {
        self.end_silence(room);
        self.unclaimed.remove(room);
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        match &entry.key {
            RoomKey::Room(name) => self.rooms_by_name.remove(name),
            RoomKey::Inbox(owner) => self.inboxes.remove(owner),
        };
        entry.ends = true;
        entry.drop_reply = reply;
        self.forget_ended(room, effects);
    }

    /// Forgets a room that has ended, once nothing of it waits to be stored.
    pub(super) fn forget_ended(&mut self, room: RoomId, effects: &mut Vec<Effect>) {
        let is_over = self.rooms.get(room.0 as usize).is_some_and(|entry| entry.ends && entry.pending.is_empty());
        if is_over {
            let reply = self.rooms.remove(room.0 as usize).drop_reply;
            effects.push(Effect::Forget { room, reply });
        }
    }
}
