//! Where a connection stands between two requests.

use bytes::Bytes;

use crate::request_body::Body;
use crate::request_head::Follows;

#[derive(Debug)]
pub(super) enum Phase {
    /// Waits for a request.
    Head,
    /// Hands a head on; then what follows it.
    HandOver(Bytes, Follows),
    /// Hands a body on.
    Body(Body),
    /// Waits for the answer to be written.
    Answer,
    /// HTTP ends here.
    WebSocket,
    /// Writes a refusal.
    Refusal(Bytes),
    /// Has told the peer that nothing more comes, and waits for its end.
    Linger { left: usize },
    /// Nothing more is read or written.
    End,
}
