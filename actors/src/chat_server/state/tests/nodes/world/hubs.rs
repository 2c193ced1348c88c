//! The part of the actor, of the history and of the hubs: effects are performed.

use std::collections::VecDeque;
use std::sync::Arc;

use starling_protocol::ServerEvent;

use super::{Node, World};
use crate::chat_server::command::Command;
use crate::chat_server::effect::{Effect, NodeEffect, Turn};
use crate::clock::Now;
use crate::history::{Completion, StoredMessage};
use crate::hub::{Replay, ToSession};
use crate::ids::{RoomId, SessionId};

impl World {
    pub(super) fn apply(&mut self, node: usize, command: Command) {
        let now = {
            let it = &self.nodes[node];
            Now { at: self.now.at + it.running_for, unix_ms: self.now.unix_ms.saturating_add_signed(it.clock) }
        };
        let mut turn = Turn::new(now);
        self.nodes[node].state.apply(command, &mut turn);
        let mut effects: VecDeque<_> = turn.effects.into();
        while let Some(effect) = effects.pop_front() {
            let mut done = Vec::new();
            self.perform(node, effect, &mut done);
            for completion in done {
                let mut turn = Turn::new(now);
                self.nodes[node].state.complete(completion, &mut turn);
                effects.extend(turn.effects);
            }
        }
        let it = &mut self.nodes[node];
        it.state.check();
        self.limits.check(&it.state);
        let Node { state, outgoing, .. } = it;
        state.pack(|record| outgoing.push_back(record));
        self.take_answers(node);
    }

    fn perform(&mut self, node: usize, effect: Effect, done: &mut Vec<Completion>) {
        match effect {
            Effect::To { session, command } => self.perform_for(node, session, command),
            Effect::TellMany { sessions, event } => {
                for session in sessions {
                    self.tell(node, session, &event);
                }
            }
            Effect::Deliver { room, message, .. } => self.deliver(node, room, &message),
            Effect::DeliverPrivate { sessions, message, .. } => {
                let event = ServerEvent::Message((*message).clone());
                for session in sessions {
                    self.tell(node, session, &event);
                }
            }
            Effect::Node(NodeEffect::Keep { entry, placed }) => self.nodes[node].history.keep(entry, &placed, done),
            Effect::Read(request) => self.nodes[node].history.read(request, done),
            Effect::Forget { room, receipt } => self.nodes[node].history.forget(room, receipt, done),
            Effect::Node(NodeEffect::Typing(_)) => panic!("nobody types"),
            Effect::Node(NodeEffect::Write(record)) => self.nodes[node].outgoing.push_back(record),
            Effect::Answer(answer) => answer.send(),
            Effect::Node(NodeEffect::BeginsAnew(life)) => {
                let it = &mut self.nodes[node];
                (it.life, it.has_lost) = (life, false);
                it.outgoing.clear();
            }
            Effect::Node(NodeEffect::Diverged { at }) => panic!("the nodes differ at {at:?}"),
            Effect::Node(NodeEffect::Checkpoint { at, state }) => self.checkpoints.push((at.position.0, state)),
            Effect::Node(NodeEffect::Applied(_) | NodeEffect::Changed(_))
            | Effect::NoteSent { .. }
            | Effect::NoteRead { .. }
            | Effect::Decided(_)
            | Effect::Limit { .. }
            | Effect::DropExcess
            | Effect::CountRefusal(_) => {}
            Effect::KeepModeration { .. } => panic!("the log has the decisions"),
            Effect::Append(_) => panic!("only the log gives messages their place"),
            Effect::Drain { .. } => panic!("nobody drains the chat"),
        }
    }

    fn deliver(&mut self, node: usize, room: RoomId, message: &Arc<StoredMessage>) {
        let admitted = &self.nodes[node].admitted;
        let members: Vec<_> = admitted.iter().filter(|(_, of)| *of == room).map(|(session, _)| *session).collect();
        for session in members {
            self.tell(node, session, &message.to_event());
        }
    }

    fn perform_for(&mut self, node: usize, session: SessionId, command: ToSession) {
        let admitted = &mut self.nodes[node].admitted;
        match command {
            ToSession::Tell { event, .. } => self.tell(node, session, &event),
            ToSession::Admit { room } => {
                if !admitted.contains(&(session, room)) {
                    admitted.push((session, room));
                }
            }
            ToSession::Dismiss { room } => admitted.retain(|entry| *entry != (session, room)),
            ToSession::Replay(Replay { room, messages, more, .. }) => {
                for message in messages {
                    self.tell(node, session, &message.to_event());
                }
                if more {
                    self.apply(node, Command::ContinueReplay { session, room });
                }
            }
            ToSession::Close { .. } => {
                admitted.retain(|(other, _)| *other != session);
                if let Some(client) = self.client_of(node, session) {
                    self.clients[client].lost_connection();
                }
            }
        }
    }

    pub(super) fn client_of(&self, node: usize, session: SessionId) -> Option<usize> {
        self.clients.iter().position(|client| client.at == Some((node, session)))
    }

    fn tell(&mut self, node: usize, session: SessionId, event: &ServerEvent<'_>) {
        if let Some(client) = self.client_of(node, session) {
            // A live message of the lobby before the client has resumed there is not followed yet.
            let is_before = matches!(event, ServerEvent::Message(message)
                if message.room.as_ref().is_some_and(|room| !self.clients[client].rooms.contains_key(room)));
            if !is_before {
                self.clients[client].hears(event);
            }
        }
    }
}
