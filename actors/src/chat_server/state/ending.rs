//! The end of rooms and inboxes, and space in full tables: abandoned rooms must not keep anybody out.

use starling_protocol::{Epoch, JoinedEvent, RoomName, ServerEvent};

use super::{ChatState, TooManyRooms};
use crate::chat_server::command::{DropError, DropReply, NotDone};
use crate::chat_server::effect::{Answer, Effect, Turn};
use crate::chat_server::parts::cluster::Tag;
use crate::chat_server::parts::order::Position;
use crate::chat_server::parts::room::{Ended, Room};
use crate::chat_server::parts::rooms::{ENDED_AT_ONCE_MAX, Space};
use crate::clock::Instant;
use crate::history::{Receipt, RoomKey};
use crate::ids::RoomId;
use crate::metrics::Limit;
use crate::nodes::record::LogEntry;

impl ChatState {
    /// Makes space for a room that a client of this server is to enter. With other nodes the log has done so.
    pub(super) fn make_space_for(&mut self, room: &RoomName, turn: &mut Turn) -> Result<(), TooManyRooms> {
        if self.cluster.is_some() {
            return Ok(());
        }
        self.make_space_at(room, turn.now.at, turn).inspect_err(|_| turn.refused_by(Limit::Rooms))
    }

    /// Makes space for a room of this name at a moment. If the table is full, another room is dropped for it.
    pub(super) fn make_space_at(&mut self, room: &RoomName, at: Instant, turn: &mut Turn) -> Result<(), TooManyRooms> {
        match self.rooms.space_for(room, at) {
            Space::Free => Ok(()),
            Space::Full => Err(TooManyRooms),
            Space::Instead(first) => {
                self.drop_for_space(first, turn);
                Ok(())
            }
        }
    }

    /// Ends a room that nobody is in, or an inbox whose owner has never connected, because another one needs its place.
    pub(super) fn drop_for_space(&mut self, room: RoomId, turn: &mut Turn) {
        self.dropped_for_space += 1;
        self.digest(&[self.order.position(room).epoch.0]);
        self.end_room(room, None, turn);
    }

    /// Ends an empty room. With other nodes the log decides whether it ends.
    fn end_or_propose(&mut self, room: RoomId, turn: &mut Turn) {
        let Some(cluster) = &mut self.cluster else { return self.end_room(room, None, turn) };
        let Some(key) = self.rooms.get(room).map(|room| room.key().clone()) else { return };
        let Position { epoch, seq } = self.order.position(room);
        cluster.propose(LogEntry::End { key, epoch, seq }, Some(Tag::End(room)));
        // Prevents that the room is due again before the log has answered.
        self.rooms.message_begins(room);
    }

    /// Ends the rooms that are due. If there are very many, they end over several ticks.
    pub(super) fn end_rooms_that_are_over(&mut self, turn: &mut Turn) {
        let now = self.cluster.as_ref().map_or(turn.now.at, |cluster| cluster.log_now(turn.now.at));
        for _ in 0..ENDED_AT_ONCE_MAX {
            let Some(room) = self.rooms.first_over(now) else { break };
            self.end_or_propose(room, turn);
        }
    }

    /// Drops a room or an inbox with all its messages, for an operator. The members get `left`. If the owner of a
    /// dropped inbox is connected, it gets an empty one.
    pub(super) fn drop_room(&mut self, key: RoomKey, reply: DropReply, turn: &mut Turn) {
        if self.find(&key).is_none() {
            return turn.reply(Answer::Dropped(reply, Err(DropError::NotThere)));
        }
        let epoch = Epoch(self.numbers.draw());
        match &mut self.cluster {
            Some(cluster) if !cluster.is_reachable => {
                turn.reply(Answer::Dropped(reply, Err(NotDone::OutOfReach.into())));
            }
            Some(cluster) => cluster.propose(LogEntry::Drop { key, epoch }, Some(Tag::Dropped(reply))),
            None => self.drop_now(&key, Some(reply), (epoch, turn.now.at), turn),
        }
    }

    /// Drops a room or an inbox. The owner's connections get an inbox in this epoch, which begins at this moment.
    pub(super) fn drop_now(
        &mut self,
        key: &RoomKey,
        reply: Option<DropReply>,
        (epoch, at): (Epoch, Instant),
        turn: &mut Turn,
    ) {
        let Some(room) = self.find(key) else {
            if let Some(reply) = reply {
                turn.reply(Answer::Dropped(reply, Err(DropError::NotThere)));
            }
            return;
        };
        let members: Vec<_> = self.rooms.get(room).into_iter().flat_map(Room::members).collect();
        for session in &members {
            self.answer_without_anchor(*session, room, turn);
            turn.dismiss(*session, room);
            self.catching_up.end(*session, room);
            if let (RoomKey::Room(name), Some(participant)) = (key, self.participants.get_mut(*session)) {
                participant.leave(room);
                turn.tell(*session, ServerEvent::Left { id: None, room: name.clone() });
            }
            self.rooms.leave(room, *session, false, turn.now.at);
        }
        self.end_room(room, reply, turn);
        let RoomKey::Inbox(owner) = key else { return };
        if members.is_empty() {
            return;
        }
        let Some(fresh) = self.make_in(RoomKey::Inbox(owner.clone()), epoch, at) else { return };
        for session in &members {
            self.rooms.enter(fresh, *session, false);
        }
        let (position, count) = (self.order.position(fresh), self.count_in(fresh));
        for session in members {
            if let Some(participant) = self.participants.get_mut(session) {
                participant.inbox = Some(fresh);
            }
            let (seq, epoch) = (position.seq, position.epoch);
            let joined = JoinedEvent {
                id: None,
                room: None,
                inbox: true,
                seq,
                epoch,
                count,
                recovered: None,
                settings: None,
                visible_after: None,
            };
            turn.tell(session, ServerEvent::Joined(joined));
            turn.admit(session, fresh);
        }
    }

    /// Ends a room without members: no lookup finds it from now on, and its history is dropped once no message of it is
    /// in flight.
    pub(super) fn end_room(&mut self, room: RoomId, reply: Option<DropReply>, turn: &mut Turn) {
        let Some(entry) = self.rooms.get(room) else { return };
        if let RoomKey::Inbox(owner) = entry.key() {
            self.inboxes.remove(owner, room);
        }
        self.presence.forget(room);
        self.positions.forget_room(room);
        if self.cluster.is_some() {
            // Every node ends the room at the same record, even if this node has pending entries for it.
            self.order.close(room);
        }
        self.rooms.end(room, Ended { reply });
        self.forget_if_over(room, turn);
    }

    /// Forgets a room that has ended, once nothing of it is in flight.
    pub(super) fn forget_if_over(&mut self, room: RoomId, turn: &mut Turn) {
        if let Some(Ended { reply }) = self.rooms.take_if_over(room) {
            self.order.close(room);
            self.slowed.forget(room);
            let receipt = reply.map(|reply| Receipt(self.drops.insert(reply)));
            turn.push(Effect::Forget { room, receipt });
        }
    }

    /// Handles the outcome of a drop in the history: it is done, or not possible at the moment.
    pub(super) fn was_forgotten(&mut self, receipt: Receipt, is_gone: bool, turn: &mut Turn) {
        if let Some(reply) = self.drops.try_remove(receipt.0) {
            let outcome = if is_gone { Ok(()) } else { Err(DropError::NotStored) };
            turn.reply(Answer::Dropped(reply, outcome));
        }
    }
}
