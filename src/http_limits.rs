//! Limits of time and size for HTTP connections.

use std::time::Duration;

/// The limits of an HTTP connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpLimits {
    /// Time for a request head, and for an idle connection; also the time in which a body must make progress.
    pub(crate) head: Duration,
    /// Time in which a response must make progress while the socket is full.
    pub(crate) answer: Duration,
    /// Most bytes of a request body; a larger one is refused with 413.
    pub(crate) body_bytes: u64,
}
