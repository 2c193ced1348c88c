//! What the writer is told.

use std::time::Instant;

use smallvec::SmallVec;
use starling_protocol::{Epoch, Seq};

use super::schema::DbRoom;
use crate::history::{Draft, EntryNumber, LogMark, Receipt, RoomKey};
use crate::ids::RoomId;

/// What the writer is to do.
#[derive(Debug)]
pub(super) enum WriterCommand {
    Append(Append),
    /// The owner of an inbox was sent everything up to this message.
    Delivered(DbRoom, Seq),
    /// The room has ended; the receipt comes back with the outcome.
    Forget(DbRoom, Option<Receipt>),
    /// All messages up to this record of the log of several nodes were appended.
    Mark(LogMark),
    /// The write-ahead log cannot be taken into the database.
    CheckpointFailed(rusqlite::Error),
}

impl WriterCommand {
    /// How many messages it stores.
    pub(super) fn messages(&self) -> usize {
        if let Self::Append(append) = self { append.copies.len() } else { 0 }
    }
}

/// An entry that is to be committed: all copies of its message, or none.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) number: EntryNumber,
    /// One in a room; of a private message two, in the inboxes of its sender and its receiver.
    pub(super) copies: SmallVec<[NewCopy; 1]>,
    pub(super) queued: Instant,
}

/// A message for one room or inbox.
#[derive(Debug)]
pub(super) struct NewCopy {
    pub(super) room: RoomId,
    pub(super) db: DbRoom,
    pub(super) key: RoomKey,
    pub(super) epoch: Epoch,
    pub(super) draft: Draft,
    /// Its number, where the log of several nodes has given it.
    pub(super) given: Option<Seq>,
    /// Its number in the room, from the commit on; 0 before.
    pub(super) seq: Seq,
}
