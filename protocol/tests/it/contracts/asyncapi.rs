//! The AsyncAPI document of the WebSocket: the schemas of the types, with the golden frames as examples.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use starling_protocol::schema::{FrameSchemas, frames};
use starling_protocol::{CloseCode, PROTOCOL_VERSION, SUBPROTOCOL};

use crate::golden;

const ABOUT: &str = "\
One WebSocket text frame holds one JSON object; its `type` says what it is. Each side ignores fields that it does not \
know, and a client ignores frames whose `type` it does not know. The promises, the limits and the cases in between are \
in docs/protocol.md.";

/// The answers to a frame of a client, besides `error`.
const ANSWERS: [(&str, &[&str]); 13] = [
    ("message", &["ack", "message"]),
    ("edit", &["ack", "edited"]),
    ("delete", &["ack", "deleted"]),
    ("react", &["ack", "reaction"]),
    ("hello", &["welcome"]),
    ("join", &["joined"]),
    ("leave", &["left"]),
    ("rooms", &["rooms"]),
    ("members", &["members"]),
    ("history", &["history"]),
    ("typing", &[]),
    ("read", &["read"]),
    ("ping", &["pong"]),
];

/// Events that no frame of the receiver has caused.
const UNASKED: [&str; 12] = [
    "welcome", "message", "edited", "deleted", "reaction", "joined", "left", "presence", "typing", "read", "settings",
    "closing",
];

const CHANNELS: [(&str, &str, &str); 2] = [
    ("lobby", "/ws", "A connection whose first room is the lobby."),
    ("room", "/ws/{room}", "One with another first room."),
];

/// The document as YAML.
pub(super) fn text() -> String {
    let head =
        "# Made from the types of protocol/. Renew it: RENEW_CONTRACTS=1 cargo test -p starling-protocol contracts\n";
    format!("{head}{}", serde_saphyr::to_string(&document()).unwrap())
}

fn document() -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.meta_schema = None;
    settings.definitions_path = "/components/schemas".into();
    let FrameSchemas { commands, events, definitions } = frames(settings);
    let mut messages = Map::new();
    messages.extend(described("command", "commands", &commands));
    messages.extend(described("event", "events", &events));
    let channels = CHANNELS.map(|(name, address, about)| (name.to_owned(), channel(address, about, &messages)));
    json!({
        "asyncapi": "3.1.0",
        "info": {
            "title": "Starling",
            "version": PROTOCOL_VERSION.to_string(),
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0" },
            "x-close-codes": CloseCode::ALL.iter().map(|code| code.as_u16()).collect::<Vec<_>>(),
        },
        "defaultContentType": "application/json",
        "servers": {
            "open": {
                "host": "localhost:8080",
                "protocol": "ws",
                "description": "A server without authentication. Behind TLS the protocol is wss.",
            },
            "authenticated": {
                "host": "localhost:8080",
                "protocol": "ws",
                "description": "A server that authenticates names: the token is shown in the handshake, or in `hello`.",
                "security": [
                    { "$ref": "#/components/securitySchemes/bearer" },
                    { "$ref": "#/components/securitySchemes/query" },
                ],
            },
        },
        "channels": Map::from_iter(channels),
        "operations": operations(&commands),
        "components": {
            "messages": messages,
            "schemas": definitions,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "query": { "type": "httpApiKey", "in": "query", "name": "token" },
            },
        },
    })
}

/// The frames of one side, as messages with their examples.
fn described(group: &str, folder: &str, schemas: &BTreeMap<String, Value>) -> Vec<(String, Value)> {
    let golden: Vec<(String, Value)> =
        golden::frames(folder).into_iter().map(|(name, frame)| (name, serde_json::from_str(&frame).unwrap())).collect();
    let message = |(kind, schema): (&String, &Value)| {
        let is_example = |frame: &Value| frame.get("type").map_or("message", |kind| kind.as_str().unwrap()) == *kind;
        let examples: Vec<Value> = golden
            .iter()
            .filter(|(_, frame)| is_example(frame))
            .map(|(name, frame)| json!({ "name": name, "payload": frame }))
            .collect();
        let mut payload = schema.clone();
        let summary = payload.as_object_mut().unwrap().remove("description");
        let message = json!({ "name": kind, "summary": summary, "payload": payload, "examples": examples });
        (format!("{group}.{kind}"), message)
    };
    schemas.iter().map(message).collect()
}

fn channel(address: &str, about: &str, messages: &Map<String, Value>) -> Value {
    let references: Map<String, Value> = messages
        .keys()
        .map(|name| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") })))
        .collect();
    let mut channel = json!({
        "address": address,
        "description": format!("{about} The subprotocol `{SUBPROTOCOL}` is accepted, and not needed."),
        "messages": references,
        "bindings": { "ws": {
            "method": "GET",
            "query": { "type": "object", "properties": {
                "clientId": { "type": "string", "description": "The name to take; without it a guest name." },
                "key": { "type": "string", "description": "With `clientId`: the key that takes the name back." },
                "format": { "type": "string", "enum": ["json", "text"], "description": "`text` answers in lines for a person." },
                "token": { "type": "string", "description": "A token; the header keeps it out of logs." },
            } },
        } },
    });
    if address.contains("{room}") {
        channel["parameters"] =
            json!({ "room": { "description": "The name of the first room.", "examples": ["dev"] } });
    }
    channel
}

/// One operation for each frame of a client, with its answers, and one for the frames that the server sends without a
/// request.
fn operations(commands: &BTreeMap<String, Value>) -> Map<String, Value> {
    assert!(
        commands.keys().all(|kind| ANSWERS.iter().any(|(known, _)| known == kind)),
        "every command has its answers"
    );
    let mut operations = Map::new();
    for (channel, ..) in CHANNELS {
        let at_channel = json!({ "$ref": format!("#/channels/{channel}") });
        let reference = |name: &str| json!({ "$ref": format!("#/channels/{channel}/messages/{name}") });
        for (kind, answers) in ANSWERS {
            let answers = answers.iter().copied().chain(["error"]).map(|answer| reference(&format!("event.{answer}")));
            let operation = json!({
                "action": "receive",
                "channel": at_channel,
                "messages": [reference(&format!("command.{kind}"))],
                "reply": { "channel": at_channel, "messages": answers.collect::<Vec<_>>() },
            });
            operations.insert(format!("{channel}.{kind}"), operation);
        }
        let unasked: Vec<Value> = UNASKED.iter().map(|event| reference(&format!("event.{event}"))).collect();
        let operation = json!({ "action": "send", "channel": at_channel, "messages": unasked });
        operations.insert(format!("{channel}.events"), operation);
    }
    operations
}
