//! With other nodes: private messages that are not stored, to and from clients of other nodes.

use smallvec::SmallVec;
use starling_protocol::{Ack, ChatMessage, ClientId, ErrorCode, Refusal, ServerEvent};

use super::{ChatState, Direct};
use crate::chat_server::command::Frame;
use crate::chat_server::effect::{Effect, NodeEffect, Turn};
use crate::chat_server::parts::cluster::{RelayOutcome, Relayed};
use crate::credits::Ticket;
use crate::history::Draft;
use crate::identity::IdOwner;
use crate::nodes::heard::RelayedMessage;
use crate::nodes::record::Incarnation;

impl ChatState {
    /// The lives of other nodes on which a client has a connection.
    pub(super) fn lives_elsewhere(&self, name: &ClientId) -> SmallVec<[Incarnation; 1]> {
        let mut lives = SmallVec::new();
        if let Some(cluster) = &self.cluster {
            for holder in cluster.names.holders(name) {
                let life = holder.session.incarnation;
                if life != cluster.life() && !lives.contains(&life) {
                    lives.push(life);
                }
            }
        }
        lives
    }

    /// Sends a private message to the other nodes that have a connection of the receiver or of the sender. If nobody
    /// here has got it, the frame waits for their answers.
    pub(super) fn relay(
        &mut self,
        frame: Frame,
        to: &ClientId,
        draft: &Draft,
        owner: Option<IdOwner>,
        is_delivered: bool,
        turn: &mut Turn,
    ) -> Option<Frame> {
        let receivers = self.lives_elsewhere(to);
        let mut all = receivers.clone();
        all.extend(self.lives_elsewhere(&draft.client_id).into_iter().filter(|life| !receivers.contains(life)));
        let Some(cluster) = self.cluster.as_mut().filter(|_| !all.is_empty()) else { return Some(frame) };
        let message = RelayedMessage {
            client_id: draft.client_id.clone(),
            to: to.clone(),
            text: draft.text.clone(),
            at: draft.at,
            id: owner.zip(draft.id.clone()),
        };
        let (number, rest) = if is_delivered || receivers.is_empty() {
            (0, Some(frame))
        } else {
            let id = owner.zip(draft.id.as_ref()).map(|(owner, id)| self.ids.key(owner, id));
            let waiting = Relayed { frame, to: to.clone(), at: draft.at, id, lives: receivers };
            (cluster.relays.begin(waiting), None)
        };
        for life in all {
            turn.push(Effect::Node(NodeEffect::Relay { to: life, number, message: Box::new(message.clone()) }));
        }
        rest
    }

    /// Delivers a private message that another node has sent here.
    pub(super) fn relayed(&mut self, from: Incarnation, number: u64, message: &RelayedMessage, turn: &mut Turn) {
        let RelayedMessage { client_id, to, text, at, id } = message;
        let key = id.as_ref().map(|(owner, id)| self.ids.key(*owner, id));
        let is_repeated = key.is_some_and(|key| self.direct_ids.find(&key, turn.now.at).is_some());
        let is_delivered = !self.participants.holders(to).is_empty();
        if !is_repeated {
            let own = if client_id == to { &[][..] } else { self.participants.holders(client_id) };
            let sessions: Vec<_> = self.participants.holders(to).iter().chain(own).copied().collect();
            if let Some(key) = key.filter(|_| is_delivered) {
                self.direct_ids.insert(key, Direct { to: to.clone(), at: *at }, turn.now.at);
            }
            let message = Box::new(ChatMessage {
                client_id: client_id.clone(),
                text: text.to_string().into(),
                room: None,
                seq: None,
                to: Some(to.clone()),
                at: *at,
                id: id.as_ref().map(|(_, id)| id.clone()),
            });
            if !sessions.is_empty() {
                let ticket = Ticket::without_credit(turn.now.at);
                turn.push(Effect::DeliverPrivate { sessions, message, ticket });
            }
        }
        if number > 0 {
            turn.push(Effect::Node(NodeEffect::AnswerRelay { to: from, number, is_delivered }));
        }
    }

    /// Another node has answered, or is out.
    pub(super) fn relay_answered(&mut self, number: u64, from: Incarnation, is_delivered: bool, turn: &mut Turn) {
        let answered = self.cluster.as_mut().and_then(|cluster| cluster.relays.answered(number, from, is_delivered));
        match answered {
            Some(RelayOutcome::Delivered(Relayed { mut frame, to, at, id, .. })) => {
                if let Some(id) = id {
                    self.direct_ids.insert(id, Direct { to: to.clone(), at }, turn.now.at);
                }
                if let Some(id) = frame.id.take() {
                    let ack = Ack { id, at, room: None, seq: None, to: Some(to), duplicate: false };
                    turn.answer(&mut frame, ServerEvent::Ack(ack));
                }
            }
            Some(RelayOutcome::NotThere(Relayed { mut frame, to, .. })) => {
                let text = format!("nobody here is called {to}");
                turn.refuse(&mut frame, Refusal::new(ErrorCode::NoSuchClient, text));
            }
            None => {}
        }
    }
}
