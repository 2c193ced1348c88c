//! A message: before it has its `seq` in a room, and as it is kept.

use std::borrow::Cow;
use std::fmt;

use starling_protocol::{ChatMessage, ClientId, MessageId, NameError, RoomName, Seq};

use crate::identity::IdOwner;

/// What messages are kept in: a room, or a client's inbox, which is kept like a room that only that client is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RoomKey {
    /// Open to whoever joins it.
    Room(RoomName),
    /// The private messages that a client got and sent.
    Inbox(ClientId),
}

impl RoomKey {
    /// What an inbox begins with where its name is written; no room's name does.
    const INBOX: char = '@';

    /// Takes what [`Display`](fmt::Display) wrote.
    ///
    /// # Errors
    /// [`NameError`], where it is neither.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix(Self::INBOX) {
            Some(owner) => ClientId::parse(owner).map(Self::Inbox),
            None => RoomName::parse(text).map(Self::Room),
        }
    }

    /// The room, if it is one.
    pub fn room(&self) -> Option<&RoomName> {
        if let Self::Room(name) = self { Some(name) } else { None }
    }

    /// Whose inbox it is, if it is one.
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
    /// To whom, where it is private.
    pub to: Option<ClientId>,
    /// The name that the sender had when it was accepted.
    pub client_id: ClientId,
    /// At most `CHAT_MESSAGE_BYTES`.
    pub text: Box<str>,
    /// When the server took it, milliseconds since the Unix epoch.
    pub at: u64,
    /// The sender's own name for it.
    pub id: Option<MessageId>,
    /// Whose `id` it is, where it has one.
    pub owner: Option<IdOwner>,
}

impl Draft {
    /// The message as the log numbered it.
    pub fn placed(self, room: RoomKey, seq: Seq) -> StoredMessage {
        let Self { to, client_id, text, at, id, owner } = self;
        StoredMessage { room, to, seq, client_id, text, at, id, owner }
    }

    /// The other one of a private message, seen from the inbox that it goes to.
    pub fn peer(&self, room: &RoomKey) -> Option<&ClientId> {
        peer(room, &self.client_id, self.to.as_ref())
    }

    /// What the message will weigh, see [`StoredMessage::weight`].
    pub fn weight(&self) -> usize {
        weight(&self.text, &self.client_id, self.id.as_ref())
    }
}

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// What it is kept in.
    pub room: RoomKey,
    /// To whom, where it is private: exactly in an inbox.
    pub to: Option<ClientId>,
    /// Its number there, from 1 in each epoch, without gaps.
    pub seq: Seq,
    /// The name that the sender had when it was accepted.
    pub client_id: ClientId,
    /// At most `CHAT_MESSAGE_BYTES`.
    pub text: Box<str>,
    /// When the server took it, milliseconds since the Unix epoch.
    pub at: u64,
    /// The sender's own name for it.
    pub id: Option<MessageId>,
    /// Whose `id` it is. `None` for a message without `id`, and for one that was read back.
    pub owner: Option<IdOwner>,
}

impl StoredMessage {
    /// What the message weighs against a bound of bytes: its text and names, and what keeping it costs beside them.
    pub fn weight(&self) -> usize {
        weight(&self.text, &self.client_id, self.id.as_ref())
    }

    /// The other one of a private message, seen from the inbox that it is kept in.
    pub fn peer(&self) -> Option<&ClientId> {
        peer(&self.room, &self.client_id, self.to.as_ref())
    }

    /// The message as it goes over the wire.
    pub fn to_wire(&self) -> ChatMessage<'_> {
        self.wire_with(self.text.as_ref().into())
    }

    /// The message as it goes over the wire, with a text of its own.
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
    /// What keeping a message costs beside its text and names.
    const OVERHEAD: usize = 160;
    text.len() + client_id.as_str().len() + id.map_or(0, |id| id.as_str().len()) + OVERHEAD
}

fn peer<'a>(room: &RoomKey, client_id: &'a ClientId, to: Option<&'a ClientId>) -> Option<&'a ClientId> {
    let owner = room.owner()?;
    if client_id == owner { to } else { Some(client_id) }
}
