//! The chat protocol, version 1, between the server and its clients.
//!
//! Each WebSocket text frame is one JSON object, and its `type` names its kind. A client's frame without `type` is a
//! `message`. The contract in prose, with its guarantees, is in `docs/protocol.md`.
//!
//! - A client sends [`CommandFrame`]s, the server sends [`ServerEvent`]s.
//! - Only [`codec`] knows JSON, and only [`console`] knows lines typed by a person; both convert from and to the same
//!   types.
//! - [`change`]: changes of messages, that is edits, deletions and reactions.
//! - [`names`] contains types that are validated once, when they are made.
//! - [`typed_time`]: a length of time as a person types it.
//! - With the feature `schema`, the module `schema` has a JSON Schema of each frame, made from these types.
//!
//! Invariants: nothing here does I/O, reads a clock or depends on a runtime; parsing borrows from the frame; unknown
//! fields are ignored, so both sides can grow.

pub mod change;
pub mod codec;
mod command;
pub mod console;
mod emoji;
mod event;
pub mod limits;
pub mod names;
#[cfg(feature = "schema")]
pub mod schema;
mod settings;
pub mod typed_time;
mod visible;

pub use change::{Change, ChangeMessage, ChangedPlace, DeletedEvent, EditedEvent, ReactionCount, ReactionEvent};
pub use command::{ClientCommand, CommandFrame, HistoryPage, PostMessage, Resume, Target};
pub use event::{
    Ack, ChatMessage, CloseCode, ErrorCode, HistoryEvent, InboxPosition, JoinedEvent, MembersEvent, PresenceEvent,
    ReadEvent, Refusal, RoomPosition, RoomSummary, ServerEvent, ServerLimits, SettingsEvent, TypingEvent, Welcome,
};
pub use names::{ClientId, ClientKey, Emoji, EmojiError, Epoch, MessageId, NameError, RoomName, Seq};
pub use settings::{Access, Retention, RoomSettings, Setting, SettingName, Writers, one_of};

/// The version of the protocol, as in `welcome`.
pub const PROTOCOL_VERSION: u16 = 1;

/// The WebSocket subprotocol. The server confirms it if a client offers it, but does not require it.
pub const SUBPROTOCOL: &str = "starling.v1";
