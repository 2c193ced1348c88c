//! What was said in the rooms, behind one trait.

pub mod memory;

use std::borrow::Cow;
use std::sync::Arc;

use starling_protocol::{ChatMessage, ClientId, HistoryPage, MessageId, RoomName, Seq};

use crate::credits::Ticket;
use crate::ids::{RoomId, SessionId};

/// A message of a room as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// The room it was written in.
    pub room: RoomName,
    /// Its place in the room.
    pub seq: Seq,
    /// Who wrote it.
    pub client_id: ClientId,
    /// What was written.
    pub text: Box<str>,
    /// When the server took it, milliseconds since the Unix epoch.
    pub at: u64,
    /// The sender's own name for it.
    pub id: Option<MessageId>,
}

impl StoredMessage {
    /// What the message weighs against a bound of bytes: its text and names, and what keeping it costs beside them.
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 160;
        self.text.len() + self.client_id.as_str().len() + self.id.as_ref().map_or(0, |id| id.as_str().len()) + OVERHEAD
    }

    /// The message as it goes over the wire.
    pub fn to_wire(&self) -> ChatMessage<'_> {
        self.wire_with(self.text.as_ref().into())
    }

    /// The message as it goes over the wire, with a text of its own.
    pub fn to_owned_wire(&self) -> ChatMessage<'static> {
        self.wire_with(self.text.to_string().into())
    }

    fn wire_with<'a>(&self, text: Cow<'a, str>) -> ChatMessage<'a> {
        ChatMessage {
            client_id: self.client_id.clone(),
            text,
            room: Some(self.room.clone()),
            seq: Some(self.seq),
            to: None,
            at: self.at,
            id: self.id.clone(),
        }
    }
}

/// Which part of a room's history is wanted, by whom.
#[derive(Debug)]
pub struct ReadRequest {
    /// The room.
    pub room: RoomId,
    /// Which messages.
    pub page: HistoryPage,
    /// Most messages in the answer.
    pub limit: usize,
    /// Most [weight](StoredMessage::weight) of the answer; one message comes even if it alone weighs more.
    pub bytes: usize,
    /// Who asked.
    pub reader: Reader,
}

/// Who asked for a part of the history.
#[derive(Debug)]
pub enum Reader {
    /// A client, with `history`.
    Client {
        /// Its session.
        session: SessionId,
        /// The `id` of its frame.
        id: Option<MessageId>,
        /// What its command holds until the answer is offered.
        ticket: Option<Ticket>,
    },
    /// A session that catches up after a resume.
    Replay {
        /// The session.
        session: SessionId,
    },
    /// Somebody outside the chat, over HTTP.
    Outside(tokio::sync::oneshot::Sender<Page>),
}

/// A part of a room's history.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The messages, the oldest first, without a gap.
    pub messages: Vec<Arc<StoredMessage>>,
    /// Whether there are more in the direction asked for.
    pub has_more: bool,
}

/// What a store has finished, in the order in which it was asked.
#[derive(Debug)]
pub enum Completion {
    /// The message is stored; what happens to the process, it will be there.
    Stored {
        /// Its room.
        room: RoomId,
        /// Its place.
        seq: Seq,
        /// The oldest message of the room that is still kept.
        oldest: Seq,
    },
    /// Nothing of this room from `seq` on is stored, though it was asked for.
    Failed {
        /// The room.
        room: RoomId,
        /// The first message that is not stored.
        seq: Seq,
    },
    /// Older messages of a room were dropped.
    Trimmed {
        /// The room.
        room: RoomId,
        /// The oldest message that is still kept.
        oldest: Seq,
    },
    /// What was asked for with [`HistoryStore::read`].
    Read {
        /// What was asked.
        request: ReadRequest,
        /// The answer.
        page: Page,
    },
}

/// Keeps what was said.
///
/// The contract:
/// - **Order.** `append` is called with the seqs of a room in order, without a gap. Completions of one room's appends
///   come in that order; a `Failed` speaks for everything of that room that was appended and not yet completed.
/// - **Durability.** `Stored` means that every later `read` finds the message, in a durable store also after the
///   death of the process.
/// - **Bound.** A store may drop its oldest messages, never one from the middle, and says so with `oldest`.
/// - **Who calls.** The `ChatServer` alone, on its thread: no method may wait for a disk. A store that needs time
///   returns at once and reports later; one that does not pushes its completions into `done` before it returns.
pub trait HistoryStore: Send {
    /// Stores the next message of a room.
    fn append(&mut self, room: RoomId, message: Arc<StoredMessage>, done: &mut Vec<Completion>);

    /// Reads a part of a room's history. A room without messages gives an empty page.
    fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>);

    /// Drops a room that has ended; its number may be used again at once.
    fn forget(&mut self, room: RoomId);
}
