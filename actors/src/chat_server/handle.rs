//! The only way into the `ChatServer`.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use starling_protocol::{ClientId, MessageId, Refusal, RoomName, RoomSummary};
use tokio::sync::oneshot;

use super::ChatServer;
use super::command::{
    Command, Decided, DropError, Frame, HistoryQuery, Named, NotDecided, NotDone, Numbered, OpenRefusal, OpenSession,
    OperatorPost, Posted, Request,
};
use super::mailbox::{RegisterHub, Reported, SentToChat, WroteToMany};
use crate::client_address::ClientAddress;
use crate::clock::{self, Instant};
use crate::credits::Ticket;
use crate::followers::RoomPosition;
use crate::history::{Page, ReadError, RoomKey, StoreReport};
use crate::hub::HubHandle;
use crate::identity::{Caller, RoomGlobs};
use crate::ids::{RoomId, SessionId};
use crate::metrics::Mailbox;
use crate::moderation::invitations::Invitation;
use crate::moderation::{Act, AuditEntry, Decision, Sanction};
use crate::nodes::heard::Heard;
use crate::nodes::known::KnownNode;
use crate::room_settings::RoomSettings;
use crate::stage::Stage;
use crate::vitals::Vitals;

/// The longest time that a caller waits for the `ChatServer`'s answer.
const DEADLINE: Duration = Duration::from_secs(5);

async fn answered<T>(answer: oneshot::Receiver<T>) -> Result<T, AskError> {
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(AskError::Ended),
        Err(_) => Err(AskError::TimedOut),
    }
}

/// The reason that a query to the `ChatServer` has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The room does not exist.
    #[error("there is no such room")]
    NotThere,
    /// The room is private, and the caller is not invited.
    #[error("the room is private, and you are not invited")]
    NotInvited,
    /// The history cannot serve the query at the moment.
    #[error("{0}")]
    Unavailable(ReadError),
    /// The chat did not answer within five seconds. The requested change may happen later.
    #[error("the chat does not answer in time")]
    TimedOut,
    /// The chat or its history has ended meanwhile. The requested change may have happened.
    #[error("the chat has ended before it could answer")]
    Ended,
}

/// The only way to send to the `ChatServer`; counts the messages in its mailbox.
///
/// The chat carries out commands of one thread in the order in which they are sent. The mailbox is bounded: every
/// command of a client holds a credit, a connection opens and closes one session, and a hub continues one replay per
/// session.
#[derive(Debug, Clone)]
pub struct ChatServerHandle {
    address: Addr<ChatServer>,
    stage: Arc<Stage>,
    mailbox: Arc<Mailbox>,
    vitals: Vitals,
    is_node: bool,
}

impl ChatServerHandle {
    pub(super) fn new(
        address: Addr<ChatServer>,
        stage: Arc<Stage>,
        mailbox: Arc<Mailbox>,
        vitals: Vitals,
        is_node: bool,
    ) -> Self {
        Self { address, stage, mailbox, vitals, is_node }
    }

    /// The health of the parts of the chat.
    pub fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// Whether the actor still runs.
    pub fn is_alive(&self) -> bool {
        self.address.connected()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the handle that counts; see its bound")]
    fn send_at(&self, command: Command, now: Instant) {
        let in_mailbox = self.mailbox.enter();
        self.address.do_send(SentToChat { command, arrival: self.stage.arrive_at(now), in_mailbox });
    }

    fn send(&self, command: Command) {
        self.send_at(command, clock::now());
    }

    /// Sends a command and waits for its answer. The caller waits, so it has at most one query in the mailbox.
    async fn ask_for<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, AskError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply));
        answered(answer).await
    }

    /// Makes a connection a session: when this returns `Ok`, the client has been welcomed and is in its room.
    ///
    /// # Errors
    /// [`OpenRefusal`]. If the chat does not answer in time, the session is closed again and the refusal is
    /// `Unavailable`.
    pub async fn open_session(&self, open: OpenSession) -> Result<(), OpenRefusal> {
        let session = open.session;
        let (reply, answer) = oneshot::channel();
        self.send(Command::OpenSession { open, reply });
        if let Ok(Ok(outcome)) = tokio::time::timeout(DEADLINE, answer).await {
            return outcome;
        }
        self.close_session(session);
        Err(OpenRefusal::Unavailable)
    }

    /// Ends a session. Idempotent.
    pub fn close_session(&self, session: SessionId) {
        self.send(Command::CloseSession { session });
    }

    /// Sends a client's request. The ticket returns its credit when all receivers have been offered the outcome.
    pub fn ask(&self, session: SessionId, id: Option<MessageId>, request: Request, mut ticket: Ticket) {
        let now = clock::now();
        ticket.passage.asked(now);
        self.send_at(Command::Ask { frame: Frame { session, id, ticket: Some(ticket) }, request }, now);
    }

    /// Starts or stops telling a session the presence of its rooms, because a person reads it.
    pub fn watch_presence(&self, session: SessionId, wanted: bool) {
        self.send(Command::WatchPresence { session, wanted });
    }

    /// Asks for the next part of a replay, because the session has written the previous one.
    pub(crate) fn continue_replay(&self, session: SessionId, room: RoomId) {
        self.send(Command::ContinueReplay { session, room });
    }

    /// Registers the hub of a worker thread, before the first session of that hub.
    #[expect(clippy::disallowed_methods, reason = "one message per worker thread")]
    pub(crate) fn register_hub(&self, hub: HubHandle) {
        self.address.do_send(RegisterHub(hub));
    }

    /// Whether the chat is a node of several. Then messages pass the log before they are delivered.
    pub(crate) fn is_node(&self) -> bool {
        self.is_node
    }

    /// Tells a node that a hub has written a message to many members, and has read its sockets since.
    #[expect(clippy::disallowed_methods, reason = "one message for many writes")]
    pub(crate) fn wrote_to_many(&self) {
        self.address.do_send(WroteToMany);
    }

    /// Does the work that is due by time, and waits until it is done. So at most two ticks are in the mailbox: this
    /// one, and that of [`answers`](Self::answers).
    pub(super) async fn tick(&self) {
        // No answer means that the actor has ended or is far behind; the next tick comes in any case.
        self.ask_for(|reply| Command::Tick { reply }).await.unwrap_or_default();
    }

    /// Whether the actor answers within five seconds.
    pub async fn answers(&self) -> bool {
        self.ask_for(|reply| Command::Tick { reply }).await.is_ok()
    }

    /// Posts a message to a room for an operator, and waits until it is stored.
    ///
    /// # Errors
    /// [`AskError::TimedOut`] and [`AskError::Ended`]: it may be stored or not. The inner error is the chat's refusal: it
    /// is not stored.
    pub async fn post(&self, post: OperatorPost) -> Result<Result<Posted, Refusal>, AskError> {
        self.ask_for(|reply| Command::PostAsOperator { post, reply }).await
    }

    /// Closes all connections of a client, for an operator, and returns how many there were.
    ///
    /// # Errors
    /// [`AskError::TimedOut`] and [`AskError::Ended`]: they may be closed or not. The inner error: they are not.
    pub async fn remove_client(&self, client_id: ClientId) -> Result<Result<usize, NotDone>, AskError> {
        self.ask_for(|reply| Command::RemoveClient { client_id, reply }).await
    }

    /// Drops a room or an inbox with all its messages, for an operator, and waits until the storage has dropped it.
    ///
    /// # Errors
    /// [`AskError::TimedOut`] and [`AskError::Ended`]: it may be dropped or not. The inner error is the reason that it was
    /// not dropped.
    pub async fn drop_room(&self, key: RoomKey) -> Result<Result<(), DropError>, AskError> {
        self.ask_for(|reply| Command::DropRoom { key, reply }).await
    }

    /// Makes a decision of an operator, and waits until it is stored.
    ///
    /// # Errors
    /// [`AskError::TimedOut`] and [`AskError::Ended`]: it may hold or not. The inner error is the reason that it does not
    /// hold, or is not stored.
    pub async fn decide(&self, decision: Decision) -> Result<Result<Decided, NotDecided>, AskError> {
        self.ask_for(|reply| Command::Decide { decision, reply }).await
    }

    /// Makes a decision of a client of the chat, and waits until it is stored.
    ///
    /// # Errors
    /// As [`decide`](Self::decide), and if the client is no operator.
    pub(crate) async fn decide_in_chat(
        &self,
        session: SessionId,
        act: Act,
        reason: Box<str>,
    ) -> Result<Result<Decided, NotDecided>, AskError> {
        self.ask_for(|reply| Command::DecideInChat { session, act, reason, reply }).await
    }

    /// The sanctions in force, in no order.
    ///
    /// # Errors
    /// [`AskError::TimedOut`], [`AskError::Ended`].
    pub async fn sanctions(&self) -> Result<Vec<Sanction>, AskError> {
        self.ask_for(|reply| Command::ListSanctions { reply }).await
    }

    /// The audit log with its numbers, the newest first.
    ///
    /// # Errors
    /// [`AskError::TimedOut`], [`AskError::Ended`].
    pub async fn audit(&self) -> Result<Vec<(u64, AuditEntry)>, AskError> {
        self.ask_for(|reply| Command::ReadAudit { reply }).await
    }

    /// Whether a client that opens this room would be refused because it is banned or not invited. `rooms` are those of
    /// its token.
    ///
    /// # Errors
    /// [`AskError::TimedOut`], [`AskError::Ended`]. The inner error is the refusal of its handshake.
    pub async fn judge_opening(
        &self,
        name: Option<ClientId>,
        address: ClientAddress,
        room: RoomName,
        rooms: RoomGlobs,
    ) -> Result<Result<(), OpenRefusal>, AskError> {
        self.ask_for(|reply| Command::JudgeOpening { name, address, room, rooms, reply }).await
    }

    /// The settings of a room, which need not exist.
    ///
    /// # Errors
    /// [`AskError::TimedOut`], [`AskError::Ended`].
    pub async fn room_settings(&self, room: RoomName) -> Result<RoomSettings, AskError> {
        self.ask_for(|reply| Command::ReadSettings { room, reply }).await
    }

    /// The rooms whose settings differ from the default, in the order of their names.
    ///
    /// # Errors
    /// [`AskError::TimedOut`], [`AskError::Ended`].
    pub async fn set_rooms(&self) -> Result<Vec<(RoomName, RoomSettings)>, AskError> {
        self.ask_for(|reply| Command::ListSetRooms { reply }).await
    }

    /// The settings of a room of this session.
    ///
    /// # Errors
    /// [`AskError::TimedOut`], [`AskError::Ended`], and the refusal if the session is not a member.
    pub(crate) async fn own_settings(
        &self,
        session: SessionId,
        room: RoomName,
    ) -> Result<Result<RoomSettings, Refusal>, AskError> {
        self.ask_for(|reply| Command::ReadOwnSettings { session, room, reply }).await
    }

    /// The invitations to a room, in the order of the names.
    ///
    /// # Errors
    /// [`AskError::TimedOut`], [`AskError::Ended`].
    pub async fn invitations(&self, room: RoomName) -> Result<Vec<(ClientId, Invitation)>, AskError> {
        self.ask_for(|reply| Command::ListInvitations { room, reply }).await
    }

    /// Lists the rooms that a caller may see, those with the most members first, and whether the list was cut.
    ///
    /// # Errors
    /// [`AskError::TimedOut`], [`AskError::Ended`].
    pub async fn rooms(&self, caller: Caller) -> Result<(Vec<RoomSummary>, bool), AskError> {
        self.ask_for(|reply| Command::ListRooms { caller, reply }).await
    }

    /// The nodes of the chat that have begun and are not out; none on a server without other nodes.
    ///
    /// # Errors
    /// [`AskError::TimedOut`], [`AskError::Ended`].
    pub async fn nodes(&self) -> Result<Vec<KnownNode>, AskError> {
        self.ask_for(|reply| Command::ListNodes { reply }).await
    }

    /// The names of sessions and rooms, in the same order.
    ///
    /// # Errors
    /// [`AskError::TimedOut`].
    pub async fn names(&self, numbers: Numbered) -> Result<Named, AskError> {
        self.ask_for(|reply| Command::Name { numbers, reply }).await
    }

    /// Reads a page of a room's history.
    ///
    /// # Errors
    /// [`AskError::NotThere`] if the room does not exist, [`AskError::NotInvited`], [`AskError::Unavailable`],
    /// [`AskError::TimedOut`], [`AskError::Ended`].
    pub async fn history(&self, query: HistoryQuery) -> Result<Page, AskError> {
        match self.ask_for(|reply| Command::ReadRoom { query, reply }).await? {
            Ok(page) => Ok(page),
            Err(ReadError::NoSuchRoom) => Err(AskError::NotThere),
            Err(ReadError::NotInvited) => Err(AskError::NotInvited),
            Err(error @ (ReadError::Busy | ReadError::Failed)) => Err(AskError::Unavailable(error)),
        }
    }

    /// The position of a room; `None`: it does not exist.
    ///
    /// # Errors
    /// [`AskError::TimedOut`], [`AskError::Ended`].
    pub async fn position(&self, room: RoomName) -> Result<Option<RoomPosition>, AskError> {
        let positions = self.ask_for(|reply| Command::ReadPositions { room: Some(room), reply }).await?;
        Ok(positions.into_iter().next())
    }

    /// The positions of all named rooms.
    ///
    /// # Errors
    /// [`AskError::TimedOut`], [`AskError::Ended`].
    pub async fn positions(&self) -> Result<Vec<RoomPosition>, AskError> {
        self.ask_for(|reply| Command::ReadPositions { room: None, reply }).await
    }

    /// Passes on a report of the history's threads: one message per commit, and one per requested read.
    #[expect(clippy::disallowed_methods, reason = "the reports answer requests to the history, and are counted")]
    pub(super) fn report(&self, report: StoreReport) {
        let in_mailbox = self.mailbox.enter();
        self.address.do_send(Reported { report, arrival: self.stage.arrive(), in_mailbox });
    }

    /// Passes on an event of the log or of another node. The log reads no faster than the chat applies records, so the
    /// number of waiting events is bounded.
    pub(super) fn hear(&self, heard: Heard) {
        self.send(Command::Heard(heard));
    }

    /// With other nodes: notifies them that this node stops, and waits at most this time until the log has the entry.
    /// Otherwise the other nodes detect the stop by this node's silence. Afterwards this node answers no message.
    pub async fn leave_others(&self, limit: Duration) -> bool {
        let left = self.ask_for(|reply| Command::LeaveOthers { reply });
        tokio::time::timeout(limit, left).await.is_ok_and(|left| left.is_ok())
    }

    /// Tells every connection that the server shuts down, and closes it with 1001; the closes are spread over this
    /// time.
    pub fn drain(&self, reason: &'static str, spread: Duration) {
        self.send(Command::Drain { reason, spread });
    }
}
