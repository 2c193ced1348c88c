//! The boundary between the chat and a store: the contract of [`HistoryStore`], and the types that cross it.
//!
//! This file is independent of any particular store. The author of another store needs this file, [`ReadRequest`], and
//! [`HistoryMetrics`](super::HistoryMetrics) for the operator's view.

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
use crate::moderation::{Moderation, Row};
use crate::vitals::Vitals;

/// Identifies an entry until the log returns it. Numbers rise by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryNumber(pub u64);

/// An entry to be committed: a message or a change of one, to a room or to the inboxes of two clients.
#[derive(Debug)]
pub struct Entry {
    /// Returned with the outcome.
    pub number: EntryNumber,
    /// One copy for a room. Two copies for a private message: the sender's first, the receiver's last.
    pub copies: Vec<EntryCopy>,
}

/// A copy of a message for one room or inbox.
#[derive(Debug)]
pub struct EntryCopy {
    /// The number of the room or inbox in this process. After a restart it may have another number; `key` stays the
    /// same.
    pub room: RoomId,
    /// The same in every process that opens the store.
    pub key: RoomKey,
    /// The epoch of the room when the message was accepted.
    pub epoch: Epoch,
    /// The message or the change, without its `seq`.
    pub draft: Draft,
    /// Its number, if the log of several nodes has assigned it. `None`: the store numbers it.
    pub seq: Option<Seq>,
}

/// A copy of a message that the log has committed.
#[derive(Debug)]
pub struct StoredCopy {
    /// As in the [`EntryCopy`].
    pub room: RoomId,
    /// As in the [`EntryCopy`].
    pub epoch: Epoch,
    /// The entry with its `seq`.
    pub message: Arc<StoredMessage>,
    /// Set if this commit has dropped older messages: the oldest message that is still kept, or one past the newest if
    /// none is kept.
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
        /// No other completion has this number.
        number: EntryNumber,
        /// In the order of the entry's copies.
        copies: SmallVec<[StoredCopy; 1]>,
    },
    /// The entry is not committed, and nothing of it is kept.
    Refused {
        /// No other completion has this number.
        number: EntryNumber,
    },
    /// A limit of the store has dropped the oldest messages of a room.
    Trimmed {
        /// A room that has lost at least one message.
        room: RoomId,
        /// The oldest message that is still kept, or one past the newest if none is kept.
        oldest: Seq,
    },
    /// The result of a [`HistoryStore::read`].
    Read {
        /// The unchanged request.
        request: Box<ReadRequest>,
        /// Empty if the room has no such messages.
        page: Page,
    },
    /// A [`HistoryStore::read`] that has failed.
    Unread {
        /// The unchanged request.
        request: Box<ReadRequest>,
        /// The reason. It tells whether a repeated read may succeed.
        error: ReadError,
    },
    /// The outcome of a [`HistoryStore::forget`] that had a receipt.
    Forgotten {
        /// The receipt of the call.
        receipt: Receipt,
        /// Whether the room is gone for good, even after a crash of the process. If not, the storage fails; the store
        /// drops the room once the storage works again.
        is_gone: bool,
    },
    /// The outcome of a [`HistoryStore::keep_moderation`] that had a receipt.
    Decided {
        /// The receipt of the call.
        receipt: Receipt,
        /// Whether the rows are stored. If not, the storage fails; the store stores them once the storage works again.
        is_kept: bool,
    },
}

/// A room or an inbox that existed before this process started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRoom {
    /// Unique among the restored rooms.
    pub key: RoomKey,
    /// The epoch of its sequence numbers.
    pub epoch: Epoch,
    /// Its newest message; 0 if it never had one.
    pub seq: Seq,
    /// The oldest kept message; one past `seq` if none is kept.
    pub oldest: Seq,
    /// For an inbox, the newest message that its owner was sent, see [`HistoryStore::note_sent`].
    pub sent: Seq,
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

/// A recent message `id` that was accepted before this process started. A private message has only one, with the
/// receiver's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredId {
    /// The index of its room in [`Restored::rooms`].
    pub room: RoomId,
    /// The message's sequence number there.
    pub seq: Seq,
    /// The time at which the server accepted the message, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The time between this message and the newest stored message, or now if now is earlier.
    pub age: Duration,
    /// Two senders with the same name have separate `id`s.
    pub owner: IdOwner,
    /// Unique per owner.
    pub id: MessageId,
}

/// What is kept of a client in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The newest message that it has read; 0: it has read nothing.
    pub upto: Seq,
    /// Where the history is hidden from newcomers: it sees the entries behind this one; 0: all of them.
    pub since: Seq,
}

/// What was kept of a client in a room before this process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPosition {
    /// The client.
    pub owner: IdOwner,
    /// The index of its room in [`Restored::rooms`].
    pub room: RoomId,
    /// What is kept.
    pub standing: Standing,
}

/// How long the messages of one room are kept, where that differs from the other rooms. `None`: like those.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnLimits {
    /// The number of the newest messages that are kept.
    pub messages: Option<u64>,
    /// The age up to which messages are kept.
    pub keep_for: Option<Duration>,
}

/// How far a store follows the log of several nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogMark {
    /// Distinguishes the log from another one.
    pub log: u64,
    /// The store has all messages up to this record; 0: it has none.
    pub position: u64,
    /// The time that the log gave that record, in nanoseconds since the Unix epoch. It tells the record from another one
    /// that took its place. `None`: there is no record, or a version that did not note its time has noted the mark.
    pub at_nanos: Option<u64>,
}

/// The content of a store when the process starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// The rooms; the one at index `n` becomes [`RoomId`]`(n)`.
    pub rooms: Vec<StoredRoom>,
    /// The `id`s that are still remembered, the oldest first.
    pub ids: Vec<StoredId>,
    /// How far clients have read, in the order in which the positions were noted.
    pub read: Vec<StoredPosition>,
    /// The decisions of operators. A store that follows the log of several nodes has none.
    pub moderation: Moderation,
    /// How far it follows the log of several nodes, if it does. A store of a server without others has none.
    pub mark: Option<LogMark>,
}

/// The failures that a committed message survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process: the operating system has the message.
    Process,
    /// Also a crash or power failure of the machine: the disk has the message.
    Machine,
}

/// The reason that a store cannot be opened, as one line for the operator.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct CannotOpen(Box<dyn Error + Send + Sync>);

impl CannotOpen {
    /// Wraps the store's own error. The operator sees its text.
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

    /// Unwraps the report for the store that has made it. `None` if it has another type.
    pub fn open<T: 'static>(self) -> Option<T> {
        self.0.downcast().ok().map(|report| *report)
    }
}

impl fmt::Debug for StoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreReport")
    }
}

/// Stores the messages of all rooms and inboxes. It is the log that decides their order.
///
/// A store is below [`History`](super::History), which keeps the newest messages in memory and answers from memory if
/// it can. It is also below the rules of the chat, which remember the sessions that wait for an entry or a read, and
/// the newest and the oldest message of every room. A store does none of that itself.
///
/// The contract:
/// - **Calls.** [`restore`](Self::restore) is called once, then [`connect`](Self::connect) once, then the others in any
///   order. All calls come from the `ChatServer`'s thread, so no method may wait for a disk or a network. A store that
///   needs time returns at once and reports later, through the sink of `connect`; each report is passed to
///   [`reported`](Self::reported). A store that finishes at once pushes its completions into `done` before it returns.
///   Calls take effect in their order: an entry that is appended after a `forget` of its room belongs to a new room.
/// - **Outcome.** Each [appended](Self::append) entry is completed once, as [`Completion::Committed`] or
///   [`Completion::Refused`]; each [`read`](Self::read) as [`Completion::Read`] or [`Completion::Unread`], with the
///   unchanged request. An entry of two copies is committed or refused as a whole.
/// - **Order.** Committed entries of one room are completed in the order in which they were appended. The store numbers
///   the messages of a room in that order: each gets the number after the room's newest one, from 1 in a new epoch. A
///   refused entry uses no number.
/// - **Copies.** Each of two copies of a message knows the place of the other, its [`Twin`](super::Twin).
/// - **Changes.** A change is numbered and kept like a message, and applied to its message by
///   [`Changes::apply`](super::Changes::apply) in the same commit, if that message is kept. A read finds the message with
///   all its changes. Once a message was edited again or deleted, its text is gone from the message and from its earlier
///   edits, also from an edit that is committed after the deletion.
/// - **Durability.** A committed message is found by every later read, in a durable store also by the next process, as
///   far as its [`Durability`] says. So are the rooms, the rows of the moderation, how far each inbox was sent to its owner, and for five minutes
///   the `id`s. If a store may lack messages that it reported, its rooms begin new epochs.
/// - **Failure.** An entry that cannot be stored is refused, never dropped silently. A later entry may be committed. A
///   `forget` that fails stays due until it has succeeded. A store that cannot store anything reports this in
///   [`HistoryMetrics::health`](super::HistoryMetrics::health), and retries by itself.
/// - **Limits.** A store may drop its oldest messages, but none from the middle. It reports this with
///   [`StoredCopy::oldest`] or [`Completion::Trimmed`]. Limits of a room's own go before those of the store, except before
///   its limit of bytes.
/// - **Turns.** A store may queue entries until [`end_turn`](Self::end_turn), so that one commit contains all messages
///   of a turn. The credits in circulation limit the queue, so the store needs no limit of its own there.
/// - **Panics.** Each thread that the store needs has a pulse of the given `Vitals`. If the thread panics, the process
///   ends.
/// - **End.** Dropping the store commits the appended entries, and returns when the store's threads have ended.
pub trait HistoryStore: Send {
    /// Returns the content of the store before this process started.
    fn restore(&mut self) -> Restored {
        Restored::default()
    }

    /// Starts the threads that report later.
    fn connect(&mut self, _sink: ReportSink, _vitals: &Vitals) {}

    /// Handles a report of the store's own threads.
    fn reported(&mut self, _report: StoreReport, _done: &mut Vec<Completion>) {}

    /// Appends an entry. A room that was neither restored nor appended to before is new, in the entry's epoch.
    fn append(&mut self, entry: Entry, done: &mut Vec<Completion>);

    /// Notes that all messages up to this one were sent to the owner of an inbox. If the note is lost in a crash, the
    /// owner gets some messages again.
    fn note_sent(&mut self, _room: RoomId, _seq: Seq) {}

    /// Notes how far a client has read in a room or an inbox, and since when it sees it; `None`: its position is dropped.
    /// If the note is lost in a crash, the client has read less. The positions of a room end with it.
    fn note_read(&mut self, _owner: IdOwner, _room: RoomId, _standing: Option<Standing>) {}

    /// Stores rows of the moderation, each in place of the one with the same key. Rows that cannot be stored stay due, like
    /// a [`forget`](Self::forget). With a receipt, [`Completion::Decided`] reports the outcome.
    fn keep_moderation(&mut self, rows: Vec<Row>, receipt: Option<Receipt>, done: &mut Vec<Completion>);

    /// Sets the limits of a room's own, which the store does not keep for the next process. They end with the room.
    fn limit(&mut self, room: RoomId, limits: OwnLimits);

    /// With several nodes: all messages up to this record of their log were appended. The commit of the last one, or a
    /// later commit, stores this position.
    ///
    /// If an entry with numbers of the log cannot be stored, no later entry and no later position is stored.
    fn mark(&mut self, _mark: LogMark) {}

    /// Whether entries wait for [`end_turn`](Self::end_turn).
    fn has_queued(&self) -> bool {
        false
    }

    /// Ends the turn: the `ChatServer`'s mailbox is empty, so the store starts to commit the queued entries.
    fn end_turn(&mut self, _done: &mut Vec<Completion>) {}

    /// Reads a part of a room's history.
    ///
    /// The page contains messages from [`ReadRequest::oldest`] to [`ReadRequest::newest`] only, even if newer ones are
    /// already stored: a message is shown only after it was reported. Messages that were dropped since the request are
    /// missing. A read for [`ReadPurpose::CatchUp`](super::ReadPurpose::CatchUp) has priority over pages, and the limit
    /// on waiting reads does not apply to it; its page also contains the changes, any other only messages.
    fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>);

    /// Drops a room that has ended, with all its messages. Its number may be reused at once. No message of it is in
    /// flight, except messages that the log of several nodes has placed: they are committed before, or never. With a
    /// receipt, [`Completion::Forgotten`] reports the outcome.
    fn forget(&mut self, room: RoomId, receipt: Option<Receipt>, done: &mut Vec<Completion>);
}
