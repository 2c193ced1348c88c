//! The handle through which a hub reaches the sessions of its thread, and its messages.

use std::sync::Arc;

use actix::{Message, WeakRecipient};

use super::closing::Closing;
use crate::metrics::{InMailbox, Mailbox};

/// A message from the hub to a session.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FromHub {
    /// The hub has queued the close frame; the session leaves the chat.
    Closing,
    /// The chat ignores the client from now on. Close the connection once its earlier commands are answered.
    CloseWhenAnswered(Closing),
    /// End the session; its socket is closed or broken.
    Stop,
}

/// A message in a session's mailbox.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct SentToSession {
    pub(crate) message: FromHub,
    pub(crate) in_mailbox: InMailbox,
}

/// Access to a session for the hub of the same thread.
///
/// A hub sends each message at most once, except for a stop to a session with a broken socket: that one may come once
/// per turn until the session has stopped.
#[derive(Debug)]
pub(crate) struct SessionHandle {
    /// A recipient, so that the hub does not depend on the session. Weak, because a strong one is several times as
    /// large and there is one per connection. The task keeps the session.
    address: WeakRecipient<SentToSession>,
    mailbox: Arc<Mailbox>,
}

impl SessionHandle {
    pub(crate) fn new(address: WeakRecipient<SentToSession>, mailbox: Arc<Mailbox>) -> Self {
        Self { address, mailbox }
    }

    /// Tells the session that its close frame is queued.
    pub(super) fn closing(&self) {
        self.send(FromHub::Closing);
    }

    /// Closes the connection once all commands that the client has sent so far are answered.
    pub(super) fn close_when_answered(&self, closing: Closing) {
        self.send(FromHub::CloseWhenAnswered(closing));
    }

    /// Ends the session.
    pub(super) fn stop(&self) {
        self.send(FromHub::Stop);
    }

    fn send(&self, message: FromHub) {
        // A session that has ended needs no message.
        let Some(address) = self.address.upgrade() else { return };
        #[expect(
            clippy::disallowed_methods,
            reason = "what a hub sends ends the session, each once: the bound is three"
        )]
        address.do_send(SentToSession { message, in_mailbox: self.mailbox.enter() });
    }
}
