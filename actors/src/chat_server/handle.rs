//! The only way into the `ChatServer`, and what travels through its mailbox.

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Message};
use starling_protocol::{ClientId, MessageId, Refusal, RoomName, RoomSummary};
use tokio::sync::oneshot;

use super::ChatServer;
use super::command::{
    Command, DropError, Frame, HistoryQuery, OpenRefusal, OpenSession, OperatorPost, Posted, Request,
};
use crate::credits::Ticket;
use crate::history::{Page, ReadError, RoomKey, StoreReport};
use crate::hub::HubHandle;
use crate::identity::RoomGlobs;
use crate::ids::{RoomId, SessionId};
use crate::metrics::{InMailbox, Mailbox};
use crate::stage::{Arrival, Stage};
use crate::vitals::Vitals;

/// How long an answer of the `ChatServer` is waited for.
const DEADLINE: Duration = Duration::from_secs(5);

/// A command in the mailbox.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Enveloped {
    pub(super) command: Command,
    pub(super) arrival: Arrival,
    pub(super) in_mailbox: InMailbox,
}

/// A worker thread's hub is there.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct RegisterHub(pub(super) HubHandle);

/// The history's threads have finished something.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Reported {
    pub(super) report: StoreReport,
    pub(super) arrival: Arrival,
    pub(super) in_mailbox: InMailbox,
}

/// What an operator says in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedBy {
    /// The room.
    pub room: RoomName,
    /// The name under which it is said.
    pub client_id: ClientId,
    /// What.
    pub text: Box<str>,
    /// The operator's own name for it; the same again is not said twice.
    pub id: Option<MessageId>,
}

async fn answered<T>(answer: oneshot::Receiver<T>) -> Result<T, AskError> {
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(AskError::NotThere),
        Err(_) => Err(AskError::TimedOut),
    }
}

/// Why a question to the `ChatServer` has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// What was asked for is not there.
    #[error("there is no such room")]
    NotThere,
    /// It cannot be had at the moment.
    #[error("{0}")]
    Unavailable(ReadError),
    /// No answer came in time.
    #[error("the chat does not answer in time")]
    TimedOut,
}

/// The way into the `ChatServer`: counts what waits in its mailbox.
///
/// Commands of one thread are carried out in the order in which they are sent. The mailbox is bounded: a client's
/// command holds a credit, a connection opens and closes one session, a hub continues one replay per session.
#[derive(Debug, Clone)]
pub struct ChatServerHandle {
    address: Addr<ChatServer>,
    stage: Arc<Stage>,
    mailbox: Arc<Mailbox>,
    vitals: Vitals,
}

impl ChatServerHandle {
    pub(super) fn new(address: Addr<ChatServer>, stage: Arc<Stage>, mailbox: Arc<Mailbox>, vitals: Vitals) -> Self {
        Self { address, stage, mailbox, vitals }
    }

    /// Whether the parts of the chat live.
    pub fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// Whether the actor still runs.
    pub fn is_alive(&self) -> bool {
        self.address.connected()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the handle that counts; see its bound")]
    fn send(&self, command: Command) {
        let in_mailbox = self.mailbox.enter();
        self.address.do_send(Enveloped { command, arrival: self.stage.arrive(), in_mailbox });
    }

    /// Sends a command and waits for its answer: whoever asks has one question in the mailbox.
    async fn ask_for<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, AskError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply));
        answered(answer).await
    }

    /// Makes a connection a session, welcomed and in its room.
    ///
    /// # Errors
    /// [`OpenRefusal`], also where the chat does not answer in time; then the session is closed again.
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

    /// Carries out what a client asks; the ticket is given back when its outcome has been offered everywhere.
    pub fn ask(&self, session: SessionId, id: Option<MessageId>, request: Request, ticket: Ticket) {
        self.send(Command::Ask { frame: Frame { session, id, ticket: Some(ticket) }, request });
    }

    /// The session is read by a person from now on, or no longer.
    pub fn watch_presence(&self, session: SessionId, wanted: bool) {
        self.send(Command::WatchPresence { session, wanted });
    }

    /// What was replayed to a session has been written.
    pub(crate) fn continue_replay(&self, session: SessionId, room: RoomId) {
        self.send(Command::ContinueReplay { session, room });
    }

    /// Makes a worker thread's hub known; before its first session.
    #[expect(clippy::disallowed_methods, reason = "one message per worker thread")]
    pub(crate) fn register_hub(&self, hub: HubHandle) {
        self.address.do_send(RegisterHub(hub));
    }

    /// Lets what is due by time happen, and waits until it has. So at most two ticks are in the mailbox: this one, and that
    /// of [`answers`](Self::answers).
    pub(super) async fn tick(&self) {
        // Without an answer the actor is gone or far behind; the next tick comes in any case.
        self.ask_for(|reply| Command::Tick { reply }).await.unwrap_or_default();
    }

    /// Whether the actor answers within five seconds.
    pub async fn answers(&self) -> bool {
        self.ask_for(|reply| Command::Tick { reply }).await.is_ok()
    }

    /// Says something in a room for an operator, and waits until it is stored.
    ///
    /// # Errors
    /// [`AskError::TimedOut`]; inside, the refusal.
    pub async fn post(&self, post: PostedBy) -> Result<Result<Posted, Refusal>, AskError> {
        let PostedBy { room, client_id, text, id } = post;
        self.ask_for(|reply| Command::PostAsOperator(OperatorPost { room, client_id, text, id, reply })).await
    }

    /// Closes all connections of a client, for an operator, and returns how many there were.
    ///
    /// # Errors
    /// [`AskError::TimedOut`].
    pub async fn remove_client(&self, client_id: ClientId) -> Result<usize, AskError> {
        self.ask_for(|reply| Command::RemoveClient { client_id, reply }).await
    }

    /// Drops a room or an inbox with all that was said in it, for an operator, and waits until the storage has done so.
    ///
    /// # Errors
    /// [`AskError::TimedOut`]; inside, why it is not dropped.
    pub async fn drop_room(&self, key: RoomKey) -> Result<Result<(), DropError>, AskError> {
        match self.ask_for(|reply| Command::DropRoom { key, reply }).await {
            // The history's thread has ended: what it was to do is not done.
            Err(AskError::NotThere) => Ok(Err(DropError::NotStored)),
            outcome => outcome,
        }
    }

    /// The rooms among these, the fullest first, and whether there are more than are listed.
    ///
    /// # Errors
    /// [`AskError::TimedOut`].
    pub async fn rooms(&self, allowed: RoomGlobs) -> Result<(Vec<RoomSummary>, bool), AskError> {
        self.ask_for(|reply| Command::ListRooms { allowed, reply }).await
    }

    /// A part of a room's history.
    ///
    /// # Errors
    /// [`AskError::NotThere`] without such a room, [`AskError::Unavailable`], [`AskError::TimedOut`].
    pub async fn history(&self, query: HistoryQuery) -> Result<Page, AskError> {
        match self.ask_for(|reply| Command::ReadRoom { query, reply }).await? {
            Ok(page) => Ok(page),
            Err(ReadError::NoSuchRoom) => Err(AskError::NotThere),
            Err(error @ (ReadError::Busy | ReadError::Failed)) => Err(AskError::Unavailable(error)),
        }
    }

    /// The history's threads have finished something: one message per commit, one per read that was asked for.
    #[expect(clippy::disallowed_methods, reason = "answers to what was asked of the history, and counted")]
    pub(super) fn report(&self, report: StoreReport) {
        let in_mailbox = self.mailbox.enter();
        self.address.do_send(Reported { report, arrival: self.stage.arrive(), in_mailbox });
    }

    /// Tells every connection that the server goes away, and closes it with 1001, spread over this time.
    pub fn drain(&self, reason: &'static str, spread: Duration) {
        self.send(Command::Drain { reason, spread });
    }
}
