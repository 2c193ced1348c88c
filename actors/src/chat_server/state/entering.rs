//! Sessions: how they open, close, and change their names.

use std::sync::Arc;

use starling_protocol::{
    ClientId, ClientKey, CloseCode, ErrorCode, InboxPosition, PROTOCOL_VERSION, Refusal, RoomPosition, ServerEvent,
    Welcome,
};

use super::ChatState;
use crate::chat_server::command::{Frame, NotDone, OpenRefusal, OpenSession, RemoveReply};
use crate::chat_server::effect::{Answer, Turn};
use crate::chat_server::parts::cluster::Tag;
use crate::chat_server::parts::participants::{NameClaim, Participant};
use crate::client_address::ClientAddress;
use crate::identity::{Claims, Identity};
use crate::ids::SessionId;
use crate::nodes::record::LogEntry;

impl ChatState {
    pub(super) fn open_session(&mut self, open: OpenSession, turn: &mut Turn) -> Result<(), OpenRefusal> {
        self.check_reachable()?;
        match open.identity.clone() {
            Identity::Open => self.take_part(&open, turn),
            Identity::Proven(claims) => {
                let mut frame = Frame { session: open.session, id: None, ticket: None };
                self.take_part_as(&open, &claims, &mut frame, turn)
            }
            Identity::Unproven => {
                self.await_proof(open, turn);
                Ok(())
            }
        }
    }

    /// With other nodes: only the log assigns names.
    pub(super) fn check_reachable(&self) -> Result<(), OpenRefusal> {
        let is_out_of_reach = self.cluster.as_ref().is_some_and(|cluster| !cluster.is_reachable);
        if is_out_of_reach { Err(OpenRefusal::Unavailable) } else { Ok(()) }
    }

    fn take_part(&mut self, open: &OpenSession, turn: &mut Turn) -> Result<(), OpenRefusal> {
        // Checked first: a client that is refused must keep its old connection.
        self.check_opening(open.who(), &open.room, turn)?;
        if let Some(name) = &open.client_id {
            self.check_claim(open.session, name, open.key)?;
        }
        self.make_space_for(&open.room, turn)?;
        let (name, shown) = match &open.client_id {
            Some(name) => (name.clone(), self.claim(open.session, name, open.key, turn)?),
            None => (self.guest_name(open.session)?, None),
        };
        let participant = Participant::new(name, shown.unwrap_or(open.fresh_key), None, open.address);
        self.add(open, participant, &mut Frame { session: open.session, id: None, ticket: None }, turn)
    }

    /// Adds a session and enters its room and its inbox. The welcome answers `frame`.
    pub(super) fn add(
        &mut self,
        open: &OpenSession,
        mut participant: Participant,
        frame: &mut Frame,
        turn: &mut Turn,
    ) -> Result<(), OpenRefusal> {
        let session = open.session;
        let room = self.find_or_make_room(&open.room, turn)?;
        if participant.is_authenticated() && self.config.private_is_kept {
            let inbox = self.claim_inbox(participant.name(), turn).ok_or(OpenRefusal::Unavailable)?;
            participant.inbox = Some(inbox);
        }
        participant.watches_presence = open.watch_presence;
        let inbox = participant.inbox;
        self.participants.add(session, participant);
        // The welcome comes before every message of the room.
        self.enter(session, room, false, turn);
        self.tell_welcome(frame, turn);
        self.tell_settings(session, room, turn);
        self.tell_positions(session, room, turn);
        turn.admit(session, room);
        if let Some(inbox) = inbox {
            self.tell_positions(session, inbox, turn);
            self.open_inbox(session, inbox, turn);
        }
        Ok(())
    }

    /// The name of a guest: the name that the log has assigned to the session, or a new one if there are no other
    /// nodes.
    fn guest_name(&mut self, session: SessionId) -> Result<ClientId, OpenRefusal> {
        let Some(cluster) = &mut self.cluster else { return Ok(self.draw_guest_name()) };
        let here = cluster.of_here(session);
        let granted = cluster.granted.take().filter(|name| cluster.names.holds(here, name));
        granted.ok_or(OpenRefusal::Unavailable)
    }

    pub(super) fn draw_guest_name(&mut self) -> ClientId {
        loop {
            let name = ClientId::guest(self.numbers.draw());
            let is_elsewhere = self.cluster.as_ref().is_some_and(|it| !it.names.holders(&name).is_empty());
            if self.participants.holders(&name).is_empty() && !is_elsewhere {
                return name;
            }
        }
    }

    /// Frees `name` for a client that shows `key`, if it may have the name. Returns the key, which becomes the
    /// session's own. So a client keeps its key, and the `id`s remembered for it, even after the server restarts.
    fn claim(
        &mut self,
        session: SessionId,
        name: &ClientId,
        key: Option<ClientKey>,
        turn: &mut Turn,
    ) -> Result<Option<ClientKey>, OpenRefusal> {
        if let NameClaim::HeldByItself(holder) = self.check_claim(session, name, key)? {
            self.replace(holder, turn);
        }
        Ok(key)
    }

    /// Whether a session that shows `key` may have `name`.
    ///
    /// # Errors
    /// See [`Participants::check_claim`](crate::chat_server::parts::participants::Participants::check_claim). With other
    /// nodes the log must have assigned the name to the session.
    pub(super) fn check_claim(
        &self,
        session: SessionId,
        name: &ClientId,
        key: Option<ClientKey>,
    ) -> Result<NameClaim, OpenRefusal> {
        let Some(cluster) = &self.cluster else { return self.participants.check_claim(name, key) };
        if cluster.names.holds(cluster.of_here(session), name) {
            Ok(NameClaim::Free)
        } else if name.is_guest() {
            Err(OpenRefusal::NameReserved)
        } else if cluster.names.holders(name).is_empty() {
            Ok(NameClaim::Free)
        } else {
            Err(OpenRefusal::NameTaken(name.clone()))
        }
    }

    /// Closes a session in favour of a newer one of the same client.
    pub(super) fn replace(&mut self, holder: SessionId, turn: &mut Turn) {
        self.note_positions_of_session(holder, turn);
        self.remove_session(holder, turn);
        turn.close(holder, CloseCode::Replaced, "replaced by a newer connection of the same client");
    }

    /// Closes all connections of a client, for an operator. With other nodes, those at all nodes.
    pub(super) fn remove_as_operator(&mut self, client_id: ClientId, reply: RemoveReply, turn: &mut Turn) {
        match &mut self.cluster {
            Some(cluster) if !cluster.is_reachable => turn.reply(Answer::Removed(reply, Err(NotDone::OutOfReach))),
            Some(cluster) => cluster.propose(LogEntry::Remove { client_id }, Some(Tag::Removed(reply))),
            None => {
                let count = self.remove_client(&client_id, turn);
                turn.reply(Answer::Removed(reply, Ok(count)));
            }
        }
    }

    /// Closes all connections of a client to this server and returns their number.
    pub(super) fn remove_client(&mut self, name: &ClientId, turn: &mut Turn) -> usize {
        let holders = self.participants.holders(name).to_vec();
        for session in &holders {
            self.close_session(*session, turn);
            turn.close(*session, CloseCode::Removed, "removed by an operator");
        }
        holders.len()
    }

    pub(super) fn hello(
        &mut self,
        frame: &mut Frame,
        name: Option<&ClientId>,
        key: Option<ClientKey>,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        if let Some(name) = name {
            self.rename(frame.session, name, key, turn)?;
        }
        self.tell_welcome(frame, turn);
        self.tell_all_positions(frame.session, turn);
        Ok(())
    }

    /// Gives a session another name.
    pub(super) fn rename(
        &mut self,
        session: SessionId,
        name: &ClientId,
        key: Option<ClientKey>,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let Some(participant) = self.participants.get(session).filter(|it| it.name() != name) else { return Ok(()) };
        if participant.is_authenticated() {
            return Err(Refusal::new(ErrorCode::Forbidden, "names come from tokens here: a name cannot be changed"));
        }
        self.check_name(session, name, turn)?;
        let shown = self.claim(session, name, key, turn)?;
        let hidden = self.hidden_histories(session);
        self.leave_positions(session, turn);
        let Some(old) = self.participants.rename(session, name, shown) else { return Ok(()) };
        self.take_over_histories(session, hidden, turn);
        let rooms = self.participants.get(session).map_or_else(Vec::new, |participant| participant.rooms().to_vec());
        for room in rooms {
            self.enter_in_log(room, name);
            self.leave_in_log(room, Some(&old));
            self.note_presence(room, Some(name), Some(&old), turn);
        }
        self.release_in_log(session, &old);
        self.expel_where_not_allowed(session, turn);
        Ok(())
    }

    /// Removes a session from the chat, whatever the cause, unless another one [replaces](Self::replace) it.
    pub(super) fn close_session(&mut self, session: SessionId, turn: &mut Turn) {
        self.leave_positions(session, turn);
        self.remove_session(session, turn);
    }

    fn remove_session(&mut self, session: SessionId, turn: &mut Turn) {
        self.proofs.remove(session);
        let Some(participant) = self.participants.remove(session) else { return };
        for room in participant.rooms() {
            turn.dismiss(session, *room);
            self.remove_from_room(session, participant.name(), *room, turn);
        }
        if let Some(inbox) = participant.inbox {
            turn.dismiss(session, inbox);
            self.close_inbox(session, inbox, turn);
        }
        self.release_in_log(session, participant.name());
    }

    fn release_in_log(&mut self, session: SessionId, name: &ClientId) {
        if let Some(cluster) = &mut self.cluster {
            cluster.propose(LogEntry::Release { name: name.clone(), session: session.number() }, None);
        }
    }

    pub(super) fn tell_welcome(&self, frame: &mut Frame, turn: &mut Turn) {
        let Some(participant) = self.participants.get(frame.session) else { return };
        let first_room = participant.rooms().first().and_then(|first| {
            let position = self.order.position(*first);
            let room = self.rooms.get(*first)?.key().room()?.clone();
            Some(RoomPosition { room, seq: position.seq, epoch: position.epoch })
        });
        let inbox = participant.inbox.map(|inbox| self.order.position(inbox));
        let welcome = Welcome {
            id: frame.id.take(),
            protocol: PROTOCOL_VERSION,
            server: self.config.server.clone(),
            client_id: participant.name().clone(),
            first_room,
            inbox: inbox.map(|inbox| InboxPosition { seq: inbox.seq, epoch: inbox.epoch }),
            key: participant.key(),
            heartbeat_ms: u64::try_from(self.config.heartbeat.as_millis()).unwrap_or(u64::MAX),
            limits: self.config.limits(),
        };
        turn.answer(frame, ServerEvent::Welcome(Box::new(welcome)));
    }

    /// A participant with the name and the rights in a token.
    pub(super) fn proven(claims: &Arc<Claims>, key: ClientKey, address: ClientAddress) -> Participant {
        Participant::new(claims.client_id.clone(), key, Some(Arc::clone(claims)), address)
    }
}
