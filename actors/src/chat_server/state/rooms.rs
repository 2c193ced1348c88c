//! Rooms: who is in them, and who is told of it.

use std::collections::BTreeSet;

use starling_protocol::{
    ClientId, Epoch, ErrorCode, JoinedEvent, MembersEvent, MessageId, Refusal, Resume, RoomName, ServerEvent, limits,
};

use super::{CatchingUp, ChatState, Unanswered, tell};
use crate::chat_server::command::{Effect, OpenRefusal};
use crate::clock::Now;
use crate::history::RoomKey;
use crate::ids::{RoomId, SessionId};
use crate::room::{PresenceDue, Room};

impl ChatState {
    pub(super) fn find_or_make_room(&mut self, name: &RoomName, now: Now, effects: &mut Vec<Effect>) -> Option<RoomId> {
        if let Some(room) = self.rooms_by_name.get(name) {
            return Some(*room);
        }
        if !self.make_space_for(name, now, effects) {
            return None;
        }
        let epoch = Epoch(self.numbers.draw());
        let slot = self.rooms.insert(Room::new(RoomKey::Room(name.clone()), epoch, now.at));
        let room = RoomId(u32::try_from(slot).ok()?);
        self.rooms_by_name.insert(name.clone(), room);
        self.note_may_end(room);
        self.note_silence(room);
        Some(room)
    }

    pub(super) fn first_room(&self, session: SessionId) -> Result<RoomId, Refusal> {
        let first = self.sessions.get(session).and_then(|member| member.rooms.first().copied());
        first.ok_or_else(|| Refusal::new(ErrorCode::NotAMember, "you are in no room"))
    }

    /// The room of this name, if the session is in it.
    pub(super) fn own_room(&self, session: SessionId, name: &RoomName) -> Result<RoomId, Refusal> {
        let member = self.sessions.get(session);
        let room = self.rooms_by_name.get(name).filter(|room| member.is_some_and(|m| m.rooms.contains(room)));
        room.copied().ok_or_else(|| Refusal::new(ErrorCode::NotAMember, format!("you are not in the room {name}")))
    }

    pub(super) fn existing_room(&self, name: &RoomName) -> Result<RoomId, Refusal> {
        let room = self.rooms_by_name.get(name).copied();
        room.ok_or_else(|| Refusal::new(ErrorCode::NoSuchRoom, format!("there is no room {name}")))
    }

    /// The room of this name. `None`: it is the global chat, which is there for everybody who asks, and nobody has
    /// entered it yet.
    pub(super) fn lobby_or_existing_room(&self, name: &RoomName) -> Result<Option<RoomId>, Refusal> {
        match self.existing_room(name) {
            Err(_) if name.as_str() == limits::LOBBY => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Whether what the session has proven lets it be in a room and read there.
    pub(super) fn permit(&self, session: SessionId, name: &RoomName) -> Result<(), Refusal> {
        let claims = self.sessions.get(session).and_then(|member| member.claims.as_ref());
        if claims.is_none_or(|claims| claims.rooms.allow(name)) {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::Forbidden, OpenRefusal::RoomClosed(name.clone()).to_string()))
    }

    /// Whether another connection of this client is in the room.
    pub(super) fn has_company(&self, session: SessionId, client_id: &ClientId, room: RoomId) -> bool {
        let holders = self.names.get(client_id).into_iter().flatten();
        let mut others = holders.filter(|other| **other != session).filter_map(|other| self.sessions.get(*other));
        others.any(|other| other.rooms.contains(&room))
    }

    /// Makes a session a member, without admitting it to what is delivered.
    pub(super) fn enter(
        &mut self,
        session: SessionId,
        room: RoomId,
        presence: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        self.end_silence(room);
        let Some(member) = self.sessions.get_mut(session) else { return };
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        let wanted = presence || member.watch_presence;
        if member.rooms.contains(&room) {
            entry.watch(session, wanted);
            return;
        }
        member.rooms.push(room);
        entry.insert(session);
        let name = member.client_id.clone();
        if self.has_company(session, &name, room) {
            // The client is here already, with another connection.
            if let Some(entry) = self.rooms.get_mut(room.0 as usize) {
                entry.doubles += 1;
            }
        } else {
            // Told before it watches: the newcomer learns of itself by `joined`.
            self.note_presence(room, Some(&name), None, now, effects);
        }
        if let Some(entry) = self.rooms.get_mut(room.0 as usize) {
            entry.watch(session, wanted);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one command, taken apart for the caller's match")]
    pub(super) fn join(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        name: &RoomName,
        resume: Option<Resume>,
        presence: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        self.permit(session, name)?;
        let (rooms, is_member) = self.sessions.get(session).map_or((0, false), |member| {
            let known = self.rooms_by_name.get(name);
            (member.rooms.len(), known.is_some_and(|room| member.rooms.contains(room)))
        });
        if !is_member && rooms >= self.config.rooms_per_session as usize {
            let text = format!("you are in {rooms} rooms, as many as you may be");
            return Err(Refusal::new(ErrorCode::TooManyRooms, text));
        }
        let Some(room) = self.find_or_make_room(name, now, effects) else {
            return Err(Refusal::new(ErrorCode::TooManyRooms, OpenRefusal::TooManyRooms.to_string()));
        };
        self.enter(session, room, presence, now, effects);
        self.resume(session, id, room, resume, is_member, effects);
        Ok(())
    }

    /// Lets a session resume in a room that it is in or in its inbox, once its proof holds.
    pub(super) fn resume(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        room: RoomId,
        resume: Option<Resume>,
        is_member: bool,
        effects: &mut Vec<Effect>,
    ) {
        self.answer_unproven(session, room, effects);
        let Some(entry) = self.rooms.get(room.0 as usize) else { return };
        let provable =
            resume.filter(|from| from.at.is_some() && entry.can_recover(*from) && from.after >= entry.oldest);
        let Some(resume) = provable else {
            return self.tell_joined(session, id, room, resume, is_member, effects);
        };
        self.unanswered.insert((session, room), Unanswered { id, resume, is_member });
        effects.push(Effect::Read(self.proof_request(session, room, resume.after)));
    }

    /// Tells a session that it is in a room or has its inbox, lets it catch up from where it resumes, and admits it to
    /// what is new.
    pub(super) fn tell_joined(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        room: RoomId,
        resume: Option<Resume>,
        is_member: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.rooms.get(room.0 as usize) else { return };
        let recovered = resume.map(|from| entry.can_recover(from));
        let joined = JoinedEvent {
            id,
            room: entry.key.room().cloned(),
            inbox: entry.key.owner().is_some(),
            seq: entry.seq,
            epoch: entry.epoch,
            count: entry.count(),
            recovered,
        };
        let missed_from = resume.filter(|_| recovered == Some(true)).map(|from| from.after);
        let missed_from = missed_from.filter(|after| *after < entry.seq);
        let before = self.replays.get(&(session, room)).copied();
        if is_member && missed_from.is_some() && before.is_none() {
            // What is new waits until what was missed has been written.
            effects.push(Effect::Dismiss { session, room });
        }
        effects.push(tell(session, ServerEvent::Joined(joined)));
        if let Some(after) = missed_from {
            // What is being written goes first; what is being read for an earlier `after` will be dropped.
            let is_reading = before.is_none_or(|before| before.is_reading);
            self.replays.insert((session, room), CatchingUp { after, is_reading });
            if is_reading {
                effects.push(Effect::Read(self.replay_request(session, room, after)));
            }
        } else {
            // Who resumes, and has nothing to get that way, gets what is new.
            let has_caught_up = resume.is_some() && self.replays.remove(&(session, room)).is_some();
            if !is_member || has_caught_up {
                effects.push(Effect::Admit { session, room });
            }
        }
    }

    pub(super) fn leave(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        name: &RoomName,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let room = self.own_room(session, name)?;
        self.answer_unproven(session, room, effects);
        let Some(member) = self.sessions.get_mut(session) else { return Ok(()) };
        member.rooms.retain(|other| *other != room);
        let client_id = member.client_id.clone();
        effects.push(Effect::Dismiss { session, room });
        effects.push(tell(session, ServerEvent::Left { id, room: name.clone() }));
        self.has_left(session, &client_id, room, now, effects);
        Ok(())
    }

    /// Takes a session out of a room that it does not know of any more.
    pub(super) fn has_left(
        &mut self,
        session: SessionId,
        client_id: &ClientId,
        room: RoomId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        self.replays.remove(&(session, room));
        self.unanswered.remove(&(session, room));
        let has_company = self.has_company(session, client_id, room);
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        entry.remove(session, now.at);
        self.note_may_end(room);
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        if has_company {
            entry.doubles = entry.doubles.saturating_sub(1);
        } else {
            self.note_presence(room, None, Some(client_id), now, effects);
        }
        self.note_silence(room);
    }

    pub(super) fn tell_members(
        &self,
        session: SessionId,
        id: Option<MessageId>,
        name: &RoomName,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        self.permit(session, name)?;
        let room = self.lobby_or_existing_room(name)?;
        let entry = room.and_then(|room| self.rooms.get(room.0 as usize));
        let count = entry.map_or(0, Room::count);
        let members = entry.into_iter().flat_map(Room::members).filter_map(|member| self.sessions.get(member));
        let mut listed = BTreeSet::new();
        for member in members {
            if listed.len() == limits::MEMBERS_LISTED_MAX {
                break;
            }
            listed.insert(&member.client_id);
        }
        let client_ids: Vec<ClientId> = listed.into_iter().cloned().collect();
        let truncated = count as usize > client_ids.len();
        effects.push(tell(
            session,
            ServerEvent::Members(MembersEvent { id, room: name.clone(), count, client_ids, truncated }),
        ));
        Ok(())
    }

    pub(super) fn watch_presence(&mut self, session: SessionId, wanted: bool) {
        if let Some(unproven) = self.unproven.get_mut(&session) {
            unproven.open.watch_presence = wanted;
        }
        let Some(member) = self.sessions.get_mut(session) else { return };
        member.watch_presence = wanted;
        for room in &member.rooms {
            if let Some(entry) = self.rooms.get_mut(room.0 as usize) {
                entry.watch(session, wanted);
            }
        }
    }

    pub(super) fn note_presence(
        &mut self,
        room: RoomId,
        joined: Option<&ClientId>,
        left: Option<&ClientId>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        entry.note_presence(joined, left);
        self.send_presence(room, now, effects);
    }

    pub(super) fn send_presence(&mut self, room: RoomId, now: Now, effects: &mut Vec<Effect>) {
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        match entry.take_presence(now.at) {
            PresenceDue::Nothing => {}
            PresenceDue::Later => {
                if !self.presence_due.contains(&room) {
                    self.presence_due.push(room);
                }
            }
            PresenceDue::Now(event, sessions) => {
                effects.push(Effect::TellMany { sessions, event: Box::new(ServerEvent::Presence(event)) });
            }
        }
    }
}
