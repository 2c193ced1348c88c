//! Sessions and the names they hold.

use std::sync::Arc;

use smallvec::SmallVec;
use starling_protocol::{
    ClientId, ClientKey, CloseCode, Epoch, ErrorCode, InboxPosition, MessageId, PROTOCOL_VERSION, Refusal, RoomName,
    Seq, ServerEvent, Welcome, limits,
};

use super::{ChatState, Member, tell};
use crate::chat_server::command::{Effect, OpenRefusal, OpenSession};
use crate::clock::Now;
use crate::identity::{Claims, Identity};
use crate::ids::SessionId;

impl ChatState {
    pub(super) fn open_session(&mut self, open: OpenSession, now: Now, effects: &mut Vec<Effect>) {
        let outcome = match &open.identity {
            Identity::Open => self.take_part(&open, now, effects),
            Identity::Proven(claims) => self.take_part_as(&open, claims, None, now, effects),
            Identity::Unproven => return self.await_proof(open, now, effects),
        };
        if let Err(refusal) = outcome {
            effects.push(Effect::RefuseSession { session: open.session, refusal });
        }
    }

    /// Whether a session may enter a room of this name, for the number of rooms there are.
    pub(super) fn has_space_for(&self, room: &RoomName) -> Result<(), OpenRefusal> {
        let is_full = self.rooms_by_name.len() >= self.config.rooms as usize;
        if is_full && !self.rooms_by_name.contains_key(room) { Err(OpenRefusal::TooManyRooms) } else { Ok(()) }
    }

    fn take_part(&mut self, open: &OpenSession, now: Now, effects: &mut Vec<Effect>) -> Result<(), OpenRefusal> {
        // Before the claim: who is refused must not have lost its old connection.
        self.has_space_for(&open.room)?;
        let key = self.claim(open.client_id.as_ref(), open.key, now, effects)?.unwrap_or(open.fresh_key);
        let client_id = open.client_id.clone().unwrap_or_else(|| self.draw_guest_name());
        self.add_session(open, client_id, key, None, None, now, effects)
    }

    /// Adds a session, welcomed and in its room.
    #[expect(clippy::too_many_arguments, reason = "what a session begins with")]
    pub(super) fn add_session(
        &mut self,
        open: &OpenSession,
        client_id: ClientId,
        key: ClientKey,
        claims: Option<Arc<Claims>>,
        id: Option<MessageId>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), OpenRefusal> {
        let room = self.find_or_make_room(&open.room, now).ok_or(OpenRefusal::TooManyRooms)?;
        let inbox = match &claims {
            Some(_) if self.config.private_is_kept => Some(self.find_or_make_inbox(&client_id, now)?),
            Some(_) | None => None,
        };
        self.names.entry(client_id.clone()).or_default().push(open.session);
        let (rooms, watch_presence) = (SmallVec::new(), open.watch_presence);
        let proven_until = None;
        let member = Member { client_id, key, claims, proven_until, inbox, rooms, watch_presence, errors_in_a_row: 0 };
        self.sessions.insert(open.session, member);
        // Its welcome comes before anything that is said in the room.
        self.enter(open.session, room, false, now, effects);
        self.tell_welcome(open.session, id, effects);
        effects.push(Effect::Admit { session: open.session, room });
        if let Some(inbox) = inbox {
            self.open_inbox(open.session, inbox, effects);
        }
        Ok(())
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
        let holder = self.names.get(name).and_then(|holders| holders.first().copied());
        let Some(holder) = holder else {
            return if name.is_guest() { Err(OpenRefusal::NameReserved) } else { Ok(None) };
        };
        let holds_key = self.sessions.get(holder).is_some_and(|member| Some(member.key) == key);
        if !holds_key {
            return Err(if name.is_guest() { OpenRefusal::NameReserved } else { OpenRefusal::NameTaken(name.clone()) });
        }
        self.replace(holder, now, effects);
        Ok(key)
    }

    pub(super) fn replace(&mut self, holder: SessionId, now: Now, effects: &mut Vec<Effect>) {
        self.close_session(holder, now, effects);
        let reason = "replaced by a newer connection of the same client";
        effects.push(Effect::Close { session: holder, code: CloseCode::Replaced, reason });
    }

    /// Closes all connections of a client, and returns how many there were.
    pub(super) fn remove_client(&mut self, name: &ClientId, now: Now, effects: &mut Vec<Effect>) -> usize {
        let holders = self.names.get(name).cloned().unwrap_or_default();
        for session in &holders {
            self.close_session(*session, now, effects);
            let reason = "removed by an operator";
            effects.push(Effect::Close { session: *session, code: CloseCode::Removed, reason });
        }
        holders.len()
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
        let Some(member) = self.sessions.get(session) else { return Ok(()) };
        if member.client_id == *name {
            return Ok(());
        }
        if member.claims.is_some() {
            return Err(Refusal::new(ErrorCode::Forbidden, "here a name comes with a token"));
        }
        let taken_back = self
            .claim(Some(name), key, now, effects)
            .map_err(|refusal| Refusal::new(refusal.error_code(), refusal.to_string()))?;
        let Some(member) = self.sessions.get_mut(session) else { return Ok(()) };
        let old = std::mem::replace(&mut member.client_id, name.clone());
        if let Some(key) = taken_back {
            member.key = key;
        }
        let rooms = member.rooms.clone();
        self.names.remove(&old);
        self.names.insert(name.clone(), SmallVec::from_elem(session, 1));
        for room in rooms {
            self.note_presence(room, Some(name), Some(&old), now, effects);
        }
        Ok(())
    }

    pub(super) fn close_session(&mut self, session: SessionId, now: Now, effects: &mut Vec<Effect>) {
        if let Some(unproven) = self.unproven.remove(&session) {
            self.deadlines.remove(&(unproven.until, session));
        }
        let Some(member) = self.sessions.remove(session) else { return };
        if let Some(until) = member.proven_until {
            self.deadlines.remove(&(until, session));
        }
        if let Some(holders) = self.names.get_mut(&member.client_id) {
            holders.retain(|holder| *holder != session);
            if holders.is_empty() {
                self.names.remove(&member.client_id);
            }
        }
        for room in member.rooms {
            effects.push(Effect::Dismiss { session, room });
            self.has_left(session, &member.client_id, room, now, effects);
        }
        if let Some(inbox) = member.inbox {
            effects.push(Effect::Dismiss { session, room: inbox });
            self.close_inbox(session, inbox, now, effects);
        }
    }

    pub(super) fn tell_welcome(&self, session: SessionId, id: Option<MessageId>, effects: &mut Vec<Effect>) {
        let Some(member) = self.sessions.get(session) else { return };
        // A session that left all its rooms is told of the lobby, whether or not that exists at the moment.
        let first = member.rooms.first().copied().or_else(|| self.find_room(limits::LOBBY));
        let first = first.and_then(|room| self.rooms.get(room.0 as usize));
        let inbox = member.inbox.and_then(|inbox| self.rooms.get(inbox.0 as usize));
        let welcome = Welcome {
            id,
            protocol: PROTOCOL_VERSION,
            server: self.config.server.clone(),
            client_id: member.client_id.clone(),
            room: first.and_then(|room| room.key.room().cloned()).unwrap_or_else(RoomName::lobby),
            seq: first.map_or(Seq(0), |room| room.seq),
            epoch: first.map_or(Epoch(0), |room| room.epoch),
            inbox: inbox.map(|inbox| InboxPosition { seq: inbox.seq, epoch: inbox.epoch }),
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
