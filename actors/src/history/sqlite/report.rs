//! The reports of the store's threads.

use starling_protocol::Seq;

use super::command::Append;
use super::numbers::FoundNumbers;
use super::schema::DbRoom;
use crate::history::{EntryNumber, Page, ReadError, ReadRequest, Receipt};

/// A report from a thread of the store.
#[derive(Debug)]
pub(super) enum Report {
    /// These entries are committed, and their messages are numbered.
    Committed(Vec<Append>),
    /// These entries are not committed and will not be.
    Refused(Vec<EntryNumber>),
    /// These rooms have lost messages; with the oldest one that is still stored.
    Trimmed(Vec<(DbRoom, Seq)>),
    /// Numbers for new rooms.
    Numbers(FoundNumbers),
    /// The outcome for a room that has ended: `true` if it is gone from the file, `false` if it cannot be dropped at
    /// the moment.
    Forgotten(Receipt, bool),
    /// The outcome for rows of the moderation: whether they are stored.
    Decided(Receipt, bool),
    /// A read is finished or has failed.
    Read { request: ReadRequest, outcome: Result<Page, ReadError> },
}
