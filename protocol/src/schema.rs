//! JSON Schemas of all frames, made from the types.
//!
//! Frames of the server: a schema describes exactly what [`encode_event`](crate::codec::encode_event) writes. Frames of
//! the client: a schema accepts a frame if and only if [`decode_command`](crate::codec::decode_command) does, as long
//! as the frame has only fields of its `type`. A property test compares the two. Only an emoji is described less exactly,
//! because a schema cannot count graphemes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::event::ServerEvent;
use crate::limits;
use crate::names::{ClientId, ClientKey, Emoji, Epoch, MessageId, RoomName};

/// The schemas of all frames, by `type`.
#[derive(Debug, Clone)]
pub struct FrameSchemas {
    /// Frames of clients.
    pub commands: BTreeMap<String, Value>,
    /// Frames of the server.
    pub events: BTreeMap<String, Value>,
    /// Schemas to which the others refer, by name.
    pub definitions: Map<String, Value>,
}

/// Makes the schemas of all frames. `settings` has the version of JSON Schema and the path of the definitions.
pub fn frames(settings: SchemaSettings) -> FrameSchemas {
    let mut reads = settings.clone().for_deserialize().into_generator();
    let mut commands = Command::json_schema(&mut reads);
    let mut generator = settings.for_serialize().into_generator();
    let mut events = ServerEvent::json_schema(&mut generator);
    for transform in generator.transforms_mut() {
        transform.transform(&mut commands);
        transform.transform(&mut events);
    }
    let (commands, events) = (by_type(&commands), by_type(&events));
    let definitions = generator.take_definitions(true);
    FrameSchemas { commands, events, definitions }
}

/// The alternatives of an enum that is tagged with `type`.
fn by_type(schema: &Schema) -> BTreeMap<String, Value> {
    let alternatives = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let named = alternatives.filter_map(|alternative| {
        let kind = alternative.pointer("/properties/type/const")?.as_str()?;
        Some((kind.to_owned(), alternative.clone()))
    });
    named.collect()
}

/// The pattern of the names of clients and rooms.
fn name_schema() -> Schema {
    let rest = limits::NAME_BYTES_MAX - 1;
    json_schema!({ "type": "string", "pattern": format!("^[A-Za-z0-9][A-Za-z0-9._-]{{0,{rest}}}$") })
}

macro_rules! text_schema {
    ($($name:ident: $schema:expr;)+) => {
        $(impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        })+
    };
}

text_schema! {
    ClientId: name_schema();
    RoomName: name_schema();
    MessageId: json_schema!({ "type": "string", "minLength": 1, "maxLength": limits::MESSAGE_ID_CHARS_MAX });
    Epoch: json_schema!({ "type": "string", "pattern": "^[0-9a-f]{16}$" });
    Emoji: json_schema!({ "type": "string", "pattern": "^[!-~]?[^\\u0000-\\u007f]*$", "minLength": 1, "maxLength": 64 });
    ClientKey: json_schema!({ "type": "string", "pattern": "^[0-9a-f]{32}$" });
}

/// The frames of clients as `codec` reads them. `null` counts as absent.
#[derive(JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
#[expect(dead_code, reason = "the type exists for its schema only")]
enum Command {
    /// Sends a text to all members of a room or, in private, to one client. `type` may be absent.
    #[schemars(transform = message)]
    Message {
        /// The text. At most `limits.messageBytes` of `welcome`, in bytes of UTF-8.
        #[serde(rename = "Message")]
        #[schemars(length(min = 1))]
        text: String,
        /// The room. Without it and `to`, the connection's first room.
        room: Option<RoomName>,
        /// The receiver of a private message.
        to: Option<ClientId>,
        /// The sender's name. A guest takes it with this message.
        client_id: Option<ClientId>,
        /// The `seq` of the message of the same room, or of the client's inbox, that it replies to.
        reply_to: Option<u64>,
        /// The sender's own name for the message. The same `id` again within five minutes is delivered once.
        id: Option<MessageId>,
    },
    /// Replaces the text of a message.
    #[schemars(transform = change)]
    Edit {
        /// The room of the message.
        room: Option<RoomName>,
        /// Whether it is one of the private messages.
        inbox: Option<bool>,
        /// The `seq` of the message.
        of: u64,
        /// The new text. At most `limits.messageBytes` of `welcome`, in bytes of UTF-8.
        #[serde(rename = "Message")]
        #[schemars(length(min = 1))]
        text: String,
        /// The answers carry it. The same `id` again within five minutes counts once.
        id: Option<MessageId>,
    },
    /// Deletes a message.
    #[schemars(transform = change)]
    Delete {
        /// The room of the message.
        room: Option<RoomName>,
        /// Whether it is one of the private messages.
        inbox: Option<bool>,
        /// The `seq` of the message.
        of: u64,
        /// The answers carry it. The same `id` again within five minutes counts once.
        id: Option<MessageId>,
    },
    /// Reacts to a message, or takes the reaction back.
    #[schemars(transform = change)]
    React {
        /// The room of the message.
        room: Option<RoomName>,
        /// Whether it is one of the private messages.
        inbox: Option<bool>,
        /// The `seq` of the message.
        of: u64,
        /// One visible character as a person sees it (a grapheme), of at most 64 bytes in UTF-8.
        emoji: Emoji,
        /// Whether the reaction is taken back.
        remove: Option<bool>,
        /// The answers carry it. The same `id` again within five minutes counts once.
        id: Option<MessageId>,
    },
    /// Takes or changes a name, or shows a token.
    #[schemars(transform = hello)]
    Hello {
        /// The name to take.
        client_id: Option<ClientId>,
        /// The `key` of an earlier `welcome`, which takes the name back from this client's own dead connection.
        key: Option<String>,
        /// A token, where names are authenticated.
        token: Option<String>,
        /// The answers carry it.
        id: Option<MessageId>,
    },
    /// Joins a room, or follows the client's private messages; resumes with `after` and `epoch`.
    #[schemars(transform = join)]
    Join {
        /// The room to join.
        room: Option<RoomName>,
        /// Whether the private messages are meant instead of a room.
        inbox: Option<bool>,
        /// The newest `seq` that the client has.
        after: Option<u64>,
        /// The epoch of `after`.
        epoch: Option<String>,
        /// The `at` of the message `after`, as proof that the client has this one.
        after_at: Option<u64>,
        /// Whether `presence` of this room is wanted.
        presence: Option<bool>,
        /// The answers carry it.
        id: Option<MessageId>,
    },
    /// Leaves a room.
    Leave {
        /// The room to leave.
        room: RoomName,
        /// The answers carry it.
        id: Option<MessageId>,
    },
    /// Requests the list of rooms.
    Rooms {
        /// The answers carry it.
        id: Option<MessageId>,
    },
    /// Requests the members of a room.
    Members {
        /// The room to list.
        room: RoomName,
        /// The answers carry it.
        id: Option<MessageId>,
    },
    /// Says that the client's user types a message. It has no answer.
    #[schemars(transform = typing)]
    Typing {
        /// The room. Without it and `to`, the connection's first room.
        room: Option<RoomName>,
        /// The receiver of a private message.
        to: Option<ClientId>,
        /// An error carries it.
        id: Option<MessageId>,
    },
    /// Says how far the client has read.
    #[schemars(transform = change)]
    Read {
        /// A room that the connection is in.
        room: Option<RoomName>,
        /// Whether the private messages are meant instead of a room.
        inbox: Option<bool>,
        /// The newest message that the client has read.
        seq: u64,
        /// The answers carry it.
        id: Option<MessageId>,
    },
    /// Asks for earlier messages of a room, or for the client's own private messages.
    #[schemars(transform = history)]
    History {
        /// The room to read.
        room: Option<RoomName>,
        /// Whether the private messages are meant instead of a room.
        inbox: Option<bool>,
        /// The other client, of private messages; without `room`.
        to: Option<ClientId>,
        /// Only messages with a smaller `seq`, the newest first to be chosen.
        before: Option<u64>,
        /// Only messages with a greater `seq`, the oldest first to be chosen.
        after: Option<u64>,
        /// Maximum number of messages in the answer; 50 if absent.
        #[schemars(range(min = 1, max = limits::HISTORY_LIMIT_MAX))]
        limit: Option<u64>,
        /// The answers carry it.
        id: Option<MessageId>,
    },
    /// Checks that the server answers.
    Ping {
        /// The answer carries it.
        id: Option<MessageId>,
    },
}

/// The frame has the field, and it is not `null`.
fn present(field: &str) -> Value {
    json!({ "required": [field], "properties": { field: { "not": { "type": "null" } } } })
}

fn is_true(field: &str) -> Value {
    json!({ "required": [field], "properties": { field: { "const": true } } })
}

fn not(schema: &Value) -> Value {
    json!({ "not": schema })
}

fn both(one: &Value, other: &Value) -> Value {
    json!({ "allOf": [one, other] })
}

fn either(one: &Value, other: &Value) -> Value {
    json!({ "anyOf": [one, other] })
}

/// `one` is present only if `other` is.
fn needs(one: &str, other: &str) -> Value {
    either(&not(&present(one)), &present(other))
}

fn message(schema: &mut Schema) {
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|field| field != "type");
    }
    typing(schema);
}

fn typing(schema: &mut Schema) {
    schema.insert("allOf".into(), json!([not(&both(&present("room"), &present("to")))]));
}

/// Requires the place of a message.
fn change(schema: &mut Schema) {
    schema.insert("oneOf".into(), json!([present("room"), is_true("inbox")]));
}

fn hello(schema: &mut Schema) {
    schema.insert("allOf".into(), json!([either(&present("clientId"), &present("token"))]));
}

fn join(schema: &mut Schema) {
    let target = json!({ "oneOf": [present("room"), is_true("inbox")] });
    let resume = [needs("after", "epoch"), needs("epoch", "after"), needs("afterAt", "after")];
    let [after, epoch, at] = resume;
    schema.insert("allOf".into(), json!([target, after, epoch, at]));
}

fn history(schema: &mut Schema) {
    let target = json!({ "oneOf": [present("room"), either(&is_true("inbox"), &present("to"))] });
    let one_page = not(&both(&present("before"), &present("after")));
    schema.insert("allOf".into(), json!([target, one_page]));
}
