//! Requests of clients and operators.

use std::sync::Arc;

use starling_protocol::{
    Change, ChangeMessage, ChangedPlace, ClientCommand, ClientId, ClientKey, Emoji, MessageId, PostMessage, Resume,
    RoomName, Seq, Target,
};
use tokio::sync::oneshot;

use super::super::client::{Client, Reached};
use super::{CLIENTS, ROOMS, STRANGERS, World, room};
use crate::chat_server::command::{Command, Frame, OpenRefusal, OpenSession, Request};
use crate::credits::Ticket;
use crate::history::RoomKey;
use crate::identity::{Claims, Identity, RoomGlobs};
use crate::ids::{HubId, SessionId};

impl World {
    pub(super) fn connect(&mut self, client: usize, node: usize) {
        if self.clients[client].at.is_some() || self.nodes[node].is_paused {
            return;
        }
        self.sessions += 1;
        let session = SessionId::new(HubId(0), self.sessions, 1);
        let (reply, answer) = oneshot::channel();
        let claims = Arc::new(Claims {
            client_id: self.clients[client].name.clone(),
            rooms: RoomGlobs::ALL,
            is_admin: false,
            expires_at: u64::MAX,
        });
        let it = &mut self.clients[client];
        it.at = Some((node, session));
        let open = OpenSession {
            session,
            identity: if self.is_authenticated { Identity::Proven(claims) } else { Identity::Open },
            client_id: Some(it.name.clone()),
            key: it.key,
            room: room(ROOMS[0]),
            fresh_key: ClientKey(u128::from(self.sessions) << 8),
            address: crate::client_address::ClientAddress::NONE,
            watch_presence: false,
        };
        self.nodes[node].answers.push((session, answer));
        self.apply(node, Command::OpenSession { open, reply });
    }

    /// A handshake is answered.
    pub(super) fn take_answers(&mut self, node: usize) {
        for (session, mut answer) in std::mem::take(&mut self.nodes[node].answers) {
            let answered = match answer.try_recv() {
                Ok(answered) => answered,
                // The node has begun another life, and knows nothing of those who waited.
                Err(oneshot::error::TryRecvError::Closed) => Err(OpenRefusal::Unavailable),
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.nodes[node].answers.push((session, answer));
                    continue;
                }
            };
            let Some(client) = self.client_of(node, session) else { continue };
            match answered {
                Ok(()) => self.is_in(client),
                Err(_) => self.clients[client].lost_connection(),
            }
        }
    }

    /// A client that was let in resumes in its rooms, and sends again what was not acknowledged.
    fn is_in(&mut self, client: usize) {
        let it = &self.clients[client];
        if !it.is_welcomed {
            return;
        }
        let rooms: Vec<_> = it.rooms.iter().map(|(room, reached)| (room.clone(), *reached)).collect();
        let (pending, changes, whispers) = (it.pending.clone(), it.changes.clone(), it.whispers.clone());
        self.clients[client].resuming = rooms.iter().map(|(room, _)| room.clone()).collect();
        if !rooms.iter().any(|(name, _)| name.as_str() == ROOMS[0]) {
            self.join(client, &room(ROOMS[0]), None);
        }
        for (room, reached) in rooms {
            self.join(client, &room, Some(reached));
        }
        for (id, room, text) in pending {
            let message =
                PostMessage { text: text.into(), target: Target::Room(room), client_id: None, reply_to: None };
            self.ask(client, Some(id), ClientCommand::Message(message));
        }
        for (id, change) in changes {
            self.ask(client, Some(id), ClientCommand::Change(change));
        }
        for whisper in whispers {
            self.ask_to_whisper(client, whisper, true);
        }
    }

    fn join(&mut self, client: usize, room: &RoomName, from: Option<Reached>) {
        let resume = from.map(|Reached { epoch, seq }| Resume { after: seq, epoch: Some(epoch), at: None });
        let id = Client::joins(room);
        self.ask(client, Some(id), ClientCommand::Join { room: room.clone(), resume, presence: false });
    }

    fn ask(&mut self, client: usize, id: Option<starling_protocol::MessageId>, command: ClientCommand<'static>) {
        let Some((node, session)) = self.clients[client].at else { return };
        let ticket = Some(Ticket::without_credit(self.now.at));
        let frame = Frame { session, id, ticket };
        self.apply(node, Command::Ask { frame, request: Request::Command(command) });
    }

    fn talks(&self, client: usize) -> bool {
        let it = &self.clients[client];
        it.is_welcomed && it.at.is_some_and(|(node, _)| !self.nodes[node].is_paused)
    }

    /// A client reads all that it has got.
    pub(super) fn read_all(&mut self, client: usize) {
        if self.talks(client) {
            for (room, Reached { seq, .. }) in self.clients[client].rooms.clone() {
                self.ask(client, None, ClientCommand::Read { place: ChangedPlace::Room(room), seq });
            }
        }
    }

    pub(super) fn say(&mut self, client: usize) {
        if !self.talks(client) || self.clients[client].pending.len() > 5 {
            return;
        }
        let rooms: Vec<_> = self.clients[client].rooms.keys().cloned().collect();
        if rooms.is_empty() {
            return;
        }
        let room = rooms[self.below(rooms.len())].clone();
        let (id, room, text) = self.clients[client].writes(&room);
        let message = PostMessage { text: text.into(), target: Target::Room(room), client_id: None, reply_to: None };
        self.ask(client, Some(id), ClientCommand::Message(message));
    }

    /// A client edits or deletes one of its messages, or reacts to any.
    pub(super) fn change(&mut self, client: usize) {
        if !self.talks(client) || self.clients[client].changes.len() > 5 {
            return;
        }
        let it = &self.clients[client];
        let all = it.shown.iter().flat_map(|(room, shown)| shown.iter().map(move |(seq, shown)| (room, *seq, shown)));
        let known: Vec<_> = all.filter(|(room, ..)| it.rooms.contains_key(*room)).collect();
        if known.is_empty() {
            return;
        }
        let known: Vec<_> = known.iter().map(|(room, seq, shown)| ((*room).clone(), *seq, shown.is_own)).collect();
        let (room, seq, is_own) = known[self.below(known.len())].clone();
        let change = match self.below(6) {
            0 | 1 if is_own => Change::Edit(format!("edit {}", self.below(1_000)).into()),
            2 if is_own => Change::Delete,
            what => {
                let emoji = Emoji::parse(["👍", "🎉", "👀"][self.below(3)]).unwrap();
                Change::React { emoji, remove: what == 3 }
            }
        };
        let change = ChangeMessage { place: ChangedPlace::Room(room), of: Seq(seq), change };
        let (id, change) = self.clients[client].changes(change);
        self.ask(client, Some(id), ClientCommand::Change(change));
    }

    fn ask_to_whisper(&mut self, client: usize, (id, to, number): (MessageId, ClientId, u64), is_again: bool) {
        let message = PostMessage {
            text: format!("{number} {is_again}").into(),
            target: Target::Client(to),
            client_id: None,
            reply_to: None,
        };
        self.ask(client, Some(id), ClientCommand::Message(message));
    }

    pub(super) fn whisper(&mut self, client: usize) {
        if self.talks(client) && self.clients[client].whispers.len() <= 5 {
            let to = match self.below(CLIENTS + STRANGERS) {
                stranger @ CLIENTS.. => ClientId::parse(&format!("stranger{stranger}")).unwrap(),
                other => self.clients[other].name.clone(),
            };
            let whisper = self.clients[client].whispers_to(&to);
            self.ask_to_whisper(client, whisper, false);
        }
    }

    /// An operator removes a client, or drops a room.
    pub(super) fn operate(&mut self, node: usize, client: usize) {
        if self.nodes[node].is_paused {
            return;
        }
        match self.below(3) {
            0 => {
                let client_id = self.clients[client].name.clone();
                self.apply(node, Command::RemoveClient { client_id, reply: oneshot::channel().0 });
            }
            1 => {
                let key = RoomKey::Inbox(self.clients[client].name.clone());
                self.apply(node, Command::DropRoom { key, reply: oneshot::channel().0 });
            }
            _ => {
                let key = RoomKey::Room(room(ROOMS[1 + self.below(ROOMS.len() - 1)]));
                self.apply(node, Command::DropRoom { key, reply: oneshot::channel().0 });
            }
        }
    }

    /// A node asks for a checkpoint.
    pub(super) fn apply_checkpoint(&mut self, node: usize) {
        if !self.nodes[node].is_paused {
            self.nodes[node].state.ask_for_checkpoint();
            self.apply(node, Command::Tick { reply: oneshot::channel().0 });
        }
    }

    pub(super) fn join_or_leave(&mut self, client: usize) {
        if !self.talks(client) {
            return;
        }
        let name = room(ROOMS[1 + self.below(ROOMS.len() - 1)]);
        if self.clients[client].rooms.contains_key(&name) {
            let waits = self.clients[client].pending.iter().any(|(_, room, _)| *room == name);
            if !waits {
                self.ask(client, None, ClientCommand::Leave { room: name });
            }
        } else {
            self.join(client, &name, None);
        }
    }

    pub(super) fn hang_up(&mut self, client: usize) {
        if let Some((node, session)) = self.clients[client].at {
            self.clients[client].lost_connection();
            self.apply(node, Command::CloseSession { session });
        }
    }
}
