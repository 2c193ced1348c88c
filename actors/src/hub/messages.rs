//! The commands that the `ChatServer` sends to a hub, and the handle that sends them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::{Message, Recipient};
use bytes::Bytes;
use smallvec::SmallVec;
use starling_protocol::{ChatMessage, CloseCode, ServerEvent};

use super::compression::Compression;
use crate::clock::Instant;
use crate::credits::Ticket;
use crate::frame::{self, Format};
use crate::history::StoredMessage;
use crate::ids::{HubId, RoomId, SessionId};
use crate::metrics::{InMailbox, Mailbox};
use crate::passage::Passage;
use crate::stage::{Arrival, Stage};

/// A message to so many members of one hub is one to many: to write it takes longer than a record of a node's log
/// usually needs to come back.
pub(crate) const MANY: u32 = 128;

/// A message for clients, encoded once and shared by all hubs and all outboxes.
#[derive(Debug)]
pub(crate) struct Delivery {
    message: DeliveredMessage,
    json: Bytes,
    /// The compressed frame, made when the first client needs it.
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
    pub(crate) fn of_room(message: Arc<StoredMessage>, ticket: Ticket) -> Self {
        let json = frame::event(&message.to_event(), Format::Json).unwrap_or_default();
        Self { message: DeliveredMessage::Room(message), json, compressed: OnceLock::new(), ticket }
    }

    /// The delivery of a private message.
    pub(crate) fn of_private(message: Box<ChatMessage<'static>>, ticket: Ticket) -> Self {
        let json = frame::event(&ServerEvent::Message((*message).clone()), Format::Json).unwrap_or_default();
        Self { message: DeliveredMessage::Private(message), json, compressed: OnceLock::new(), ticket }
    }

    /// The frame for programs.
    pub(super) fn json(&self) -> &Bytes {
        &self.json
    }

    /// The compressed JSON frame. It is made once for all hubs and clients.
    pub(super) fn compressed(&self, compression: &Compression) -> &Bytes {
        self.compressed.get_or_init(|| compression.of(&self.json))
    }

    /// The frame for people, encoded anew by each call.
    pub(super) fn encode_line(&self) -> Bytes {
        let event = match &self.message {
            DeliveredMessage::Room(message) => message.to_event(),
            DeliveredMessage::Private(message) => ServerEvent::Message((**message).clone()),
        };
        frame::event(&event, Format::Text).unwrap_or_default()
    }

    /// The times at which the message passed the stages before the hub.
    pub(super) fn passage(&self) -> Passage {
        self.ticket.passage
    }
}

/// Older messages for a session that catches up in a room.
#[derive(Debug)]
pub struct Replay {
    /// A room or the session's inbox, to which it is not admitted yet.
    pub room: RoomId,
    /// The oldest first, without a gap; they fit into an empty outbox.
    pub messages: Vec<Arc<StoredMessage>>,
    /// Whether the hub asks for the next page once these are written.
    pub more: bool,
    /// The ticket of the `join` that started the replay, held until this page is offered.
    pub ticket: Option<Ticket>,
}

impl Replay {
    /// An empty page for a room that the hub waits for, so that it continues with the session's next room.
    pub fn nothing(room: RoomId) -> Self {
        Self { room, messages: Vec::new(), more: false, ticket: None }
    }
}

/// A command about one session, from the rules of the chat to the session's hub.
#[derive(Debug)]
pub enum ToSession {
    /// Send it an event.
    Tell {
        /// Encoded by the hub, in the format that the session speaks.
        event: Box<ServerEvent<'static>>,
        /// The ticket of the frame that this answers, held until the answer is offered.
        ticket: Option<Ticket>,
    },
    /// Start to deliver the room's live messages to it.
    Admit {
        /// A room or the session's inbox. A second admission changes nothing.
        room: RoomId,
    },
    /// Stop delivering the room's messages to it. Messages that were delivered before this command are still written.
    Dismiss {
        /// A room or the session's inbox. Without an earlier admission nothing happens.
        room: RoomId,
    },
    /// Send it a page of missed messages.
    Replay(Replay),
    /// Close its connection.
    Close {
        /// With [`CloseCode::Policy`] the connection closes when everything that its client asked is answered.
        code: CloseCode,
        /// A short reason for a person; goes into the close frame.
        reason: &'static str,
    },
}

/// A command to a hub, sent through its [`HubHandle`]. A hub carries out the commands of one thread in the order in
/// which that thread sends them.
#[derive(Debug)]
pub(crate) enum HubCommand {
    /// For one session. Nothing happens if the session has ended meanwhile.
    To { session: SessionId, command: ToSession },
    /// To several sessions of this hub. The event is encoded once per format.
    TellMany { sessions: SmallVec<[SessionId; 2]>, event: Box<ServerEvent<'static>> },
    /// To every session that was admitted to the room.
    Deliver { room: RoomId, delivery: Arc<Delivery> },
    /// A private message that is not stored, for these sessions of this hub.
    DeliverPrivate { sessions: SmallVec<[SessionId; 2]>, delivery: Arc<Delivery> },
    /// Tell every connection that the server shuts down, and close it.
    Drain {
        /// Goes into the close frame, for a person.
        reason: &'static str,
        /// The closes, and the times at which clients are asked to reconnect, are spread over this time.
        spread: Duration,
    },
}

/// The only way into a hub from another thread.
///
/// The hub carries out commands of one thread in the order in which they are sent. A command holds a credit, or answers
/// a command that does, so the credits in circulation bound the mailbox.
#[derive(Debug, Clone)]
pub(crate) struct HubHandle {
    id: HubId,
    /// A `Recipient` and not the hub's `Addr`, so that this module does not depend on the hub's actor.
    address: Recipient<SentToHub>,
    stage: Arc<Stage>,
    mailbox: Arc<Mailbox>,
}

impl HubHandle {
    pub(super) fn new(id: HubId, address: Recipient<SentToHub>, stage: Arc<Stage>, mailbox: Arc<Mailbox>) -> Self {
        Self { id, address, stage, mailbox }
    }

    /// The number of the hub, which is a part of the id of each of its sessions.
    pub(crate) fn id(&self) -> HubId {
        self.id
    }

    /// Sends a command. `now`: the caller reads the clock once for all commands of a turn. A hub that has ended drops the
    /// command: its connections have ended with it.
    pub(crate) fn send(&self, command: HubCommand, now: Instant) {
        let message = SentToHub { command, arrival: self.stage.arrive_at(now), in_mailbox: self.mailbox.enter() };
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
pub(super) struct SentToHub {
    pub(super) command: HubCommand,
    pub(super) arrival: Arrival,
    pub(super) in_mailbox: InMailbox,
}
