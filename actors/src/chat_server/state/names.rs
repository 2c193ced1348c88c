//! Sessions and the names they hold.

use smallvec::SmallVec;
use starling_protocol::{
    ClientId, ClientKey, CloseCode, Epoch, ErrorCode, MessageId, PROTOCOL_VERSION, Refusal, RoomName, Seq, ServerEvent,
    Welcome, limits,
};

use super::{ChatState, Member, tell};
use crate::chat_server::command::{Effect, OpenRefusal, OpenSession};
use crate::clock::Now;
use crate::ids::SessionId;

impl ChatState {
    pub(super) fn open_session(&mut self, open: &OpenSession, now: Now, effects: &mut Vec<Effect>) {
        let refuse = |refusal| Effect::RefuseSession { session: open.session, refusal };
        // Before the claim: who is refused must not have lost its old connection.
        if !self.rooms_by_name.contains_key(&open.room) && self.rooms.len() >= self.config.rooms as usize {
            return effects.push(refuse(OpenRefusal::TooManyRooms));
        }
        let key = match self.claim(open.client_id.as_ref(), open.key, now, effects) {
            Ok(key) => key.unwrap_or(open.fresh_key),
            Err(refusal) => return effects.push(refuse(refusal)),
        };
        let Some(room) = self.find_or_make_room(&open.room, now) else {
            return effects.push(refuse(OpenRefusal::TooManyRooms));
        };
        let client_id = open.client_id.clone().unwrap_or_else(|| self.draw_guest_name());
        self.names.insert(client_id.clone(), open.session);
        let member =
            Member { client_id, key, rooms: SmallVec::new(), watch_presence: open.watch_presence, errors_in_a_row: 0 };
        self.sessions.insert(open.session, member);
        // Its welcome comes before anything that is said in the room.
        self.enter(open.session, room, false, now, effects);
        self.tell_welcome(open.session, None, effects);
        effects.push(Effect::Admit { session: open.session, room });
    }

    pub(super) fn draw_guest_name(&mut self) -> ClientId {
        loop {
            let name = ClientId::guest(self.numbers.draw());
            if !self.names.contains_key(&name) {
                return name;
            }
        }
    }

    /// Whether whoever shows `key` may have `name`. Frees the name if it is taken back from a dead connection; then
    /// the key stays the client's.
    pub(super) fn claim(
        &mut self,
        name: Option<&ClientId>,
        key: Option<ClientKey>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Option<ClientKey>, OpenRefusal> {
        let Some(name) = name else { return Ok(None) };
        let holder = self.names.get(name).copied();
        let Some(holder) = holder else {
            return if name.is_guest() { Err(OpenRefusal::NameReserved) } else { Ok(None) };
        };
        let holds_key = self.sessions.get(&holder).is_some_and(|member| Some(member.key) == key);
        if !holds_key {
            return Err(if name.is_guest() { OpenRefusal::NameReserved } else { OpenRefusal::NameTaken(name.clone()) });
        }
        self.close_session(holder, now, effects);
        let reason = "replaced by a newer connection of the same client";
        effects.push(Effect::Close { session: holder, code: CloseCode::Replaced, reason });
        Ok(key)
    }

    /// Gives a session another name.
    pub(super) fn rename(
        &mut self,
        session: SessionId,
        name: &ClientId,
        key: Option<ClientKey>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if self.sessions.get(&session).is_some_and(|member| member.client_id == *name) {
            return Ok(());
        }
        let taken_back = self.claim(Some(name), key, now, effects).map_err(|refusal| {
            let code = if name.is_guest() { ErrorCode::BadName } else { ErrorCode::NameTaken };
            Refusal::new(code, refusal.to_string())
        })?;
        let Some(member) = self.sessions.get_mut(&session) else { return Ok(()) };
        let old = std::mem::replace(&mut member.client_id, name.clone());
        if let Some(key) = taken_back {
            member.key = key;
        }
        let rooms = member.rooms.clone();
        self.names.remove(&old);
        self.names.insert(name.clone(), session);
        for room in rooms {
            self.note_presence(room, Some(name), Some(&old), now, effects);
        }
        Ok(())
    }

    pub(super) fn close_session(&mut self, session: SessionId, now: Now, effects: &mut Vec<Effect>) {
        let Some(member) = self.sessions.remove(&session) else { return };
        self.names.remove(&member.client_id);
        for room in member.rooms {
            self.replays.remove(&(session, room));
            if let Some(entry) = self.rooms.get_mut(room.0 as usize) {
                entry.remove(session, now.at);
            }
            effects.push(Effect::Dismiss { session, room });
            self.note_presence(room, None, Some(&member.client_id), now, effects);
        }
    }

    pub(super) fn tell_welcome(&self, session: SessionId, id: Option<MessageId>, effects: &mut Vec<Effect>) {
        let Some(member) = self.sessions.get(&session) else { return };
        // A session that left all its rooms is told of the lobby, whether or not that exists at the moment.
        let first = member.rooms.first().copied().or_else(|| self.find_room(limits::LOBBY));
        let first = first.and_then(|room| self.rooms.get(room.0 as usize));
        let welcome = Welcome {
            id,
            protocol: PROTOCOL_VERSION,
            server: self.config.server.clone(),
            client_id: member.client_id.clone(),
            room: first.map_or_else(RoomName::lobby, |room| room.name.clone()),
            seq: first.map_or(Seq(0), |room| room.seq),
            epoch: first.map_or(Epoch(0), |room| room.epoch),
            key: member.key,
            heartbeat_ms: u64::try_from(self.config.heartbeat.as_millis()).unwrap_or(u64::MAX),
            limits: self.config.limits(),
        };
        effects.push(tell(session, ServerEvent::Welcome(Box::new(welcome))));
    }

    pub(super) fn hello(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        client_id: Option<&ClientId>,
        key: Option<ClientKey>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if let Some(name) = client_id {
            self.rename(session, name, key, now, effects)?;
        }
        self.tell_welcome(session, id, effects);
        Ok(())
    }
}
