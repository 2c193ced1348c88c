//! What the threads of the store tell.

use std::sync::{Arc, Mutex, PoisonError};

use starling_protocol::Seq;

use super::command::Append;
use super::schema::DbRoom;
use crate::history::{EntryNumber, Page, ReadError, ReadRequest, Receipt};

/// Whether the storage works; shared with whoever answers for readiness.
#[derive(Debug, Clone, Default)]
pub struct StoreHealth(Arc<Mutex<Option<String>>>);

impl StoreHealth {
    /// Why nothing can be stored at the moment, if so.
    pub fn failure(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, failure: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

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
