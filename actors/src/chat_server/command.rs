//! Requests to the chat: everything that goes into its state machine.

use std::sync::Arc;
use std::time::Duration;

use starling_protocol::{
    ClientCommand, ClientId, ClientKey, ErrorCode, HistoryPage, MessageId, Refusal, RoomName, RoomSummary, Seq,
};
use tokio::sync::oneshot;

use crate::credits::Ticket;
use crate::history::{Completion, Page, ReadError, RoomKey, SearchText};
use crate::identity::{Claims, Identity, RoomGlobs};
use crate::ids::{RoomId, SessionId};

/// Something that happens to the chat.
///
/// Whoever asks from outside the chat puts a reply into the command; the state machine gives it back with the answer,
/// as an [`Answer`](super::effect::Answer).
#[derive(Debug)]
pub enum Command {
    /// A connection wants to take part.
    OpenSession {
        /// Who it is, and where it begins.
        open: OpenSession,
        /// Gets the outcome after everything that the new session is told.
        reply: oneshot::Sender<Result<(), OpenRefusal>>,
    },
    /// A session has ended, whoever ended it. Idempotent.
    CloseSession {
        /// One that has ended before is ignored.
        session: SessionId,
    },
    /// A client's frame.
    Ask {
        /// Goes to the answer.
        frame: Frame,
        /// Decoded and checked by the session, as far as that needs no state of the chat.
        request: Request,
    },
    /// A person reads this session from now on, or no longer. A person is told who comes and goes in all its rooms.
    WatchPresence {
        /// One that has ended is ignored.
        session: SessionId,
        /// Whether a person reads it.
        wanted: bool,
    },
    /// A session has written the part of a replay that it was given, and takes the next one.
    ContinueReplay {
        /// Sent by its hub when its outbox is empty.
        session: SessionId,
        /// The room it catches up in.
        room: RoomId,
    },
    /// The history has finished something.
    Completed(Completion),
    /// An operator says something in a room.
    PostAsOperator {
        /// Checked for its size, not for its room.
        post: OperatorPost,
        /// Gets the outcome when the message is stored.
        reply: PostReply,
    },
    /// An operator removes a client: the chat closes all its connections.
    RemoveClient {
        /// One that has no connection is no error.
        client_id: ClientId,
        /// Gets the number of connections that were closed.
        reply: oneshot::Sender<usize>,
    },
    /// An operator drops a room or an inbox, with all its messages.
    DropRoom {
        /// The lobby may be dropped, too: it is there again for whoever asks.
        key: RoomKey,
        /// Gets the outcome when the storage has dropped it.
        reply: DropReply,
    },
    /// Somebody asks over HTTP for the list of rooms.
    ListRooms {
        /// The rooms that may be listed.
        allowed: RoomGlobs,
        /// Gets the rooms, the fullest first, and whether there are more.
        reply: oneshot::Sender<(Vec<RoomSummary>, bool)>,
    },
    /// Somebody asks over HTTP for a part of a room's history.
    ReadRoom {
        /// Every room may be read so; who asks has been let in by the edge.
        query: HistoryQuery,
        /// Gets the page when the history has read it.
        reply: oneshot::Sender<Result<Page, ReadError>>,
    },
    /// The server goes away: every connection is told and closed.
    Drain {
        /// The reason, for a person.
        reason: &'static str,
        /// The time over which the closes are spread.
        spread: Duration,
    },
    /// Time has passed. The chat needs one several times a second for everything that is due.
    Tick {
        /// Gets an answer when everything that was due is done.
        reply: oneshot::Sender<()>,
    },
}

/// A client's frame on its way to its answer.
///
/// The ticket goes to the answer, or with the message that the frame brought. A frame that needs no answer gives it back
/// when it is dropped.
#[derive(Debug)]
pub struct Frame {
    /// The session that sent it.
    pub session: SessionId,
    /// The client's own name for the frame; its answer carries it back.
    pub id: Option<MessageId>,
    /// The credit that the frame holds, and when it was read.
    pub ticket: Option<Ticket>,
}

impl Frame {
    /// Moves the frame to where its answer will come from.
    pub(super) fn take(&mut self) -> Self {
        Self { session: self.session, id: self.id.take(), ticket: self.ticket.take() }
    }
}

/// Gets the outcome of a drop.
pub type DropReply = oneshot::Sender<Result<(), DropError>>;

/// Why a room or an inbox is not dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DropError {
    /// There is none of this name.
    #[error("there is none")]
    NotThere,
    /// It is gone for its members, but still in the storage, which fails: it is dropped as soon as that works.
    #[error("the storage fails: it is dropped when the storage works again, and back if the server stops before")]
    NotStored,
}

/// A connection that wants to take part.
#[derive(Debug, Clone)]
pub struct OpenSession {
    /// The session it will be.
    pub session: SessionId,
    /// What is known of the client.
    pub identity: Identity,
    /// The name it wants. Without one it becomes a guest, or gets the name that its token says.
    pub client_id: Option<ClientId>,
    /// The secret of an earlier connection of the same client.
    pub key: Option<ClientKey>,
    /// The room it enters.
    pub room: RoomName,
    /// The secret it gets if it does not show one.
    pub fresh_key: ClientKey,
    /// Whether a person reads it, see [`Command::WatchPresence`].
    pub watch_presence: bool,
}

/// What an operator says in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorPost {
    /// One that exists, or the lobby.
    pub room: RoomName,
    /// The name under which it is said; nobody needs to hold it.
    pub client_id: ClientId,
    /// At most `CHAT_MESSAGE_BYTES`, which the edge checks.
    pub text: Box<str>,
    /// The operator's own name for it: the same message again is not delivered twice.
    pub id: Option<MessageId>,
}

/// Gets the outcome of an operator's message.
pub type PostReply = oneshot::Sender<Result<Posted, Refusal>>;

/// A stored message of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posted {
    /// Its sequence number in the room.
    pub seq: Seq,
    /// When the server took it, milliseconds since the Unix epoch.
    pub at: u64,
    /// Whether the server had taken it before.
    pub duplicate: bool,
}

/// What a client's frame asks.
#[derive(Debug)]
pub enum Request {
    /// A command of the protocol. A `hello` with a token comes as [`Proven`](Self::Proven).
    Command(ClientCommand<'static>),
    /// A `hello` whose token is verified.
    Proven {
        /// What the token says.
        claims: Arc<Claims>,
        /// The name wanted.
        client_id: Option<ClientId>,
        /// The secret of an earlier connection of the same client.
        key: Option<ClientKey>,
    },
    /// A frame that was refused when it was read. It comes here so that answers keep the order of the frames, and so
    /// that one place counts the errors in a row.
    Refused(Refusal),
}

/// A part of a room's history, for somebody outside the chat.
#[derive(Debug, Clone)]
pub struct HistoryQuery {
    /// One that exists, or the lobby.
    pub room: RoomName,
    /// Which messages.
    pub page: HistoryPage,
    /// Only messages with these words, the newest first.
    pub search: Option<SearchText>,
    /// Most messages in the answer.
    pub limit: u16,
    /// Most bytes of messages in the answer.
    pub bytes: usize,
}

/// Why a connection cannot take part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefusal {
    /// Another client holds the name.
    #[error("the name {0} is in use")]
    NameTaken(ClientId),
    /// The name begins like a guest's and is not held by whoever shows this key.
    #[error("names that begin with \"{}\" are given by the server", starling_protocol::limits::GUEST_PREFIX)]
    NameReserved,
    /// The table of rooms is full.
    #[error("the server has as many rooms as it may have")]
    TooManyRooms,
    /// The token says another name than the one asked for.
    #[error("the token is that of {0}")]
    TokenOfAnother(ClientId),
    /// The time of [`Claims::expires_at`] has passed.
    #[error("the token has expired")]
    TokenExpired,
    /// The token does not allow the room.
    #[error("the token does not allow the room {0}")]
    RoomClosed(RoomName),
    /// The chat does not answer.
    #[error("the chat does not answer")]
    Unavailable,
}

impl OpenRefusal {
    /// The code with which a session that is there already is told so.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::NameTaken(_) => ErrorCode::NameTaken,
            Self::NameReserved => ErrorCode::BadName,
            Self::TooManyRooms => ErrorCode::TooManyRooms,
            Self::TokenOfAnother(_) => ErrorCode::ClientIdMismatch,
            Self::TokenExpired => ErrorCode::Unauthorized,
            Self::RoomClosed(_) => ErrorCode::Forbidden,
            Self::Unavailable => ErrorCode::Unavailable,
        }
    }
}

impl From<OpenRefusal> for Refusal {
    fn from(refusal: OpenRefusal) -> Self {
        Self::new(refusal.error_code(), refusal.to_string())
    }
}
