//! How other threads reach a hub.

use std::sync::Arc;

use actix::Addr;

use super::Hub;
use super::messages::{Enveloped, HubCommand};
use crate::ids::HubId;
use crate::metrics::Mailbox;
use crate::stage::Stage;

/// The only way into a hub from another thread.
///
/// Commands are performed in the order in which one thread sends them. What goes to the hub holds a credit or answers
/// something that does, so the mailbox is bounded by the credits in circulation.
#[derive(Debug, Clone)]
pub struct HubHandle {
    id: HubId,
    address: Addr<Hub>,
    stage: Arc<Stage>,
    mailbox: Arc<Mailbox>,
}

impl HubHandle {
    pub(crate) fn new(id: HubId, address: Addr<Hub>, stage: Arc<Stage>, mailbox: Arc<Mailbox>) -> Self {
        Self { id, address, stage, mailbox }
    }

    /// The hub.
    pub fn id(&self) -> HubId {
        self.id
    }

    /// Sends a command. A hub that has ended drops it: its connections have ended with it.
    pub fn send(&self, command: HubCommand) {
        let message = Enveloped { command, arrival: self.stage.arrive(), in_mailbox: self.mailbox.enter() };
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the handle that counts, and the command holds a credit"
        )]
        self.address.do_send(message);
    }
}
