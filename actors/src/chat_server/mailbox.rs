//! The messages in the `ChatServer`'s mailbox.

use actix::Message;

use super::command::Command;
use crate::history::StoreReport;
use crate::hub::HubHandle;
use crate::metrics::InMailbox;
use crate::stage::Arrival;

/// A command, with its arrival time and its entry in the mailbox's count.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct SentToChat {
    pub(super) command: Command,
    pub(super) arrival: Arrival,
    pub(super) in_mailbox: InMailbox,
}

/// Registers the hub of a worker thread.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct RegisterHub(pub(super) HubHandle);

/// A hub of a node has written a message to many members, and has read its sockets since.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct WroteToMany;

/// The history's threads have finished a commit, a read or a drop.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Reported {
    pub(super) report: StoreReport,
    pub(super) arrival: Arrival,
    pub(super) in_mailbox: InMailbox,
}

/// The mailbox is empty, so the history commits its queued entries. The `ChatServer` sends it to itself.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct EndTurn;
