//! What goes into the chat's state machine, and what comes out of it.

use std::sync::Arc;

use starling_protocol::{
    ChatMessage, ClientId, ClientKey, CloseCode, Epoch, ErrorCode, HistoryPage, MessageId, Refusal, Resume, RoomName,
    Seq, ServerEvent, Target,
};
use tokio::sync::oneshot;

use crate::credits::Ticket;
use crate::history::{Completion, NewMessage, ReadRequest, RoomKey, StoredMessage};
use crate::identity::{Claims, Identity};
use crate::ids::{HubSet, RoomId, SessionId};

/// Something that happens to the chat.
#[derive(Debug)]
pub enum Command {
    /// A connection wants to take part.
    OpenSession(OpenSession),
    /// A session has ended, whoever ended it. Idempotent.
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// A client asks something.
    Ask {
        /// Its session.
        session: SessionId,
        /// Its own name for the asking.
        id: Option<MessageId>,
        /// What it asks.
        request: Request,
        /// The credit it holds, and when it was read.
        ticket: Ticket,
    },
    /// The session is read by a person from now on, or no longer: a person wants to know who comes and goes in all
    /// the session's rooms.
    WatchPresence {
        /// The session.
        session: SessionId,
        /// Whether it is.
        wanted: bool,
    },
    /// What was replayed to a session has been written: it can take more.
    ContinueReplay {
        /// The session.
        session: SessionId,
        /// The room it catches up in.
        room: RoomId,
    },
    /// The history has finished something.
    Completed(Completion),
    /// An operator says something in a room.
    PostAsOperator(OperatorPost),
    /// An operator removes a client: all its connections are closed.
    RemoveClient {
        /// The client.
        client_id: ClientId,
        /// Who wants to know how many connections there were.
        reply: oneshot::Sender<usize>,
    },
    /// An operator drops a room or an inbox, with all that was said in it.
    DropRoom {
        /// Which.
        key: RoomKey,
        /// Who waits until it is gone from the storage.
        reply: DropReply,
    },
    /// Time has passed. Needed a few times a second for what is due.
    Tick,
}

/// Who waits until a room is dropped.
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
    /// Who it is.
    pub identity: Identity,
    /// The name it wants; without, it becomes a guest, or has the name that it has proven.
    pub client_id: Option<ClientId>,
    /// The secret of an earlier connection of the same client.
    pub key: Option<ClientKey>,
    /// The room it enters.
    pub room: RoomName,
    /// The secret it gets if it does not show one.
    pub fresh_key: ClientKey,
    /// Whether a person reads what it gets, see [`Command::WatchPresence`].
    pub watch_presence: bool,
}

/// What an operator says in a room.
#[derive(Debug)]
pub struct OperatorPost {
    /// The room.
    pub room: RoomName,
    /// The name under which it is said.
    pub client_id: ClientId,
    /// What.
    pub text: Box<str>,
    /// The operator's own name for it; the same again is not said twice.
    pub id: Option<MessageId>,
    /// Who waits until it is stored.
    pub reply: oneshot::Sender<Result<Posted, Refusal>>,
}

/// Where a message of an operator stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posted {
    /// Its place in the room.
    pub seq: Seq,
    /// When it was taken, milliseconds since the Unix epoch.
    pub at: u64,
    /// Whether it had been taken before.
    pub duplicate: bool,
}

/// What a client asks.
#[derive(Debug)]
pub enum Request {
    /// To say something.
    Publish {
        /// What.
        text: Box<str>,
        /// To whom.
        target: Target,
        /// The name it believes to have.
        client_id: Option<ClientId>,
    },
    /// To have a name, or to go on having the one that it has proven.
    Hello {
        /// What its token says.
        claims: Option<Arc<Claims>>,
        /// The name wanted.
        client_id: Option<ClientId>,
        /// The secret that proves a claim to it.
        key: Option<ClientKey>,
    },
    /// To enter a room.
    Join {
        /// The room.
        room: RoomName,
        /// From where to catch up.
        resume: Option<Resume>,
        /// Whether to be told who comes and goes.
        presence: bool,
    },
    /// To get its private messages from here on.
    JoinInbox {
        /// From where to catch up.
        resume: Option<Resume>,
    },
    /// To leave a room.
    Leave {
        /// The room.
        room: RoomName,
    },
    /// The list of rooms.
    Rooms,
    /// The list of a room's members.
    Members {
        /// The room.
        room: RoomName,
    },
    /// What was said in a room.
    History {
        /// The room.
        room: RoomName,
        /// Which part.
        page: HistoryPage,
        /// Most messages.
        limit: u16,
    },
    /// Its private messages.
    InboxHistory {
        /// Only those with this client.
        with: Option<ClientId>,
        /// Which part.
        page: HistoryPage,
        /// Most messages.
        limit: u16,
    },
    /// A sign of life.
    Ping,
    /// Nothing that can be done: its frame was refused when it was read. It comes here so that answers keep the order
    /// of the frames, and so that one place counts the errors in a row.
    Refused(Refusal),
}

/// What the state machine wants done, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Tell one session.
    Tell {
        /// The session.
        session: SessionId,
        /// What.
        event: Box<ServerEvent<'static>>,
        /// What the command holds that this answers, until the answer is offered.
        ticket: Option<Ticket>,
    },
    /// Tell several sessions the same.
    TellMany {
        /// The sessions.
        sessions: Vec<SessionId>,
        /// What.
        event: Box<ServerEvent<'static>>,
    },
    /// From here on the session gets what is delivered to the room.
    Admit {
        /// The session.
        session: SessionId,
        /// The room.
        room: RoomId,
    },
    /// From here on the session gets nothing more of the room.
    Dismiss {
        /// The session.
        session: SessionId,
        /// The room.
        room: RoomId,
    },
    /// Deliver a message to everybody who was admitted to the room.
    Deliver {
        /// The room.
        room: RoomId,
        /// The hubs that have members of it.
        hubs: HubSet,
        /// The message.
        message: Arc<StoredMessage>,
        /// What its command holds until it is offered everywhere.
        ticket: Ticket,
    },
    /// Deliver a private message that is not kept.
    DeliverPrivate {
        /// The connections that hold the two names.
        sessions: Vec<SessionId>,
        /// The message.
        message: Box<ChatMessage<'static>>,
        /// What its command holds until it is offered everywhere.
        ticket: Ticket,
    },
    /// Write older messages to a session that catches up; they fit into an empty outbox.
    Replay {
        /// The session.
        session: SessionId,
        /// The room.
        room: RoomId,
        /// The messages.
        messages: Vec<Arc<StoredMessage>>,
        /// Whether to ask with [`Command::ContinueReplay`] for more when they are written.
        more: bool,
        /// What the `join` that began it holds until this is offered.
        ticket: Option<Ticket>,
    },
    /// Answer a client's `history`.
    TellHistory {
        /// The session.
        session: SessionId,
        /// The `id` of its frame.
        id: Option<MessageId>,
        /// Whose messages.
        of: PageOf,
        /// The messages.
        messages: Vec<Arc<StoredMessage>>,
        /// Whether there are more.
        has_more: bool,
        /// What the command holds that this answers, until the answer is offered.
        ticket: Option<Ticket>,
    },
    /// Store a message.
    Store {
        /// Its room.
        room: RoomId,
        /// The life of the room's sequence numbers.
        epoch: Epoch,
        /// The message.
        message: Arc<StoredMessage>,
    },
    /// Store a private message in the inboxes of its sender and its receiver: both copies, or neither.
    StoreBoth(Box<[NewMessage; 2]>),
    /// Note that the owner of an inbox was sent everything up to this message.
    Delivered {
        /// The inbox.
        room: RoomId,
        /// The message.
        seq: Seq,
    },
    /// Read from the history.
    Read(ReadRequest),
    /// Drop a room's history: the room has ended.
    Forget {
        /// The room.
        room: RoomId,
        /// Who waits until that is stored.
        reply: Option<DropReply>,
    },
    /// Tell a connection that it cannot take part.
    RefuseSession {
        /// The session it would have been.
        session: SessionId,
        /// Why.
        refusal: OpenRefusal,
    },
    /// Close a session's connection.
    Close {
        /// The session.
        session: SessionId,
        /// The close code.
        code: CloseCode,
        /// A short reason for a person.
        reason: &'static str,
    },
}

/// Whose messages a page of history holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageOf {
    /// A room's.
    Room(RoomName),
    /// The client's own private ones.
    Inbox {
        /// Only those with this client.
        with: Option<ClientId>,
    },
}

/// Why a connection cannot take part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefusal {
    /// Another connection holds the name.
    #[error("the name {0} is in use")]
    NameTaken(ClientId),
    /// The name begins like a guest's and is not held by whoever shows this key.
    #[error("names that begin with \"{}\" are given by the server", starling_protocol::limits::GUEST_PREFIX)]
    NameReserved,
    /// There are as many rooms as there may be.
    #[error("the server has as many rooms as it may have")]
    TooManyRooms,
    /// The token is another client's than the name that was asked for.
    #[error("the token is that of {0}")]
    TokenOfAnother(ClientId),
    /// The token has expired.
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
