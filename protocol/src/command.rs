//! What a client may ask.

use std::borrow::Cow;

use crate::names::{ClientId, Epoch, MessageId, RoomName, Seq};

/// One frame of a client: what it asks, and its own name for the asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandFrame<'a> {
    /// Carried back by every answer and error that the frame causes.
    pub id: Option<MessageId>,
    /// A command borrows its texts from the frame.
    pub command: ClientCommand<'a>,
}

/// What a client asks of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCommand<'a> {
    /// Says something in a room or to one client.
    Message(PostMessage<'a>),
    /// Takes or changes a name.
    Hello {
        /// The name wanted.
        client_id: Option<ClientId>,
        /// The secret that an earlier `welcome` told; takes the name back from a dead connection of this client.
        key: Option<Cow<'a, str>>,
        /// Proof of identity, where the server asks for one.
        token: Option<Cow<'a, str>>,
    },
    /// Enters a room, or asks again for one it is in.
    Join {
        /// The room; made if nobody is in it.
        room: RoomName,
        /// From where to catch up.
        resume: Option<Resume>,
        /// Whether `presence` events of this room are wanted.
        presence: bool,
    },
    /// Asks for its private messages from here on, where they are stored.
    JoinInbox {
        /// From where to catch up; without it nothing is caught up with.
        resume: Option<Resume>,
    },
    /// Leaves a room.
    Leave {
        /// The room to leave; the connection must be in it.
        room: RoomName,
    },
    /// Lists the rooms.
    Rooms,
    /// Lists who is in a room.
    Members {
        /// The room to list; the connection need not be in it.
        room: RoomName,
    },
    /// Reads what was said in a room.
    History {
        /// The room to read; the connection need not be in it.
        room: RoomName,
        /// From which message, and in which direction.
        page: HistoryPage,
        /// How many at most, 1 to [`HISTORY_LIMIT_MAX`](crate::limits::HISTORY_LIMIT_MAX).
        limit: u16,
    },
    /// Reads its private messages, where they are stored.
    InboxHistory {
        /// Only those with this client.
        with: Option<ClientId>,
        /// From which message, and in which direction.
        page: HistoryPage,
        /// How many at most, 1 to [`HISTORY_LIMIT_MAX`](crate::limits::HISTORY_LIMIT_MAX).
        limit: u16,
    },
    /// Asks for a sign of life.
    Ping,
}

impl ClientCommand<'_> {
    /// The command without a borrow from its frame.
    pub fn into_owned(self) -> ClientCommand<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Message(PostMessage { text, target, client_id }) => {
                ClientCommand::Message(PostMessage { text: owned(text), target, client_id })
            }
            Self::Hello { client_id, key, token } => {
                ClientCommand::Hello { client_id, key: key.map(owned), token: token.map(owned) }
            }
            Self::Join { room, resume, presence } => ClientCommand::Join { room, resume, presence },
            Self::JoinInbox { resume } => ClientCommand::JoinInbox { resume },
            Self::Leave { room } => ClientCommand::Leave { room },
            Self::Rooms => ClientCommand::Rooms,
            Self::Members { room } => ClientCommand::Members { room },
            Self::History { room, page, limit } => ClientCommand::History { room, page, limit },
            Self::InboxHistory { with, page, limit } => ClientCommand::InboxHistory { with, page, limit },
            Self::Ping => ClientCommand::Ping,
        }
    }
}

/// A message as its sender gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostMessage<'a> {
    /// What everybody gets to read; not empty.
    pub text: Cow<'a, str>,
    /// A room or one client.
    pub target: Target,
    /// The name under which the sender believes to speak; a guest takes it by its first message.
    pub client_id: Option<ClientId>,
}

/// To whom a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The connection's first room.
    FirstRoom,
    /// Everybody in this room.
    Room(RoomName),
    /// One client, in private.
    Client(ClientId),
}

/// From where a client that was away catches up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// The newest message that the client has.
    pub after: Seq,
    /// The epoch that message belongs to. `None`: no epoch that a server ever gave, so nothing can be recovered.
    pub epoch: Option<Epoch>,
    /// The `at` of that message, in milliseconds since the Unix epoch, where the client knows it. Where the server's
    /// message `after` has another one, nothing can be recovered.
    pub at: Option<u64>,
}

/// Which part of a room's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryPage {
    /// The newest messages.
    Newest,
    /// The newest messages older than this one.
    Before(Seq),
    /// The oldest messages newer than this one.
    After(Seq),
}
