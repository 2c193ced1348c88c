//! The configuration of the chat, fixed when it starts.

use std::time::Duration;

use starling_protocol::ServerLimits;

use crate::followers::NewEntries;
use crate::identity::TokenVerifier;

/// Every bound of the chat. The server fills it from its environment (`docs/configuration.md` has the ranges).
#[derive(Debug, Clone)]
pub struct ChatConfig {
    /// The server's name and version, as in `welcome`.
    pub server: String,
    /// Most bytes of one message's text; more is refused with `message_too_large`.
    pub message_bytes: u32,
    /// Joins a minute of one connection, and most joins at once; more are refused with `rate_limited`. 0: no limit.
    pub joins_per_minute: u32,
    /// Most bytes of one frame of a client, its fragments together; more closes the connection with 1009.
    pub frame_bytes: u32,
    /// Smallest frame, in bytes, that is compressed for a client that accepts compressed frames. 0: compression is not
    /// offered.
    pub compression_bytes_min: u32,
    /// Frames a second that one connection may send in the long run; more are refused with `rate_limited`. 0: no limit.
    pub messages_per_second: u32,
    /// Frames that one connection may send at once after a pause.
    pub burst: u32,
    /// Most rooms one connection may be in; more is refused with `too_many_rooms`.
    pub rooms_per_session: u32,
    /// Most rooms with a name. At the limit an empty room is dropped, or the new one is refused with `too_many_rooms`.
    pub rooms: u32,
    /// Most inboxes. At the limit, writing to a client that has none is refused with `too_many_inboxes`, unless an
    /// unclaimed inbox may be dropped for it. A connected client gets an inbox in any case.
    pub inboxes: u32,
    /// Most unclaimed inboxes (their owner has never connected) that one client may create by writing to their owners;
    /// more are refused with `too_many_inboxes`.
    pub inboxes_per_client: u32,
    /// Whether private messages are kept: names are authenticated, and there is a history.
    pub private_is_kept: bool,
    /// The followers of the rooms.
    pub followers: Vec<NewEntries>,
    /// Verifies tokens. `None`: names are not authenticated.
    pub tokens: Option<TokenVerifier>,
    /// Whether the members of a small room are told how far the others have read.
    pub seen_by: bool,
    /// Most unsent bytes of one client. The frame that would exceed it closes the connection with 4001.
    pub outbox_bytes: u32,
    /// Most unsent bytes of all clients of one hub. Above it the connections with the most unsent bytes are closed with
    /// 1013.
    pub outboxes_bytes_per_hub: u64,
    /// Longest time that a full socket may accept no bytes before its connection is closed with 4001.
    pub slow_client: Duration,
    /// The interval of pings. A connection that sends nothing for two intervals is closed with 4002.
    pub heartbeat: Duration,
    /// How long message `id`s are remembered.
    pub ids_remembered: Duration,
    /// Most remembered message `id`s. Above it the clients with the most `id`s lose their oldest ones early.
    pub ids_max: u32,
    /// How long an empty room is kept.
    pub empty_room_kept: Duration,
    /// Most messages kept in memory of one room; the oldest go first.
    pub history_messages: u32,
    /// Most bytes of messages kept in memory of all rooms together; the oldest go first.
    pub history_bytes: u64,
    /// Whether a room exists for as long as the history keeps a message of it.
    pub history_is_stored: bool,
    /// Most messages that the history keeps of one room.
    pub history_keep_messages: u64,
    /// Most commands of one session in flight; at the limit its socket is not read.
    pub session_credits: u32,
    /// Most commands of all sessions in flight; at the limit no socket is read.
    pub server_credits: u32,
}

impl ChatConfig {
    /// How long the `id` of a message is remembered, as the protocol says.
    pub const IDS_REMEMBERED: Duration = Duration::from_mins(5);

    /// The limits in the `welcome` event.
    pub fn limits(&self) -> ServerLimits {
        ServerLimits {
            message_bytes: self.message_bytes,
            messages_per_second: self.messages_per_second,
            burst: self.burst,
            rooms: self.rooms_per_session,
        }
    }

    /// The limit for a client's unsent bytes plus the expected bytes of its pending answers. At the limit the client's
    /// next command is not read.
    ///
    /// Below the limit, an outbox still has space for one page of [`page_bytes`](Self::page_bytes) whose every byte
    /// takes six on the wire, and for the small answers to all other commands in flight.
    pub fn answers_bytes(&self) -> usize {
        self.outbox_bytes as usize / 8
    }

    /// Most bytes of messages in one answer: a page of history, or one step of catching up.
    ///
    /// A character of a message becomes at most six on the wire, so an eighth of the outbox always fits into it.
    pub fn page_bytes(&self) -> usize {
        self.outbox_bytes as usize / 8
    }
}

impl Default for ChatConfig {
    fn default() -> Self {
        Self {
            server: concat!("starling/", env!("CARGO_PKG_VERSION")).into(),
            message_bytes: 16 * 1024,
            joins_per_minute: 600,
            frame_bytes: 128 * 1024,
            compression_bytes_min: 256,
            messages_per_second: 50,
            burst: 100,
            rooms_per_session: 64,
            rooms: 100_000,
            inboxes: 100_000,
            inboxes_per_client: 1_000,
            private_is_kept: false,
            followers: Vec::new(),
            tokens: None,
            seen_by: false,
            outbox_bytes: 1024 * 1024,
            outboxes_bytes_per_hub: 1024 * 1024 * 1024,
            slow_client: Duration::from_secs(20),
            heartbeat: Duration::from_secs(25),
            ids_remembered: Self::IDS_REMEMBERED,
            ids_max: 262_144,
            empty_room_kept: Duration::from_mins(5),
            history_messages: 1_000,
            history_bytes: 64 * 1024 * 1024,
            history_is_stored: false,
            history_keep_messages: 1_000,
            session_credits: 64,
            server_credits: 4_096,
        }
    }
}
