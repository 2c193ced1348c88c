//! What the writer is told.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;
use starling_protocol::{Epoch, Seq};

use super::schema::DbRoom;
use crate::chat_server::command::DropReply;
use crate::history::StoredMessage;
use crate::ids::RoomId;

/// What the writer is to do.
#[derive(Debug)]
pub(super) enum WriterCommand {
    Append(Append),
    /// The owner of an inbox was sent everything up to this message.
    Delivered(DbRoom, Seq),
    /// The room has ended; whoever waits for that is told.
    Forget(DbRoom, Option<DropReply>),
    /// The write-ahead log cannot be taken into the database.
    CheckpointFailed(rusqlite::Error),
}

impl WriterCommand {
    /// How many messages it stores.
    pub(super) fn messages(&self) -> usize {
        if let Self::Append(append) = self { append.copies.len() } else { 0 }
    }
}

/// A message that is to be stored: all copies of it in one commit.
#[derive(Debug)]
pub(super) struct Append {
    /// One in a room; of a private message two, in the inboxes of its sender and its receiver.
    pub(super) copies: SmallVec<[StoredCopy; 1]>,
    pub(super) generation: u32,
    pub(super) queued: Instant,
}

/// A message in one room or inbox.
#[derive(Debug)]
pub(super) struct StoredCopy {
    pub(super) room: RoomId,
    pub(super) db: DbRoom,
    pub(super) epoch: Epoch,
    pub(super) message: Arc<StoredMessage>,
}
