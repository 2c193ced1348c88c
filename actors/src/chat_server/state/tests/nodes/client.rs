//! A client that reconnects after each lost connection, at any node, and resends its unacknowledged messages.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use starling_protocol::{
    ChangeMessage, ChatMessage, ClientId, ClientKey, DeletedEvent, EditedEvent, Epoch, ErrorCode, MessageId,
    ReactionEvent, RoomName, Seq, ServerEvent,
};

use crate::ids::SessionId;

/// The progress of a client in a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
}

/// A message as a client shows it, by the rules of the protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) is_own: bool,
    text: String,
    is_deleted: bool,
    /// The clients that have reacted, by emoji.
    reactions: BTreeMap<String, BTreeSet<String>>,
    /// The newest change that it shows.
    changed: Seq,
}

impl Shown {
    /// A message of a frame.
    pub(super) fn of(message: &ChatMessage<'_>, is_own: bool) -> Self {
        let names = |names: &[ClientId]| names.iter().map(ClientId::to_string).collect();
        let reactions = message.reactions.iter().map(|of| (of.emoji.as_str().to_owned(), names(&of.client_ids)));
        let (text, is_deleted) = (message.text.to_string(), message.deleted);
        Self {
            is_own,
            text,
            is_deleted,
            reactions: reactions.collect(),
            changed: message.changed_seq.unwrap_or(Seq(0)),
        }
    }

    /// What a person sees.
    pub(super) fn seen(&self) -> String {
        if self.is_deleted { "(deleted)".into() } else { format!("{} {:?}", self.text, self.reactions) }
    }

    fn change(&mut self, event: &ServerEvent<'_>) {
        let (ServerEvent::Edited(EditedEvent { seq, .. })
        | ServerEvent::Deleted(DeletedEvent { seq, .. })
        | ServerEvent::Reaction(ReactionEvent { seq, .. })) = event
        else {
            return;
        };
        if *seq <= self.changed {
            return;
        }
        if let ServerEvent::Edited(EditedEvent { text, .. }) = event
            && !text.is_empty()
        {
            assert!(!self.is_deleted, "no text of a deleted message is shown");
            self.text = text.to_string();
        }
        self.is_deleted |= matches!(event, ServerEvent::Deleted(_));
        if let ServerEvent::Reaction(ReactionEvent { client_id, emoji, removed, .. }) = event {
            let clients = self.reactions.entry(emoji.as_str().to_owned()).or_default();
            if *removed {
                clients.remove(client_id.as_str());
            } else {
                clients.insert(client_id.to_string());
            }
            self.reactions.retain(|_, clients| !clients.is_empty());
        }
        self.changed = *seq;
    }
}

/// The numbers of private messages.
#[derive(Debug, Default)]
struct Heard {
    all: BTreeSet<u64>,
    /// The newest message that arrived as first written by its sender.
    newest: u64,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: ClientId,
    pub(super) key: Option<ClientKey>,
    /// The node that it is connected to, and its session there; `None`: it is not connected.
    pub(super) at: Option<(usize, SessionId)>,
    /// Whether it was welcomed on this connection.
    pub(super) is_welcomed: bool,
    pub(super) rooms: BTreeMap<RoomName, Reached>,
    /// Rooms whose `join` is not answered on this connection: live messages there will arrive again.
    pub(super) resuming: BTreeSet<RoomName>,
    /// Sent messages without an acknowledgement: the `id`, the room and the text.
    pub(super) pending: Vec<(MessageId, RoomName, String)>,
    /// The messages of each room since the client has joined it without a resume.
    pub(super) shown: BTreeMap<RoomName, BTreeMap<u64, Shown>>,
    /// Sent changes without an acknowledgement.
    pub(super) changes: Vec<(MessageId, ChangeMessage<'static>)>,
    /// Sent private messages without an acknowledgement: the `id`, the receiver and the number.
    pub(super) whispers: Vec<(MessageId, ClientId, u64)>,
    /// The received private messages, by sender and receiver.
    heard: HashMap<(ClientId, ClientId), Heard>,
    /// Acknowledged messages by `id`: the room, the epoch if known, and the seq.
    pub(super) acked: HashMap<MessageId, (RoomName, Seq)>,
    sent: u64,
}

impl Client {
    pub(super) fn new(number: usize) -> Self {
        Self {
            name: ClientId::parse(&format!("client{number}")).unwrap(),
            key: None,
            at: None,
            is_welcomed: false,
            rooms: BTreeMap::new(),
            resuming: BTreeSet::new(),
            pending: Vec::new(),
            shown: BTreeMap::new(),
            changes: Vec::new(),
            whispers: Vec::new(),
            heard: HashMap::new(),
            acked: HashMap::new(),
            sent: 0,
        }
    }

    /// The next message for a room.
    pub(super) fn writes(&mut self, room: &RoomName) -> (MessageId, RoomName, String) {
        self.sent += 1;
        let id = MessageId::parse(&format!("{}-{}", self.name, self.sent)).unwrap();
        let message = (id, room.clone(), format!("{} says {}", self.name, self.sent));
        self.pending.push(message.clone());
        message
    }

    /// The next change of a message.
    pub(super) fn changes(&mut self, change: ChangeMessage<'static>) -> (MessageId, ChangeMessage<'static>) {
        self.sent += 1;
        let id = MessageId::parse(&format!("{}-{}", self.name, self.sent)).unwrap();
        self.changes.push((id.clone(), change.clone()));
        (id, change)
    }

    /// The `id` of a `join`.
    pub(super) fn joins(room: &RoomName) -> MessageId {
        MessageId::parse(&format!("join {room}")).unwrap()
    }

    /// The next private message for a client.
    pub(super) fn whispers_to(&mut self, to: &ClientId) -> (MessageId, ClientId, u64) {
        self.sent += 1;
        let id = MessageId::parse(&format!("{}-{}", self.name, self.sent)).unwrap();
        let message = (id, to.clone(), self.sent);
        self.whispers.push(message.clone());
        message
    }

    /// Receives a private message that is not stored: its sender's number for it, and whether the sender has repeated
    /// it. A message that was refused at first, because no client had the receiver's name, may arrive after a later
    /// one.
    fn hears_whisper(&mut self, from: &ClientId, to: &ClientId, (number, is_again): (u64, bool)) {
        let heard = self.heard.entry((from.clone(), to.clone())).or_default();
        assert!(heard.all.insert(number), "{} hears {from} to {to}: {number} twice", self.name);
        if !is_again {
            assert!(number > heard.newest, "{} hears {from} to {to}: {number} after {}", self.name, heard.newest);
            heard.newest = number;
        }
    }

    pub(super) fn lost_connection(&mut self) {
        self.at = None;
        self.is_welcomed = false;
    }

    fn follows(&mut self, room: &RoomName, seq: Seq) {
        let Some(reached) = self.rooms.get_mut(room) else { panic!("{} is not in {room}", self.name) };
        assert_eq!(seq, reached.seq.next(), "{} in {room}: once, in order, without a gap", self.name);
        reached.seq = seq;
    }

    /// Handles an event of the server.
    pub(super) fn hears(&mut self, event: &ServerEvent<'_>) {
        match event {
            ServerEvent::Welcome(welcome) => {
                self.key = Some(welcome.key);
                assert_eq!(welcome.client_id, self.name);
                self.is_welcomed = true;
            }
            ServerEvent::Joined(joined) => {
                let Some(room) = &joined.room else { return };
                self.resuming.remove(room);
                let known = self.rooms.get(room).copied();
                if joined.recovered == Some(true) {
                    let known = known.expect("it resumed from somewhere");
                    assert_eq!(joined.epoch, known.epoch, "recovered in the same epoch");
                    assert!(joined.seq >= known.seq, "{} in {room}: recovered from the future", self.name);
                } else {
                    self.shown.remove(room);
                    self.rooms.insert(room.clone(), Reached { epoch: joined.epoch, seq: joined.seq });
                }
            }
            ServerEvent::Message(message) => {
                if let (Some(room), Some(seq)) = (&message.room, message.seq)
                    && !self.resuming.contains(room)
                {
                    self.follows(room, seq);
                    let shown = Shown::of(message, message.client_id == self.name);
                    self.shown.entry(room.clone()).or_default().insert(seq.0, shown);
                }
                if let (Some(to), None) = (&message.to, message.seq) {
                    let (number, is_again) = message.text.split_once(' ').expect("a number and whether it comes again");
                    let written = (number.parse().unwrap(), is_again.parse().unwrap());
                    self.hears_whisper(&message.client_id, to, written);
                }
            }
            ServerEvent::Edited(EditedEvent { room, seq, of, .. })
            | ServerEvent::Deleted(DeletedEvent { room, seq, of, .. })
            | ServerEvent::Reaction(ReactionEvent { room, seq, of, .. }) => {
                if let Some(room) = room
                    && !self.resuming.contains(room)
                {
                    self.follows(room, *seq);
                    if let Some(message) = self.shown.get_mut(room).and_then(|shown| shown.get_mut(&of.0)) {
                        message.change(event);
                    }
                }
            }
            ServerEvent::Ack(ack) => {
                self.whispers.retain(|(id, ..)| *id != ack.id);
                if let (Some(room), Some(seq)) = (&ack.room, ack.seq) {
                    self.changes.retain(|(id, _)| *id != ack.id);
                    self.pending.retain(|(id, ..)| *id != ack.id);
                    let earlier = self.acked.insert(ack.id.clone(), (room.clone(), seq));
                    assert!(earlier.is_none_or(|(_, earlier)| earlier == seq), "one message has one number");
                }
            }
            ServerEvent::Error(refusal) => {
                if let Some(id) = &refusal.id {
                    if let Some(room) = id.as_str().strip_prefix("join ") {
                        assert_eq!(refusal.code, ErrorCode::TooManyRooms, "{room}: {}", refusal.message);
                        self.rooms.remove(room);
                        self.resuming.remove(room);
                    }
                    self.pending.retain(|(other, ..)| other != id);
                    self.changes.retain(|(other, _)| other != id);
                    self.whispers.retain(|(other, ..)| other != id);
                }
            }
            ServerEvent::Left { room, .. } => {
                self.rooms.remove(room);
            }
            ServerEvent::Presence(_)
            | ServerEvent::Members(_)
            | ServerEvent::Rooms { .. }
            | ServerEvent::History(_)
            | ServerEvent::Pong { .. }
            | ServerEvent::Typing(_)
            | ServerEvent::Read(_)
            | ServerEvent::Settings(_)
            | ServerEvent::Closing { .. } => {}
        }
    }
}
