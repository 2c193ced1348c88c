//! Messages: accepted, given their place, and delivered when they are stored.

use std::sync::Arc;

use starling_protocol::{Ack, ChatMessage, ClientId, Epoch, ErrorCode, MessageId, Refusal, Seq, ServerEvent, Target};

use super::{ChatState, tell};
use crate::chat_server::command::{Effect, OpenRefusal, OperatorPost, Posted};
use crate::chat_server::remembered::Place;
use crate::clock::Now;
use crate::credits::Ticket;
use crate::history::{NewMessage, RoomKey, StoredMessage};
use crate::ids::{RoomId, SessionId};
use crate::room::{Asker, PendingAck, PendingMessage};

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
        let Some(member) = self.sessions.get(session) else { return Ok(None) };
        let (sender, has_inbox) = (member.client_id.clone(), member.inbox.is_some());
        if let Some(id) = id
            && self.repeat(Asker::Session(session), &sender, id, now, effects).is_none()
        {
            return Ok(None);
        }
        let place = match place {
            Place::Client(to) if has_inbox => Place::Inbox { room: self.inbox_to_write_to(&to, now)?, to },
            Place::Client(to) if !self.names.contains_key(&to) => {
                return Err(Refusal::new(ErrorCode::NoSuchClient, format!("nobody here is called {to}")));
            }
            place @ (Place::Room(_) | Place::Client(_) | Place::Inbox { .. }) => place,
        };
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
                let draft = Draft { sender, to: None, text, id };
                self.append(room, draft, Some(Asker::Session(session)), ticket, now, effects);
            }
            Place::Inbox { room, to } => {
                let own = self.sessions.get(session).and_then(|member| member.inbox);
                let draft = Draft { sender, to: Some(to), text, id };
                let asker = Some(Asker::Session(session));
                let Some(own) = own.filter(|own| *own != room) else {
                    return self.append(room, draft, asker, ticket, now, effects);
                };
                let uncounted = Ticket::without_credit(ticket.read_at);
                let copies = (
                    self.give_place(own, draft.clone(), None, uncounted, now),
                    self.give_place(room, draft, asker, ticket, now),
                );
                if let (Some(of_sender), Some(of_receiver)) = copies {
                    effects.push(Effect::StoreBoth(Box::new([of_sender, of_receiver])));
                }
            }
            Place::Client(to) => {
                let holders = |name| self.names.get(name).into_iter().flatten().copied();
                let others = holders(&sender).filter(|other| *other != session);
                let mut sessions: Vec<SessionId> = [session].into_iter().chain(others).collect();
                if to != sender {
                    sessions.splice(0..0, holders(&to));
                }
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

    /// Gives a message its place and has it stored.
    fn append(
        &mut self,
        room: RoomId,
        draft: Draft,
        asker: Option<Asker>,
        ticket: Ticket,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(NewMessage { room, epoch, message }) = self.give_place(room, draft, asker, ticket, now) {
            effects.push(Effect::Store { room, epoch, message });
        }
    }

    /// Gives a message its place. `asker` is told whether it is stored, and the `id` is remembered for it.
    fn give_place(
        &mut self,
        room: RoomId,
        draft: Draft,
        asker: Option<Asker>,
        ticket: Ticket,
        now: Now,
    ) -> Option<NewMessage> {
        let entry = self.rooms.get_mut(room.0 as usize)?;
        let Draft { sender, to, text, id } = draft;
        let seq = entry.next_seq();
        if asker.is_some()
            && let Some(id) = &id
        {
            let place = to.clone().map_or(Place::Room(room), |to| Place::Inbox { room, to });
            self.remembered.insert(&sender, id, (place, entry.epoch, seq, now.unix_ms), now.at);
        }
        let acks = asker.into_iter().map(|asker| PendingAck { asker, id: id.clone(), duplicate: false }).collect();
        let key = entry.key.clone();
        let message = Arc::new(StoredMessage { room: key, to, seq, client_id: sender, text, at: now.unix_ms, id });
        let stored = Arc::clone(&message);
        entry.pending.push_back(PendingMessage { message, acks, ticket });
        Some(NewMessage { room, epoch: entry.epoch, message: stored })
    }

    /// Takes what an operator says.
    pub(super) fn post_as_operator(&mut self, post: OperatorPost, now: Now, effects: &mut Vec<Effect>) {
        let OperatorPost { room, client_id, text, id, reply } = post;
        let asker = Asker::Operator(reply);
        let asker = match &id {
            Some(id) => match self.repeat(asker, &client_id, id, now, effects) {
                Some(asker) => asker,
                None => return,
            },
            None => asker,
        };
        let place = match self.lobby_or_existing_room(&room) {
            Ok(Some(place)) => Ok(place),
            Ok(None) => self
                .find_or_make_room(&room, now)
                .ok_or_else(|| Refusal::new(ErrorCode::TooManyRooms, OpenRefusal::TooManyRooms.to_string())),
            Err(refusal) => Err(refusal),
        };
        match place {
            Ok(place) => {
                let draft = Draft { sender: client_id, to: None, text, id };
                self.append(place, draft, Some(asker), Ticket::without_credit(now.at), now, effects);
            }
            Err(refusal) => refuse(asker, None, refusal, effects),
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
        let Some(member) = self.sessions.get(session) else { return Ok(()) };
        if member.client_id == *name {
            return Ok(());
        }
        if member.client_id.is_guest() {
            return self.rename(session, name, None, now, effects);
        }
        let text = format!("this connection is {}, not {name}", member.client_id);
        Err(Refusal::new(ErrorCode::ClientIdMismatch, text))
    }

    /// Answers a message whose `id` was taken before. If it was not, gives back who asked.
    pub(super) fn repeat(
        &mut self,
        asker: Asker,
        sender: &ClientId,
        id: &MessageId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Option<Asker> {
        let Some((place, epoch, seq, at)) = self.remembered.find(sender, id, now.at) else { return Some(asker) };
        let mut ack = Ack { id: id.clone(), at, room: None, seq: None, to: None, duplicate: true };
        match place {
            Place::Client(to) => ack.to = Some(to),
            Place::Room(room) | Place::Inbox { room, .. } => {
                let Some(entry) = self.rooms.get_mut(room.0 as usize).filter(|entry| entry.epoch == epoch) else {
                    return Some(asker);
                };
                if let Some(pending) = entry.pending.iter_mut().find(|pending| pending.message.seq == seq) {
                    pending.acks.push(PendingAck { asker, id: Some(id.clone()), duplicate: true });
                    return None;
                }
                match &entry.key {
                    RoomKey::Room(name) => (ack.room, ack.seq) = (Some(name.clone()), Some(seq)),
                    RoomKey::Inbox(owner) => ack.to = Some(owner.clone()),
                }
            }
        }
        match asker {
            Asker::Session(session) => effects.push(tell(session, ServerEvent::Ack(ack))),
            // Whoever asked may have gone.
            Asker::Operator(reply) => drop(reply.send(Ok(Posted { seq, at, duplicate: true }))),
        }
        None
    }

    /// The oldest message that waited is stored: now it is delivered and acknowledged.
    pub(super) fn stored(&mut self, room: RoomId, seq: Seq, oldest: Seq, effects: &mut Vec<Effect>) {
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        let Some(PendingMessage { message, acks, ticket, .. }) = entry.pending.pop_front() else { return };
        debug_assert_eq!(message.seq, seq, "INV-3: messages are stored in order");
        entry.seq = seq;
        entry.oldest = oldest;
        // Of an inbox's owner at least one connection has caught up, and is sent this one too.
        let is_delivered =
            entry.key.owner().is_some() && entry.members().any(|session| !self.replays.contains_key(&(session, room)));
        let hubs = entry.hubs();
        for PendingAck { asker, id, duplicate } in acks {
            match (asker, id) {
                (Asker::Session(session), Some(id)) => {
                    let place = message.room.room().cloned();
                    let seq = place.is_some().then_some(seq);
                    let ack = Ack { id, at: message.at, room: place, seq, to: message.to.clone(), duplicate };
                    effects.push(tell(session, ServerEvent::Ack(ack)));
                }
                (Asker::Session(_), None) => {}
                // Whoever asked may have gone.
                (Asker::Operator(reply), _) => drop(reply.send(Ok(Posted { seq, at: message.at, duplicate }))),
            }
        }
        if entry.is_empty() {
            self.note_may_end(room);
        }
        effects.push(Effect::Deliver { room, hubs, message, ticket });
        if is_delivered {
            self.delivered(room, seq);
        }
    }

    /// What waits in this room from `seq` on is not stored: it is refused, and its places are given again.
    pub(super) fn not_stored(&mut self, room: RoomId, seq: Seq, effects: &mut Vec<Effect>) {
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        let first = entry.pending.partition_point(|pending| pending.message.seq < seq);
        for PendingMessage { message, acks, .. } in entry.pending.drain(first..) {
            // The sender's own copy of a private message is not the one that is remembered.
            if !acks.is_empty()
                && let Some(id) = &message.id
            {
                self.remembered.remove(&message.client_id, id);
            }
            for PendingAck { asker, id, .. } in acks {
                let refusal = Refusal::new(ErrorCode::Unavailable, "the message could not be stored");
                refuse(asker, id, refusal, effects);
            }
        }
        self.note_may_end(room);
    }
}

/// A message before it has its place.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    sender: ClientId,
    to: Option<ClientId>,
    text: Box<str>,
    id: Option<MessageId>,
}

fn refuse(asker: Asker, id: Option<MessageId>, refusal: Refusal, effects: &mut Vec<Effect>) {
    match asker {
        Asker::Session(session) => effects.push(tell(session, ServerEvent::Error(refusal.with_id(id)))),
        // Whoever asked may have gone.
        Asker::Operator(reply) => drop(reply.send(Err(refusal))),
    }
}
