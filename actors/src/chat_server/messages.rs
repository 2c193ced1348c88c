//! What travels through the `ChatServer`'s mailbox.

use actix::Message;
use starling_protocol::{HistoryPage, RoomName, RoomSummary};
use tokio::sync::oneshot;

use super::command::{Command, OpenRefusal};
use crate::history::{Page, ReadError, SearchText, StoreReport};
use crate::hub::HubHandle;
use crate::identity::RoomGlobs;
use crate::metrics::InMailbox;
use crate::stage::Arrival;

/// A command in the mailbox.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Enveloped {
    pub(crate) command: Command,
    /// Who waits for the outcome of an `OpenSession`.
    pub(crate) opened: Option<oneshot::Sender<Result<(), OpenRefusal>>>,
    pub(crate) arrival: Arrival,
    pub(crate) in_mailbox: InMailbox,
}

/// A worker thread's hub is there.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct RegisterHub(pub(crate) HubHandle);

/// The history's threads have finished something.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Reported {
    pub(crate) report: StoreReport,
    pub(crate) arrival: Arrival,
    pub(crate) in_mailbox: InMailbox,
}

/// The mailbox is empty: the history is to begin with what it was given. From the `ChatServer` to itself.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct EndTurn;

/// What somebody outside the chat asks.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum Query {
    Rooms(RoomGlobs, oneshot::Sender<(Vec<RoomSummary>, bool)>),
    History(HistoryQuery, oneshot::Sender<Result<Page, ReadError>>),
    Drain { reason: &'static str, spread_ms: u64 },
    Tick(oneshot::Sender<()>),
}

/// A part of a room's history, asked for from outside the chat.
#[derive(Debug, Clone)]
pub struct HistoryQuery {
    /// The room.
    pub room: RoomName,
    /// Which messages.
    pub page: HistoryPage,
    /// Only those with these words, the newest first.
    pub search: Option<SearchText>,
    /// Most messages in the answer.
    pub limit: u16,
    /// Most bytes of messages in the answer.
    pub bytes: usize,
}
