//! A client that reconnects after each lost connection, at any node, and resends its unacknowledged messages.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use starling_protocol::{ClientId, ClientKey, Epoch, ErrorCode, MessageId, RoomName, Seq, ServerEvent};

use crate::ids::SessionId;

/// The progress of a client in a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
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
                    self.rooms.insert(room.clone(), Reached { epoch: joined.epoch, seq: joined.seq });
                }
            }
            ServerEvent::Message(message) => {
                if let (Some(room), Some(seq)) = (&message.room, message.seq)
                    && !self.resuming.contains(room)
                {
                    self.follows(room, seq);
                }
                if let (Some(to), None) = (&message.to, message.seq) {
                    let (number, is_again) = message.text.split_once(' ').expect("a number and whether it comes again");
                    let written = (number.parse().unwrap(), is_again.parse().unwrap());
                    self.hears_whisper(&message.client_id, to, written);
                }
            }
            ServerEvent::Ack(ack) => {
                self.whispers.retain(|(id, ..)| *id != ack.id);
                if let (Some(room), Some(seq)) = (&ack.room, ack.seq) {
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
            | ServerEvent::Closing { .. } => {}
        }
    }
}
