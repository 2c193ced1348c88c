//! Converts between text and types: the only place that parses or encodes JSON.

mod events;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::events::{decode_event, encode_event};

use crate::change::{Change, ChangeMessage, ChangedPlace};
use crate::command::{ClientCommand, CommandFrame, HistoryPage, PostMessage, Resume, Target};
use crate::event::{ErrorCode, Refusal};
use crate::limits;
use crate::names::{ClientId, Emoji, MessageId, NameError, RoomName, Seq};

/// A text that borrows from the frame unless it contains escapes.
///
/// Serde borrows a `Cow<str>`, but not one inside an `Option`; this wrapper makes it borrow there too.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// All fields of client frames, in the order in which they are encoded. `into_command` selects those of its `type`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCommand<'a> {
    #[serde(rename = "type", borrow, skip_serializing_if = "Option::is_none")]
    kind: Option<Text<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    client_id: Option<Text<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    key: Option<Text<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    token: Option<Text<'a>>,
    #[serde(rename = "Message", borrow, skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    room: Option<Text<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    to: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_at: Option<u64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    epoch: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inbox: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    emoji: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remove: Option<bool>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    id: Option<Text<'a>>,
}

/// The type of a field, to name the field that has a wrong one.
#[derive(Clone, Copy)]
enum FieldKind {
    Text,
    Number,
    Bool,
}

const FIELDS: [(&str, FieldKind); 20] = [
    ("type", FieldKind::Text),
    ("clientId", FieldKind::Text),
    ("key", FieldKind::Text),
    ("token", FieldKind::Text),
    ("Message", FieldKind::Text),
    ("room", FieldKind::Text),
    ("to", FieldKind::Text),
    ("before", FieldKind::Number),
    ("after", FieldKind::Number),
    ("afterAt", FieldKind::Number),
    ("epoch", FieldKind::Text),
    ("limit", FieldKind::Number),
    ("presence", FieldKind::Bool),
    ("inbox", FieldKind::Bool),
    ("replyTo", FieldKind::Number),
    ("of", FieldKind::Number),
    ("seq", FieldKind::Number),
    ("emoji", FieldKind::Text),
    ("remove", FieldKind::Bool),
    ("id", FieldKind::Text),
];

impl FieldKind {
    fn accepts(self, value: &Value) -> bool {
        let fits = match self {
            Self::Text => value.is_string(),
            Self::Number => value.is_u64(),
            Self::Bool => value.is_boolean(),
        };
        fits || value.is_null()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Number => "a whole number, 0 or more",
            Self::Bool => "true or false",
        }
    }
}

/// Decodes a client's frame.
///
/// Texts without escapes are borrowed from `text`. Unknown fields are ignored, `null` counts as absent.
///
/// # Errors
/// The [`Refusal`] to answer with: [`BadJson`](ErrorCode::BadJson), [`BadRequest`](ErrorCode::BadRequest),
/// [`UnknownType`](ErrorCode::UnknownType), [`BadName`](ErrorCode::BadName), [`BadRoom`](ErrorCode::BadRoom) or
/// [`MessageEmpty`](ErrorCode::MessageEmpty). It carries the frame's `id` if that is readable.
pub fn decode_command(text: &str) -> Result<CommandFrame<'_>, Refusal> {
    let wire: WireCommand<'_> = serde_json::from_str(text).map_err(|error| explain(text, &error))?;
    // Serde would also accept an array with the fields in their order, but a frame must be an object.
    if !is_object(text) {
        return Err(not_an_object());
    }
    let id = match &wire.id {
        Some(id) => {
            Some(MessageId::parse(&id.0).map_err(|error| Refusal::new(ErrorCode::BadRequest, error.to_string()))?)
        }
        None => None,
    };
    match wire.into_command() {
        Ok(command) => Ok(CommandFrame { id, command }),
        Err(refusal) => Err(refusal.with_id(id)),
    }
}

/// Whether a valid JSON text is an object.
fn is_object(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{')
}

fn not_an_object() -> Refusal {
    Refusal::new(ErrorCode::BadRequest, "a frame must be a JSON object")
}

/// Finds the error in a frame that did not parse. It is slow, but runs only for invalid frames.
fn explain(text: &str, error: &serde_json::Error) -> Refusal {
    if !error.is_data() {
        return Refusal::new(ErrorCode::BadJson, error.to_string());
    }
    if !is_object(text) {
        return not_an_object();
    }
    let Ok(fields) = serde_json::from_str::<Map<String, Value>>(text) else {
        return Refusal::new(ErrorCode::BadRequest, error.to_string());
    };
    let id = fields.get("id").and_then(Value::as_str).and_then(|id| MessageId::parse(id).ok());
    let wrong = FIELDS.iter().find(|(name, kind)| fields.get(*name).is_some_and(|value| !kind.accepts(value)));
    let reason = match wrong {
        Some((name, kind)) => format!("field `{name}` must be {}", kind.name()),
        None => error.to_string(),
    };
    Refusal::new(ErrorCode::BadRequest, reason).with_id(id)
}

fn missing(field: &str) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, format!("field `{field}` is missing"))
}

fn bad_name(error: &NameError) -> Refusal {
    Refusal::new(ErrorCode::BadName, error.to_string())
}

fn bad_room(error: &NameError) -> Refusal {
    Refusal::new(ErrorCode::BadRoom, error.to_string())
}

pub(crate) fn parse_client(text: &str) -> Result<ClientId, Refusal> {
    ClientId::parse(text).map_err(|error| bad_name(&error))
}

pub(crate) fn parse_room(text: &str) -> Result<RoomName, Refusal> {
    RoomName::parse(text).map_err(|error| bad_room(&error))
}

fn check_limit(limit: u64) -> Result<u16, Refusal> {
    u16::try_from(limit).ok().filter(|limit| (1..=limits::HISTORY_LIMIT_MAX).contains(limit)).ok_or_else(|| {
        Refusal::new(ErrorCode::BadRequest, format!("field `limit` must be 1 to {}", limits::HISTORY_LIMIT_MAX))
    })
}

impl<'a> WireCommand<'a> {
    fn into_command(self) -> Result<ClientCommand<'a>, Refusal> {
        match self.kind.as_ref().map(|kind| kind.0.as_ref()) {
            None | Some("message") => self.into_message(),
            Some("hello") => self.into_hello(),
            Some("join") => self.into_join(),
            Some("leave") => Ok(ClientCommand::Leave { room: self.required_room()? }),
            Some("rooms") => Ok(ClientCommand::Rooms),
            Some("members") => Ok(ClientCommand::Members { room: self.required_room()? }),
            Some("history") => self.into_history(),
            Some("typing") => Ok(ClientCommand::Typing { target: self.target()? }),
            Some("read") => self.into_read(),
            Some("ping") => Ok(ClientCommand::Ping),
            Some("edit") => self.into_edit(),
            Some("delete") => self.into_change(Change::Delete),
            Some("react") => self.into_reaction(),
            Some(other) => {
                let shown: String = other.chars().take(32).collect();
                Err(Refusal::new(ErrorCode::UnknownType, format!("there is no type {shown:?}")))
            }
        }
    }

    fn required_room(&self) -> Result<RoomName, Refusal> {
        parse_room(&self.room.as_ref().ok_or_else(|| missing("room"))?.0)
    }

    fn sender(&self) -> Result<Option<ClientId>, Refusal> {
        self.client_id.as_ref().map(|name| parse_client(&name.0)).transpose()
    }

    fn target(&self) -> Result<Target, Refusal> {
        match (&self.room, &self.to) {
            (None, None) => Ok(Target::FirstRoom),
            (Some(room), None) => Ok(Target::Room(parse_room(&room.0)?)),
            (None, Some(to)) => Ok(Target::Client(parse_client(&to.0)?)),
            (Some(_), Some(_)) => {
                Err(Refusal::new(ErrorCode::BadRequest, "a message must not have both `room` and `to`"))
            }
        }
    }

    fn into_message(self) -> Result<ClientCommand<'a>, Refusal> {
        let client_id = self.sender()?;
        let target = self.target()?;
        let reply_to = self.reply_to.map(Seq);
        Ok(ClientCommand::Message(PostMessage { text: some_text(self.text)?, target, client_id, reply_to }))
    }

    fn into_edit(mut self) -> Result<ClientCommand<'a>, Refusal> {
        let text = some_text(self.text.take())?;
        self.into_change(Change::Edit(text))
    }

    fn into_reaction(self) -> Result<ClientCommand<'a>, Refusal> {
        let emoji = Emoji::parse(&self.emoji.as_ref().ok_or_else(|| missing("emoji"))?.0);
        let emoji = emoji.map_err(|error| Refusal::new(ErrorCode::BadRequest, error.to_string()))?;
        let remove = self.remove.unwrap_or(false);
        self.into_change(Change::React { emoji, remove })
    }

    fn into_change(self, change: Change<'a>) -> Result<ClientCommand<'a>, Refusal> {
        let place = self.room_or_inbox()?;
        let of = Seq(self.of.ok_or_else(|| missing("of"))?);
        Ok(ClientCommand::Change(ChangeMessage { place, of, change }))
    }

    fn into_read(self) -> Result<ClientCommand<'a>, Refusal> {
        let place = self.room_or_inbox()?;
        Ok(ClientCommand::Read { place, seq: Seq(self.seq.ok_or_else(|| missing("seq"))?) })
    }

    fn room_or_inbox(&self) -> Result<ChangedPlace, Refusal> {
        if self.inbox == Some(true) && self.means_inbox()? {
            Ok(ChangedPlace::Inbox)
        } else {
            Ok(ChangedPlace::Room(self.required_room()?))
        }
    }

    fn into_hello(self) -> Result<ClientCommand<'a>, Refusal> {
        let client_id = self.sender()?;
        if client_id.is_none() && self.token.is_none() {
            return Err(missing("clientId"));
        }
        // One that no server has issued, or an earlier version has, cannot take a name back, so it counts as absent.
        let key = self.key.and_then(|key| key.0.parse().ok());
        Ok(ClientCommand::Hello { client_id, key, token: self.token.map(|token| token.0) })
    }

    /// Whether the private messages are meant rather than a room's.
    fn means_inbox(&self) -> Result<bool, Refusal> {
        let is_inbox = self.inbox == Some(true) || self.to.is_some();
        if is_inbox && self.room.is_some() {
            return Err(Refusal::new(
                ErrorCode::BadRequest,
                "a frame must not ask for both `room` and private messages",
            ));
        }
        Ok(is_inbox)
    }

    fn into_join(self) -> Result<ClientCommand<'a>, Refusal> {
        let is_inbox = self.inbox == Some(true) && self.means_inbox()?;
        let room = if is_inbox { None } else { Some(self.required_room()?) };
        let resume = match (self.after, self.epoch) {
            (None, None) if self.after_at.is_some() => return Err(missing("after")),
            (None, None) => None,
            (Some(after), Some(epoch)) => {
                Some(Resume { after: Seq(after), epoch: epoch.0.parse().ok(), at: self.after_at })
            }
            (Some(_), None) => return Err(missing("epoch")),
            (None, Some(_)) => return Err(missing("after")),
        };
        Ok(match room {
            Some(room) => ClientCommand::Join { room, resume, presence: self.presence.unwrap_or(false) },
            None => ClientCommand::JoinInbox { resume },
        })
    }

    fn into_history(self) -> Result<ClientCommand<'a>, Refusal> {
        let room = if self.means_inbox()? { None } else { Some(self.required_room()?) };
        let with = self.to.as_ref().map(|to| parse_client(&to.0)).transpose()?;
        let page = match (self.before, self.after) {
            (None, None) => HistoryPage::Newest,
            (Some(before), None) => HistoryPage::Before(Seq(before)),
            (None, Some(after)) => HistoryPage::After(Seq(after)),
            (Some(_), Some(_)) => {
                return Err(Refusal::new(ErrorCode::BadRequest, "a page must not have both `before` and `after`"));
            }
        };
        let limit = self.limit.map_or(Ok(limits::HISTORY_LIMIT_DEFAULT), check_limit)?;
        Ok(match room {
            Some(room) => ClientCommand::History { room, page, limit },
            None => ClientCommand::InboxHistory { with, page, limit },
        })
    }
}

impl<'a> WireCommand<'a> {
    fn set_target(&mut self, target: &'a Target) {
        match target {
            Target::FirstRoom => {}
            Target::Room(room) => self.room = Some(text(room.as_str())),
            Target::Client(to) => self.to = Some(text(to.as_str())),
        }
    }

    fn set_resume(&mut self, resume: Resume, epoch: &'a str) {
        self.after = Some(resume.after.0);
        self.after_at = resume.at;
        self.epoch = Some(text(epoch));
    }

    fn set_place(&mut self, place: &'a ChangedPlace) {
        match place {
            ChangedPlace::Room(room) => self.room = Some(text(room.as_str())),
            ChangedPlace::Inbox => self.inbox = Some(true),
        }
    }

    fn set_change(&mut self, ChangeMessage { place, of, change }: &'a ChangeMessage<'a>) {
        self.set_place(place);
        self.of = Some(of.0);
        match change {
            Change::Edit(new) => (self.kind, self.text) = (Some(text("edit")), Some(text(new))),
            Change::Delete => self.kind = Some(text("delete")),
            Change::React { emoji, remove } => {
                self.kind = Some(text("react"));
                self.emoji = Some(text(emoji.as_str()));
                self.remove = remove.then_some(true);
            }
        }
    }

    fn set_page(&mut self, page: HistoryPage, limit: u16) {
        self.limit = Some(u64::from(limit));
        match page {
            HistoryPage::Newest => {}
            HistoryPage::Before(seq) => self.before = Some(seq.0),
            HistoryPage::After(seq) => self.after = Some(seq.0),
        }
    }
}

/// The text of a message, which is not empty.
fn some_text(text: Option<Text<'_>>) -> Result<Cow<'_, str>, Refusal> {
    let text = text.ok_or_else(|| missing("Message"))?.0;
    if text.is_empty() {
        return Err(Refusal::new(ErrorCode::MessageEmpty, "field `Message` is empty"));
    }
    Ok(text)
}

fn text(text: &str) -> Text<'_> {
    Text(Cow::Borrowed(text))
}

/// Encodes a client's frame.
#[expect(clippy::missing_panics_doc, reason = "it cannot panic, see below")]
pub fn encode_command(frame: &CommandFrame<'_>) -> String {
    let mut wire = WireCommand { id: frame.id.as_ref().map(|id| text(id.as_str())), ..WireCommand::default() };
    let epoch;
    match &frame.command {
        ClientCommand::Message(message) => {
            wire.client_id = message.client_id.as_ref().map(|name| text(name.as_str()));
            wire.text = Some(text(&message.text));
            wire.set_target(&message.target);
            wire.reply_to = message.reply_to.map(|of| of.0);
        }
        ClientCommand::Hello { client_id, key, token } => {
            wire.kind = Some(text("hello"));
            wire.client_id = client_id.as_ref().map(|name| text(name.as_str()));
            wire.key = key.map(|key| Text(key.to_string().into()));
            wire.token = token.as_deref().map(text);
        }
        ClientCommand::Join { room, resume, presence } => {
            wire.kind = Some(text("join"));
            wire.room = Some(text(room.as_str()));
            wire.presence = presence.then_some(true);
            if let Some(resume) = resume {
                epoch = resume.epoch.map_or_else(String::new, |epoch| epoch.to_string());
                wire.set_resume(*resume, &epoch);
            }
        }
        ClientCommand::JoinInbox { resume } => {
            wire.kind = Some(text("join"));
            wire.inbox = Some(true);
            if let Some(resume) = resume {
                epoch = resume.epoch.map_or_else(String::new, |epoch| epoch.to_string());
                wire.set_resume(*resume, &epoch);
            }
        }
        ClientCommand::Leave { room } => {
            wire.kind = Some(text("leave"));
            wire.room = Some(text(room.as_str()));
        }
        ClientCommand::Rooms => wire.kind = Some(text("rooms")),
        ClientCommand::Members { room } => {
            wire.kind = Some(text("members"));
            wire.room = Some(text(room.as_str()));
        }
        ClientCommand::History { room, page, limit } => {
            wire.kind = Some(text("history"));
            wire.room = Some(text(room.as_str()));
            wire.set_page(*page, *limit);
        }
        ClientCommand::InboxHistory { with, page, limit } => {
            wire.kind = Some(text("history"));
            wire.to = with.as_ref().map(|with| text(with.as_str()));
            wire.inbox = with.is_none().then_some(true);
            wire.set_page(*page, *limit);
        }
        ClientCommand::Typing { target } => {
            wire.kind = Some(text("typing"));
            wire.set_target(target);
        }
        ClientCommand::Read { place, seq } => {
            wire.kind = Some(text("read"));
            wire.set_place(place);
            wire.seq = Some(seq.0);
        }
        ClientCommand::Ping => wire.kind = Some(text("ping")),
        ClientCommand::Change(change) => wire.set_change(change),
    }
    #[expect(clippy::expect_used, reason = "a struct of strings, numbers and booleans always has a JSON form")]
    serde_json::to_string(&wire).expect("a command has a JSON form")
}

#[cfg(test)]
mod tests;
