//! Effects: everything that comes out of the chat's state machine.

use std::sync::Arc;
use std::time::Duration;

use starling_protocol::{ChatMessage, Refusal, RoomSummary, Seq, ServerEvent};
use tokio::sync::oneshot;

use super::command::{DropError, DropReply, OpenRefusal, PostReply, Posted};
use crate::credits::Ticket;
use crate::history::{Entry, Page, ReadError, ReadRequest, Receipt, StoredMessage};
use crate::hub::ToSession;
use crate::ids::{HubSet, RoomId, SessionId};

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
