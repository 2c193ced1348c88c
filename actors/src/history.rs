//! The history: what was said in the rooms, behind one trait.
//!
//! [`memory`] keeps the newest messages while the process lives, [`sqlite`] keeps them in a file, [`off`] keeps none.

pub mod memory;
mod message;
pub mod off;
mod read;
pub mod sqlite;
mod thread;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use starling_protocol::{ClientId, Epoch, MessageId, Seq};

pub use self::message::{Draft, RoomKey, StoredMessage};
pub use self::read::{Page, ReadError, ReadPurpose, ReadRequest, ReadToken, SearchText};
use crate::identity::IdOwner;
use crate::ids::RoomId;
use crate::vitals::Vitals;

/// Names an entry until it comes back from the log. Numbers rise by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryNumber(pub u64);

/// A message on its way into the log: into a room, or into the inboxes of its sender and its receiver.
#[derive(Debug)]
pub struct Entry {
    /// Comes back with the outcome.
    pub number: EntryNumber,
    /// One copy; of a private message two, the receiver's last.
    pub copies: SmallVec<[EntryCopy; 1]>,
}

/// A copy of a message for one room or inbox.
#[derive(Debug)]
pub struct EntryCopy {
    /// The room or inbox.
    pub room: RoomId,
    /// Its name.
    pub key: RoomKey,
    /// Its epoch.
    pub epoch: Epoch,
    /// The message.
    pub draft: Draft,
}

/// A copy of a message that the log has committed.
#[derive(Debug)]
pub struct StoredCopy {
    /// The room or inbox.
    pub room: RoomId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The message, with its place.
    pub message: Arc<StoredMessage>,
    /// The oldest message of the room that is still kept.
    pub oldest: Seq,
}

/// Names the drop of a room until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt(pub usize);

/// Something that a store has finished.
#[derive(Debug)]
pub enum Completion {
    /// The entry is committed: whatever happens to the process, a durable store still has it.
    Committed {
        /// Which entry.
        number: EntryNumber,
        /// Its copies, in the order of the entry.
        copies: SmallVec<[StoredCopy; 1]>,
    },
    /// The entry is not committed, and nothing of it is kept.
    Refused {
        /// Which entry.
        number: EntryNumber,
    },
    /// The oldest messages of a room were dropped.
    Trimmed {
        /// The room.
        room: RoomId,
        /// The oldest message that is still kept.
        oldest: Seq,
    },
    /// The answer to a [`HistoryStore::read`].
    Read {
        /// The read.
        request: ReadRequest,
        /// The answer.
        page: Page,
    },
    /// A [`HistoryStore::read`] that cannot be answered.
    Unread {
        /// The read.
        request: ReadRequest,
        /// Why not.
        error: ReadError,
    },
    /// The outcome of a [`HistoryStore::forget`] that somebody waits for.
    Forgotten {
        /// Which.
        receipt: Receipt,
        /// Whether the room will not come back, whatever happens to the process. If not, the storage fails, and drops the
        /// room when it works again.
        is_gone: bool,
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

/// A message `id` that was taken before this process, not long ago. A private message has one, with the receiver's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredId {
    /// Its room: the place in [`Restored::rooms`].
    pub room: RoomId,
    /// The message's sequence number there.
    pub seq: Seq,
    /// When it was taken, milliseconds since the Unix epoch.
    pub at: u64,
    /// How long before the newest stored message that was, or before now where that is less.
    pub age: Duration,
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

/// A report of a store's own threads. It travels through the `ChatServer`'s mailbox to [`HistoryStore::reported`], and
/// only the store knows what is in it.
pub struct StoreReport(Box<dyn Any + Send>);

impl StoreReport {
    /// A report that says this.
    pub fn new<T: Send + 'static>(report: T) -> Self {
        Self(Box::new(report))
    }

    /// What it says, to the store that has made it.
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
/// The contract:
/// - **Outcome.** Each entry that is [appended](Self::append) comes back once, as [`Completion::Committed`] or
///   [`Completion::Refused`]. An entry of two copies is committed whole or refused whole.
/// - **Order.** Committed entries of one room come back in the order in which they were appended. The store numbers the
///   messages of a room in that order: the next after the room's newest one, from 1 in a new epoch. A refused entry takes
///   no number.
/// - **Durability.** A committed message is found by every later [`read`](Self::read), in a durable store also after the
///   death of the process.
/// - **Failure.** An entry that cannot be stored is refused, never dropped silently. A later one may be committed. A room
///   that is to be forgotten stays so until that has succeeded.
/// - **Bound.** A store may drop its oldest messages, never one from the middle, and says so with `oldest`.
/// - **Turns.** A store may wait with entries until [`end_turn`](Self::end_turn), so that one commit contains all
///   messages of a turn.
/// - **Who calls.** The `ChatServer` alone, on its thread: no method may wait for a disk. A store that needs time returns
///   at once and reports later, through the sink of [`connect`](Self::connect); one that does not pushes its completions
///   into `done` before it returns.
pub trait HistoryStore: Send {
    /// What is known from before this process. Called once, before anything else.
    fn restore(&mut self) -> Restored {
        Restored::default()
    }

    /// Starts the threads that report later. Called once, before the first [`append`](Self::append). A thread that fails
    /// must end its pulse.
    fn connect(&mut self, _sink: ReportSink, _vitals: &Vitals) {}

    /// Takes a report of the store's own threads.
    fn reported(&mut self, _report: StoreReport, _done: &mut Vec<Completion>) {}

    /// Appends an entry.
    fn append(&mut self, entry: Entry, done: &mut Vec<Completion>);

    /// The owner of an inbox was sent everything up to this message. Where that is lost with the process, the owner is
    /// sent some messages again.
    fn delivered(&mut self, _room: RoomId, _seq: Seq) {}

    /// Whether something waits for [`end_turn`](Self::end_turn).
    fn has_queued(&self) -> bool {
        false
    }

    /// Nothing more is at hand: everything that was asked for is begun now.
    fn end_turn(&mut self, _done: &mut Vec<Completion>) {}

    /// Reads a part of a room's history. A room without messages gives an empty page.
    fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>);

    /// Drops a room that has ended, with all of its messages. Nothing of it is in flight, and its number may be used again
    /// at once. With a receipt, [`Completion::Forgotten`] tells the outcome.
    fn forget(&mut self, room: RoomId, receipt: Option<Receipt>, done: &mut Vec<Completion>);
}
