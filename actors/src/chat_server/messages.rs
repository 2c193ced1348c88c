//! What travels through the `ChatServer`'s mailbox.

use actix::Message;

use super::command::Command;
use crate::history::StoreReport;
use crate::hub::HubHandle;
use crate::metrics::InMailbox;
use crate::stage::Arrival;

/// A command in the mailbox.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Enveloped {
    pub(crate) command: Command,
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
