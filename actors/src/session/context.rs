//! The context of a session actor, and its task.
//!
//! The context of actix keeps lists of futures and allocates each of them. A session has a fixed set of things to wait
//! for, so its task polls the session itself, which then takes half of the memory
//! (`docs/decisions/0015-small-messages-and-idle-connections.md`).

use std::pin::Pin;
use std::task::{Context, Poll};

use actix::WeakRecipient;
use actix::dev::channel::{AddressReceiver, channel};
use actix::dev::{Envelope, EnvelopeProxy, OneshotSender, ToEnvelope};
use actix::prelude::*;

use super::Session;
use crate::hub::SentToSession;

/// The capacity of a session's mailbox; the hub's messages do not ask for it.
const MAILBOX_CAPACITY: usize = 1;

/// Tells a session's task whether the session goes on.
#[derive(Debug, Default)]
pub struct SessionContext {
    is_stopped: bool,
}

impl ActorContext for SessionContext {
    fn stop(&mut self) {
        self.is_stopped = true;
    }

    fn terminate(&mut self) {
        self.stop();
    }

    fn state(&self) -> ActorState {
        if self.is_stopped { ActorState::Stopped } else { ActorState::Running }
    }
}

impl ToEnvelope<Session, SentToSession> for SessionContext {
    fn pack(message: SentToSession, done: Option<OneshotSender<()>>) -> Envelope<Session> {
        Envelope::with_proxy(Box::new(Packed(Some((message, done)))))
    }
}

/// A message in a mailbox; `None` once it is handled.
struct Packed(Option<(SentToSession, Option<OneshotSender<()>>)>);

impl EnvelopeProxy<Session> for Packed {
    fn handle(&mut self, session: &mut Session, ctx: &mut SessionContext) {
        let Some((message, done)) = self.0.take() else { return };
        session.handle(message, ctx);
        if let Some(done) = done {
            // A sender that no longer waits is no error.
            done.send(()).unwrap_or_default();
        }
    }
}

/// Starts the task of a session. Returns the address of its mailbox.
pub(super) fn run(session: Session) -> WeakRecipient<SentToSession> {
    let (sender, mailbox) = channel(MAILBOX_CAPACITY);
    let address = Addr::new(sender).downgrade().recipient();
    actix_rt::spawn(Running { session, context: SessionContext::default(), mailbox });
    address
}

/// A running session. Ready when it has stopped.
struct Running {
    session: Session,
    context: SessionContext,
    mailbox: AddressReceiver<Session>,
}

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { session, context, mailbox } = &mut *self;
        while !context.is_stopped
            && let Poll::Ready(Some(mut message)) = Pin::new(&mut *mailbox).poll_next(cx)
        {
            message.handle(session, context);
        }
        if !context.is_stopped {
            session.poll(context, cx);
        }
        if context.is_stopped { Poll::Ready(()) } else { Poll::Pending }
    }
}
