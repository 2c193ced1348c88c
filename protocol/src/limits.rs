//! Sizes that both ends obey and that no configuration changes.

/// Most bytes of a `clientId` or a room name.
pub const NAME_BYTES_MAX: usize = 64;

/// Most characters of the `id` a client gives to what it sends.
pub const MESSAGE_ID_CHARS_MAX: usize = 64;

/// Most messages that one `history` asks for.
pub const HISTORY_LIMIT_MAX: u16 = 200;

/// Messages that `history` answers where no `limit` is given.
pub const HISTORY_LIMIT_DEFAULT: u16 = 50;

/// Messages that `/history` shows where no number is given.
pub const CONSOLE_HISTORY_DEFAULT: u16 = 10;

/// Most names in one `members`; beyond it, `truncated` is true.
pub const MEMBERS_LISTED_MAX: usize = 1_000;

/// Most rooms in one `rooms`; beyond it, `truncated` is true.
pub const ROOMS_LISTED_MAX: usize = 1_000;

/// Most names in each list of one `presence`; `count` still tells the whole.
pub const PRESENCE_NAMES_MAX: usize = 50;

/// Most members of a room whose comings and goings are shown to people who type by hand.
pub const CONSOLE_PRESENCE_MEMBERS_MAX: u32 = 50;

/// Frames in a row that are only errors after which the connection is closed with 1008.
pub const ERRORS_IN_A_ROW_MAX: u32 = 20;

/// Connections that one authenticated client has at most; one more replaces its oldest, which is closed with 4003.
pub const CONNECTIONS_PER_CLIENT_MAX: usize = 64;

/// Seconds for which a connection may be without a token, where one is needed; then it is closed with 1008.
pub const PROOF_SECONDS: u64 = 10;

/// The prefix of the names that the server gives; no client may ask for it.
pub const GUEST_PREFIX: &str = "guest-";

/// The room of the global chat, where a connection is that asked for no other.
pub const LOBBY: &str = "lobby";
