//! The commands of clients.

use std::borrow::Cow;

use crate::change::{Change, ChangeMessage, ChangedPlace};
use crate::names::{ClientId, ClientKey, Epoch, MessageId, RoomName, Seq};

/// A client's frame: a command, and the client's own `id` for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandFrame<'a> {
    /// Every answer and error that the frame causes repeats it.
    pub id: Option<MessageId>,
    /// Its texts may borrow from the frame.
    pub command: ClientCommand<'a>,
}

/// A command of a client to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCommand<'a> {
    /// Sends a message to a room or to one client.
    Message(PostMessage<'a>),
    /// Edits or deletes a message, or reacts to it.
    Change(ChangeMessage<'a>),
    /// Takes or changes a name.
    Hello {
        /// The requested name.
        client_id: Option<ClientId>,
        /// The key in an earlier `welcome`; takes the name over from a dead connection of this client.
        key: Option<ClientKey>,
        /// Proof of identity, if the server requires one.
        token: Option<Cow<'a, str>>,
    },
    /// Joins a room. If the connection is already a member, it may resume or change `presence`.
    Join {
        /// Created if it does not exist.
        room: RoomName,
        /// The position to catch up from. `None`: only new messages are sent.
        resume: Option<Resume>,
        /// Whether `presence` events of this room are wanted.
        presence: bool,
    },
    /// Resumes the client's private messages, if the server stores them.
    JoinInbox {
        /// The position to catch up from. `None`: only new messages are sent.
        resume: Option<Resume>,
    },
    /// Leaves a room.
    Leave {
        /// The room to leave; the connection must be in it.
        room: RoomName,
    },
    /// Lists the rooms.
    Rooms,
    /// Lists the members of a room.
    Members {
        /// The room to list; the connection need not be in it.
        room: RoomName,
    },
    /// Reads the history of a room.
    History {
        /// The room to read; the connection need not be in it.
        room: RoomName,
        /// The position and the direction.
        page: HistoryPage,
        /// Maximum number of messages in the answer, 1 to [`HISTORY_LIMIT_MAX`](crate::limits::HISTORY_LIMIT_MAX).
        limit: u16,
    },
    /// Reads the client's private messages, if the server stores them.
    InboxHistory {
        /// Restricts the answer to the messages with this client.
        with: Option<ClientId>,
        /// The position and the direction.
        page: HistoryPage,
        /// Maximum number of messages in the answer, 1 to [`HISTORY_LIMIT_MAX`](crate::limits::HISTORY_LIMIT_MAX).
        limit: u16,
    },
    /// Says that the client's user is typing a message.
    Typing {
        /// The destination of the message.
        target: Target,
    },
    /// Says how far the client has read.
    Read {
        /// A room that the connection is in, or the inbox.
        place: ChangedPlace,
        /// The newest message that it has read.
        seq: Seq,
    },
    /// Checks that the server answers.
    Ping,
}

impl ClientCommand<'_> {
    /// The text of a message or of an edit.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Message(message) => Some(&message.text),
            Self::Change(ChangeMessage { change: Change::Edit(text), .. }) => Some(text),
            Self::Change(_)
            | Self::Hello { .. }
            | Self::Join { .. }
            | Self::JoinInbox { .. }
            | Self::Leave { .. }
            | Self::Rooms
            | Self::Members { .. }
            | Self::History { .. }
            | Self::InboxHistory { .. }
            | Self::Typing { .. }
            | Self::Read { .. }
            | Self::Ping => None,
        }
    }

    /// Makes the command independent of its frame.
    pub fn into_owned(self) -> ClientCommand<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Message(PostMessage { text, target, client_id, reply_to }) => {
                ClientCommand::Message(PostMessage { text: owned(text), target, client_id, reply_to })
            }
            Self::Change(change) => ClientCommand::Change(change.into_owned()),
            Self::Hello { client_id, key, token } => ClientCommand::Hello { client_id, key, token: token.map(owned) },
            Self::Join { room, resume, presence } => ClientCommand::Join { room, resume, presence },
            Self::JoinInbox { resume } => ClientCommand::JoinInbox { resume },
            Self::Leave { room } => ClientCommand::Leave { room },
            Self::Rooms => ClientCommand::Rooms,
            Self::Members { room } => ClientCommand::Members { room },
            Self::History { room, page, limit } => ClientCommand::History { room, page, limit },
            Self::InboxHistory { with, page, limit } => ClientCommand::InboxHistory { with, page, limit },
            Self::Typing { target } => ClientCommand::Typing { target },
            Self::Read { place, seq } => ClientCommand::Read { place, seq },
            Self::Ping => ClientCommand::Ping,
        }
    }
}

/// A message that a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostMessage<'a> {
    /// Not empty.
    pub text: Cow<'a, str>,
    /// A room or one client.
    pub target: Target,
    /// The name that the client believes it has. A guest takes the name with this message.
    pub client_id: Option<ClientId>,
    /// The message of the same room, or of the client's inbox, that it replies to.
    pub reply_to: Option<Seq>,
}

/// The destination of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The connection's first room.
    FirstRoom,
    /// All members of this room.
    Room(RoomName),
    /// One client, in private.
    Client(ClientId),
}

/// The position from which a client catches up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// The newest message that the client has.
    pub after: Seq,
    /// The epoch of that message. `None`: the client sent a value that no server issues, so nothing can be recovered.
    pub epoch: Option<Epoch>,
    /// The `at` of that message, in milliseconds since the Unix epoch, if the client knows it. If the server's message
    /// `after` has a different one, nothing can be recovered.
    pub at: Option<u64>,
}

/// A part of a room's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryPage {
    /// The newest messages.
    Newest,
    /// The newest messages older than this one.
    Before(Seq),
    /// The oldest messages newer than this one.
    After(Seq),
}
