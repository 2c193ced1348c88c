//! How the `ChatServer` reaches a hub, and what it sends.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::{Message, Recipient};
use bytes::Bytes;
use smallvec::SmallVec;
use starling_protocol::{ChatMessage, CloseCode, ServerEvent};

use super::compression::Compression;
use crate::credits::Ticket;
use crate::frame::{self, Format};
use crate::history::StoredMessage;
use crate::ids::{HubId, RoomId, SessionId};
use crate::metrics::{InMailbox, Mailbox};
use crate::stage::{Arrival, Stage};

/// A message on its way to clients: encoded once, shared by all hubs and all outboxes.
#[derive(Debug)]
pub struct Delivery {
    message: DeliveredMessage,
    json: Bytes,
    /// The same frame for clients that take compressed ones; made when the first of them is to get it.
    compressed: OnceLock<Bytes>,
    ticket: Ticket,
}

#[derive(Debug)]
enum DeliveredMessage {
    Room(Arc<StoredMessage>),
    Private(Box<ChatMessage<'static>>),
}

impl Delivery {
    /// The delivery of a room's message.
    pub fn of_room(message: Arc<StoredMessage>, ticket: Ticket) -> Self {
        let json = frame::event(&ServerEvent::Message(message.to_wire()), Format::Json).unwrap_or_default();
        Self { message: DeliveredMessage::Room(message), json, compressed: OnceLock::new(), ticket }
    }

    /// The delivery of a private message.
    pub fn of_private(message: Box<ChatMessage<'static>>, ticket: Ticket) -> Self {
        let json = frame::event(&ServerEvent::Message((*message).clone()), Format::Json).unwrap_or_default();
        Self { message: DeliveredMessage::Private(message), json, compressed: OnceLock::new(), ticket }
    }

    /// The frame for programs.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The frame for programs that take compressed ones. It is made once for all hubs and clients.
    pub(super) fn compressed(&self, compression: &Compression) -> &Bytes {
        self.compressed.get_or_init(|| compression.of(&self.json))
    }

    /// The frame for people; encoded anew at every call.
    pub fn encode_line(&self) -> Bytes {
        let wire = match &self.message {
            DeliveredMessage::Room(message) => message.to_wire(),
            DeliveredMessage::Private(message) => (**message).clone(),
        };
        frame::event(&ServerEvent::Message(wire), Format::Text).unwrap_or_default()
    }

    /// When the message's command was read.
    pub fn read_at(&self) -> std::time::Instant {
        self.ticket.read_at
    }
}

/// Older messages for a session that catches up in a room.
#[derive(Debug)]
pub struct Replay {
    /// The room.
    pub room: RoomId,
    /// The messages; they fit into an empty outbox.
    pub messages: Vec<Arc<StoredMessage>>,
    /// Whether the hub is to ask for more when they are written.
    pub more: bool,
    /// Held by the `join` that began it, until this is offered.
    pub ticket: Option<Ticket>,
}

impl Replay {
    /// Nothing follows for a room that the hub waits for: it goes on with the session's next one.
    pub fn nothing(room: RoomId) -> Self {
        Self { room, messages: Vec::new(), more: false, ticket: None }
    }
}

/// A command about one session, from the rules of the chat to the session's hub.
#[derive(Debug)]
pub enum ToSession {
    /// Tell it something.
    Tell {
        /// The event.
        event: Box<ServerEvent<'static>>,
        /// Held by the frame that this answers, until the answer is offered.
        ticket: Option<Ticket>,
    },
    /// Deliver to it from now on what is delivered to the room.
    Admit {
        /// The room.
        room: RoomId,
    },
    /// Deliver to it nothing more of the room.
    Dismiss {
        /// The room.
        room: RoomId,
    },
    /// Write older messages to it.
    Replay(Replay),
    /// Close its connection.
    Close {
        /// The close code.
        code: CloseCode,
        /// A short reason for a person.
        reason: &'static str,
    },
}

/// A command to a hub.
#[derive(Debug)]
pub enum HubCommand {
    /// A command about one session of this hub.
    To {
        /// The session.
        session: SessionId,
        /// The command.
        command: ToSession,
    },
    /// Tell several sessions of this hub the same. The event is encoded once per format.
    TellMany {
        /// The sessions.
        sessions: SmallVec<[SessionId; 2]>,
        /// The event.
        event: Box<ServerEvent<'static>>,
    },
    /// Deliver to everybody who was admitted to the room.
    Deliver {
        /// The room.
        room: RoomId,
        /// The message.
        delivery: Arc<Delivery>,
    },
    /// Deliver to these sessions of this hub.
    DeliverPrivate {
        /// The sessions.
        sessions: SmallVec<[SessionId; 2]>,
        /// The message.
        delivery: Arc<Delivery>,
    },
    /// Tell every connection that the server goes away, and close it.
    Drain {
        /// The reason, for a person.
        reason: &'static str,
        /// Clients are asked to come back after a time spread over this one.
        spread: Duration,
    },
}

/// The only way into a hub from another thread.
///
/// Commands are performed in the order in which one thread sends them. What goes to the hub holds a credit or answers
/// something that does, so the mailbox is bounded by the credits in circulation.
#[derive(Debug, Clone)]
pub struct HubHandle {
    id: HubId,
    /// Not the hub's `Addr`: what is sent to a hub knows nothing of how it works.
    address: Recipient<Enveloped>,
    stage: Arc<Stage>,
    mailbox: Arc<Mailbox>,
}

impl HubHandle {
    pub(super) fn new(id: HubId, address: Recipient<Enveloped>, stage: Arc<Stage>, mailbox: Arc<Mailbox>) -> Self {
        Self { id, address, stage, mailbox }
    }

    /// That of the sessions whose connections it holds.
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

/// A command in a hub's mailbox.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Enveloped {
    pub(super) command: HubCommand,
    pub(super) arrival: Arrival,
    pub(super) in_mailbox: InMailbox,
}
