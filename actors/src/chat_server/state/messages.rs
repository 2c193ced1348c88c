//! Messages: accepted, given their place, and delivered when they are stored.

use std::sync::Arc;

use starling_protocol::{Ack, ChatMessage, ClientId, Epoch, ErrorCode, MessageId, Refusal, Seq, ServerEvent, Target};

use super::{ChatState, tell};
use crate::chat_server::command::Effect;
use crate::chat_server::remembered::Place;
use crate::clock::Now;
use crate::credits::Ticket;
use crate::history::StoredMessage;
use crate::ids::{RoomId, SessionId};
use crate::room::{PendingAck, PendingMessage};

impl ChatState {
    /// Checks a message before it is taken: where it goes, and under which name. `None`: it was taken before, and that
    /// is answered.
    pub(super) fn accept(
        &mut self,
        session: SessionId,
        id: Option<&MessageId>,
        target: Target,
        claimed: Option<&ClientId>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Option<(Place, ClientId)>, Refusal> {
        let place = match target {
            Target::FirstRoom => Place::Room(self.first_room(session)?),
            Target::Room(name) => Place::Room(self.own_room(session, &name)?),
            Target::Client(to) => Place::Client(to),
        };
        if let Some(name) = claimed {
            self.accept_sender(session, name, now, effects)?;
        }
        let Some(sender) = self.sessions.get(&session).map(|member| member.client_id.clone()) else { return Ok(None) };
        if let Some(id) = id
            && self.repeat(session, &sender, id, now, effects)
        {
            return Ok(None);
        }
        if let Place::Client(to) = &place
            && !self.names.contains_key(to)
        {
            return Err(Refusal::new(ErrorCode::NoSuchClient, format!("nobody here is called {to}")));
        }
        Ok(Some((place, sender)))
    }

    /// Takes a message that was [accepted](Self::accept).
    #[expect(clippy::too_many_arguments, reason = "the parts of one command, taken apart for the caller's match")]
    pub(super) fn publish(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        text: Box<str>,
        place: Place,
        sender: ClientId,
        ticket: Ticket,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match place {
            Place::Room(room) => {
                let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
                let seq = entry.next_seq();
                let mut acks = Vec::new();
                if let Some(id) = &id {
                    let taken = (Place::Room(room), entry.epoch, seq, now.unix_ms);
                    self.remembered.insert(&sender, id, taken, now.at);
                    acks.push(PendingAck { session, id: id.clone(), duplicate: false });
                }
                let message = Arc::new(StoredMessage {
                    room: entry.name.clone(),
                    seq,
                    client_id: sender,
                    text,
                    at: now.unix_ms,
                    id,
                });
                let stored = Arc::clone(&message);
                entry.pending.push_back(PendingMessage { message, sender: session, acks, ticket });
                effects.push(Effect::Store { room, epoch: entry.epoch, message: stored });
            }
            Place::Client(to) => {
                let receiver = self.names.get(&to).copied().filter(|receiver| *receiver != session);
                let sessions = receiver.into_iter().chain([session]).collect();
                if let Some(id) = &id {
                    let taken = (Place::Client(to.clone()), Epoch(0), Seq(0), now.unix_ms);
                    self.remembered.insert(&sender, id, taken, now.at);
                }
                let message = Box::new(ChatMessage {
                    client_id: sender,
                    text: text.into_string().into(),
                    room: None,
                    seq: None,
                    to: Some(to.clone()),
                    at: now.unix_ms,
                    id: id.clone(),
                });
                effects.push(Effect::DeliverPrivate { sessions, message, ticket });
                if let Some(id) = id {
                    let ack = Ack { id, at: now.unix_ms, room: None, seq: None, to: Some(to), duplicate: false };
                    effects.push(tell(session, ServerEvent::Ack(ack)));
                }
            }
        }
    }

    /// Checks the name that a message gives as its sender; a guest takes it thereby.
    pub(super) fn accept_sender(
        &mut self,
        session: SessionId,
        name: &ClientId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let Some(member) = self.sessions.get(&session) else { return Ok(()) };
        if member.client_id == *name {
            return Ok(());
        }
        if member.client_id.is_guest() {
            return self.rename(session, name, None, now, effects);
        }
        let text = format!("this connection is {}, not {name}", member.client_id);
        Err(Refusal::new(ErrorCode::ClientIdMismatch, text))
    }

    /// Answers a message whose `id` was taken before. False: it was not.
    pub(super) fn repeat(
        &mut self,
        session: SessionId,
        sender: &ClientId,
        id: &MessageId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some((place, epoch, seq, at)) = self.remembered.find(sender, id, now.at) else { return false };
        let mut ack = Ack { id: id.clone(), at, room: None, seq: None, to: None, duplicate: true };
        match place {
            Place::Client(to) => ack.to = Some(to),
            Place::Room(room) => {
                let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return false };
                if entry.epoch != epoch {
                    return false;
                }
                if let Some(pending) = entry.pending.iter_mut().find(|pending| pending.message.seq == seq) {
                    pending.acks.push(PendingAck { session, id: id.clone(), duplicate: true });
                    return true;
                }
                ack.room = Some(entry.name.clone());
                ack.seq = Some(seq);
            }
        }
        effects.push(tell(session, ServerEvent::Ack(ack)));
        true
    }

    /// The oldest message that waited is stored: now it is delivered and acknowledged.
    pub(super) fn stored(&mut self, room: RoomId, seq: Seq, oldest: Seq, effects: &mut Vec<Effect>) {
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        let Some(PendingMessage { message, acks, ticket, .. }) = entry.pending.pop_front() else { return };
        debug_assert_eq!(message.seq, seq, "INV-3: messages are stored in order");
        entry.seq = seq;
        entry.oldest = oldest;
        for ack in acks {
            let event = Ack {
                id: ack.id,
                at: message.at,
                room: Some(message.room.clone()),
                seq: Some(seq),
                to: None,
                duplicate: ack.duplicate,
            };
            effects.push(tell(ack.session, ServerEvent::Ack(event)));
        }
        effects.push(Effect::Deliver { room, hubs: entry.hubs(), message, ticket });
    }

    /// Everything of this room that waited is not stored: it is refused, and its places are given again.
    pub(super) fn not_stored(&mut self, room: RoomId, seq: Seq, effects: &mut Vec<Effect>) {
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        debug_assert_eq!(entry.seq.next(), seq, "INV-3: a failure speaks for all that waits");
        for PendingMessage { message, sender, acks, .. } in entry.pending.drain(..) {
            if let Some(id) = &message.id {
                self.remembered.remove(&message.client_id, id);
            }
            let refusal = Refusal::new(ErrorCode::Unavailable, "the message could not be stored");
            let repeated = acks.into_iter().filter(|ack| ack.duplicate).map(|ack| (ack.session, Some(ack.id)));
            for (session, id) in std::iter::once((sender, message.id.clone())).chain(repeated) {
                effects.push(tell(session, ServerEvent::Error(refusal.clone().with_id(id))));
            }
        }
    }
}
