//! The events of the server.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::change::{DeletedEvent, EditedEvent, ReactionCount, ReactionEvent};
use crate::names::{ClientId, ClientKey, Epoch, MessageId, RoomName, Seq};
use crate::settings::RoomSettings;

/// A frame from the server to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ServerEvent<'a> {
    /// The first event on a connection, and the answer to `hello`.
    Welcome(Box<Welcome>),
    /// A message of a client or of an operator.
    #[serde(borrow)]
    Message(ChatMessage<'a>),
    /// The text of a message was replaced.
    Edited(EditedEvent<'a>),
    /// A message was deleted.
    Deleted(DeletedEvent),
    /// A client has reacted to a message, or has removed its reaction.
    Reaction(ReactionEvent),
    /// A message with an `id` was accepted. A message to a room is also stored.
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
    /// The clients that joined and left a room, for connections that asked for it.
    Presence(PresenceEvent),
    /// Clients whose users are typing.
    Typing(TypingEvent),
    /// How far a client has read.
    Read(ReadEvent),
    /// The settings of a room, for its members.
    Settings(SettingsEvent),
    /// The answer to `members`.
    Members(MembersEvent),
    /// The answer to `rooms`.
    Rooms {
        /// The `id` of the `rooms` frame.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        id: Option<MessageId>,
        /// At most [`ROOMS_LISTED_MAX`](crate::limits::ROOMS_LISTED_MAX), those with the most members first.
        rooms: Vec<RoomSummary>,
        /// Whether there are more rooms than the list has.
        truncated: bool,
    },
    /// A page of history.
    History(HistoryEvent<'a>),
    /// The answer to `ping`.
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
        /// The reason, for a person.
        reason: Cow<'a, str>,
        /// The time to wait before reconnecting, in milliseconds.
        reconnect_after_ms: u64,
    },
    /// The server has refused a command.
    Error(Refusal),
}

impl ServerEvent<'_> {
    /// Makes the event independent of its frame.
    pub fn into_owned(self) -> ServerEvent<'static> {
        match self {
            Self::Welcome(welcome) => ServerEvent::Welcome(welcome),
            Self::Message(message) => ServerEvent::Message(message.into_owned()),
            Self::Edited(edited) => ServerEvent::Edited(edited.into_owned()),
            Self::Deleted(deleted) => ServerEvent::Deleted(deleted),
            Self::Reaction(reaction) => ServerEvent::Reaction(reaction),
            Self::Ack(ack) => ServerEvent::Ack(ack),
            Self::Joined(joined) => ServerEvent::Joined(joined),
            Self::Left { id, room } => ServerEvent::Left { id, room },
            Self::Presence(presence) => ServerEvent::Presence(presence),
            Self::Typing(typing) => ServerEvent::Typing(typing),
            Self::Read(read) => ServerEvent::Read(read),
            Self::Settings(settings) => ServerEvent::Settings(settings),
            Self::Members(members) => ServerEvent::Members(members),
            Self::Rooms { id, rooms, truncated } => ServerEvent::Rooms { id, rooms, truncated },
            Self::History(HistoryEvent { id, room, inbox, to, messages, has_more }) => {
                let messages = messages.into_iter().map(ChatMessage::into_owned).collect();
                ServerEvent::History(HistoryEvent { id, room, inbox, to, messages, has_more })
            }
            Self::Pong { id, at } => ServerEvent::Pong { id, at },
            Self::Closing { reason, reconnect_after_ms } => {
                ServerEvent::Closing { reason: Cow::Owned(reason.into_owned()), reconnect_after_ms }
            }
            Self::Error(refusal) => ServerEvent::Error(refusal),
        }
    }
}

/// The first event on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The `id` of the `hello` that it answers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
    /// The protocol's version, [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
    pub protocol: u16,
    /// The server's name and version.
    pub server: String,
    /// The name of the connection: the requested one, or a guest name.
    pub client_id: ClientId,
    /// The connection's first room; `None` while it is in no room.
    #[serde(flatten)]
    pub first_room: Option<RoomPosition>,
    /// The position of the client's private messages, if the server stores them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inbox: Option<InboxPosition>,
    /// The secret with which this client can take its name back.
    pub key: ClientKey,
    /// The ping interval in milliseconds. A connection that is silent for two intervals is closed.
    pub heartbeat_ms: u64,
    /// The limits for one connection.
    pub limits: ServerLimits,
}

/// The position of a room's messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RoomPosition {
    /// A room that this connection is a member of.
    pub room: RoomName,
    /// The `seq` of the room's newest message.
    pub seq: Seq,
    /// The epoch of the room's sequence numbers.
    pub epoch: Epoch,
}

/// The position of a client's private messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InboxPosition {
    /// The `seq` of the newest one.
    pub seq: Seq,
    /// The epoch of their sequence numbers.
    pub epoch: Epoch,
}

/// The server's limits for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ServerLimits {
    /// Maximum number of bytes of a message's text, as UTF-8.
    pub message_bytes: u32,
    /// Frames per second that are accepted in the long run; 0: no limit.
    pub messages_per_second: u32,
    /// Frames that are accepted at once after a pause.
    pub burst: u32,
    /// Maximum number of rooms that one connection may be in.
    pub rooms: u32,
}

/// A message as its receivers get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChatMessage<'a> {
    /// The sender's name at the time of the message.
    pub client_id: ClientId,
    /// The text, the newest one if it was edited. Absent if the message was deleted.
    #[serde(rename = "Message", borrow, skip_serializing_if = "str::is_empty", default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub text: Cow<'a, str>,
    /// The room; absent for a private message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomName>,
    /// Its `seq` in the room. For a stored private message, its `seq` in the receiver's inbox.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seq: Option<Seq>,
    /// The receiver of a private message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<ClientId>,
    /// The time at which the server accepted it, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The sender's own name for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
    /// The message that it replies to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reply_to: Option<Seq>,
    /// The time of its newest edit, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub edited_at: Option<u64>,
    /// Whether it was deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub deleted: bool,
    /// The `seq` of the newest change that this frame contains. Changes of the message up to this one change it no more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub changed_seq: Option<Seq>,
    /// The reactions to it, those with the oldest emoji first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub reactions: Vec<ReactionCount>,
}

impl<'a> ChatMessage<'a> {
    /// A message that nobody has changed, and that replies to none.
    pub fn new(client_id: ClientId, text: Cow<'a, str>, at: u64) -> Self {
        Self {
            client_id,
            text,
            room: None,
            seq: None,
            to: None,
            at,
            id: None,
            reply_to: None,
            edited_at: None,
            deleted: false,
            changed_seq: None,
            reactions: Vec::new(),
        }
    }
}

impl ChatMessage<'_> {
    /// Makes the message independent of its frame.
    pub fn into_owned(self) -> ChatMessage<'static> {
        let Self { client_id, text, room, seq, to, at, id, reply_to, edited_at, deleted, changed_seq, reactions } =
            self;
        let text = Cow::Owned(text.into_owned());
        ChatMessage { client_id, text, room, seq, to, at, id, reply_to, edited_at, deleted, changed_seq, reactions }
    }
}

/// The acknowledgement of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ack {
    /// The sender's own name for the message.
    pub id: MessageId,
    /// The time at which the server accepted it, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The room; absent for a private message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomName>,
    /// The message's `seq` in that room.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seq: Option<Seq>,
    /// The receiver of a private message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<ClientId>,
    /// Whether a message with the same `id` was accepted before; then nothing is delivered now.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub duplicate: bool,
}

/// The connection is a member of the room, or gets its private messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JoinedEvent {
    /// The `id` of the frame that asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
    /// The room; absent for the inbox.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomName>,
    /// Whether it is the client's inbox.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub inbox: bool,
    /// The newest message; the next live one is exactly 1 more.
    pub seq: Seq,
    /// The epoch of the sequence numbers.
    pub epoch: Epoch,
    /// The number of members, including this one. For an inbox, the number of the client's connections.
    pub count: u32,
    /// The answer to a resume: whether all missed messages follow. `Some(false)`: some of them are lost, or are not for
    /// this client.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recovered: Option<bool>,
    /// The settings of the room, if any differs from the default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub settings: Option<Box<RoomSettings>>,
    /// Where the room hides its history from newcomers: this client sees only what comes after this message.
    #[serde(rename = "visibleAfter", skip_serializing_if = "Option::is_none", default)]
    pub visible_after: Option<Seq>,
}

/// The clients that have joined and left a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PresenceEvent {
    /// A room that the receiver is a member of and watches.
    pub room: RoomName,
    /// At most [`PRESENCE_NAMES_MAX`](crate::limits::PRESENCE_NAMES_MAX) names.
    pub joined: Vec<ClientId>,
    /// At most [`PRESENCE_NAMES_MAX`](crate::limits::PRESENCE_NAMES_MAX) names.
    pub left: Vec<ClientId>,
    /// The number of members now.
    pub count: u32,
}

/// Clients whose users are typing a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TypingEvent {
    /// The room that the message is for; absent if it is private.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomName>,
    /// The client that types a private message to the receiver; absent in a room.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<ClientId>,
    /// At most [`TYPING_NAMES_MAX`](crate::limits::TYPING_NAMES_MAX) names: those who have said in the last second that
    /// they type.
    pub client_ids: Vec<ClientId>,
    /// Whether there are more of them than the list has.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub more: bool,
}

/// How far a client has read in a room, or in its private messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReadEvent {
    /// The `id` of the `read` that it answers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
    /// The room; absent for the inbox.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomName>,
    /// Whether it is the receiver's inbox.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub inbox: bool,
    /// The newest message that the client has read.
    pub seq: Seq,
    /// The client: the receiver itself, or another member of the room.
    pub client_id: ClientId,
}

/// The settings of a room: an operator has changed them, or the receiver has just entered the room by its handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SettingsEvent {
    /// A room that the receiver is a member of.
    pub room: RoomName,
    /// All settings of the room that differ from the default.
    pub settings: Box<RoomSettings>,
    /// The settings before the change. They are for the console, whose line tells only the change; no frame has them.
    #[serde(skip)]
    pub before: Option<Box<RoomSettings>>,
}

/// The answer to `members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MembersEvent {
    /// The `id` of the `members` frame.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
    /// The requested room. The receiver need not be a member.
    pub room: RoomName,
    /// The number of members.
    pub count: u32,
    /// At most [`MEMBERS_LISTED_MAX`](crate::limits::MEMBERS_LISTED_MAX) of their names.
    pub client_ids: Vec<ClientId>,
    /// Whether the list was cut.
    pub truncated: bool,
}

/// A room in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RoomSummary {
    /// A room that the receiver may enter.
    pub room: RoomName,
    /// The number of members.
    pub count: u32,
    /// Its newest message.
    pub seq: Seq,
    /// Its topic, if it has one.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub topic: String,
}

/// A page of a room's history, or of a client's private messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HistoryEvent<'a> {
    /// The `id` of the `history` frame.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
    /// The room; absent for private messages.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomName>,
    /// Whether these are the client's private messages.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub inbox: bool,
    /// The other client, if only the private messages with one client were requested.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<ClientId>,
    /// The messages, the oldest first. Each is encoded as a complete `message` frame, including its `type`.
    #[serde(borrow, with = "tagged_messages")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<tagged_messages::Tagged<'_, 'a>>"))]
    pub messages: Vec<ChatMessage<'a>>,
    /// Whether there are more in the direction asked for.
    pub has_more: bool,
}

/// A refused command. The connection stays open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The reason, for a program.
    pub code: ErrorCode,
    /// The reason, for a person.
    pub message: String,
    /// The `id` of the refused frame.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
    /// The time in milliseconds after which a retry may succeed, if known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
    /// For a decision of operators about one room: the room. Without it, the decision holds on the whole server.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomName>,
    /// For `muted` and `banned`: the end, in milliseconds since the Unix epoch. Without it, there is no end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<u64>,
}

impl Refusal {
    /// A refusal with its reason for a person.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), id: None, retry_after_ms: None, room: None, until: None }
    }

    /// Sets the `id` of the refused frame.
    #[must_use]
    pub fn with_id(mut self, id: Option<MessageId>) -> Self {
        self.id = id;
        self
    }

    /// Sets the time after which a retry may succeed.
    #[must_use]
    pub fn retry_after_ms(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }

    /// Sets the room that a moderator's decision is about.
    #[must_use]
    pub fn in_room(mut self, room: Option<RoomName>) -> Self {
        self.room = room;
        self
    }

    /// Sets the end of a moderator's decision.
    #[must_use]
    pub fn until(mut self, until: Option<u64>) -> Self {
        self.until = until;
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
        /// The reason of a refusal. The texts never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl ErrorCode {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

error_codes! {
    /// The frame starts like JSON but is not valid JSON.
    BadJson = "bad_json",
    /// A field is missing, of the wrong type or out of range; the message says which.
    BadRequest = "bad_request",
    /// The server does not know this `type`.
    UnknownType = "unknown_type",
    /// The text is not a valid `clientId`.
    BadName = "bad_name",
    /// The text is not a valid room name.
    BadRoom = "bad_room",
    /// Another connection holds the name.
    NameTaken = "name_taken",
    /// The message names a sender other than this connection's client.
    ClientIdMismatch = "client_id_mismatch",
    /// The connection is not in that room.
    NotAMember = "not_a_member",
    /// No connection has that name.
    NoSuchClient = "no_such_client",
    /// The room does not exist.
    NoSuchRoom = "no_such_room",
    /// The message does not exist any more, or never did.
    NoSuchMessage = "no_such_message",
    /// The message has no text.
    MessageEmpty = "message_empty",
    /// The text is longer than `limits.messageBytes`.
    MessageTooLarge = "message_too_large",
    /// The connection, or the server, has reached its limit of rooms.
    TooManyRooms = "too_many_rooms",
    /// The sender, or the server, has reached its limit of inboxes.
    TooManyInboxes = "too_many_inboxes",
    /// The message has as many reactions as it may have.
    TooManyReactions = "too_many_reactions",
    /// Frames arrived faster than the rate limit; `retryAfterMs` says when the next one is accepted.
    RateLimited = "rate_limited",
    /// A moderator has muted the client, in the room or on the server.
    Muted = "muted",
    /// A moderator has banned the client, from the room or from the server.
    Banned = "banned",
    /// The room has a slow mode; `retryAfterMs` says when the client may write again.
    SlowMode = "slow_mode",
    /// Only operators may write in the room.
    NotAWriter = "not_a_writer",
    /// The room is private, and the client is not invited.
    NotInvited = "not_invited",
    /// A token is missing or not valid.
    Unauthorized = "unauthorized",
    /// The client may not do that.
    Forbidden = "forbidden",
    /// The server cannot do that at the moment.
    Unavailable = "unavailable",
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal,)+) => {
        /// The reason that the server closed a connection: the WebSocket close code. The numbers never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum CloseCode {
            $($(#[$doc])* $variant = $number,)+
        }

        impl CloseCode {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The number on the wire.
            pub fn as_u16(self) -> u16 {
                self as u16
            }

            /// The code with this number; `None` if this server does not use it.
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
    /// An ordinary close, requested by the client.
    Normal = 1000,
    /// The server shuts down; the client should reconnect.
    GoingAway = 1001,
    /// The peer broke the WebSocket protocol.
    ProtocolError = 1002,
    /// The client sent a binary frame; only text frames are accepted.
    BinaryFrame = 1003,
    /// A text frame was not UTF-8.
    NotUtf8 = 1007,
    /// Too many refused frames in a row, or failed authentication.
    Policy = 1008,
    /// The client sent a frame above the size limit.
    FrameTooLarge = 1009,
    /// A fault in the server.
    Fault = 1011,
    /// The server is overloaded or cannot serve at the moment; a later attempt may succeed.
    TryAgainLater = 1013,
    /// The client reads more slowly than the server writes.
    SlowConsumer = 4001,
    /// The client sent nothing for two heartbeats.
    NoSignOfLife = 4002,
    /// A newer connection of the same client replaced this one.
    Replaced = 4003,
    /// An operator removed the client.
    Removed = 4004,
    /// A moderator has banned the client; it should not reconnect.
    Banned = 4005,
}

/// `history` contains complete `message` frames, so each has its `type`.
mod tagged_messages {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::ChatMessage;

    /// A message as a frame of its own.
    #[derive(Serialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "MessageFrame"))]
    #[serde(tag = "type", rename_all = "lowercase")]
    pub(super) enum Tagged<'m, 'a> {
        Message(&'m ChatMessage<'a>),
    }

    pub(super) fn serialize<S: Serializer>(messages: &[ChatMessage<'_>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(messages.iter().map(Tagged::Message))
    }

    pub(super) fn deserialize<'de: 'a, 'a, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<ChatMessage<'a>>, D::Error> {
        // When reading, the tag is an unknown field, which is ignored.
        Vec::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests;
