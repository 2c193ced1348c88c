//! A context for an actor that waits for a fixed set of things: its task polls the mailbox, and the actor itself.
//!
//! The context of actix keeps lists of futures, and allocates each of them. There is one session for each connection,
//! so that would be most of its memory (`docs/decisions/0015-small-messages-and-idle-connections.md`).

use std::pin::Pin;
use std::task::{Context, Poll};

use actix::dev::channel::{AddressReceiver, channel};
use actix::dev::{Envelope, EnvelopeProxy, OneshotSender, ToEnvelope};
use actix::prelude::*;

/// Messages that fit into a mailbox before `try_send` fails.
const MAILBOX_CAPACITY: usize = 16;

/// An actor that does its own waiting.
pub(super) trait Polled: Actor<Context = PolledContext> {
    /// Does what is due, and arranges to be woken for the rest.
    fn poll(&mut self, ctx: &mut PolledContext, cx: &mut Context<'_>);
}

/// The context of a [`Polled`] actor: whether it goes on.
#[derive(Debug, Default)]
pub struct PolledContext {
    is_stopped: bool,
}

impl ActorContext for PolledContext {
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

impl<A, M> ToEnvelope<A, M> for PolledContext
where
    A: Actor<Context = Self> + Handler<M, Result = ()>,
    M: Message<Result = ()> + Send + 'static,
{
    fn pack(message: M, done: Option<OneshotSender<()>>) -> Envelope<A> {
        Envelope::with_proxy(Box::new(Packed(Some((message, done)))))
    }
}

/// A message in a mailbox, and its sender if that waits; `None` once it is handled.
struct Packed<M>(Option<(M, Option<OneshotSender<()>>)>);

impl<A, M> EnvelopeProxy<A> for Packed<M>
where
    A: Actor<Context = PolledContext> + Handler<M, Result = ()>,
    M: Message<Result = ()>,
{
    fn handle(&mut self, actor: &mut A, ctx: &mut PolledContext) {
        let Some((message, done)) = self.0.take() else { return };
        actor.handle(message, ctx);
        if let Some(done) = done {
            // A sender that no longer waits is no error.
            done.send(()).unwrap_or_default();
        }
    }
}

/// Starts the task of an actor. The task goes on without addresses, until the actor stops.
pub(super) fn run<A: Polled>(actor: A) -> Addr<A> {
    let (sender, mailbox) = channel(MAILBOX_CAPACITY);
    actix_rt::spawn(Running { actor, context: PolledContext::default(), mailbox });
    Addr::new(sender)
}

/// A running actor. Ready when it has stopped.
struct Running<A: Polled> {
    actor: A,
    context: PolledContext,
    mailbox: AddressReceiver<A>,
}

impl<A: Polled> Future for Running<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { actor, context, mailbox } = &mut *self;
        while !context.is_stopped
            && let Poll::Ready(Some(mut message)) = Pin::new(&mut *mailbox).poll_next(cx)
        {
            message.handle(actor, context);
        }
        if !context.is_stopped {
            actor.poll(context, cx);
        }
        if context.is_stopped { Poll::Ready(()) } else { Poll::Pending }
    }
}
