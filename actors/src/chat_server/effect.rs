//! Everything that comes out of the chat's state machine: a turn, which collects the effects of one command.

use std::sync::Arc;
use std::time::Duration;

use starling_protocol::{ChatMessage, CloseCode, Refusal, RoomSummary, Seq, ServerEvent};
use tokio::sync::oneshot;

use super::command::{DropError, DropReply, Frame, OpenRefusal, PostReply, Posted};
use crate::clock::Now;
use crate::credits::Ticket;
use crate::history::{Entry, Page, ReadError, ReadRequest, Receipt, StoredMessage};
use crate::hub::{Replay, ToSession};
use crate::ids::{HubSet, RoomId, SessionId};

/// Collects the effects of one command, in the order in which they are to be performed.
#[derive(Debug)]
pub struct Turn {
    /// When the command is carried out.
    pub now: Now,
    /// The effects so far.
    pub effects: Vec<Effect>,
}

impl Turn {
    /// A turn without effects.
    pub fn new(now: Now) -> Self {
        Self { now, effects: Vec::new() }
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn to(&mut self, session: SessionId, command: ToSession) {
        self.push(Effect::To { session, command });
    }

    /// Tells a session something that no frame of it asked for.
    pub(super) fn tell(&mut self, session: SessionId, event: ServerEvent<'static>) {
        self.to(session, ToSession::Tell { event: Box::new(event), ticket: None });
    }

    /// Answers a frame. The answer holds the frame's ticket until it is offered to the client.
    pub(super) fn answer(&mut self, frame: &mut Frame, event: ServerEvent<'static>) {
        let ticket = frame.ticket.take();
        self.to(frame.session, ToSession::Tell { event: Box::new(event), ticket });
    }

    pub(super) fn refuse(&mut self, frame: &mut Frame, refusal: Refusal) {
        let refusal = refusal.with_id(frame.id.take());
        self.answer(frame, ServerEvent::Error(refusal));
    }

    /// Answers somebody outside the chat.
    pub(super) fn reply(&mut self, answer: Answer) {
        self.push(Effect::Answer(answer));
    }

    pub(super) fn admit(&mut self, session: SessionId, room: RoomId) {
        self.to(session, ToSession::Admit { room });
    }

    pub(super) fn dismiss(&mut self, session: SessionId, room: RoomId) {
        self.to(session, ToSession::Dismiss { room });
    }

    pub(super) fn close(&mut self, session: SessionId, code: CloseCode, reason: &'static str) {
        self.to(session, ToSession::Close { code, reason });
    }

    /// Writes a part of what a session missed.
    pub(super) fn replay(&mut self, session: SessionId, replay: Replay) {
        self.to(session, ToSession::Replay(replay));
    }
}

/// One thing that the `ChatServer` is to do. Effects are performed in their order.
#[derive(Debug)]
pub enum Effect {
    /// Send a command to one session's hub.
    To {
        /// The session.
        session: SessionId,
        /// The command.
        command: ToSession,
    },
    /// Tell several sessions the same.
    TellMany {
        /// The sessions.
        sessions: Vec<SessionId>,
        /// The event.
        event: Box<ServerEvent<'static>>,
    },
    /// Deliver a message to everybody who was admitted to the room.
    Deliver {
        /// The room.
        room: RoomId,
        /// The hubs that have members of it.
        hubs: HubSet,
        /// The message.
        message: Arc<StoredMessage>,
        /// Held until the message is offered everywhere.
        ticket: Ticket,
    },
    /// Deliver a private message that is not kept.
    DeliverPrivate {
        /// The connections that hold the two names.
        sessions: Vec<SessionId>,
        /// The message.
        message: Box<ChatMessage<'static>>,
        /// Held until the message is offered everywhere.
        ticket: Ticket,
    },
    /// Give a message to the history, which commits it.
    Append(Entry),
    /// Note that the owner of an inbox was sent everything up to this message.
    Delivered {
        /// The inbox.
        room: RoomId,
        /// The message.
        seq: Seq,
    },
    /// Read from the history.
    Read(ReadRequest),
    /// Drop the history of a room that has ended.
    Forget {
        /// The room.
        room: RoomId,
        /// Comes back with the outcome, where somebody waits for it.
        receipt: Option<Receipt>,
    },
    /// Answer somebody outside the chat.
    Answer(Answer),
    /// Tell every connection that the server goes away, and close it.
    Drain {
        /// The reason, for a person.
        reason: &'static str,
        /// The time over which the closes are spread.
        spread: Duration,
    },
}

/// An answer to somebody outside the chat, with the reply that it goes to.
#[derive(Debug)]
pub enum Answer {
    /// To [`Command::OpenSession`](super::command::Command::OpenSession).
    Opened(oneshot::Sender<Result<(), OpenRefusal>>, Result<(), OpenRefusal>),
    /// To an operator's message.
    Posted(PostReply, Result<Posted, Refusal>),
    /// How many connections of a client were closed.
    Removed(oneshot::Sender<usize>, usize),
    /// The outcome of a drop.
    Dropped(DropReply, Result<(), DropError>),
    /// The list of rooms, and whether there are more.
    Rooms(oneshot::Sender<(Vec<RoomSummary>, bool)>, (Vec<RoomSummary>, bool)),
    /// A page of history.
    Page(oneshot::Sender<Result<Page, ReadError>>, Result<Page, ReadError>),
    /// Everything that was due is done.
    Ticked(oneshot::Sender<()>),
}

impl Answer {
    /// Sends the answer. Whoever asked may have gone: then it is for nobody.
    pub fn send(self) {
        match self {
            Self::Opened(reply, outcome) => drop(reply.send(outcome)),
            Self::Posted(reply, outcome) => drop(reply.send(outcome)),
            Self::Removed(reply, count) => drop(reply.send(count)),
            Self::Dropped(reply, outcome) => drop(reply.send(outcome)),
            Self::Rooms(reply, rooms) => drop(reply.send(rooms)),
            Self::Page(reply, outcome) => drop(reply.send(outcome)),
            Self::Ticked(reply) => drop(reply.send(())),
        }
    }
}
