//! The boundary between the chat and a store: the contract of [`HistoryStore`], and the types that cross it.
//!
//! Nothing of a certain store stands here. Whoever writes another one needs this file, [`ReadRequest`], and
//! [`HistoryMetrics`](super::HistoryMetrics) for what the operator sees of it.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use starling_protocol::{ClientId, Epoch, MessageId, Seq};

use super::message::{Draft, RoomKey, StoredMessage};
use super::read::{Page, ReadError, ReadRequest};
use crate::identity::IdOwner;
use crate::ids::RoomId;
use crate::vitals::Vitals;

/// Identifies an entry until the log returns it. Numbers rise by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryNumber(pub u64);

/// A message on its way into the log: into a room, or into the inboxes of its sender and its receiver.
#[derive(Debug)]
pub struct Entry {
    /// Returned with the outcome.
    pub number: EntryNumber,
    /// One copy; of a private message two, the receiver's last.
    pub copies: SmallVec<[EntryCopy; 1]>,
}

/// A copy of a message for one room or inbox.
#[derive(Debug)]
pub struct EntryCopy {
    /// The number of the room or inbox in this process; a store on a disk finds it by its key after a restart.
    pub room: RoomId,
    /// The same in every process that opens the store.
    pub key: RoomKey,
    /// The epoch of the room when the message was accepted.
    pub epoch: Epoch,
    /// The message.
    pub draft: Draft,
    /// Its number, where the log of several nodes has given it. `None`: the store numbers it.
    pub seq: Option<Seq>,
}

/// A copy of a message that the log has committed.
#[derive(Debug)]
pub struct StoredCopy {
    /// As in the [`EntryCopy`].
    pub room: RoomId,
    /// As in the [`EntryCopy`].
    pub epoch: Epoch,
    /// The message with its `seq`.
    pub message: Arc<StoredMessage>,
    /// The oldest message that is still kept, one past the newest where none is, if this commit has dropped older ones.
    /// `None`: it has dropped none.
    pub oldest: Option<Seq>,
}

/// Identifies the drop of a room until its outcome is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt(pub usize);

/// An event that a store reports to the chat.
#[derive(Debug)]
pub enum Completion {
    /// The entry is committed. A durable store still has it after a crash of the process.
    Committed {
        /// Names the entry, which no other completion names.
        number: EntryNumber,
        /// In the order of the entry.
        copies: SmallVec<[StoredCopy; 1]>,
    },
    /// The entry is not committed, and nothing of it is kept.
    Refused {
        /// Names the entry, which no other completion names.
        number: EntryNumber,
    },
    /// The oldest messages of a room were dropped, by a bound of the store.
    Trimmed {
        /// Has at least one message less than before.
        room: RoomId,
        /// The oldest message that is still kept; one past the newest where none is.
        oldest: Seq,
    },
    /// The result of a [`HistoryStore::read`].
    Read {
        /// Comes back as it was asked.
        request: ReadRequest,
        /// Empty where the room has no such messages.
        page: Page,
    },
    /// A [`HistoryStore::read`] that has failed.
    Unread {
        /// Comes back as it was asked.
        request: ReadRequest,
        /// Whether asking again may help.
        error: ReadError,
    },
    /// The outcome of a [`HistoryStore::forget`] that had a receipt.
    Forgotten {
        /// That of the call.
        receipt: Receipt,
        /// Whether the room is gone for good, even after a crash of the process. If not, the storage fails; the store
        /// drops the room once the storage works again.
        is_gone: bool,
    },
}

/// A room or an inbox that was there before this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRoom {
    /// Unique among the restored rooms.
    pub key: RoomKey,
    /// The epoch of its sequence numbers.
    pub epoch: Epoch,
    /// Its newest message; 0 where it never had one.
    pub seq: Seq,
    /// The oldest kept message; one past `seq` if none is kept.
    pub oldest: Seq,
    /// For an inbox, the delivery position, see [`HistoryStore::delivered`].
    pub delivered: Seq,
    /// Set for an inbox whose owner has never connected.
    pub unclaimed: Option<UnclaimedInbox>,
}

/// An inbox whose owner has never connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnclaimedInbox {
    /// The client that made it by writing to its owner.
    pub maker: ClientId,
    /// Whether no other client has written into it. Also `false` if it has too many messages to check.
    pub is_alone: bool,
}

/// A recent message `id` that was accepted before this process started. A private message has one, with the receiver's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredId {
    /// The index of its room in [`Restored::rooms`].
    pub room: RoomId,
    /// The message's sequence number there.
    pub seq: Seq,
    /// The time at which the server accepted the message, in milliseconds since the Unix epoch.
    pub at: u64,
    /// How long before the newest stored message that was, or before now where that is less.
    pub age: Duration,
    /// Two senders of one name have each their own `id`s.
    pub owner: IdOwner,
    /// Unique for its owner.
    pub id: MessageId,
}

/// How far a store follows the log of several nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogMark {
    /// Tells the log from another one.
    pub log: u64,
    /// The record up to which the store has everything.
    pub position: u64,
}

/// The content of a store when the process starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// The rooms; the one at index `n` becomes [`RoomId`]`(n)`.
    pub rooms: Vec<StoredRoom>,
    /// The `id`s that are still remembered, the oldest first.
    pub ids: Vec<StoredId>,
    /// How far it has followed the log of several nodes, if it ever did.
    pub mark: Option<LogMark>,
}

/// What a committed message survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process: the system has the message.
    Process,
    /// Also the death of the machine: the disk has it.
    Machine,
}

/// Why a store cannot be opened: one line for the operator.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct CannotOpen(Box<dyn Error + Send + Sync>);

impl CannotOpen {
    /// Hides the store's own error, whose text the operator is shown.
    pub fn because(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

/// Receives the reports of a store's threads. It must not block.
pub type ReportSink = Arc<dyn Fn(StoreReport) + Send + Sync>;

/// A report of a store's own threads. It passes through the `ChatServer`'s mailbox to [`HistoryStore::reported`]. Only
/// the store knows its content.
pub struct StoreReport(Box<dyn Any + Send>);

impl StoreReport {
    /// Wraps a type of the store's own.
    pub fn new<T: Send + 'static>(report: T) -> Self {
        Self(Box::new(report))
    }

    /// Gives it back to the store that has made it; `None` where it is another type.
    pub fn open<T: 'static>(self) -> Option<T> {
        self.0.downcast().ok().map(|report| *report)
    }
}

impl fmt::Debug for StoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreReport")
    }
}

/// Keeps the messages of all rooms and inboxes, and is the log that decides their sequence.
///
/// A store stands below [`History`](super::History), which keeps the newest messages in memory and answers from there what
/// it can; and below the rules of the chat, which remember who waits for an entry or a read, and know the newest and the
/// oldest message of every room. A store does none of that itself.
///
/// The contract:
/// - **Calls.** [`restore`](Self::restore) once, then [`connect`](Self::connect) once, then the others in any order. All
///   come from the `ChatServer`'s thread: no method may wait for a disk or a network. A store that needs time returns at
///   once and reports later, through the sink of `connect`; each report comes back through [`reported`](Self::reported).
///   A store that is done at once pushes its completions into `done` before it returns. Calls take effect in their order: an
///   entry that is appended behind a `forget` of its room belongs to a new room.
/// - **Outcome.** Each entry that is [appended](Self::append) comes back once, as [`Completion::Committed`] or
///   [`Completion::Refused`]; each [`read`](Self::read) as [`Completion::Read`] or [`Completion::Unread`], with the request
///   as it was asked. An entry of two copies is committed whole or refused whole.
/// - **Order.** Committed entries of one room come back in the order in which they were appended. The store numbers the
///   messages of a room in that order: the next after the room's newest one, from 1 in a new epoch. A refused entry takes
///   no number.
/// - **Durability.** A committed message is found by every later read, in a durable store also by the next process, as far as
///   its [`Durability`] says. So are the rooms, how far inboxes were delivered, and for five minutes the `id`s. Where a
///   store cannot be sure of having everything that it reported, its rooms begin new epochs.
/// - **Failure.** An entry that cannot be stored is refused, never dropped silently. A later one may be committed. A room
///   that is to be forgotten stays so until that has succeeded. A store that can store nothing at the moment says so in
///   [`HistoryMetrics::health`](super::HistoryMetrics::health), and tries again by itself.
/// - **Bound.** A store may drop its oldest messages, never one from the middle, and says so: with
///   [`StoredCopy::oldest`], or with [`Completion::Trimmed`].
/// - **Turns.** A store may wait with entries until [`end_turn`](Self::end_turn), so that one commit contains all
///   messages of a turn. What waits is bounded by the credits in circulation: a store needs no bound of its own there.
/// - **Death.** A thread without which the store is not whole has a pulse of the `Vitals` that it gets; one that panics so
///   ends the process.
/// - **End.** Dropping the store commits what was appended, and returns when its threads have ended.
pub trait HistoryStore: Send {
    /// What is known from before this process.
    fn restore(&mut self) -> Restored {
        Restored::default()
    }

    /// Starts the threads that report later.
    fn connect(&mut self, _sink: ReportSink, _vitals: &Vitals) {}

    /// Handles a report of the store's own threads.
    fn reported(&mut self, _report: StoreReport, _done: &mut Vec<Completion>) {}

    /// Appends an entry. A room that was neither restored nor appended to before is new, in the entry's epoch.
    fn append(&mut self, entry: Entry, done: &mut Vec<Completion>);

    /// Notes that the owner of an inbox was sent all messages up to this one. If the note is lost in a crash, the owner
    /// is sent some messages again.
    fn delivered(&mut self, _room: RoomId, _seq: Seq) {}

    /// With several nodes: everything up to this record of their log was appended. It is noted in the commit that contains
    /// the last of it, or in a later one.
    fn mark(&mut self, _mark: LogMark) {}

    /// Whether entries wait for [`end_turn`](Self::end_turn).
    fn has_queued(&self) -> bool {
        false
    }

    /// Ends the turn: the `ChatServer`'s mailbox is empty, so the store starts to commit the queued entries.
    fn end_turn(&mut self, _done: &mut Vec<Completion>) {}

    /// Reads a part of a room's history.
    ///
    /// The page has messages from [`ReadRequest::oldest`] to [`ReadRequest::newest`] only, also where more is stored by
    /// now: a message is shown when it was reported, not before. What was dropped since is missing in the page. A read for
    /// [`ReadPurpose::CatchUp`](super::ReadPurpose::CatchUp) is never refused as one too many, and goes before pages.
    fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>);

    /// Drops a room that has ended, with all its messages. No message of it is in flight, and its number may be reused
    /// at once. With a receipt, [`Completion::Forgotten`] reports the outcome.
    fn forget(&mut self, room: RoomId, receipt: Option<Receipt>, done: &mut Vec<Completion>);
}
