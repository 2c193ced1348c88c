//! The end of an endless answer.

/// The reader of an endless answer has left, as it is meant to.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the reader has left")]
pub(crate) struct ReaderLeft;
