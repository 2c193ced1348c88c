//! Private messages that are not stored: only delivered to the connections of the two clients.
//!
//! With other nodes each passes through the log like every other message, so that it arrives once and in order wherever
//! the two clients are connected. The log decides whether the receiver is connected.

use smallvec::SmallVec;
use starling_protocol::{ChatMessage, ClientId, ErrorCode, Refusal};

use super::logged::{NotPlaced, Source};
use super::talking::{Earlier, acknowledge_direct, keep_ticket, refuse_all};
use super::{ChatState, Direct};
use crate::chat_server::command::Frame;
use crate::chat_server::effect::{Effect, Turn};
use crate::chat_server::parts::cluster::Tag;
use crate::chat_server::parts::in_flight::{Asker, MessageInFlight};
use crate::chat_server::parts::remembered::IdKey;
use crate::credits::Ticket;
use crate::history::{Content, Draft, EntryNumber};
use crate::ids::SessionId;
use crate::nodes::record::{DirectMessage, LogEntry};

impl ChatState {
    /// Whether a private message may be sent to a client that has no inbox. With other nodes the log decides later.
    pub(super) fn check_receiver(&self, to: &ClientId, own: &ClientId, session: SessionId) -> Result<(), Refusal> {
        let is_held_by_another = || self.participants.holders(to).iter().any(|holder| *holder != session);
        if self.cluster.is_some() || to == own || is_held_by_another() {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::NoSuchClient, nobody(to)))
    }

    /// Delivers a private message, or writes it into the log of all nodes.
    pub(super) fn send_direct(
        &mut self,
        frame: Frame,
        to: ClientId,
        draft: Draft,
        id: Option<IdKey>,
        ticket: Ticket,
        turn: &mut Turn,
    ) {
        if self.cluster.is_some() {
            return self.propose_direct(frame, to, draft, (id, ticket), turn);
        }
        let at = draft.at;
        if let Some(id) = id {
            self.direct_ids.insert(id, Direct { to: to.clone(), at }, turn.now.at);
        }
        self.deliver_direct(to.clone(), draft, Some(frame.session), ticket, turn);
        acknowledge_direct(frame, to, at, false, turn);
    }

    /// Delivers a private message to the connections of its receiver and of its sender.
    fn deliver_direct(&self, to: ClientId, draft: Draft, sender: Option<SessionId>, ticket: Ticket, turn: &mut Turn) {
        let Draft { client_id, content, at, id, .. } = draft;
        let others = self.participants.holders(&client_id).iter().copied().filter(|other| Some(*other) != sender);
        let own = sender.into_iter().chain(others);
        let sessions: Vec<_> = if to == client_id {
            own.collect()
        } else {
            self.participants.holders(&to).iter().copied().chain(own).collect()
        };
        if sessions.is_empty() {
            return;
        }
        let message = ChatMessage::new(client_id, content.into_text().into_string().into(), at);
        let message = Box::new(ChatMessage { to: Some(to), id, ..message });
        turn.push(Effect::DeliverPrivate { sessions, message, ticket });
    }

    #[cold]
    fn propose_direct(
        &mut self,
        frame: Frame,
        to: ClientId,
        draft: Draft,
        (id, ticket): (Option<IdKey>, Ticket),
        turn: &Turn,
    ) {
        let session = frame.session.number();
        let asker = Asker::Client(frame);
        let number = self.in_flight.begin(MessageInFlight::new(asker, id, SmallVec::new(), turn.now.at, ticket));
        let Draft { client_id, content, owner, id, .. } = draft;
        let text = content.into_text();
        let message = DirectMessage { session, to, client_id, text, id: owner.zip(id) };
        if let Some(cluster) = &mut self.cluster {
            cluster.propose(LogEntry::Direct(message), Some(Tag::Message(number)));
        }
    }

    /// Delivers a private message that the log has returned, and acknowledges it.
    pub(super) fn logged_direct(
        &mut self,
        message: DirectMessage,
        own: Option<EntryNumber>,
        source: Source,
        turn: &mut Turn,
    ) {
        let waiting = own.and_then(|number| self.in_flight.finish(number));
        let at = source.at;
        let DirectMessage { session, to, client_id, text, id } = message;
        let key = id.as_ref().map(|(owner, id)| self.ids.key(*owner, id));
        if let Some(earlier) = key.and_then(|key| self.logged_earlier(&key, source.taken_at)) {
            return self.not_placed(waiting, NotPlaced::Repeated(earlier), turn);
        }
        if !self.may_speak(&client_id, Some(session), source) {
            return self.not_placed(waiting, NotPlaced::NameLost, turn);
        }
        let is_there = self.cluster.as_ref().is_some_and(|cluster| !cluster.names.holders(&to).is_empty());
        self.digest(&[2, u64::from(is_there)]);
        if !is_there {
            if let Some(waiting) = waiting {
                refuse_all(waiting.asker, waiting.repeats, ErrorCode::NoSuchClient, &nobody(&to), turn);
            }
            return;
        }
        if let Some(key) = key {
            self.direct_ids.insert(key, Direct { to: to.clone(), at }, source.taken_at);
        }
        let (owner, id) = id.unzip();
        let draft = Draft { to: None, client_id, content: Content::message(text), at, id, owner };
        let Some(waiting) = waiting else {
            return self.deliver_direct(to, draft, None, Ticket::without_credit(turn.now.at), turn);
        };
        let MessageInFlight { asker, repeats, mut ticket, .. } = *waiting;
        let Asker::Client(mut frame) = asker else { return };
        // The sender may have left or changed its name since.
        let sender = Some(frame.session).filter(|session| self.participants.get(*session).is_some());
        if sender.is_none() {
            keep_ticket(&mut frame, &mut ticket);
        }
        self.deliver_direct(to.clone(), draft, sender, ticket, turn);
        acknowledge_direct(frame, to.clone(), at, false, turn);
        for asker in repeats {
            self.repeat(asker, Earlier::Direct(Direct { to: to.clone(), at }), turn);
        }
    }
}

pub(super) fn nobody(name: &ClientId) -> String {
    format!("no client is called {name}")
}
