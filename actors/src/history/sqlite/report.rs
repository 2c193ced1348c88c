//! What the threads of the store tell.

use std::sync::{Arc, Mutex, PoisonError};

use starling_protocol::Seq;

use super::schema::DbRoom;
use crate::history::{Page, ReadError, ReadRequest, StoredMessage};
use crate::ids::RoomId;

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
pub(in crate::history) enum Report {
    /// These are committed.
    Committed(Vec<(RoomId, Arc<StoredMessage>)>),
    /// Nothing that was appended in this generation and is not committed yet will be.
    Failed { generation: u32 },
    /// Nothing that was appended to these rooms and is not committed yet will be.
    RoomsFailed(Vec<RoomId>),
    /// Storing works again.
    Recovered,
    /// The oldest messages of these rooms are gone.
    Trimmed(Vec<(DbRoom, Seq)>),
    /// A part of the history was read, or not.
    Read { request: ReadRequest, outcome: Result<Page, ReadError> },
}
