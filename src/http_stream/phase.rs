//! The phases of an HTTP connection.

use bytes::Bytes;

use crate::request_body::Body;
use crate::request_head::Follows;

#[derive(Debug)]
pub(super) enum Phase {
    /// Waits for a request.
    Head,
    /// Passes a head on, and knows what follows it.
    HandOver(Bytes, Follows),
    /// Passes a body on.
    Body(Body),
    /// Waits until the response is written.
    Answer,
    /// Writes an answer that has no end; the peer sends nothing more.
    EndlessAnswer,
    /// The connection is upgraded; HTTP is over.
    WebSocket,
    /// Writes a refusal.
    Refusal(Bytes),
    /// Has shut down its side, and discards bytes until the peer ends its own.
    Linger { left: usize },
    /// Nothing more is read or written.
    End,
}
