//! The chat protocol, version 1: what travels between the server and every client.
//!
//! One JSON object per WebSocket text frame, its `type` naming the kind; a frame from a client without `type` is a
//! `message`. The contract in prose, with the promises, is `docs/protocol.md`.
//!
//! - A client speaks in [`CommandFrame`]s, the server answers in [`ServerEvent`]s.
//! - [`codec`] is the only place that knows JSON, [`console`] the only one that knows lines typed by a person; both
//!   lead to the same types.
//! - [`names`] holds what is parsed once and valid ever after.
//!
//! Invariants: nothing here does I/O, reads a clock or depends on a runtime; parsing borrows from the frame; unknown
//! fields are ignored, so both sides can grow.

pub mod codec;
mod command;
pub mod console;
mod event;
pub mod limits;
pub mod names;

pub use command::{ClientCommand, CommandFrame, HistoryPage, PostMessage, Resume, Target};
pub use event::{
    Ack, ChatMessage, CloseCode, ErrorCode, HistoryEvent, InboxPosition, JoinedEvent, MembersEvent, PresenceEvent,
    Refusal, RoomPosition, RoomSummary, ServerEvent, ServerLimits, Welcome,
};
pub use names::{ClientId, ClientKey, Epoch, MessageId, NameError, RoomName, Seq};

/// The version of the protocol that this crate speaks, as `welcome` tells it.
pub const PROTOCOL_VERSION: u16 = 1;

/// The WebSocket subprotocol that a client may ask for; it is echoed, never required.
pub const SUBPROTOCOL: &str = "starling.v1";
