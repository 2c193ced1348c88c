//! The OpenAPI document, made from the table of routes and from the types of the bodies.

#![expect(clippy::indexing_slicing, reason = "the index of a JSON object by a name adds the field")]

use std::collections::BTreeMap;

use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use starling_actors::history::SearchText;
use starling_protocol::{limits, schema};

use super::endpoints::{ANY_REQUEST, Access, Answer, ENDPOINTS, Endpoint, Kind, Operation, Parameter};
use super::fields::BYTES_MAX;
use super::handlers::{NodesOfChat, OperatorMessage, PostedMessage, Stats};
use super::moderation::wire::{AuditLog, GivenSettings, Invitations, NewInvitation, NewSanction, Sanctions, SetRooms};
use crate::diagnosis::Diagnosed;
use crate::lab::LabFigures;
use crate::refusal::HttpCode;
use crate::request_head::{FIELDS_MAX, HEAD_BYTES_MAX, TARGET_BYTES_MAX};
use crate::state::ServerState;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The settings of a server that appear in its document.
#[derive(Debug, Clone)]
struct Described {
    /// The path below which it is served, or nothing.
    prefix: String,
    message_bytes: u32,
    frame_bytes: u32,
    /// Whether reading needs a token.
    is_authenticated: bool,
}

/// The document of this server as it is served.
pub(super) fn of_server(state: &ServerState) -> Bytes {
    let config = state.chat_config();
    let document = document(&Described {
        prefix: state.path_prefix().bare().unwrap_or_default().to_owned(),
        message_bytes: config.message_bytes,
        frame_bytes: config.frame_bytes,
        is_authenticated: config.tokens.is_some(),
    });
    format!("{document}\n").into()
}

/// The document as JSON.
fn document(server: &Described) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let frames = schema::frames(settings.clone());
    let mut schemas: Map<String, Value> = frames.definitions;
    schemas.extend(frames.events.into_iter().map(|(kind, schema)| (format!("event.{kind}"), schema)));
    let mut written = settings.clone().for_serialize().into_generator();
    let mut read = settings.for_deserialize().into_generator();
    written.subschema_for::<Stats>();
    written.subschema_for::<Diagnosed>();
    written.subschema_for::<LabFigures>();
    written.subschema_for::<NodesOfChat>();
    written.subschema_for::<PostedMessage>();
    written.subschema_for::<Sanctions>();
    written.subschema_for::<GivenSettings>();
    written.subschema_for::<SetRooms>();
    written.subschema_for::<Invitations>();
    written.subschema_for::<AuditLog>();
    read.subschema_for::<OperatorMessage>();
    read.subschema_for::<NewSanction>();
    read.subschema_for::<NewInvitation>();
    schemas.extend(written.take_definitions(true));
    schemas.extend(read.take_definitions(true));
    if let Some(text) = schemas.get_mut("OperatorMessage").and_then(|schema| schema.pointer_mut("/properties/Message"))
    {
        // Not in the type, because these refusals have codes of their own.
        text["minLength"] = 1.into();
        // The limit is in bytes, so a text with non-ASCII characters may have fewer characters than this.
        text["maxLength"] = server.message_bytes.into();
        text[BYTES_MAX] = server.message_bytes.into();
    }

    let paths = ENDPOINTS.iter().map(|endpoint| (endpoint.path.to_owned(), path(endpoint, server)));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Starling",
            "version": VERSION,
            "description": about(server),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": if server.prefix.is_empty() { "/" } else { &server.prefix } }],
        "paths": paths.collect::<Map<_, _>>(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "query": {
                    "type": "apiKey", "in": "query", "name": "token",
                    "description": "The token is in a header, because logs contain URLs.",
                },
            },
        },
    })
}

fn about(server: &Described) -> String {
    format!(
        "The HTTP interface of a Starling chat server; /api/asyncapi.yaml describes the WebSocket. Any other method of \
         a path is refused with 405 `method_not_allowed`, any other path with 404 `no_such_path`. A request has at most \
         {HEAD_BYTES_MAX} bytes and {FIELDS_MAX} fields in its head, {TARGET_BYTES_MAX} bytes in its target and {} bytes \
         in its body.",
        server.frame_bytes
    )
}

fn path(endpoint: &Endpoint, server: &Described) -> Value {
    let mut path = Map::new();
    for operation in endpoint.operations {
        let method = operation.method.as_str().to_ascii_lowercase();
        let mut described = self::operation(operation, server);
        let in_path = endpoint.parameters.iter().map(|parameter| self::described(parameter, true));
        let in_query = operation.query.iter().map(|parameter| self::described(parameter, false));
        described["parameters"] = in_path.chain(in_query).collect();
        if operation.method == Method::GET {
            path.insert("head".into(), head(described.clone()));
        }
        path.insert(method, described);
    }
    path.insert("options".into(), options(endpoint));
    Value::Object(path)
}

/// `OPTIONS`: answered for any parameters.
fn options(endpoint: &Endpoint) -> Value {
    let parameters = endpoint.parameters.iter();
    let parameters = parameters.map(|parameter| described(&Parameter { kind: Kind::Text, ..*parameter }, true));
    let answer = json!({ "description": "The methods.", "headers": { "Allow": { "schema": { "type": "string" } } } });
    json!({
        "summary": "The methods of this path, in `Allow`.",
        "parameters": parameters.collect::<Vec<_>>(),
        "responses": answers(&[HttpCode::NoSuchPath], (StatusCode::NO_CONTENT, answer)),
    })
}

fn operation(operation: &Operation, server: &Described) -> Value {
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.about,
        "responses": answers(operation.refusals, (operation.status, answer(operation.answer))),
        "security": security(operation.access, server),
    });
    if let Some(read) = operation.reads {
        let schema = json!({ "$ref": format!("#/components/schemas/{read}") });
        described["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": schema } },
        });
    }
    described
}

/// `HEAD`: like `GET`, but no answer has a body.
fn head(mut operation: Value) -> Value {
    operation["operationId"] = format!("{}Head", operation["operationId"].as_str().unwrap_or_default()).into();
    for response in operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(response) = response.as_object_mut() {
            response.remove("content");
        }
    }
    operation
}

/// Any one of these is enough. An empty list: no token is needed.
fn security(access: Access, server: &Described) -> Value {
    let needs_token = match access {
        Access::Anyone => false,
        Access::Reader => server.is_authenticated,
        Access::Operator => true,
    };
    if needs_token { json!([{ "bearer": [] }, { "query": [] }]) } else { json!([]) }
}

fn described(parameter: &Parameter, is_in_path: bool) -> Value {
    let mut schema = match parameter.kind {
        Kind::Name => name(""),
        Kind::OwnName => name(&format!("(?!{})", limits::GUEST_PREFIX)),
        Kind::Seq => json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX }),
        Kind::Limit => json!({
            "type": "integer", "minimum": 1, "maximum": limits::HISTORY_LIMIT_MAX,
            "default": limits::HISTORY_LIMIT_DEFAULT,
        }),
        Kind::Search => json!({ "type": "string", "minLength": 1, "maxLength": SearchText::BYTES_MAX }),
        Kind::Word(words) => json!({ "type": "string", "enum": words }),
        Kind::Text => json!({ "type": "string" }),
    };
    if let Some(example) = parameter.example {
        schema["examples"] = json!([example]);
    }
    json!({
        "name": parameter.name,
        "in": if is_in_path { "path" } else { "query" },
        "required": is_in_path || parameter.is_required,
        "description": parameter.about,
        "schema": schema,
    })
}

fn name(ahead: &str) -> Value {
    let rest = limits::NAME_BYTES_MAX - 1;
    json!({ "type": "string", "pattern": format!("^{ahead}[A-Za-z0-9][A-Za-z0-9._-]{{0,{rest}}}$") })
}

fn answer(answer: Answer) -> Value {
    let json = |schema: Value| json!({ "application/json": { "schema": schema } });
    let named = |name: &str| json(json!({ "$ref": format!("#/components/schemas/{name}") }));
    let content = match answer {
        Answer::Nothing => return json!({ "description": "Done." }),
        Answer::Text(media) => json!({ media: { "schema": { "type": "string" } } }),
        Answer::Yaml => json!({ "application/yaml": { "schema": { "type": "object" } } }),
        Answer::Event(kind) => named(&format!("event.{kind}")),
        Answer::Stats => named("Stats"),
        Answer::Diagnosed => named("Diagnosed"),
        Answer::Lab => {
            let mut content = named("Lab");
            content["text/event-stream"] = json!({ "schema": { "type": "string" } });
            content
        }
        Answer::Posted => named("PostedMessage"),
        Answer::Nodes => named("Nodes"),
        Answer::Named(name) => named(name),
        Answer::Document => json(json!({ "type": "object" })),
    };
    json!({ "description": "The answer.", "content": content })
}

/// The responses of an operation: the successful one, and the refusals by status.
fn answers(refusals: &[HttpCode], success: (StatusCode, Value)) -> Value {
    let mut by_status: BTreeMap<u16, Vec<HttpCode>> = BTreeMap::new();
    for code in refusals.iter().chain(&ANY_REQUEST) {
        by_status.entry(code.status().as_u16()).or_default().push(*code);
    }
    let refused = by_status.into_iter().map(|(status, codes)| (status.to_string(), refusal(&codes)));
    let success = (success.0.as_u16().to_string(), success.1);
    Value::Object(refused.chain([success]).collect())
}

/// A refusal with one of these codes, which have the same status.
fn refusal(codes: &[HttpCode]) -> Value {
    let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let about = codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.about())).collect::<Vec<_>>();
    let mut response = json!({
        "description": about.join(" "),
        "content": { "application/json": { "schema": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": { "type": "string", "enum": names, "description": "The reason, for a program." },
                "message": { "type": "string", "description": "The reason, for a person." },
            },
        } } },
    });
    if codes.contains(&HttpCode::Banned) {
        let about = "The end of a ban, in milliseconds since the Unix epoch; absent if it has none.";
        let schema = &mut response["content"]["application/json"]["schema"];
        schema["properties"]["until"] = json!({ "type": "integer", "minimum": 0, "description": about });
    }
    let header = match codes.first().map(|code| code.status()) {
        Some(StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) => {
            Some(("Retry-After", json!({ "type": "integer", "description": "Seconds to wait; absent if unknown." })))
        }
        Some(StatusCode::UNAUTHORIZED) => Some(("WWW-Authenticate", json!({ "type": "string", "const": "Bearer" }))),
        _ => None,
    };
    if let Some((name, schema)) = header {
        response["headers"] = json!({ name: { "schema": schema } });
    }
    response
}
