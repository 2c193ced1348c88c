//! Rooms that hide their history from newcomers: a client sees what is said after it has entered for the first time.
//!
//! What a client may see is kept with its [read position](crate::chat_server::parts::positions): it belongs to the same
//! client, holds for all its connections on all nodes and after a restart, and ends with the room. A connection also keeps
//! it for each of its rooms. So a client whose position gave way to others sees the same until it leaves, and is a newcomer
//! when it comes back. Operators see all.

use std::sync::Arc;

use starling_protocol::{ClientId, Seq};

use super::{ChatState, who_calls};
use crate::chat_server::effect::{Effect, Turn};
use crate::chat_server::parts::positions::Reader;
use crate::chat_server::parts::room::Room;
use crate::credits::Ticket;
use crate::history::{Content, StoredCopy, StoredMessage};
use crate::identity::{Caller, IdOwner};
use crate::ids::{RoomId, SessionId};
use crate::nodes::record::{Arrival, LogEntry};

impl ChatState {
    /// Whether a room hides its history from newcomers.
    #[inline]
    pub(super) fn hides_history(&self, room: RoomId) -> bool {
        self.own_settings(room).is_some_and(|settings| !settings.newcomers_see_history)
    }

    /// The newest entry of a room that is hidden from a session; 0: it sees all.
    #[inline]
    pub(super) fn hidden_from(&self, session: SessionId, room: RoomId) -> Seq {
        if !self.hides_history(room) {
            return Seq(0);
        }
        let participant = self.participants.get(session).filter(|it| !it.is_operator());
        participant.map_or(Seq(0), |it| self.hidden_from_client(it.owner(), it.name(), room))
    }

    /// The newest entry of a room with a hidden history that a client does not see. One that never was there sees nothing.
    fn hidden_from_client(&self, owner: IdOwner, name: &ClientId, room: RoomId) -> Seq {
        let sees_behind = |session| self.participants.get(session)?.sees_behind(room);
        let present = self.sessions_of(owner, name).filter_map(sees_behind);
        let known = self.positions.since(owner, room).into_iter().chain(present).min();
        known.unwrap_or_else(|| self.order.position(room).seq)
    }

    /// The newest entry of a room that is hidden from a caller outside the chat; 0: it sees all.
    pub(super) fn hidden_from_outside(&self, caller: &Caller, room: RoomId) -> Seq {
        let Some(who) = who_calls(caller).filter(|_| self.hides_history(room)) else { return Seq(0) };
        let newest = self.order.position(room).seq;
        who.name.map_or(newest, |name| self.hidden_from_client(IdOwner::authenticated(name), name, room))
    }

    /// The oldest kept entry of a room that a session sees. If there is none, the seq after the newest entry.
    pub(super) fn oldest_for(&self, session: SessionId, room: RoomId) -> Seq {
        self.oldest(room).max(self.hidden_from(session, room).next())
    }

    /// A session has entered a room. If its client is there for the first time, it sees what is said from now on.
    pub(super) fn note_arrival(&mut self, session: SessionId, room: RoomId, turn: &mut Turn) {
        let participant = self.participants.get(session).filter(|_| self.hides_history(room));
        if let Some(participant) = participant {
            let since = self.hidden_from_client(participant.owner(), participant.name(), room);
            self.session_sees_behind(session, room, since, turn);
        }
    }

    /// The rooms of a session that hide their history, each with the newest entry that its client does not see.
    pub(super) fn hidden_histories(&self, session: SessionId) -> Vec<(RoomId, Seq)> {
        let Some(participant) = self.participants.get(session).filter(|_| self.moderation.has_settings()) else {
            return Vec::new();
        };
        let rooms = participant.rooms().iter().filter(|room| self.hides_history(**room));
        let hidden = |room: &RoomId| (*room, self.hidden_from_client(participant.owner(), participant.name(), *room));
        rooms.map(hidden).collect()
    }

    /// A session has another client than before: that one sees what the session has seen.
    pub(super) fn take_over_histories(&mut self, session: SessionId, hidden: Vec<(RoomId, Seq)>, turn: &mut Turn) {
        for (room, since) in hidden {
            self.session_sees_behind(session, room, since, turn);
        }
    }

    /// A room hides its history from now on. Its members see what they could see before.
    pub(super) fn history_is_hidden(&mut self, room: RoomId, turn: &mut Turn) {
        // The members on all nodes as the log knows them, in the same order on each node.
        let present = self.rooms.get(room).into_iter().flat_map(|room| room.present().map(|(name, _)| name.clone()));
        let mut present: Vec<_> = present.collect();
        present.sort_unstable();
        for name in present {
            if let Some(owner) = self.owner_in_log(&name, self.config.tokens.is_some()) {
                self.admit(room, (owner, &name), Seq(0), turn);
            }
        }
        for session in self.rooms.get(room).into_iter().flat_map(Room::members).collect::<Vec<_>>() {
            self.session_sees_behind(session, room, Seq(0), turn);
        }
    }

    /// A member of a room sees it behind this entry, and so does its client from now on.
    fn session_sees_behind(&mut self, session: SessionId, room: RoomId, since: Seq, turn: &mut Turn) {
        let Some(participant) = self.participants.get_mut(session) else { return };
        participant.see_behind(room, since);
        let client = (participant.owner(), participant.name().clone());
        self.client_sees_behind(room, client, since, turn);
    }

    /// A client of this server sees a room behind this entry, if it did not before.
    fn client_sees_behind(
        &mut self,
        room: RoomId,
        (owner, client_id): (IdOwner, ClientId),
        since: Seq,
        turn: &mut Turn,
    ) {
        if self.positions.since(owner, room).is_some_and(|known| known <= since) {
            return;
        }
        let epoch = self.order.position(room).epoch;
        let key = self.rooms.get(room).map(|room| room.key().clone());
        match self.cluster.as_mut().zip(key) {
            None => self.admit(room, (owner, &client_id), since, turn),
            Some((cluster, key)) => {
                self.positions.arrive(owner, room, since);
                cluster.propose(LogEntry::Arrive(Arrival { owner, client_id, key, epoch, since }), None);
            }
        }
    }

    /// With other nodes: the log has since when a client of any node sees a room.
    pub(super) fn logged_arrival(&mut self, arrival: Arrival, turn: &mut Turn) {
        let Arrival { owner, client_id, key, epoch, since } = arrival;
        let room = self.find(&key).filter(|room| self.order.position(*room).epoch == epoch);
        self.digest(&[owner.0, since.0, u64::from(room.is_some())]);
        if let Some(room) = room {
            self.admit(room, (owner, &client_id), since, turn);
        }
    }

    fn admit(&mut self, room: RoomId, (owner, name): (IdOwner, &ClientId), since: Seq, turn: &mut Turn) {
        let reader = Reader::new(owner, name);
        if let Some(lost) = self.positions.admit(reader, room, since) {
            self.keep_standing(reader, room, lost, turn);
        }
    }

    /// Delivers an edit in a room that hides its history. Who does not see the message gets the edit without its text.
    pub(super) fn deliver_edit(&mut self, copy: StoredCopy, of: Seq, ticket: Ticket, turn: &mut Turn) {
        let room = copy.room;
        let members = self.rooms.get(room).into_iter().flat_map(Room::members);
        let is_kept_from = |session: &SessionId| {
            self.catching_up.is_admitted(*session, room) && of <= self.hidden_from(*session, room)
        };
        let sessions: Vec<_> = members.filter(is_kept_from).collect();
        let event = copy.message.without_text().to_event().into_owned();
        // They stand aside for this delivery.
        for session in &sessions {
            turn.dismiss(*session, room);
        }
        self.deliver_to_all(copy, ticket, turn);
        if !sessions.is_empty() {
            turn.push(Effect::TellMany { sessions: sessions.clone(), event: Box::new(event) });
        }
        for session in sessions {
            turn.admit(session, room);
        }
    }

    /// Takes the texts out of edits of messages that a session does not see.
    pub(super) fn without_hidden_texts(&self, session: SessionId, room: RoomId, messages: &mut [Arc<StoredMessage>]) {
        let hidden = self.hidden_from(session, room);
        for entry in messages {
            if matches!(entry.content, Content::Edit { of, .. } if of <= hidden) {
                *entry = Arc::new(entry.without_text());
            }
        }
    }
}
