//! What the chat is told once, when it starts.

use std::time::Duration;

use starling_protocol::ServerLimits;

use crate::identity::TokenVerifier;

/// Every bound of the chat. The server fills it from its environment (`docs/configuration.md` has the ranges).
#[derive(Debug, Clone)]
pub struct ChatConfig {
    /// The server's name and version, as `welcome` tells it.
    pub server: String,
    /// Most bytes of one message's text; more is refused with `message_too_large`.
    pub message_bytes: u32,
    /// Times a minute that one connection may join a room, and as many at once; 0: as often as it likes.
    pub joins_per_minute: u32,
    /// Most bytes of one frame of a client, its fragments together; more closes the connection with 1009.
    pub frame_bytes: u32,
    /// Fewest bytes of a frame that is compressed for a client that takes compressed frames; 0: compression is not offered.
    pub compression_bytes_min: u32,
    /// Frames a second and connection that are taken in the long run; 0: as many as come.
    pub messages_per_second: u32,
    /// Frames of one connection that are taken at once after a pause.
    pub burst: u32,
    /// Most rooms one connection may be in; more is refused with `too_many_rooms`.
    pub rooms_per_session: u32,
    /// Most rooms there may be; more is refused with `too_many_rooms`.
    pub rooms: u32,
    /// Most inboxes that are made by writing to clients; more is refused with `too_many_inboxes`. A client that is here
    /// always has one.
    pub inboxes: u32,
    /// Most inboxes that one client has made by writing to names whose client has never been here; more is refused with
    /// `too_many_inboxes`.
    pub inboxes_per_client: u32,
    /// Whether private messages are kept: names are authenticated, and there is a history.
    pub private_is_kept: bool,
    /// What verifies tokens, where names are authenticated.
    pub tokens: Option<TokenVerifier>,
    /// Most bytes that wait for one client; the frame that would exceed it closes the connection with 4001.
    pub outbox_bytes: u32,
    /// Most bytes that wait for all clients of one hub; past it those for whom the most waits are closed with 1013.
    pub outboxes_bytes_per_hub: u64,
    /// How long a client with a full socket may take nothing before it is closed with 4001.
    pub slow_client: Duration,
    /// How often a connection is pinged; silence for two of them closes it with 4002.
    pub heartbeat: Duration,
    /// How long a name's message `id`s are remembered.
    pub ids_remembered: Duration,
    /// Most message `id`s that are remembered; beyond it the oldest are forgotten early.
    pub ids_max: u32,
    /// How long a room that everybody left is kept.
    pub empty_room_kept: Duration,
    /// Most messages kept in memory of one room; the oldest go first.
    pub history_messages: u32,
    /// Most bytes of messages kept in memory of all rooms together; the oldest go first.
    pub history_bytes: u64,
    /// Whether rooms exist for as long as the history keeps a message of them.
    pub history_is_stored: bool,
    /// Commands of one session that may be on their way; at the bound its socket is not read.
    pub session_credits: u32,
    /// Commands of all sessions that may be on their way; at the bound no socket is read.
    pub server_credits: u32,
}

impl ChatConfig {
    /// How long the `id` of a message is remembered, as the protocol says.
    pub const IDS_REMEMBERED: Duration = Duration::from_mins(5);

    /// What `welcome` tells about the limits.
    pub fn limits(&self) -> ServerLimits {
        ServerLimits {
            message_bytes: self.message_bytes,
            messages_per_second: self.messages_per_second,
            burst: self.burst,
            rooms: self.rooms_per_session,
        }
    }

    /// Bytes that wait for a client, and answers that are on their way to it, at which its next command is not read.
    ///
    /// Less than this, one page of [`page_bytes`](Self::page_bytes) with six bytes for each, and the small answers to all
    /// other commands on their way fit into an outbox together.
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
            tokens: None,
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
            session_credits: 64,
            server_credits: 4_096,
        }
    }
}
