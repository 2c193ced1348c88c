//! The commands of the writer thread.

use smallvec::SmallVec;
use starling_protocol::{Epoch, Seq};

use super::schema::DbRoom;
use crate::clock::Instant;
use crate::history::{Draft, EntryNumber, LogMark, OwnLimits, Receipt, RoomKey, Standing};
use crate::identity::IdOwner;
use crate::ids::RoomId;
use crate::moderation::Row;

/// A command for the writer.
#[derive(Debug)]
pub(super) enum WriterCommand {
    Append(Append),
    /// The owner of the inbox has received all messages up to this one.
    NoteSent(DbRoom, Seq),
    /// What is kept of a client in a room; `None`: its position is dropped.
    NoteRead(IdOwner, DbRoom, Option<Standing>),
    /// The limits of a room's own.
    Limit(DbRoom, OwnLimits),
    /// The room has ended. The receipt is returned with the outcome.
    Forget(DbRoom, Option<Receipt>),
    /// Rows of the moderation have changed. The receipt is returned with the outcome.
    KeepModeration(Vec<Row>, Option<Receipt>),
    /// All messages up to this record of the log of several nodes were appended; `None`: no log is followed.
    Mark(LogMark),
    /// Search for numbers for new rooms, starting at this one.
    FindNumbers(u32),
    /// A checkpoint of the write-ahead log failed.
    CheckpointFailed(rusqlite::Error),
}

impl WriterCommand {
    /// The number of messages that the command stores.
    pub(super) fn messages(&self) -> usize {
        if let Self::Append(append) = self { append.copies.len() } else { 0 }
    }
}

/// An entry to commit: all copies of its message, or none.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) number: EntryNumber,
    /// One copy for a room; two copies for a private message, in the inboxes of sender and receiver.
    pub(super) copies: SmallVec<[NewCopy; 1]>,
    pub(super) queued: Instant,
}

impl Append {
    /// Whether the message, or a copy of it, is for this room.
    pub(super) fn is_for(&self, room: DbRoom) -> bool {
        self.copies.iter().any(|copy| copy.db == room)
    }

    /// Whether the log of several nodes has placed the message, so that clients have seen it already.
    pub(super) fn is_placed(&self) -> bool {
        self.copies.iter().any(|copy| copy.given.is_some())
    }
}

/// A message for one room or inbox.
#[derive(Debug)]
pub(super) struct NewCopy {
    pub(super) room: RoomId,
    pub(super) db: DbRoom,
    pub(super) key: RoomKey,
    pub(super) epoch: Epoch,
    pub(super) draft: Draft,
    /// Its sequence number, if the log of several nodes has assigned it.
    pub(super) given: Option<Seq>,
    /// The sequence number that the commit assigns; 0 before.
    pub(super) seq: Seq,
}
