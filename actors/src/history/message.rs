//! An entry of a room, before it has its `seq` and stored: a message, or a change of one.

use std::borrow::Cow;
use std::fmt;

use starling_protocol::{
    ChatMessage, ClientId, DeletedEvent, EditedEvent, Epoch, MessageId, NameError, ReactionEvent, RoomName, Seq,
    ServerEvent,
};

use super::changes::Changes;
use super::content::Content;
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

/// The place of the other copy of a private message, in the inbox of the other client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twin {
    /// The epoch of that inbox when the message was stored.
    pub epoch: Epoch,
    /// The number of the copy there.
    pub seq: Seq,
}

impl Twin {
    /// The other one of two copies that are at these places. `None` where there is only one.
    pub fn of(index: usize, places: &[Self]) -> Option<Self> {
        if let [first, last] = *places { Some(if index == 0 { last } else { first }) } else { None }
    }
}

/// An entry that was accepted and has no `seq` yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The other client of a change in an inbox, the receiver of a private message.
    pub to: Option<ClientId>,
    /// The name that the sender had when the server accepted the entry.
    pub client_id: ClientId,
    /// A message, or a change of one.
    pub content: Content,
    /// The time at which the server accepted the entry, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The `id` that the sender chose.
    pub id: Option<MessageId>,
    /// The client that sent it: the owner of `id`, and of the message. `None`: a node of an older version has accepted a
    /// message without `id`.
    pub owner: Option<IdOwner>,
}

impl Draft {
    /// Makes the stored entry, with the `seq` that the log gave it. `twin`: the place of its other copy.
    pub fn placed(self, room: RoomKey, seq: Seq, twin: Option<Twin>) -> StoredMessage {
        let Self { to, client_id, content, at, id, owner } = self;
        StoredMessage { room, to, seq, client_id, content, at, id, owner, twin, changes: None }
    }

    /// The other participant of a private message, as seen from the owner of the inbox. `None` in a room.
    pub fn peer(&self, room: &RoomKey) -> Option<&ClientId> {
        peer(room, &self.client_id, self.to.as_ref())
    }

    /// The weight that the stored entry will have, see [`StoredMessage::weight`].
    pub fn weight(&self) -> usize {
        weight(&self.content, &self.client_id, self.id.as_ref())
    }
}

/// An entry that has its `seq`: a message with all its changes so far, or a change of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// The room or inbox that contains the entry.
    pub room: RoomKey,
    /// The receiver of a private message or change. Set exactly if `room` is an inbox.
    pub to: Option<ClientId>,
    /// The sequence number in the room: from 1 in each epoch, without gaps.
    pub seq: Seq,
    /// The name that the sender had when the server accepted the entry.
    pub client_id: ClientId,
    /// A message, or a change of one.
    pub content: Content,
    /// The time at which the server accepted the entry, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The `id` that the sender chose.
    pub id: Option<MessageId>,
    /// The client that sent it. `None`: an older version has stored it.
    pub owner: Option<IdOwner>,
    /// The place of the other copy of a private message.
    pub twin: Option<Twin>,
    /// The changes of a message. `None`: there is none.
    pub changes: Option<Box<Changes>>,
}

impl StoredMessage {
    /// The size that limits in bytes count for the entry: text, names, and a fixed overhead per entry.
    pub fn weight(&self) -> usize {
        let changes = self.changes.as_ref().map_or(0, |changes| changes.weight());
        weight(&self.content, &self.client_id, self.id.as_ref()) + changes
    }

    /// Whether it is a message, and not a change of one.
    pub fn is_message(&self) -> bool {
        matches!(self.content, Content::Message { .. })
    }

    /// Whether it was deleted.
    pub fn is_deleted(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| changes.is_deleted)
    }

    /// The text of a message or an edit.
    pub fn text(&self) -> &str {
        self.content.text()
    }

    /// The other participant of a private message, as seen from the owner of the inbox. `None` in a room.
    pub fn peer(&self) -> Option<&ClientId> {
        peer(&self.room, &self.client_id, self.to.as_ref())
    }

    /// The client that may change the message. A version that noted no owner has authenticated the name, or nobody may.
    pub fn owner(&self) -> IdOwner {
        self.owner.unwrap_or_else(|| IdOwner::authenticated(&self.client_id))
    }

    /// The same entry without its text.
    #[must_use]
    pub fn without_text(&self) -> Self {
        let mut entry = self.clone();
        entry.content.clear_text();
        entry
    }

    /// The frame of the entry. Borrows the text.
    pub fn to_event(&self) -> ServerEvent<'_> {
        if self.is_message() {
            return ServerEvent::Message(self.to_wire());
        }
        let (client_id, to, id) = (self.client_id.clone(), self.to.clone(), self.id.clone());
        let (room, seq, at) = (self.room.room().cloned(), self.seq, self.at);
        match &self.content {
            Content::Message { .. } => ServerEvent::Message(self.to_wire()),
            Content::Edit { of, text } => {
                let text = text.as_ref().into();
                ServerEvent::Edited(EditedEvent { room, seq, of: *of, client_id, text, to, at, id })
            }
            Content::Deletion { of } => {
                ServerEvent::Deleted(DeletedEvent { room, seq, of: *of, client_id, to, at, id })
            }
            Content::Reaction { of, emoji, removed } => {
                let (of, emoji, removed) = (*of, emoji.clone(), *removed);
                ServerEvent::Reaction(ReactionEvent { room, seq, of, client_id, emoji, removed, to, at, id })
            }
        }
    }

    /// Converts a message to the wire type. Borrows the text.
    pub fn to_wire(&self) -> ChatMessage<'_> {
        self.wire_with(self.text().into())
    }

    /// Converts a message to the wire type. Copies the text.
    pub fn to_owned_wire(&self) -> ChatMessage<'static> {
        self.wire_with(self.text().to_owned().into())
    }

    fn wire_with<'a>(&self, text: Cow<'a, str>) -> ChatMessage<'a> {
        let message = ChatMessage {
            client_id: self.client_id.clone(),
            text,
            room: self.room.room().cloned(),
            seq: Some(self.seq),
            to: self.to.clone(),
            at: self.at,
            id: self.id.clone(),
            reply_to: self.content.refers_to(),
            edited_at: None,
            deleted: false,
            changed_seq: None,
            reactions: Vec::new(),
        };
        match &self.changes {
            Some(changes) => changes.shown_in(message),
            None => message,
        }
    }
}

impl StoredMessage {
    /// Applies a change to the message.
    pub(super) fn change(&mut self, change: &StoredMessage) {
        let changes = self.changes.get_or_insert_default();
        let text = changes.apply(change.seq, change.at, &change.client_id, &change.content);
        if let (Some(new), Content::Message { text, .. }) = (text, &mut self.content) {
            *text = new.into();
        }
    }
}

fn weight(content: &Content, client_id: &ClientId, id: Option<&MessageId>) -> usize {
    /// Estimated bytes of memory per entry in addition to text and names.
    const OVERHEAD: usize = 160;
    content.weight() + client_id.as_str().len() + id.map_or(0, |id| id.as_str().len()) + OVERHEAD
}

fn peer<'a>(room: &RoomKey, client_id: &'a ClientId, to: Option<&'a ClientId>) -> Option<&'a ClientId> {
    let owner = room.owner()?;
    if client_id == owner { to } else { Some(client_id) }
}
