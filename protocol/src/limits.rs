//! Limits that both ends obey. They are not configurable.

/// Most bytes of a `clientId` or a room name.
pub const NAME_BYTES_MAX: usize = 64;

/// Most characters of the `id` that a client gives to a frame.
pub const MESSAGE_ID_CHARS_MAX: usize = 64;

/// Most bytes of the topic of a room.
pub const TOPIC_BYTES_MAX: usize = 250;

/// Most messages that a room may keep by a setting of its own.
pub const RETENTION_MESSAGES_MAX: u64 = 1_000_000_000_000;

/// Most seconds for which a room may keep messages by a setting of its own: a hundred years.
pub const RETENTION_SECONDS_MAX: u64 = 100 * 365 * 86_400;

/// Most bytes of the emoji of a reaction.
pub const EMOJI_BYTES_MAX: usize = 64;

/// Most different emoji among the reactions to one message.
pub const EMOJIS_PER_MESSAGE_MAX: usize = 50;

/// Most reactions to one message.
pub const REACTIONS_PER_MESSAGE_MAX: usize = 1_000;

/// Most names of one emoji in the `reactions` of a message; `count` is still exact.
pub const REACTION_NAMES_MAX: usize = 10;

/// Most messages that one `history` command may request.
pub const HISTORY_LIMIT_MAX: u16 = 200;

/// Messages in the answer to a `history` without `limit`.
pub const HISTORY_LIMIT_DEFAULT: u16 = 50;

/// Messages in the answer to a `/history` without a number.
pub const CONSOLE_HISTORY_DEFAULT: u16 = 10;

/// Most names in one `members`; beyond it, `truncated` is true.
pub const MEMBERS_LISTED_MAX: usize = 1_000;

/// Most rooms in one `rooms`; beyond it, `truncated` is true.
pub const ROOMS_LISTED_MAX: usize = 1_000;

/// Most names in each list of one `presence`; `count` is still exact.
pub const PRESENCE_NAMES_MAX: usize = 50;

/// In rooms with more members, nobody is told who types.
pub const TYPING_MEMBERS_MAX: u32 = 200;

/// Most names in one `typing`; beyond it, `more` is true.
pub const TYPING_NAMES_MAX: usize = 10;

/// Milliseconds after a `typing` of a client in which further ones of it to the same room or client do not count.
pub const TYPING_COUNTS_EVERY_MS: u64 = 3_000;

/// In rooms with more members, nobody is told how far the others have read.
pub const SEEN_BY_MEMBERS_MAX: u32 = 50;

/// In rooms with more members, the console does not show presence.
pub const CONSOLE_PRESENCE_MEMBERS_MAX: u32 = 50;

/// Consecutive refused frames after which the connection is closed with 1008.
pub const ERRORS_IN_A_ROW_MAX: u32 = 20;

/// Most connections of one authenticated client. A further one replaces the oldest, which is closed with 4003.
pub const CONNECTIONS_PER_CLIENT_MAX: usize = 64;

/// Seconds within which a connection must show a token, if tokens are required; after that it is closed with 1008.
pub const PROOF_SECONDS: u64 = 10;

/// The prefix of guest names. Only the server assigns them.
pub const GUEST_PREFIX: &str = "guest-";

/// The room of the global chat. A connection that requests no other room enters it.
pub const LOBBY: &str = "lobby";
