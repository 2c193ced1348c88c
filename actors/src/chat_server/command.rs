//! What goes into the chat's state machine, and what comes out of it.

use std::sync::Arc;

use starling_protocol::{
    ChatMessage, ClientId, ClientKey, CloseCode, Epoch, HistoryPage, MessageId, Refusal, Resume, RoomName, ServerEvent,
    Target,
};

use crate::credits::Ticket;
use crate::history::{Completion, ReadRequest, StoredMessage};
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
    /// Time has passed. Needed a few times a second for what is due.
    Tick,
}

/// A connection that wants to take part.
#[derive(Debug, Clone)]
pub struct OpenSession {
    /// The session it will be.
    pub session: SessionId,
    /// The name it wants; without, it becomes a guest.
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
    /// To have a name.
    Hello {
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
    /// Deliver a private message.
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
    },
    /// Answer a client's `history`.
    TellHistory {
        /// The session.
        session: SessionId,
        /// The `id` of its frame.
        id: Option<MessageId>,
        /// The room.
        room: RoomName,
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
    /// Read from the history.
    Read(ReadRequest),
    /// Drop a room's history: the room has ended.
    Forget {
        /// The room.
        room: RoomId,
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
    /// The chat does not answer.
    #[error("the chat does not answer")]
    Unavailable,
}
