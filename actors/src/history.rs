//! What was said in the rooms, behind one trait.
//!
//! [`memory`] keeps the newest messages while the process lives, [`sqlite`] keeps them in a file, [`off`] keeps none.

pub mod memory;
pub mod off;
pub mod sqlite;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use starling_protocol::{ChatMessage, ClientId, Epoch, HistoryPage, MessageId, NameError, RoomName, Seq};

use crate::chat_server::command::DropReply;
use crate::credits::Ticket;
use crate::identity::IdOwner;
use crate::ids::{RoomId, SessionId};
use crate::vitals::Vitals;

/// What messages are kept in: a room, or a client's inbox, which is kept like a room that only that client is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RoomKey {
    /// A room.
    Room(RoomName),
    /// The private messages that a client got and sent.
    Inbox(ClientId),
}

impl RoomKey {
    /// What an inbox begins with where its name is written; no room's name does.
    const INBOX: char = '@';

    /// Takes what [`Display`](fmt::Display) wrote.
    ///
    /// # Errors
    /// [`NameError`], where it is neither.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix(Self::INBOX) {
            Some(owner) => ClientId::parse(owner).map(Self::Inbox),
            None => RoomName::parse(text).map(Self::Room),
        }
    }

    /// The room, if it is one.
    pub fn room(&self) -> Option<&RoomName> {
        if let Self::Room(name) = self { Some(name) } else { None }
    }

    /// Whose inbox it is, if it is one.
    pub fn owner(&self) -> Option<&ClientId> {
        if let Self::Inbox(owner) = self { Some(owner) } else { None }
    }
}

impl fmt::Display for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(name) => name.fmt(f),
            Self::Inbox(owner) => write!(f, "{}{owner}", Self::INBOX),
        }
    }
}

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// What it is kept in.
    pub room: RoomKey,
    /// To whom, where it is private: exactly in an inbox.
    pub to: Option<ClientId>,
    /// Its place there.
    pub seq: Seq,
    /// Who wrote it.
    pub client_id: ClientId,
    /// What was written.
    pub text: Box<str>,
    /// When the server took it, milliseconds since the Unix epoch.
    pub at: u64,
    /// The sender's own name for it.
    pub id: Option<MessageId>,
    /// Whose `id` it is. `None` for a message without `id`, and for one that was read back.
    pub owner: Option<IdOwner>,
}

impl StoredMessage {
    /// What the message weighs against a bound of bytes: its text and names, and what keeping it costs beside them.
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 160;
        self.text.len() + self.client_id.as_str().len() + self.id.as_ref().map_or(0, |id| id.as_str().len()) + OVERHEAD
    }

    /// The other one of a private message, seen from the inbox that it is kept in.
    pub fn peer(&self) -> Option<&ClientId> {
        let owner = self.room.owner()?;
        if self.client_id == *owner { self.to.as_ref() } else { Some(&self.client_id) }
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
            room: self.room.room().cloned(),
            seq: Some(self.seq),
            to: self.to.clone(),
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
    /// Only messages with these words, the newest first. With it `page` is [`HistoryPage::Newest`] or
    /// [`HistoryPage::Before`].
    pub search: Option<SearchText>,
    /// Only private messages with this client. Without `search`.
    pub with: Option<ClientId>,
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
    /// A session whose resume is held against the message that it goes on from.
    Proof {
        /// The session.
        session: SessionId,
        /// What its command holds until the answer is offered.
        ticket: Option<Ticket>,
    },
    /// A session that catches up after a resume.
    Replay {
        /// The session.
        session: SessionId,
        /// What the `join` that began it holds until the first part is offered.
        ticket: Option<Ticket>,
    },
    /// Somebody outside the chat, over HTTP.
    Outside(tokio::sync::oneshot::Sender<Result<Page, ReadError>>),
}

/// Why a part of the history cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is no such room.
    #[error("there is no such room")]
    NoSuchRoom,
    /// As many reads wait as may wait.
    #[error("too many reads of the history wait")]
    Busy,
    /// The storage fails.
    #[error("the history cannot be read")]
    Failed,
}

/// What is searched for: words and phrases, all of which a message must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchText(Vec<String>);

impl SearchText {
    /// Most bytes of a query.
    pub const BYTES_MAX: usize = 256;

    /// Takes a query apart: words between blanks, and phrases between double quotes. `None` where it has no word, or
    /// is longer than [`BYTES_MAX`](Self::BYTES_MAX).
    pub fn parse(query: &str) -> Option<Self> {
        if query.len() > Self::BYTES_MAX {
            return None;
        }
        let mut terms = Vec::new();
        for (index, part) in query.split('"').enumerate() {
            let has_word = |text: &&str| text.chars().any(char::is_alphanumeric);
            if index % 2 == 1 {
                terms.extend(Some(part).filter(has_word).map(str::to_owned));
            } else {
                terms.extend(part.split_whitespace().filter(has_word).map(str::to_owned));
            }
        }
        (!terms.is_empty()).then_some(Self(terms))
    }

    /// The words and phrases.
    pub fn terms(&self) -> &[String] {
        &self.0
    }
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
    /// What was asked for with [`HistoryStore::read`] cannot be read.
    Unread {
        /// What was asked.
        request: ReadRequest,
        /// Why not.
        error: ReadError,
    },
}

/// A room or an inbox that was there before this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRoom {
    /// Which.
    pub key: RoomKey,
    /// Which life of its sequence numbers.
    pub epoch: Epoch,
    /// Its newest message.
    pub seq: Seq,
    /// The oldest message that is kept; one past `seq` where none is.
    pub oldest: Seq,
    /// Of an inbox: how far it was [delivered](HistoryStore::delivered).
    pub delivered: Seq,
    /// Of an inbox whose owner has never been here: who made it.
    pub unclaimed: Option<UnclaimedInbox>,
}

/// An inbox whose owner has never been here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnclaimedInbox {
    /// The client that made it by writing to its owner.
    pub maker: ClientId,
    /// Whether nobody else wrote into it. `false` also where it has too many messages to look at.
    pub is_alone: bool,
}

/// A message `id` that was taken before this process, not long ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredId {
    /// The place of its room in [`Restored::rooms`].
    pub room: usize,
    /// The message's place.
    pub seq: Seq,
    /// When it was taken, milliseconds since the Unix epoch.
    pub at: u64,
    /// Who sent it.
    pub client_id: ClientId,
    /// Whose `id` it is.
    pub owner: IdOwner,
    /// The `id`.
    pub id: MessageId,
}

/// What a store knows from before this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// The rooms; the one at place `n` becomes [`RoomId`]`(n)`.
    pub rooms: Vec<StoredRoom>,
    /// The `id`s that are still remembered, the oldest first.
    pub ids: Vec<StoredId>,
}

/// Where a store's threads report what they have finished; must not wait.
pub type ReportSink = Arc<dyn Fn(StoreReport) + Send + Sync>;

/// What a store's threads have finished: a store's own business, carried by the `ChatServer`'s mailbox to
/// [`HistoryStore::reported`].
#[derive(Debug)]
pub struct StoreReport(StoreReportOf);

#[derive(Debug)]
enum StoreReportOf {
    Sqlite(sqlite::Report),
    Memory(memory::Search),
}

impl From<sqlite::Report> for StoreReport {
    fn from(report: sqlite::Report) -> Self {
        Self(StoreReportOf::Sqlite(report))
    }
}

impl From<memory::Search> for StoreReport {
    fn from(search: memory::Search) -> Self {
        Self(StoreReportOf::Memory(search))
    }
}

/// A message that is to be stored as the next one of its room or inbox.
#[derive(Debug)]
pub struct NewMessage {
    /// Its room or inbox.
    pub room: RoomId,
    /// The epoch of that.
    pub epoch: Epoch,
    /// The message.
    pub message: Arc<StoredMessage>,
}

/// Keeps what was said.
///
/// The contract:
/// - **Order.** `append` is called with the seqs of a room in order, without a gap. Completions of one room's appends
///   come in that order; a `Failed` speaks for everything of that room that was appended from its `seq` on.
/// - **Durability.** `Stored` means that every later `read` finds the message, in a durable store also after the
///   death of the process.
/// - **Failure.** What cannot be stored is reported as `Failed`, never silently dropped; a later `append` may succeed.
/// - **Bound.** A store may drop its oldest messages, never one from the middle, and says so with `oldest`.
/// - **Turns.** What is appended may wait for `end_turn`, so that what was said in one turn is stored at once.
/// - **Who calls.** The `ChatServer` alone, on its thread: no method may wait for a disk. A store that needs time
///   returns at once and reports later; one that does not pushes its completions into `done` before it returns.
pub trait HistoryStore: Send {
    /// What is known from before this process. Called once, before anything else.
    fn restore(&mut self) -> Restored {
        Restored::default()
    }

    /// Starts what reports later. Called once, before the first `append`. A thread that fails must end its pulse.
    fn connect(&mut self, _sink: ReportSink, _vitals: &Vitals) {}

    /// Takes a report of the store's own threads.
    fn reported(&mut self, _report: StoreReport, _done: &mut Vec<Completion>) {}

    /// Stores the next message of a room, which is in this epoch.
    fn append(&mut self, room: RoomId, epoch: Epoch, message: Arc<StoredMessage>, done: &mut Vec<Completion>);

    /// Stores a private message, which stands in two inboxes: both copies, or neither.
    fn append_both(&mut self, copies: [NewMessage; 2], done: &mut Vec<Completion>) {
        for NewMessage { room, epoch, message } in copies {
            self.append(room, epoch, message, done);
        }
    }

    /// The owner of an inbox was sent everything up to this message. It may be told late, or be lost with the process:
    /// then the owner is sent some of it again.
    fn delivered(&mut self, _room: RoomId, _seq: Seq) {}

    /// Whether something waits for [`end_turn`](Self::end_turn).
    fn has_queued(&self) -> bool {
        false
    }

    /// Nothing more is at hand: what was asked for is begun now.
    fn end_turn(&mut self, _done: &mut Vec<Completion>) {}

    /// Reads a part of a room's history. A room without messages gives an empty page.
    fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>);

    /// Drops a room that has ended, with all of its messages; its number may be used again at once. Nothing of it waits
    /// to be stored. `reply` is told when the room will not come back, whatever happens to the process.
    fn forget(&mut self, room: RoomId, reply: Option<DropReply>);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_words_and_phrases_and_has_at_least_one_word() {
        let terms = |query: &str| SearchText::parse(query).map(|text| text.terms().to_vec());
        assert_eq!(terms("green \"two words\" x"), Some(vec!["green".into(), "two words".into(), "x".into()]));
        assert_eq!(terms("un\"closed one"), Some(vec!["un".into(), "closed one".into()]));
        assert_eq!(terms("  -- \"\" "), None);
        let (longest, too_long) = ("x".repeat(256), "x".repeat(257));
        assert!(terms(&longest).is_some() && terms(&too_long).is_none());
    }
}
