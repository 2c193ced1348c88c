//! Text to types and back: the one place that parses and writes JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::command::{ClientCommand, CommandFrame, HistoryPage, PostMessage, Resume, Target};
use crate::event::{ChatMessage, ErrorCode, Refusal, ServerEvent};
use crate::limits;
use crate::names::{ClientId, MessageId, NameError, RoomName, Seq};

/// A text that borrows from the frame where it holds no escapes.
///
/// Serde borrows a `Cow<str>`, but not one inside an `Option`; this wrapper brings the borrowing there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Every field that a client's frame may have, in the order in which they are written. A command is checked out of it
/// field by field.
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
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    id: Option<Text<'a>>,
}

/// What a known field must hold; used to say which one is wrong.
#[derive(Clone, Copy)]
enum FieldKind {
    Text,
    Number,
    Bool,
}

const FIELDS: [(&str, FieldKind); 15] = [
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

/// Reads one frame of a client.
///
/// Texts without escapes are borrowed from `text`. Unknown fields are ignored, `null` counts as absent.
///
/// # Errors
/// The [`Refusal`] to answer with: [`BadJson`](ErrorCode::BadJson), [`BadRequest`](ErrorCode::BadRequest),
/// [`UnknownType`](ErrorCode::UnknownType), [`BadName`](ErrorCode::BadName), [`BadRoom`](ErrorCode::BadRoom) or
/// [`MessageEmpty`](ErrorCode::MessageEmpty); it carries the frame's `id` where that could be read.
pub fn decode_command(text: &str) -> Result<CommandFrame<'_>, Refusal> {
    let wire: WireCommand<'_> = serde_json::from_str(text).map_err(|error| explain(text, &error))?;
    // Serde would take an array for the fields in their order; a frame is an object.
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

/// Whether a text that is JSON is an object.
fn is_object(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{')
}

fn not_an_object() -> Refusal {
    Refusal::new(ErrorCode::BadRequest, "a frame must be a JSON object")
}

/// Finds out what is wrong with a frame that did not parse. Slow, but only those pay who send such frames.
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
            Some("ping") => Ok(ClientCommand::Ping),
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

    fn into_message(self) -> Result<ClientCommand<'a>, Refusal> {
        let client_id = self.sender()?;
        let target = match (&self.room, &self.to) {
            (None, None) => Target::FirstRoom,
            (Some(room), None) => Target::Room(parse_room(&room.0)?),
            (None, Some(to)) => Target::Client(parse_client(&to.0)?),
            (Some(_), Some(_)) => {
                return Err(Refusal::new(ErrorCode::BadRequest, "a message has either `room` or `to`, not both"));
            }
        };
        let text = self.text.ok_or_else(|| missing("Message"))?.0;
        if text.is_empty() {
            return Err(Refusal::new(ErrorCode::MessageEmpty, "field `Message` is empty"));
        }
        Ok(ClientCommand::Message(PostMessage { text, target, client_id }))
    }

    fn into_hello(self) -> Result<ClientCommand<'a>, Refusal> {
        let client_id = self.sender()?;
        if client_id.is_none() && self.token.is_none() {
            return Err(missing("clientId"));
        }
        Ok(ClientCommand::Hello { client_id, key: self.key.map(|key| key.0), token: self.token.map(|token| token.0) })
    }

    /// Whether the private messages are meant rather than a room's.
    fn means_inbox(&self) -> Result<bool, Refusal> {
        let is_inbox = self.inbox == Some(true) || (self.to.is_some() && self.room.is_none());
        if is_inbox && self.room.is_some() {
            return Err(Refusal::new(ErrorCode::BadRequest, "either `room` or `inbox`, not both"));
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
        let with = self.to.as_ref().filter(|_| room.is_none()).map(|to| parse_client(&to.0)).transpose()?;
        let page = match (self.before, self.after) {
            (None, None) => HistoryPage::Newest,
            (Some(before), None) => HistoryPage::Before(Seq(before)),
            (None, Some(after)) => HistoryPage::After(Seq(after)),
            (Some(_), Some(_)) => {
                return Err(Refusal::new(ErrorCode::BadRequest, "a page has either `before` or `after`, not both"));
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
    fn set_resume(&mut self, resume: Resume, epoch: &'a str) {
        self.after = Some(resume.after.0);
        self.after_at = resume.at;
        self.epoch = Some(text(epoch));
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

fn text(text: &str) -> Text<'_> {
    Text(Cow::Borrowed(text))
}

/// Writes one frame of a client.
#[expect(clippy::missing_panics_doc, reason = "it cannot, see below")]
pub fn encode_command(frame: &CommandFrame<'_>) -> String {
    let mut wire = WireCommand { id: frame.id.as_ref().map(|id| text(id.as_str())), ..WireCommand::default() };
    let epoch;
    match &frame.command {
        ClientCommand::Message(message) => {
            wire.client_id = message.client_id.as_ref().map(|name| text(name.as_str()));
            wire.text = Some(text(&message.text));
            match &message.target {
                Target::FirstRoom => {}
                Target::Room(room) => wire.room = Some(text(room.as_str())),
                Target::Client(to) => wire.to = Some(text(to.as_str())),
            }
        }
        ClientCommand::Hello { client_id, key, token } => {
            wire.kind = Some(text("hello"));
            wire.client_id = client_id.as_ref().map(|name| text(name.as_str()));
            wire.key = key.as_deref().map(text);
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
        ClientCommand::Ping => wire.kind = Some(text("ping")),
    }
    #[expect(clippy::expect_used, reason = "a struct of strings, numbers and booleans always has a JSON form")]
    serde_json::to_string(&wire).expect("a command has a JSON form")
}

/// Writes one frame of the server at the end of `out`.
#[expect(clippy::missing_panics_doc, reason = "it cannot, see below")]
pub fn encode_event(event: &ServerEvent<'_>, out: &mut Vec<u8>) {
    if let ServerEvent::Message(message) = event {
        return write_message(message, out);
    }
    #[expect(clippy::expect_used, reason = "events have string keys only, and a Vec takes every write")]
    serde_json::to_writer(out, event).expect("an event has a JSON form");
}

/// Writes the frame of which there are the most, as Serde would. Serde looks for what is to be escaped byte by byte, in keys
/// and names too; here only what people wrote is looked at, many bytes at once.
fn write_message(message: &ChatMessage<'_>, out: &mut Vec<u8>) {
    let ChatMessage { client_id, text, room, seq, to, at, id } = message;
    out.extend_from_slice(MESSAGE_PREFIX.as_bytes());
    write_name("clientId", client_id.as_str(), out);
    out.extend_from_slice(br#","Message":"#);
    write_text(text, out);
    if let Some(room) = room {
        out.push(b',');
        write_name("room", room.as_str(), out);
    }
    if let Some(Seq(seq)) = seq {
        out.extend_from_slice(br#","seq":"#);
        write_number(*seq, out);
    }
    if let Some(to) = to {
        out.push(b',');
        write_name("to", to.as_str(), out);
    }
    out.extend_from_slice(br#","at":"#);
    write_number(*at, out);
    if let Some(id) = id {
        out.extend_from_slice(br#","id":"#);
        write_text(id.as_str(), out);
    }
    out.push(b'}');
}

/// Writes a field whose value has only the characters of a name: none that JSON escapes.
fn write_name(field: &str, name: &str, out: &mut Vec<u8>) {
    for part in ["\"", field, "\":\"", name, "\""] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    // Without an early end, so that the compiler looks at many bytes at once.
    let is_escaped = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    if text.bytes().fold(false, |any, byte| any | is_escaped(byte)) {
        #[expect(clippy::expect_used, reason = "a Vec takes every write")]
        serde_json::to_writer(out, text).expect("a text has a JSON form");
    } else {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    #[expect(clippy::expect_used, reason = "a Vec takes every write")]
    serde_json::to_writer(out, &number).expect("a number has a JSON form");
}

/// What every `message` frame of the server begins with; lets a reader go straight to the fields.
const MESSAGE_PREFIX: &str = r#"{"type":"message","#;

/// Reads one frame of the server. Texts without escapes are borrowed from `text`.
///
/// # Errors
/// The parser's error where the frame is not JSON, of an unknown `type`, or lacks a field.
pub fn decode_event(text: &str) -> Result<ServerEvent<'_>, serde_json::Error> {
    if text.starts_with(MESSAGE_PREFIX) {
        return serde_json::from_str::<ChatMessage<'_>>(text).map(ServerEvent::Message);
    }
    serde_json::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> ClientCommand<'_> {
        decode_command(text).unwrap().command
    }

    fn refusal(text: &str) -> (ErrorCode, String) {
        let refusal = decode_command(text).unwrap_err();
        (refusal.code, refusal.message)
    }

    #[test]
    fn the_smallest_client_of_the_projects_first_document_is_understood() {
        let ClientCommand::Message(message) = command(r#"{"clientId": "alice", "Message": "hello"}"#) else {
            panic!("not a message")
        };
        assert_eq!(message.text, "hello");
        assert_eq!(message.client_id.unwrap().as_str(), "alice");
        assert_eq!(message.target, Target::FirstRoom);
    }

    #[test]
    fn a_message_is_written_as_serde_would_write_it() {
        let texts = ["hello", "", "a \"word\"", "back\\slash", "line\nbreak", "\u{0}\u{1f}", "grüße 🎉 \u{7f}\u{2028}"];
        for text in texts.into_iter().map(str::to_owned).chain(texts.map(|text| "x".repeat(100) + text)) {
            for whole in [false, true] {
                let message = ChatMessage {
                    client_id: ClientId::parse("alice").unwrap(),
                    text: text.clone().into(),
                    room: whole.then(|| RoomName::parse("dev").unwrap()),
                    seq: whole.then_some(Seq(u64::MAX)),
                    to: whole.then(|| ClientId::parse("bob.b_o-b").unwrap()),
                    at: 1_795_342_200_123,
                    id: whole.then(|| MessageId::parse("\"7\"").unwrap()),
                };
                let event = ServerEvent::Message(message);
                let mut written = Vec::new();
                encode_event(&event, &mut written);
                assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&event).unwrap());
            }
        }
    }

    #[test]
    fn parsing_borrows_the_text_from_the_frame_unless_it_has_escapes() {
        let ClientCommand::Message(plain) = command(r#"{"Message":"as it is"}"#) else { panic!("not a message") };
        assert!(matches!(plain.text, Cow::Borrowed(_)));
        let ClientCommand::Message(escaped) = command(r#"{"Message":"a \"word\""}"#) else { panic!("not a message") };
        assert_eq!(escaped.text, "a \"word\"");
    }

    #[test]
    fn unknown_fields_are_ignored_and_null_counts_as_absent() {
        assert_eq!(command(r#"{"type":"ping","colour":[1,{"a":2}],"room":null}"#), ClientCommand::Ping);
    }

    #[test]
    fn broken_json_is_told_from_json_of_the_wrong_shape() {
        assert_eq!(refusal(r#"{"type":"#).0, ErrorCode::BadJson);
        assert_eq!(refusal("{} {}").0, ErrorCode::BadJson);
        assert_eq!(
            refusal(r#"{"type":"join","room":7}"#),
            (ErrorCode::BadRequest, "field `room` must be a string".into())
        );
        assert_eq!(refusal(r#"{"type":"join"}"#), (ErrorCode::BadRequest, "field `room` is missing".into()));
        assert_eq!(
            refusal(r#"{"type":"history","room":"a","limit":-1}"#),
            (ErrorCode::BadRequest, "field `limit` must be a whole number, 0 or more".into())
        );
        assert_eq!(refusal(r#"{"type":"message","room":"a","to":"b","Message":"x"}"#).0, ErrorCode::BadRequest);
        assert_eq!(refusal(r#"{"type":"dance"}"#).0, ErrorCode::UnknownType);
        assert_eq!(refusal(r#"{"Message":""}"#).0, ErrorCode::MessageEmpty);
        assert_eq!(refusal(r#"{"type":"join","room":"a b"}"#).0, ErrorCode::BadRoom);
        assert_eq!(refusal(r#"{"clientId":"_","Message":"x"}"#).0, ErrorCode::BadName);
    }

    #[test]
    fn a_message_may_say_its_type() {
        assert_eq!(command(r#"{"type":"message","Message":"hello"}"#), command(r#"{"Message":"hello"}"#));
    }

    #[test]
    fn json_that_is_no_object_is_refused() {
        // An array of all fields in their order was once taken for a frame.
        let array = r#"["ping",null,null,null,null,null,null,null,null,null,null,null,null]"#;
        for frame in [array, "[]", "7", "null", "\"ping\""] {
            assert_eq!(refusal(frame), (ErrorCode::BadRequest, "a frame must be a JSON object".into()), "{frame}");
        }
        assert_eq!(command(" \t\r\n{\"type\":\"ping\"}"), ClientCommand::Ping);
    }

    #[test]
    fn a_refusal_carries_the_id_of_the_frame() {
        for frame in
            [r#"{"type":"join","room":7,"id":"q1"}"#, r#"{"type":"join","id":"q1"}"#, r#"{"type":"dance","id":"q1"}"#]
        {
            assert_eq!(decode_command(frame).unwrap_err().id, Some(MessageId::parse("q1").unwrap()), "{frame}");
        }
    }

    #[test]
    fn history_takes_1_to_200_messages() {
        for (limit, fits) in [(0, false), (1, true), (200, true), (201, false), (70_000, false)] {
            let frame = format!(r#"{{"type":"history","room":"a","limit":{limit}}}"#);
            assert_eq!(decode_command(&frame).is_ok(), fits, "{limit}");
            // Once, a limit beyond 65,535 was said to be no whole number.
            if !fits {
                assert_eq!(refusal(&frame), (ErrorCode::BadRequest, "field `limit` must be 1 to 200".into()));
            }
        }
    }

    #[test]
    fn hostile_shapes_are_refused_without_harm() {
        let deep = format!(r#"{{"x":{}"#, "[".repeat(100_000));
        assert_eq!(refusal(&deep).0, ErrorCode::BadJson);
        let deep_wrong = format!(r#"{{"room":{}{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
        assert!(decode_command(&deep_wrong).is_err());
        assert!(decode_command(r#"{"type":"history","room":"a","after":1e400}"#).is_err());
        assert_eq!(refusal(r#"{"type":"ping","type":"ping"}"#).0, ErrorCode::BadRequest);
    }

    #[test]
    fn a_resume_of_a_foreign_epoch_is_a_resume_that_recovers_nothing() {
        let ClientCommand::Join { resume, .. } = command(r#"{"type":"join","room":"a","after":3,"epoch":"x"}"#) else {
            panic!("not a join")
        };
        assert_eq!(resume, Some(Resume { after: Seq(3), epoch: None, at: None }));
        assert_eq!(refusal(r#"{"type":"join","room":"a","after":3}"#).1, "field `epoch` is missing");
        assert_eq!(refusal(r#"{"type":"join","room":"a","afterAt":3}"#).1, "field `after` is missing");
    }
}
