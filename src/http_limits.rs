//! How long a connection may take over HTTP, and how much it may send.

use std::time::Duration;

/// What an HTTP connection may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpLimits {
    /// Time for a head, and for a connection that asks nothing; time in which a body makes progress.
    pub(crate) head: Duration,
    /// Time in which an answer that the kernel does not take makes progress.
    pub(crate) answer: Duration,
    /// Most bytes of one request's body; past them it is refused with 413.
    pub(crate) body_bytes: u64,
}
