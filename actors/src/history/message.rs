//! A message before it has its `seq` in a room, and a stored message.

use std::borrow::Cow;
use std::fmt;

use starling_protocol::{ChatMessage, ClientId, MessageId, NameError, RoomName, Seq};

use crate::identity::IdOwner;

/// The owner of a sequence of messages: a room, or a client's inbox, which is stored like a room with only that client
/// in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RoomKey {
    /// Any client may join it.
    Room(RoomName),
    /// The private messages that a client received and sent.
    Inbox(ClientId),
}

impl RoomKey {
    /// The first character of an inbox in its written form. No room name starts with it.
    const INBOX: char = '@';

    /// Parses the text that [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    /// [`NameError`], if the text is neither a room name nor an inbox.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix(Self::INBOX) {
            Some(owner) => ClientId::parse(owner).map(Self::Inbox),
            None => RoomName::parse(text).map(Self::Room),
        }
    }

    /// The room's name; `None` for an inbox.
    pub fn room(&self) -> Option<&RoomName> {
        if let Self::Room(name) = self { Some(name) } else { None }
    }

    /// The client that owns the inbox; `None` for a room.
    pub fn owner(&self) -> Option<&ClientId> {
        if let Self::Inbox(owner) = self { Some(owner) } else { None }
    }
}

impl fmt::Display for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(name) => name.fmt(f),
            Self::Inbox(owner) => write!(f, "{}{owner}", Self::INBOX),
        }
    }
}

/// A message that was accepted and has no `seq` yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The receiver of a private message.
    pub to: Option<ClientId>,
    /// The name that the sender had when the server accepted the message.
    pub client_id: ClientId,
    /// At most `CHAT_MESSAGE_BYTES`.
    pub text: Box<str>,
    /// The time at which the server accepted the message, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The `id` that the sender chose.
    pub id: Option<MessageId>,
    /// The owner of `id`. `None` for a message without `id`.
    pub owner: Option<IdOwner>,
}

impl Draft {
    /// Makes the stored message, with the `seq` that the log gave it.
    pub fn placed(self, room: RoomKey, seq: Seq) -> StoredMessage {
        let Self { to, client_id, text, at, id, owner } = self;
        StoredMessage { room, to, seq, client_id, text, at, id, owner }
    }

    /// The other participant of a private message, as seen from the owner of the inbox. `None` in a room.
    pub fn peer(&self, room: &RoomKey) -> Option<&ClientId> {
        peer(room, &self.client_id, self.to.as_ref())
    }

    /// The weight that the stored message will have, see [`StoredMessage::weight`].
    pub fn weight(&self) -> usize {
        weight(&self.text, &self.client_id, self.id.as_ref())
    }
}

/// A message that has its `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// The room or inbox that contains the message.
    pub room: RoomKey,
    /// The receiver of a private message. Set exactly if `room` is an inbox.
    pub to: Option<ClientId>,
    /// The sequence number in the room: from 1 in each epoch, without gaps.
    pub seq: Seq,
    /// The name that the sender had when the server accepted the message.
    pub client_id: ClientId,
    /// At most `CHAT_MESSAGE_BYTES`.
    pub text: Box<str>,
    /// The time at which the server accepted the message, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The `id` that the sender chose.
    pub id: Option<MessageId>,
    /// The owner of `id`. `None` for a message without `id`, and for a message that was read from a store.
    pub owner: Option<IdOwner>,
}

impl StoredMessage {
    /// The size that limits in bytes count for the message: text, names, and a fixed overhead per message.
    pub fn weight(&self) -> usize {
        weight(&self.text, &self.client_id, self.id.as_ref())
    }

    /// The other participant of a private message, as seen from the owner of the inbox. `None` in a room.
    pub fn peer(&self) -> Option<&ClientId> {
        peer(&self.room, &self.client_id, self.to.as_ref())
    }

    /// Converts to the wire type. Borrows the text.
    pub fn to_wire(&self) -> ChatMessage<'_> {
        self.wire_with(self.text.as_ref().into())
    }

    /// Converts to the wire type. Copies the text.
    pub fn to_owned_wire(&self) -> ChatMessage<'static> {
        self.wire_with(self.text.to_string().into())
    }

    fn wire_with<'a>(&self, text: Cow<'a, str>) -> ChatMessage<'a> {
        ChatMessage {
            client_id: self.client_id.clone(),
            text,
            room: self.room.room().cloned(),
            seq: Some(self.seq),
            to: self.to.clone(),
            at: self.at,
            id: self.id.clone(),
        }
    }
}

fn weight(text: &str, client_id: &ClientId, id: Option<&MessageId>) -> usize {
    /// Estimated bytes of memory per message in addition to text and names.
    const OVERHEAD: usize = 160;
    text.len() + client_id.as_str().len() + id.map_or(0, |id| id.as_str().len()) + OVERHEAD
}

fn peer<'a>(room: &RoomKey, client_id: &'a ClientId, to: Option<&'a ClientId>) -> Option<&'a ClientId> {
    let owner = room.owner()?;
    if client_id == owner { to } else { Some(client_id) }
}
