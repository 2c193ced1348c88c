//! Changes of messages: edits, deletions and reactions.
//!
//! A change takes a `seq` in the order of its room, like a message.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::names::{ClientId, Emoji, MessageId, RoomName, Seq};

/// A client's change of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeMessage<'a> {
    /// The room of the message, or the inbox.
    pub place: ChangedPlace,
    /// The `seq` of the message there.
    pub of: Seq,
    /// What is to change.
    pub change: Change<'a>,
}

/// Where the message of a change is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangedPlace {
    /// A room that the client is in.
    Room(RoomName),
    /// The client's private messages.
    Inbox,
}

/// What a change does to its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<'a> {
    /// Replaces its text.
    Edit(Cow<'a, str>),
    /// Deletes it.
    Delete,
    /// Adds the client's reaction, or removes it.
    React {
        /// A client has one reaction for each emoji.
        emoji: Emoji,
        /// Whether the reaction is removed.
        remove: bool,
    },
}

impl ChangeMessage<'_> {
    /// Makes the change independent of its frame.
    pub fn into_owned(self) -> ChangeMessage<'static> {
        let Self { place, of, change } = self;
        let change = match change {
            Change::Edit(text) => Change::Edit(Cow::Owned(text.into_owned())),
            Change::Delete => Change::Delete,
            Change::React { emoji, remove } => Change::React { emoji, remove },
        };
        ChangeMessage { place, of, change }
    }
}

/// The text of a message was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EditedEvent<'a> {
    /// The room; absent for a private message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomName>,
    /// Its own `seq` in the room, or in the receiver's inbox.
    pub seq: Seq,
    /// The `seq` of the message.
    pub of: Seq,
    /// The client that edited it.
    pub client_id: ClientId,
    /// The new text. Absent if the message was edited again or deleted since; then that follows.
    #[serde(rename = "Message", borrow, skip_serializing_if = "str::is_empty", default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub text: Cow<'a, str>,
    /// The other client of a private message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<ClientId>,
    /// The time at which the server accepted it, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The client's own name for the change.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
}

impl EditedEvent<'_> {
    /// Makes the event independent of its frame.
    pub fn into_owned(self) -> EditedEvent<'static> {
        let Self { room, seq, of, client_id, text, to, at, id } = self;
        EditedEvent { room, seq, of, client_id, text: Cow::Owned(text.into_owned()), to, at, id }
    }
}

/// A message was deleted. Its text and its reactions are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DeletedEvent {
    /// The room; absent for a private message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomName>,
    /// Its own `seq` in the room, or in the receiver's inbox.
    pub seq: Seq,
    /// The `seq` of the message.
    pub of: Seq,
    /// The client that deleted it.
    pub client_id: ClientId,
    /// The other client of a private message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<ClientId>,
    /// The time at which the server accepted it, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The client's own name for the change.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
}

/// A client has reacted to a message, or has removed its reaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReactionEvent {
    /// The room; absent for a private message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomName>,
    /// Its own `seq` in the room, or in the receiver's inbox.
    pub seq: Seq,
    /// The `seq` of the message.
    pub of: Seq,
    /// The client that reacted.
    pub client_id: ClientId,
    /// The emoji of the reaction.
    pub emoji: Emoji,
    /// Whether the reaction was removed.
    pub removed: bool,
    /// The other client of a private message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<ClientId>,
    /// The time at which the server accepted it, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The client's own name for the change.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
}

/// The reactions to a message with one emoji.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReactionCount {
    /// The emoji.
    pub emoji: Emoji,
    /// The number of clients that have reacted with it.
    pub count: u32,
    /// The first [`REACTION_NAMES_MAX`](crate::limits::REACTION_NAMES_MAX) of them.
    pub client_ids: Vec<ClientId>,
}
