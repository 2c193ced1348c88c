//! Sessions and the names they hold.

use std::sync::Arc;

use smallvec::SmallVec;
use starling_protocol::{
    ClientId, ClientKey, CloseCode, ErrorCode, InboxPosition, MessageId, PROTOCOL_VERSION, Refusal, RoomPosition,
    ServerEvent, Welcome,
};

use super::{ChatState, Member, tell};
use crate::chat_server::command::{Effect, OpenRefusal, OpenSession};
use crate::clock::Now;
use crate::identity::{Claims, IdOwner, Identity};
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

    fn take_part(&mut self, open: &OpenSession, now: Now, effects: &mut Vec<Effect>) -> Result<(), OpenRefusal> {
        // Before the claim: who is refused must not have lost its old connection.
        if let Some(name) = &open.client_id {
            self.may_claim(name, open.key)?;
        }
        if !self.make_space_for(&open.room, now, effects) {
            return Err(OpenRefusal::TooManyRooms);
        }
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
        let room = self.find_or_make_room(&open.room, now, effects).ok_or(OpenRefusal::TooManyRooms)?;
        let inbox = match &claims {
            Some(_) if self.config.private_is_kept => {
                Some(self.find_or_make_inbox(&client_id, now, effects).ok_or(OpenRefusal::Unavailable)?)
            }
            Some(_) | None => None,
        };
        self.names.entry(client_id.clone()).or_default().push(open.session);
        let owner = match &claims {
            Some(_) => IdOwner::authenticated(&client_id),
            None => IdOwner::keyed(&client_id, key),
        };
        let (rooms, watch_presence) = (SmallVec::new(), open.watch_presence);
        let proven_until = None;
        let errors_in_a_row = 0;
        let member =
            Member { client_id, key, owner, claims, proven_until, inbox, rooms, watch_presence, errors_in_a_row };
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

    /// Which session loses `name` to whoever shows `key`; `None` where nobody holds it.
    ///
    /// # Errors
    /// Another client holds the name, or it is a guest's.
    pub(super) fn may_claim(&self, name: &ClientId, key: Option<ClientKey>) -> Result<Option<SessionId>, OpenRefusal> {
        let holder = self.names.get(name).and_then(|holders| holders.first().copied());
        let holds_key = holder.is_some_and(|holder| self.sessions.get(holder).is_some_and(|m| Some(m.key) == key));
        match holder {
            Some(holder) if holds_key => Ok(Some(holder)),
            None if !name.is_guest() => Ok(None),
            Some(_) | None if name.is_guest() => Err(OpenRefusal::NameReserved),
            Some(_) | None => Err(OpenRefusal::NameTaken(name.clone())),
        }
    }

    /// Frees `name` for whoever shows `key`, if that one may have it, and returns the key that is shown: it becomes the
    /// client's own. So a client keeps its key, and what is remembered of it, also over a restart of the server.
    pub(super) fn claim(
        &mut self,
        name: Option<&ClientId>,
        key: Option<ClientKey>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Option<ClientKey>, OpenRefusal> {
        let Some(name) = name else { return Ok(None) };
        if let Some(holder) = self.may_claim(name, key)? {
            self.replace(holder, now, effects);
        }
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
        let shown = self
            .claim(Some(name), key, now, effects)
            .map_err(|refusal| Refusal::new(refusal.error_code(), refusal.to_string()))?;
        let Some(member) = self.sessions.get_mut(session) else { return Ok(()) };
        let old = std::mem::replace(&mut member.client_id, name.clone());
        member.key = shown.unwrap_or(member.key);
        member.owner = member.owner_of_ids();
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
        let first = member.rooms.first().and_then(|room| self.rooms.get(room.0 as usize));
        let first_room = first.and_then(|entry| {
            Some(RoomPosition { room: entry.key.room()?.clone(), seq: entry.seq, epoch: entry.epoch })
        });
        let inbox = member.inbox.and_then(|inbox| self.rooms.get(inbox.0 as usize));
        let welcome = Welcome {
            id,
            protocol: PROTOCOL_VERSION,
            server: self.config.server.clone(),
            client_id: member.client_id.clone(),
            first_room,
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
