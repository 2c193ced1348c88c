//! Requests to the chat: everything that goes into its state machine.

use std::sync::Arc;
use std::time::Duration;

use starling_protocol::{
    ClientCommand, ClientId, ClientKey, ErrorCode, HistoryPage, MessageId, Refusal, RoomName, RoomSummary, Seq,
};
use tokio::sync::oneshot;

use crate::client_address::ClientAddress;
use crate::credits::Ticket;
use crate::followers::RoomPosition;
use crate::history::{Page, ReadError, RoomKey, SearchText};
use crate::identity::{Caller, Claims, Identity, RoomGlobs};
use crate::ids::{RoomId, SessionId};
use crate::moderation::invitations::Invitation;
use crate::moderation::{Act, AuditEntry, Decision, Ineffective, Sanction, Who};
use crate::nodes::heard::Heard;
use crate::nodes::known::KnownNode;
use crate::room_settings::RoomSettings;

/// One input of the state machine.
///
/// A caller from outside the chat puts a reply channel into the command; the state machine returns that channel with
/// the outcome, as an [`Answer`](super::effect::Answer).
#[derive(Debug)]
pub enum Command {
    /// A connection asks to become a session.
    OpenSession {
        /// The requested name and room, and the verified identity.
        open: OpenSession,
        /// Receives the outcome after the events that the new session gets, so the client sees its `welcome` first.
        reply: oneshot::Sender<Result<(), OpenRefusal>>,
    },
    /// A session has ended, by its client, its hub or the chat. Idempotent.
    CloseSession {
        /// A session that has already ended is ignored.
        session: SessionId,
    },
    /// A client has sent a frame.
    Ask {
        /// The answer returns it.
        frame: Frame,
        /// Decoded by the session, which has made all checks that need no state of the chat.
        request: Request,
    },
    /// Starts or stops telling a session the presence of all its rooms, because a person reads it (the console).
    WatchPresence {
        /// A session that has ended is ignored.
        session: SessionId,
        /// True if a person reads it from now on.
        wanted: bool,
    },
    /// A session has written the previous part of its replay and asks for the next one.
    ContinueReplay {
        /// Sent by its hub when its outbox is empty.
        session: SessionId,
        /// The room or inbox in which it catches up.
        room: RoomId,
    },
    /// With other nodes: an event of the log or of another node.
    Heard(Heard),
    /// With other nodes: this node stops in order and notifies the others.
    LeaveOthers {
        /// Gets an answer when the log has the entry, or at once on a server without other nodes.
        reply: oneshot::Sender<()>,
    },
    /// An operator posts a message to a room, over HTTP.
    PostAsOperator {
        /// Its size is checked, its room is not.
        post: OperatorPost,
        /// Gets the outcome when the message is stored.
        reply: PostReply,
    },
    /// An operator removes a client: the chat closes all its connections.
    RemoveClient {
        /// A client without a connection is not an error.
        client_id: ClientId,
        /// Gets the number of connections that were closed.
        reply: RemoveReply,
    },
    /// An operator drops a room or an inbox, with all its messages.
    DropRoom {
        /// The lobby may be dropped too: the next client that asks for it gets a new one.
        key: RoomKey,
        /// Gets the outcome when the storage has dropped it.
        reply: DropReply,
    },
    /// An operator mutes or bans, takes that back, or changes the settings or the invitations of a room.
    Decide {
        /// The decision; its texts and numbers are within their limits.
        decision: Decision,
        /// Gets the outcome when the decision holds and is stored.
        reply: DecisionReply,
    },
    /// A client of the chat mutes or bans, takes that back, or changes the settings or the invitations of a room.
    DecideInChat {
        /// Only operators may.
        session: SessionId,
        /// What; its numbers are within their limits.
        act: Act,
        /// Why; within its limit.
        reason: Box<str>,
        /// Gets the outcome when the decision holds and is stored.
        reply: DecisionReply,
    },
    /// An operator asks for the sanctions in force.
    ListSanctions {
        /// Receives them, in no order.
        reply: oneshot::Sender<Vec<Sanction>>,
    },
    /// An operator asks for the audit log.
    ReadAudit {
        /// Receives its entries with their numbers, the newest first.
        reply: oneshot::Sender<Vec<(u64, AuditEntry)>>,
    },
    /// A caller asks whether the moderation keeps a client out.
    JudgeOpening {
        /// The name that it would have; `None`: that of a new guest.
        name: Option<ClientId>,
        /// The address that it would connect from.
        address: ClientAddress,
        /// The room that it would open.
        room: RoomName,
        /// The rooms of its token.
        rooms: RoomGlobs,
        /// Receives the refusal of its handshake.
        reply: oneshot::Sender<Result<(), OpenRefusal>>,
    },
    /// A caller asks for the settings of a room.
    ReadSettings {
        /// A room that need not exist.
        room: RoomName,
        /// Receives them.
        reply: oneshot::Sender<RoomSettings>,
    },
    /// A member asks for the settings of its room.
    ReadOwnSettings {
        /// The session that asks.
        session: SessionId,
        /// The room.
        room: RoomName,
        /// Receives them, or the refusal of a session that is not a member.
        reply: oneshot::Sender<Result<RoomSettings, Refusal>>,
    },
    /// An operator asks for the rooms whose settings differ from the default.
    ListSetRooms {
        /// Receives them, in the order of their names.
        reply: oneshot::Sender<Vec<(RoomName, RoomSettings)>>,
    },
    /// An operator asks for the invitations to a room.
    ListInvitations {
        /// A room that need not exist.
        room: RoomName,
        /// Receives them in the order of the names.
        reply: oneshot::Sender<Vec<(ClientId, Invitation)>>,
    },
    /// A follower asks how far rooms are.
    ReadPositions {
        /// Only this room, or all.
        room: Option<RoomName>,
        /// Receives the named rooms that exist, in no order.
        reply: oneshot::Sender<Vec<RoomPosition>>,
    },
    /// An HTTP client asks for the list of rooms.
    ListRooms {
        /// The caller.
        caller: Caller,
        /// Receives the rooms, those with the most members first, and whether the list was cut.
        reply: oneshot::Sender<(Vec<RoomSummary>, bool)>,
    },
    /// An operator asks for the nodes of the chat.
    ListNodes {
        /// Receives the nodes that have begun and are not out; none on a server without other nodes.
        reply: oneshot::Sender<Vec<KnownNode>>,
    },
    /// An operator's page asks for the names of sessions and rooms.
    Name {
        /// By their numbers.
        numbers: Numbered,
        /// Receives the names, in the same order.
        reply: oneshot::Sender<Named>,
    },
    /// An HTTP client asks for a page of a room's history.
    ReadRoom {
        /// The edge has checked the token's rights.
        query: HistoryQuery,
        /// Gets the page when the history has read it.
        reply: oneshot::Sender<Result<Page, ReadError>>,
    },
    /// The server shuts down: the hubs tell every connection and close it.
    Drain {
        /// Sent to clients with the close; text for a person.
        reason: &'static str,
        /// The hubs spread the closes over this time, so that not all clients reconnect at once.
        spread: Duration,
    },
    /// Does the work that is due by time. The ticker sends it every 250 ms.
    Tick {
        /// Receives an answer when all due work is done.
        reply: oneshot::Sender<()>,
    },
}

impl Command {
    /// The session whose command it is. The commands of one session are carried out in their order.
    pub(super) fn session(&self) -> Option<SessionId> {
        match self {
            Self::OpenSession { open, .. } => Some(open.session),
            Self::Ask { frame, .. } => Some(frame.session),
            Self::CloseSession { session }
            | Self::WatchPresence { session, .. }
            | Self::ReadOwnSettings { session, .. }
            | Self::DecideInChat { session, .. } => Some(*session),
            Self::ContinueReplay { .. }
            | Self::PostAsOperator { .. }
            | Self::RemoveClient { .. }
            | Self::DropRoom { .. }
            | Self::Decide { .. }
            | Self::ListSanctions { .. }
            | Self::ReadAudit { .. }
            | Self::JudgeOpening { .. }
            | Self::ReadSettings { .. }
            | Self::ListSetRooms { .. }
            | Self::ListInvitations { .. }
            | Self::ReadPositions { .. }
            | Self::ListRooms { .. }
            | Self::ListNodes { .. }
            | Self::Name { .. }
            | Self::ReadRoom { .. }
            | Self::Drain { .. }
            | Self::Heard(_)
            | Self::LeaveOthers { .. }
            | Self::Tick { .. } => None,
        }
    }
}

/// Sessions and rooms by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbered {
    /// Sessions that have ended have no name.
    pub sessions: Vec<SessionId>,
    /// Inboxes and rooms that have ended have no name.
    pub rooms: Vec<RoomId>,
}

/// The names of the [`Numbered`] sessions and rooms, in the same order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// `None`: the session has ended or has not shown a token.
    pub sessions: Vec<Option<ClientId>>,
    /// `None`: the room has ended or is private, or it is an inbox.
    pub rooms: Vec<Option<RoomName>>,
}

/// A client's frame, until it is answered.
///
/// The ticket moves into the answer, or into the message that the frame carried. A frame that needs no answer returns
/// its credit when it is dropped.
#[derive(Debug)]
pub struct Frame {
    /// The sender of the frame.
    pub session: SessionId,
    /// The client's own `id` for the frame; the answer repeats it.
    pub id: Option<MessageId>,
    /// The credit of the frame and its read time. `None` once the ticket has moved into an answer or a message.
    pub ticket: Option<Ticket>,
}

impl Frame {
    /// Takes the frame out, so that its answer can be sent later and from elsewhere.
    pub(super) fn take(&mut self) -> Self {
        Self { session: self.session, id: self.id.take(), ticket: self.ticket.take() }
    }
}

/// The reason that an operator's request to a node of several has not happened, and will not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// The log cannot be written, so the request was not written.
    #[error("this node cannot reach the log of all nodes: nothing was done")]
    OutOfReach,
    /// The node was declared dead before the log had accepted the request.
    #[error("this node was cut off from the others: nothing was done")]
    CutOff,
}

/// Receives the number of connections of a removed client.
pub type RemoveReply = oneshot::Sender<Result<usize, NotDone>>;

/// Receives the outcome of a drop.
pub type DropReply = oneshot::Sender<Result<(), DropError>>;

/// The reason that a room or an inbox is not dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DropError {
    /// No room or inbox has this name.
    #[error("it does not exist")]
    NotThere,
    /// Members no longer see it, but the storage fails and still has it. The storage drops it once it works again.
    #[error(
        "the storage fails: the drop happens when the storage works again, and is lost if the server stops before that"
    )]
    NotStored,
    /// It still exists, unchanged.
    #[error(transparent)]
    NotDone(#[from] NotDone),
}

/// Receives the outcome of a decision.
pub type DecisionReply = oneshot::Sender<Result<Decided, NotDecided>>;

/// A decision that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// Since when, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Whether the members of a room were told of it.
    pub is_told: bool,
    /// Whether it is a sanction of a client that is connected to this node as an operator, whom it does not stop.
    pub is_exempt: bool,
}

/// The reason that a decision does not hold, or is not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDecided {
    /// It has no effect.
    #[error(transparent)]
    Ineffective(#[from] Ineffective),
    /// It holds, but the storage fails. It is stored once the storage works again.
    #[error(
        "it holds, but the storage fails: it is stored when the storage works again, and lost if the server stops before that"
    )]
    NotStored,
    /// Nothing has changed.
    #[error(transparent)]
    NotDone(#[from] NotDone),
    /// The client is no operator. Nothing has changed.
    #[error("only operators may do that")]
    NotAnOperator,
    /// The token of the operator does not allow the room, or, for a decision about the server, all rooms. Nothing has
    /// changed.
    #[error("the token is limited to its rooms")]
    OutsideOfToken,
}

impl NotDecided {
    /// The reason for an operator whose token is limited to rooms: it does not tell of other places.
    #[must_use]
    pub fn without_other_places(self) -> Self {
        let tells = matches!(self, Self::Ineffective(Ineffective::NotThere(_)));
        if tells { Ineffective::NotThere(None).into() } else { self }
    }

    /// The code of the refusal to a client of the chat.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Ineffective(_) => ErrorCode::BadRequest,
            Self::NotStored | Self::NotDone(_) => ErrorCode::Unavailable,
            Self::NotAnOperator | Self::OutsideOfToken => ErrorCode::Forbidden,
        }
    }
}

/// The request of a connection to become a session.
#[derive(Debug, Clone)]
pub struct OpenSession {
    /// The id that the hub has given the connection.
    pub session: SessionId,
    /// The address that the client connects from.
    pub address: ClientAddress,
    /// The verified identity of the client, if any.
    pub identity: Identity,
    /// The requested name. Without one, the client gets a guest name, or the name in its token.
    pub client_id: Option<ClientId>,
    /// The key of an earlier connection of the same client; it takes the name over from that connection.
    pub key: Option<ClientKey>,
    /// The first room of the session.
    pub room: RoomName,
    /// The session's key, unless the client shows an earlier key that it may keep.
    pub fresh_key: ClientKey,
    /// Whether a person reads the output, see [`Command::WatchPresence`].
    pub watch_presence: bool,
}

impl OpenSession {
    /// The client to judge, before it has shown a token.
    pub(super) fn who(&self) -> Who<'_> {
        Who { name: self.client_id.as_ref(), address: self.address, rooms: &RoomGlobs::ALL }
    }
}

/// A message that an operator posts to a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorPost {
    /// One that exists, or the lobby.
    pub room: RoomName,
    /// The sender's name. No client needs to hold it.
    pub client_id: ClientId,
    /// At most `CHAT_MESSAGE_BYTES`, which the edge checks.
    pub text: Box<str>,
    /// The operator's own `id` for the message: a repeated `id` is not delivered twice.
    pub id: Option<MessageId>,
}

/// Gets the outcome of an operator's message.
pub type PostReply = oneshot::Sender<Result<Posted, Refusal>>;

/// A stored message of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posted {
    /// The `seq` of the message in its room.
    pub seq: Seq,
    /// The time at which the server accepted the message, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Whether the server had already stored a message with this `id`.
    pub duplicate: bool,
}

/// The decoded content of a client's frame.
#[derive(Debug)]
pub enum Request {
    /// A command of the protocol. A `hello` with a token becomes [`Proven`](Self::Proven) instead.
    Command(ClientCommand<'static>),
    /// A `hello` whose token is verified.
    Proven {
        /// The verified content of the token.
        claims: Arc<Claims>,
        /// The requested name; it must be the one in the token.
        client_id: Option<ClientId>,
        /// The secret of an earlier connection of the same client.
        key: Option<ClientKey>,
    },
    /// A frame that the session has refused. It still passes the chat, so that answers keep the order of the frames and
    /// one place counts consecutive errors.
    Refused(Refusal),
}

/// A query for a room's history from outside the chat.
#[derive(Debug, Clone)]
pub struct HistoryQuery {
    /// The caller.
    pub caller: Caller,
    /// One that exists, or the lobby.
    pub room: RoomName,
    /// The part of the history.
    pub page: HistoryPage,
    /// Only messages with these words, the newest first.
    pub search: Option<SearchText>,
    /// Whether the answer has the changes of messages, too, as entries of their own.
    pub with_changes: bool,
    /// Maximum number of messages in the answer.
    pub limit: u16,
    /// Most bytes of messages in the answer.
    pub bytes: usize,
}

/// The reason that a connection does not become a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefusal {
    /// Another client holds the name.
    #[error("the name {0} is in use")]
    NameTaken(ClientId),
    /// The name starts with the guest prefix, and no session with the shown key holds it.
    #[error("only the server assigns names that begin with \"{}\"", starling_protocol::limits::GUEST_PREFIX)]
    NameReserved,
    /// The table of rooms is full, and no room in it may be dropped.
    #[error("the server has reached its limit of rooms")]
    TooManyRooms,
    /// The token is for another name than the requested one.
    #[error("the token is for the name {0}")]
    TokenOfAnother(ClientId),
    /// The time of [`Claims::expires_at`] has passed.
    #[error("the token has expired")]
    TokenExpired,
    /// The token does not allow the room.
    #[error("the token does not allow the room {0}")]
    RoomClosed(RoomName),
    /// A moderator has banned the name or the address, or the room is private.
    #[error("{}", .0.message)]
    Judged(Box<Refusal>),
    /// The chat did not answer in time, or it has ended.
    #[error("the chat does not answer")]
    Unavailable,
}

impl OpenRefusal {
    /// The code for the same refusal as an `error` event, for a session that is already open.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::NameTaken(_) => ErrorCode::NameTaken,
            Self::NameReserved => ErrorCode::BadName,
            Self::TooManyRooms => ErrorCode::TooManyRooms,
            Self::TokenOfAnother(_) => ErrorCode::ClientIdMismatch,
            Self::TokenExpired => ErrorCode::Unauthorized,
            Self::RoomClosed(_) => ErrorCode::Forbidden,
            Self::Judged(refusal) => refusal.code,
            Self::Unavailable => ErrorCode::Unavailable,
        }
    }
}

impl From<OpenRefusal> for Refusal {
    fn from(refusal: OpenRefusal) -> Self {
        if let OpenRefusal::Judged(refusal) = refusal {
            return *refusal;
        }
        Self::new(refusal.error_code(), refusal.to_string())
    }
}
