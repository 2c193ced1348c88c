//! What the threads of the store tell.

use starling_protocol::Seq;

use super::command::Append;
use super::schema::DbRoom;
use crate::history::{EntryNumber, Page, ReadError, ReadRequest, Receipt};

/// What the threads of the store have finished.
#[derive(Debug)]
pub(super) enum Report {
    /// These entries are committed, with the numbers that their messages have.
    Committed(Vec<Append>),
    /// These entries are not committed, and will not be.
    Refused(Vec<EntryNumber>),
    /// The oldest messages of these rooms are gone.
    Trimmed(Vec<(DbRoom, Seq)>),
    /// A room that has ended is gone from the file, or cannot be dropped at the moment.
    Forgotten(Receipt, bool),
    /// A part of the history was read, or not.
    Read { request: ReadRequest, outcome: Result<Page, ReadError> },
}
