//! What the server tells.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::{ClientId, ClientKey, Epoch, MessageId, RoomName, Seq};

/// What the server tells a client: one frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ServerEvent<'a> {
    /// The server's first word, and the answer to `hello`.
    Welcome(Box<Welcome>),
    /// What people wrote.
    #[serde(borrow)]
    Message(ChatMessage<'a>),
    /// A message with an `id` has been taken; in a room, it is stored.
    Ack(Ack),
    /// The connection is a member of the room.
    Joined(JoinedEvent),
    /// The connection is no longer a member of the room.
    Left {
        /// The `id` of the frame that asked.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        id: Option<MessageId>,
        /// The room it has left.
        room: RoomName,
    },
    /// Who came to and went from a room, for those who asked for it.
    Presence(PresenceEvent),
    /// The answer to `members`.
    Members(MembersEvent),
    /// The rooms there are.
    Rooms {
        /// The `id` of the frame that asked.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        id: Option<MessageId>,
        /// At most [`ROOMS_LISTED_MAX`](crate::limits::ROOMS_LISTED_MAX), the fullest first.
        rooms: Vec<RoomSummary>,
        /// Whether there are more than are listed.
        truncated: bool,
    },
    /// What was said in a room.
    History(HistoryEvent<'a>),
    /// A sign of life.
    Pong {
        /// The `id` of the `ping`.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        id: Option<MessageId>,
        /// The server's clock, milliseconds since the Unix epoch.
        at: u64,
    },
    /// The server will close this connection.
    #[serde(rename_all = "camelCase")]
    Closing {
        /// Why, for a person.
        reason: Cow<'a, str>,
        /// How long to wait before connecting again, in milliseconds.
        reconnect_after_ms: u64,
    },
    /// Something that the client asked was refused.
    Error(Refusal),
}

/// The server's first word to a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The `id` of the `hello` that asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
    /// The protocol's version, [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
    pub protocol: u16,
    /// The server's name and version.
    pub server: String,
    /// The name that the connection has: the one it asked for, or a guest's.
    pub client_id: ClientId,
    /// The connection's first room; `None` while it is in no room.
    #[serde(flatten)]
    pub first_room: Option<RoomPosition>,
    /// Where this client's private messages are, where they are stored.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inbox: Option<InboxPosition>,
    /// The secret by which this client takes its name back.
    pub key: ClientKey,
    /// How often the server pings, in milliseconds; silence for two of them ends the connection.
    pub heartbeat_ms: u64,
    /// What the server allows.
    pub limits: ServerLimits,
}

/// A room, and how far its messages have come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPosition {
    /// One that this connection is in.
    pub room: RoomName,
    /// The newest message of the room.
    pub seq: Seq,
    /// The life of the room's sequence numbers.
    pub epoch: Epoch,
}

/// How far a client's private messages have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxPosition {
    /// The newest of them.
    pub seq: Seq,
    /// The life of their sequence numbers.
    pub epoch: Epoch,
}

/// What the server allows one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerLimits {
    /// Most bytes of a message's text, as UTF-8.
    pub message_bytes: u32,
    /// Frames per second that are taken in the long run; 0: as many as come.
    pub messages_per_second: u32,
    /// Frames that are taken at once after a pause.
    pub burst: u32,
    /// Most rooms that one connection may be in.
    pub rooms: u32,
}

/// A message as everybody sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatMessage<'a> {
    /// The name its sender had when the server took it.
    pub client_id: ClientId,
    /// What was written.
    #[serde(rename = "Message", borrow)]
    pub text: Cow<'a, str>,
    /// The room, where it was written in one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomName>,
    /// Its place in that room; where private messages are stored, the place of a private one in the receiver's inbox.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seq: Option<Seq>,
    /// To whom, where it is private.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<ClientId>,
    /// When the server took it, milliseconds since the Unix epoch.
    pub at: u64,
    /// The sender's own name for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
}

/// A message has been taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The sender's own name for the message.
    pub id: MessageId,
    /// When the server took it, milliseconds since the Unix epoch.
    pub at: u64,
    /// The room, where it was written in one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomName>,
    /// Its place in that room.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seq: Option<Seq>,
    /// To whom, where it is private.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<ClientId>,
    /// Whether the same `id` had been taken before; then nothing was delivered now.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub duplicate: bool,
}

/// The connection is a member of the room, or gets its private messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedEvent {
    /// The `id` of the frame that asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
    /// The room; absent where it is the inbox.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomName>,
    /// Whether it is the client's inbox.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub inbox: bool,
    /// The newest message; the next live one is exactly 1 more.
    pub seq: Seq,
    /// The life of the sequence numbers.
    pub epoch: Epoch,
    /// How many members the room has, this one included; of an inbox, how many connections the client has.
    pub count: u32,
    /// After a resume: whether all that was missed follows. `Some(false)`: some of it is gone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recovered: Option<bool>,
}

/// Who came and went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceEvent {
    /// One that the receiver is in and watches.
    pub room: RoomName,
    /// Who came; at most [`PRESENCE_NAMES_MAX`](crate::limits::PRESENCE_NAMES_MAX) names.
    pub joined: Vec<ClientId>,
    /// Who went; at most [`PRESENCE_NAMES_MAX`](crate::limits::PRESENCE_NAMES_MAX) names.
    pub left: Vec<ClientId>,
    /// How many members the room has now.
    pub count: u32,
}

/// The answer to `members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MembersEvent {
    /// The `id` of the frame that asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
    /// The room that was asked for; it need not be one of the receiver.
    pub room: RoomName,
    /// How many members the room has.
    pub count: u32,
    /// At most [`MEMBERS_LISTED_MAX`](crate::limits::MEMBERS_LISTED_MAX) of their names.
    pub client_ids: Vec<ClientId>,
    /// Whether there are more than are listed.
    pub truncated: bool,
}

/// A room in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSummary {
    /// A room that the receiver may enter.
    pub room: RoomName,
    /// How many members it has.
    pub count: u32,
    /// Its newest message.
    pub seq: Seq,
}

/// A page of a room's history, or of a client's private messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEvent<'a> {
    /// The `id` of the frame that asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
    /// The room; absent where the messages are private.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomName>,
    /// Whether these are the client's private messages.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub inbox: bool,
    /// With whom, where only the private messages with one client were asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<ClientId>,
    /// Whole messages, the oldest first. Each is a `message` frame of its own, its `type` included.
    #[serde(borrow, with = "tagged_messages")]
    pub messages: Vec<ChatMessage<'a>>,
    /// Whether there are more in the direction asked for.
    pub has_more: bool,
}

/// A refusal: what was asked is not done, and the connection lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Why, for a program.
    pub code: ErrorCode,
    /// Why, for a person.
    pub message: String,
    /// The `id` of the frame that is refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
    /// After how many milliseconds the same would be taken, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal with its reason for a person.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), id: None, retry_after_ms: None }
    }

    /// The same, as an answer to the frame with this `id`.
    #[must_use]
    pub fn with_id(mut self, id: Option<MessageId>) -> Self {
        self.id = id;
        self
    }

    /// The same, with the time after which to try again.
    #[must_use]
    pub fn retry_after_ms(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)+) => {
        /// Why something was refused. The texts are stable for ever.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl ErrorCode {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code as it stands on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

error_codes! {
    /// The frame begins like JSON and is none.
    BadJson = "bad_json",
    /// A field is missing, of the wrong type or out of range; the text says which.
    BadRequest = "bad_request",
    /// The `type` is none that this server knows.
    UnknownType = "unknown_type",
    /// The text is no valid `clientId`.
    BadName = "bad_name",
    /// The text is no valid room name.
    BadRoom = "bad_room",
    /// Another connection holds the name.
    NameTaken = "name_taken",
    /// The message names another sender than the connection is.
    ClientIdMismatch = "client_id_mismatch",
    /// The connection is not in that room.
    NotAMember = "not_a_member",
    /// Nobody here has that name.
    NoSuchClient = "no_such_client",
    /// There is no room of that name.
    NoSuchRoom = "no_such_room",
    /// The message has no text.
    MessageEmpty = "message_empty",
    /// The text is longer than `limits.messageBytes`.
    MessageTooLarge = "message_too_large",
    /// The connection is in as many rooms as it may, or the server has as many rooms as it may.
    TooManyRooms = "too_many_rooms",
    /// The sender has made as many inboxes as it may, or the server has as many.
    TooManyInboxes = "too_many_inboxes",
    /// Frames came faster than `limits.messagesPerSecond`; `retryAfterMs` says when the next is taken.
    RateLimited = "rate_limited",
    /// A token is missing or not valid.
    Unauthorized = "unauthorized",
    /// The client may not do that.
    Forbidden = "forbidden",
    /// The server cannot do that at the moment.
    Unavailable = "unavailable",
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal,)+) => {
        /// Why the server closed a connection: the WebSocket close code. The numbers are stable for ever.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum CloseCode {
            $($(#[$doc])* $variant = $number,)+
        }

        impl CloseCode {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The number on the wire.
            pub fn as_u16(self) -> u16 {
                self as u16
            }

            /// The code of this number; `None` where this server never closes with it.
            pub fn from_u16(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

close_codes! {
    /// The conversation is over.
    Normal = 1000,
    /// The server goes away; reconnect.
    GoingAway = 1001,
    /// The peer broke the WebSocket protocol.
    ProtocolError = 1002,
    /// A binary frame came; only text is spoken here.
    BinaryFrame = 1003,
    /// A text frame was not UTF-8.
    NotUtf8 = 1007,
    /// A flood, or a failed authentication.
    Policy = 1008,
    /// A frame was larger than any frame may be.
    FrameTooLarge = 1009,
    /// A fault in the server.
    Fault = 1011,
    /// The server is full or goes away; a later attempt may succeed.
    TryAgainLater = 1013,
    /// The client reads more slowly than is written for it.
    SlowConsumer = 4001,
    /// No sign of life came from the client.
    NoSignOfLife = 4002,
    /// A newer connection of the same client took its place.
    Replaced = 4003,
    /// An operator removed the client.
    Removed = 4004,
}

/// `history` lists whole `message` frames, so each carries its `type`.
mod tagged_messages {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::ChatMessage;

    #[derive(Serialize)]
    #[serde(tag = "type", rename_all = "lowercase")]
    enum Tagged<'m, 'a> {
        Message(&'m ChatMessage<'a>),
    }

    pub(super) fn serialize<S: Serializer>(messages: &[ChatMessage<'_>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(messages.iter().map(Tagged::Message))
    }

    pub(super) fn deserialize<'de: 'a, 'a, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<ChatMessage<'a>>, D::Error> {
        // The tag is one more unknown field to a reader.
        Vec::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests;
