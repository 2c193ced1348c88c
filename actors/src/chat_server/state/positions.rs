//! Read positions: a client says how far it has read; its other connections, and where the server allows it the others of
//! a small room, are told.

use starling_protocol::{ChangedPlace, ClientId, ReadEvent, Refusal, Seq, ServerEvent, limits};

use super::ChatState;
use crate::chat_server::command::Frame;
use crate::chat_server::effect::{Effect, Turn};
use crate::chat_server::parts::participants::Participant;
use crate::chat_server::parts::positions::{FreshPosition, LostPosition, Reader};
use crate::chat_server::parts::room::Room;
use crate::identity::IdOwner;
use crate::ids::{RoomId, SessionId};
use crate::nodes::record::{LogEntry, ReadEntry};

impl ChatState {
    /// Handles a client's `read`. A `seq` beyond the newest message means the newest one.
    ///
    /// # Errors
    /// The connection is not in the room, or has no inbox.
    pub(super) fn has_read(
        &mut self,
        frame: &mut Frame,
        place: &ChangedPlace,
        seq: Seq,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let session = frame.session;
        let room = match place {
            ChangedPlace::Room(name) => self.own_room(session, name)?,
            ChangedPlace::Inbox => self.own_inbox(session)?,
        };
        let Some(participant) = self.participants.get(session) else { return Ok(()) };
        let (owner, name) = (participant.owner(), participant.name().clone());
        let seq = seq.min(self.order.position(room).seq);
        if self.positions.read(owner, &name, room, seq) {
            let others = self.sessions_of(owner, &name).filter(|other| *other != session).collect();
            self.tell_position(others, room, (owner, name.clone()), turn);
        }
        let mut event = self.read_event(room, owner, name);
        event.id = frame.id.take();
        turn.answer(frame, ServerEvent::Read(event));
        Ok(())
    }

    fn read_event(&self, room: RoomId, owner: IdOwner, client_id: ClientId) -> ReadEvent {
        let key = self.rooms.get(room).map(Room::key);
        let inbox = key.is_some_and(|key| key.owner().is_some());
        let room_name = key.and_then(|key| key.room()).cloned();
        ReadEvent { id: None, room: room_name, inbox, seq: self.positions.upto(owner, room), client_id }
    }

    /// The connections of a client to this server.
    pub(super) fn sessions_of(&self, owner: IdOwner, name: &ClientId) -> impl Iterator<Item = SessionId> {
        let holders = self.participants.holders(name).iter().copied();
        holders.filter(move |session| self.participants.get(*session).is_some_and(|it| it.owner() == owner))
    }

    /// Tells those of the connections that may be in the room how far a client has read there.
    fn tell_position(
        &self,
        mut sessions: Vec<SessionId>,
        room: RoomId,
        (owner, name): (IdOwner, ClientId),
        turn: &mut Turn,
    ) {
        // The connections of one client may have different tokens.
        if let Some(name) = self.name_of(room) {
            sessions.retain(|session| self.permit(*session, name, turn).is_ok());
        }
        if !sessions.is_empty() {
            let event = Box::new(ServerEvent::Read(self.read_event(room, owner, name)));
            turn.push(Effect::TellMany { sessions, event });
        }
    }

    /// Tells a connection that has entered a room, or follows its inbox, how far its client has read there; and, where
    /// the others are told, how far the other members have.
    pub(super) fn tell_positions(&self, session: SessionId, room: RoomId, turn: &mut Turn) {
        let Some(participant) = self.participants.get(session) else { return };
        let mut readers = vec![(participant.owner(), participant.name().clone())];
        if self.is_seen_by_others(room) {
            let others = self.rooms.get(room).into_iter().flat_map(Room::members);
            let others = others.filter_map(|other| self.participants.get(other));
            readers.extend(others.map(|other| (other.owner(), other.name().clone())));
            readers.extend(self.readers_elsewhere(room, participant.is_authenticated()));
            readers.sort_unstable();
            readers.dedup();
        }
        for (owner, name) in readers {
            if self.positions.upto(owner, room) > Seq(0) {
                turn.tell(session, ServerEvent::Read(self.read_event(room, owner, name)));
            }
        }
    }

    /// The members of a room who are connected to other nodes.
    fn readers_elsewhere(&self, room: RoomId, are_authenticated: bool) -> Vec<(IdOwner, ClientId)> {
        let Some((cluster, room)) = self.cluster.as_ref().zip(self.rooms.get(room)) else { return Vec::new() };
        let reader = |name: &ClientId| Some((self.owner_in_log(name, are_authenticated)?, name.clone()));
        room.elsewhere(cluster.life()).filter_map(reader).collect()
    }

    /// With other nodes: the client that holds a name on any of them.
    pub(super) fn owner_in_log(&self, name: &ClientId, is_authenticated: bool) -> Option<IdOwner> {
        if is_authenticated {
            return Some(IdOwner::authenticated(name));
        }
        let holder = self.cluster.as_ref()?.names.holders(name).first()?;
        Some(IdOwner::keyed(name, holder.key))
    }

    /// Tells a connection how far its client has read in each of its rooms: it has another name now.
    pub(super) fn tell_all_positions(&self, session: SessionId, turn: &mut Turn) {
        let Some(participant) = self.participants.get(session) else { return };
        for room in participant.rooms().iter().copied().chain(participant.inbox) {
            self.tell_positions(session, room, turn);
        }
    }

    /// Whether the members of a room are told how far the others have read.
    fn is_seen_by_others(&self, id: RoomId) -> bool {
        let room = self.rooms.get(id).filter(|room| room.key().room().is_some());
        let is_told = self.own_settings(id).and_then(|it| it.seen_by).unwrap_or(self.config.seen_by);
        is_told && room.is_some_and(|room| room.count() <= limits::SEEN_BY_MEMBERS_MAX)
    }

    /// Notes the positions of the last second.
    pub(super) fn note_positions_of_a_second(&mut self, turn: &mut Turn) {
        let due = self.positions.take_due(turn.now.at);
        self.note_positions(due, turn);
    }

    /// Notes the positions of the client of a session that goes: the process may end before the next second.
    pub(super) fn note_positions_of_session(&mut self, session: SessionId, turn: &mut Turn) {
        if let Some(owner) = self.participants.get(session).map(Participant::owner) {
            let fresh = self.positions.take_of(owner);
            self.note_positions(fresh, turn);
        }
    }

    /// The client of a session gives its name up: its positions are noted, or those of a guest forgotten. With other
    /// nodes, the log does the latter.
    pub(super) fn leave_positions(&mut self, session: SessionId, turn: &mut Turn) {
        self.note_positions_of_session(session, turn);
        let participant = self.participants.get(session).filter(|_| self.cluster.is_none());
        if let Some((owner, name)) = participant.map(|it| (it.owner(), it.name().clone())) {
            self.forget_if_guest(owner, &name);
        }
    }

    /// Forgets the positions of a guest that has gone. Other clients may come back.
    pub(super) fn forget_if_guest(&mut self, owner: IdOwner, name: &ClientId) {
        if name.is_guest() {
            self.positions.forget_guest(owner);
        }
    }

    fn note_positions(&mut self, fresh: Vec<FreshPosition>, turn: &mut Turn) {
        for position in fresh {
            if self.cluster.is_none() {
                self.note_position(position, turn);
                continue;
            }
            let epoch = self.order.position(position.room).epoch;
            let key = self.rooms.get(position.room).map(|room| room.key().clone());
            if let Some((cluster, key)) = self.cluster.as_mut().zip(key) {
                let FreshPosition { owner, client_id, seq, .. } = position;
                cluster.propose(LogEntry::Read(ReadEntry { owner, client_id, key, epoch, seq }), None);
            }
        }
    }

    /// With other nodes: the log has a position of a client of any node.
    pub(super) fn logged_read(&mut self, entry: ReadEntry, turn: &mut Turn) {
        let ReadEntry { owner, client_id, key, epoch, seq } = entry;
        let room = self.find(&key).filter(|room| self.order.position(*room).epoch == epoch);
        self.digest(&[owner.0, seq.0, u64::from(room.is_some())]);
        if let Some(room) = room {
            self.note_position(FreshPosition { owner, client_id, room, seq }, turn);
        }
    }

    fn note_position(&mut self, FreshPosition { owner, client_id, room, seq }: FreshPosition, turn: &mut Turn) {
        let told = self.positions.upto(owner, room);
        let reader = Reader::new(owner, &client_id);
        // A client that is not known to have been in the room sees no more than before.
        let since = if self.hides_history(room) { self.order.position(room).seq } else { Seq(0) };
        let Some(lost) = self.positions.note(reader, room, seq, since) else { return };
        self.keep_standing(reader, room, lost, turn);
        let own: Vec<_> = self.sessions_of(owner, &client_id).collect();
        let mut sessions = Vec::new();
        if self.is_seen_by_others(room) {
            let members = self.rooms.get(room).into_iter().flat_map(Room::members);
            sessions.extend(members.filter(|member| !own.contains(member)));
        }
        if seq > told {
            sessions.extend(own);
        }
        self.tell_position(sessions, room, (owner, client_id), turn);
    }

    /// Stores what was noted of a client in a room, and what was lost for it.
    pub(super) fn keep_standing(&self, reader: Reader, room: RoomId, lost: Vec<LostPosition>, turn: &mut Turn) {
        let noted = (reader, room, self.positions.standing(reader.owner, room));
        let lost = lost.into_iter().map(|LostPosition { reader, room }| (reader, room, None));
        // No store has that of a guest: it is gone before it is read again.
        let stored = std::iter::once(noted).chain(lost).filter(|(reader, ..)| !reader.is_guest);
        let effect = |(Reader { owner, .. }, room, standing)| Effect::NoteRead { owner, room, standing };
        turn.effects.extend(stored.map(effect));
    }
}
