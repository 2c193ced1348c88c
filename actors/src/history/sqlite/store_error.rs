//! Why nothing can be stored at the moment.

use super::continuity::MarkError;
use super::file::FileFault;

/// The reason that nothing can be stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    File(#[from] FileFault),
    #[error(transparent)]
    Mark(#[from] MarkError),
}
