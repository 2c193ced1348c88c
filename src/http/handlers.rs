//! The handler of each HTTP route. The table of the routes is `endpoints`.

use actix_web::body;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_actors::chat_server::command::{DropError, Posted};
use starling_actors::chat_server::{AskError, HistoryQuery, OperatorPost};
use starling_actors::history::{RoomKey, SearchText};
use starling_actors::identity::RoomGlobs;
use starling_actors::nodes::known::KnownNode;
use starling_protocol::{
    ClientId, ErrorCode, HistoryEvent, HistoryPage, MessageId, RoomName, Seq, ServerEvent, codec, limits,
};

use super::fields::{Fields, bad};
use super::names_in_path::{ClientInPath, RoomInPath, wanted_room};
use crate::callers::{self, Operator, Reader};
use crate::lab::Watcher;
use crate::refusal::{HttpCode, HttpRefusal};
use crate::state::ServerState;
use crate::{query, request_head, upgrade};

type Answer = Result<HttpResponse, HttpRefusal>;

/// The response of `/metrics` without its body, which the middleware adds for `GET`. A `HEAD` response has no
/// `Content-Length`, because the length is not known.
pub(super) async fn metrics() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(body::None::new())
}

pub(super) async fn upgrade_required(state: Data<ServerState>, request: HttpRequest) -> Answer {
    let room = wanted_room(request.match_info())?;
    let wanted = upgrade::wanted_name(request.query_string())?;
    let claims = callers::check_handshake(&request, &room)?;
    if !claims.as_ref().is_some_and(|claims| claims.is_admin) {
        let (name, rooms) = match claims {
            Some(claims) => (Some(claims.client_id), claims.rooms),
            // The token that follows in `hello` may invite the client.
            None if state.chat_config().tokens.is_some() => (wanted, RoomGlobs::new([room.as_str()])),
            None => (wanted, RoomGlobs::ALL),
        };
        let address = state.admission().address_of(request.peer_addr(), request.headers());
        state.chat().judge_opening(name, address, room, rooms).await.map_err(unanswered)??;
    }
    Err(HttpRefusal::new(HttpCode::UpgradeRequired, "connect here with a WebSocket"))
}

/// The process is alive.
pub(super) async fn healthz() -> &'static str {
    "alive\n"
}

/// Whether the server can serve.
pub(super) async fn readyz(state: Data<ServerState>) -> Answer {
    match state.not_ready() {
        None => Ok(HttpResponse::Ok().content_type(ContentType::plaintext()).body("ready\n")),
        Some(it) => Err(it.into()),
    }
}

/// The AsyncAPI document of the WebSocket; a test compares it with the types.
const ASYNCAPI: &str = include_str!("../../docs/asyncapi.yaml");

/// Makes the OpenAPI document of a server. The document describes these handlers, so they get it as a function.
pub(super) struct MakeOpenApi(pub(super) fn(&ServerState) -> Bytes);

/// The OpenAPI document of this server.
pub(super) async fn openapi(state: Data<ServerState>, make: Data<MakeOpenApi>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(state.openapi(make.0))
}

pub(super) async fn asyncapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/yaml").body(ASYNCAPI)
}

/// A summary of the chat's figures.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stats {
    server: String,
    uptime_seconds: u64,
    connections: i64,
    rooms: i64,
    /// Since the start, like the following fields.
    messages: u64,
    deliveries: u64,
    /// Messages that wait in all mailboxes and outboxes.
    backlog: u64,
}

/// What limits the server now.
pub(super) async fn diagnosis(state: Data<ServerState>, _: Reader) -> HttpResponse {
    HttpResponse::Ok().json(state.diagnosis().told())
}

/// The figures of the lab: as JSON, or as events if the caller accepts them.
pub(super) async fn lab(request: HttpRequest, state: Data<ServerState>, watcher: Watcher) -> Answer {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::VARY, "accept"));
    let accepted = request.headers().get_all(header::ACCEPT).filter_map(|line| line.to_str().ok());
    let members = accepted.flat_map(|line| line.split(','));
    // The stream under the framework has decided by the same rule how the connection goes on.
    let target = request.uri().path();
    if !request_head::wants_stream(request.method().as_str(), target, members) {
        return Ok(response.content_type("application/json").body(state.lab().whole(watcher).await));
    }
    let events = state.lab().watch(watcher)?;
    // Prevents nginx from buffering the events.
    response.insert_header((header::HeaderName::from_static("x-accel-buffering"), "no"));
    Ok(response.content_type("text/event-stream").force_close().streaming(events))
}

pub(super) async fn stats(state: Data<ServerState>, _: Reader) -> HttpResponse {
    let metrics = state.metrics();
    HttpResponse::Ok().json(Stats {
        server: state.chat_config().server.clone(),
        uptime_seconds: state.uptime_seconds(),
        connections: metrics.connections(),
        rooms: metrics.rooms(),
        messages: metrics.messages(),
        deliveries: metrics.deliveries(),
        backlog: metrics.backlog(),
    })
}

/// The nodes of the chat, as one of them knows them.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Nodes")]
pub(super) struct NodesOfChat {
    /// Those that have begun and were not declared dead, in the order of their names.
    nodes: Vec<NodeOfChat>,
}

/// A node of the chat. The fields from `version` on are those of its last sign of life; they are `null` until there is
/// one.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Node")]
pub(super) struct NodeOfChat {
    /// Its `CHAT_NODE_NAME`.
    name: String,
    /// Its life: a node that was declared dead, or starts again, has another one.
    life: String,
    /// Whether it is the node that answers.
    is_this: bool,
    /// Seconds since its last sign of life; after `CHAT_NODE_TIMEOUT_SECONDS` it is declared dead.
    silent_seconds: Option<f64>,
    version: Option<String>,
    /// Since the beginning of its life.
    uptime_seconds: Option<u64>,
    connections: Option<u64>,
    /// The newest record of the log that it has applied.
    applied: Option<u64>,
    /// The records that the answering node has applied, and it had not.
    lag: Option<u64>,
}

impl From<KnownNode> for NodeOfChat {
    fn from(known: KnownNode) -> Self {
        let KnownNode { name, life, is_this, silent_for, report, lag } = known;
        let of_report = report.as_ref();
        Self {
            name: name.into(),
            life: format!("{:016x}", life.0),
            is_this,
            silent_seconds: silent_for.map(|silence| silence.as_secs_f64()),
            uptime_seconds: of_report.map(|report| report.uptime_seconds),
            connections: of_report.map(|report| report.connections),
            applied: of_report.map(|report| report.applied),
            version: report.map(|report| report.version),
            lag,
        }
    }
}

pub(super) async fn nodes(state: Data<ServerState>, _: Operator) -> Answer {
    let nodes = state.chat().nodes().await.map_err(unanswered)?;
    Ok(HttpResponse::Ok().json(NodesOfChat { nodes: nodes.into_iter().map(NodeOfChat::from).collect() }))
}

pub(super) async fn rooms(state: Data<ServerState>, reader: Reader) -> Answer {
    let (rooms, truncated) = state.chat().rooms(reader.0).await.map_err(unanswered)?;
    Ok(event(&ServerEvent::Rooms { id: None, rooms, truncated }))
}

/// The query of `/api/rooms/{room}/messages`, as text.
#[derive(Debug, Deserialize)]
pub(super) struct PageQuery {
    before: Option<String>,
    after: Option<String>,
    limit: Option<String>,
    /// Search words; the matching messages are returned newest first.
    q: Option<String>,
}

pub(super) async fn messages(
    state: Data<ServerState>,
    reader: Reader,
    RoomInPath(room): RoomInPath,
    request: HttpRequest,
) -> Answer {
    reader.check(&room)?;
    let query: PageQuery = query::read(request.query_string())?;
    let seq = |name: &str, text: &str| {
        let seq = text.parse().map(Seq);
        seq.map_err(|_| bad(format!("`{name}` must be a whole number, 0 or more, not {text:?}")))
    };
    let page = match (&query.before, &query.after) {
        (None, None) => HistoryPage::Newest,
        (Some(before), None) => HistoryPage::Before(seq("before", before)?),
        (None, Some(after)) => HistoryPage::After(seq("after", after)?),
        (Some(_), Some(_)) => {
            return Err(bad("a page must not have both `before` and `after`"));
        }
    };
    let search = match query.q.as_deref().map(SearchText::parse) {
        None => None,
        Some(Some(text)) if query.after.is_none() => Some(text),
        Some(Some(_)) => {
            return Err(bad("a search takes `before`, not `after`"));
        }
        Some(None) => {
            return Err(bad(format!("`q` must have a word, and at most {} bytes", SearchText::BYTES_MAX)));
        }
    };
    if search.is_some() && state.is_short_of_memory() {
        return Err(HttpRefusal::new(HttpCode::Unavailable, "the server is short of memory"));
    }
    let limit = query.limit.map_or(Ok(limits::HISTORY_LIMIT_DEFAULT), |limit| limit.parse());
    let limit = limit.ok().filter(|limit| (1..=limits::HISTORY_LIMIT_MAX).contains(limit));
    let limit = limit.ok_or_else(|| bad(format!("`limit` must be 1 to {}", limits::HISTORY_LIMIT_MAX)))?;
    let bytes = state.chat_config().page_bytes();
    let page = state
        .chat()
        .history(HistoryQuery { caller: reader.0, room: room.clone(), page, search, with_changes: false, limit, bytes })
        .await;
    let page = page.map_err(unanswered)?;
    let messages = page.messages.iter().map(|message| message.to_wire()).collect();
    let (room, has_more) = (Some(room), page.has_more);
    Ok(event(&ServerEvent::History(HistoryEvent { id: None, room, inbox: false, to: None, messages, has_more })))
}

/// An operator's message; its fields are those of `message`. It is for the room of the path, so `to` and `replyTo` are
/// refused.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OperatorMessage {
    /// The sender's name. Without it, that of the token, or `operator`.
    #[schemars(extend("not" = { "type": "string", "pattern": format!("^{}", limits::GUEST_PREFIX) }))]
    client_id: Option<ClientId>,
    /// The text.
    #[serde(rename = "Message")]
    text: String,
    /// The sender's own name for the message. The same `id` again within five minutes is delivered once.
    id: Option<MessageId>,
    /// The room of the path.
    room: Option<RoomName>,
    /// That of a frame.
    #[serde(rename = "type")]
    #[expect(dead_code, reason = "it has only one value")]
    kind: Option<FrameOfMessage>,
}

/// The only `type` of a message.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FrameOfMessage {
    Message,
}

/// The position of a stored message.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PostedMessage {
    room: RoomName,
    seq: Seq,
    /// The time at which the server accepted it, in milliseconds since the Unix epoch.
    at: u64,
    /// Whether the message was stored before, with the same `id`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// The sender's name if neither the message nor the token has one.
pub(super) const OPERATOR: &str = "operator";

pub(super) async fn post_message(
    state: Data<ServerState>,
    operator: Operator,
    RoomInPath(room): RoomInPath,
    body: Result<Bytes, actix_web::Error>,
) -> Answer {
    let fields = Fields::of_body(body)?.without("to", "this sends no private message")?;
    let message: OperatorMessage = fields.without("replyTo", "this sends no reply")?.read()?;
    if message.room.is_some_and(|said| said != room) {
        return Err(bad(format!("field `room` must be the room of the path, {room}")));
    }
    if message.text.is_empty() {
        return Err(HttpRefusal::new(HttpCode::MessageEmpty, "field `Message` is empty"));
    }
    let (length, most) = (message.text.len(), state.chat_config().message_bytes as usize);
    if length > most {
        let text = format!("the message has {length} bytes, {most} are allowed");
        return Err(HttpRefusal::new(HttpCode::MessageTooLarge, text));
    }
    let client_id = match message.client_id.or(operator.name) {
        Some(name) if name.is_guest() => {
            return Err(HttpRefusal::new(HttpCode::BadName, "only the server assigns guest names"));
        }
        Some(name) => name,
        None => ClientId::parse(OPERATOR).map_err(bad)?,
    };
    let (text, id) = (message.text.into_boxed_str(), message.id);
    let posted =
        state.chat().post(OperatorPost { room: room.clone(), client_id, text, id }).await.map_err(not_known)?;
    let Posted { seq, at, duplicate } = posted.map_err(|refusal| {
        let code = if refusal.code == ErrorCode::NoSuchRoom { HttpCode::NoSuchRoom } else { HttpCode::Unavailable };
        HttpRefusal::new(code, refusal.message)
    })?;
    Ok(HttpResponse::Ok().json(PostedMessage { room, seq, at, duplicate }))
}

pub(super) async fn remove_client(state: Data<ServerState>, _: Operator, ClientInPath(name): ClientInPath) -> Answer {
    let removed = state.chat().remove_client(name.clone()).await.map_err(not_known)?;
    match removed.map_err(|error| HttpRefusal::new(HttpCode::Unavailable, error.to_string()))? {
        0 => Err(HttpRefusal::new(HttpCode::NoSuchClient, format!("no client is called {name}"))),
        _ => Ok(HttpResponse::NoContent().finish()),
    }
}

pub(super) async fn drop_room(state: Data<ServerState>, _: Operator, RoomInPath(room): RoomInPath) -> Answer {
    let none = HttpRefusal::new(HttpCode::NoSuchRoom, format!("there is no room {room}"));
    dropped(&state, RoomKey::Room(room), none).await
}

pub(super) async fn drop_inbox(state: Data<ServerState>, _: Operator, ClientInPath(owner): ClientInPath) -> Answer {
    let none = HttpRefusal::new(HttpCode::NoSuchClient, format!("there is no inbox of {owner}"));
    dropped(&state, RoomKey::Inbox(owner), none).await
}

async fn dropped(state: &ServerState, key: RoomKey, none: HttpRefusal) -> Answer {
    if let Some(it) = state.not_ready() {
        return Err(it.into());
    }
    match state.chat().drop_room(key).await.map_err(not_known)? {
        Ok(()) => Ok(HttpResponse::NoContent().finish()),
        Err(DropError::NotThere) => Err(none),
        Err(error @ (DropError::NotStored | DropError::NotDone(_))) => {
            Err(HttpRefusal::new(HttpCode::Unavailable, error.to_string()))
        }
    }
}

/// The same JSON as in a WebSocket frame.
fn event(event: &ServerEvent<'_>) -> HttpResponse {
    let mut body = Vec::new();
    codec::encode_event(event, &mut body);
    HttpResponse::Ok().content_type("application/json").body(body)
}

/// The refusal of a request that has read nothing.
pub(super) fn unanswered(error: AskError) -> HttpRefusal {
    let code = match error {
        AskError::NotThere => HttpCode::NoSuchRoom,
        AskError::NotInvited => HttpCode::NotInvited,
        AskError::Unavailable(_) | AskError::TimedOut | AskError::Ended => HttpCode::Unavailable,
    };
    HttpRefusal::new(code, error.to_string())
}

/// The refusal of a request for a change that may have happened.
pub(super) fn not_known(error: AskError) -> HttpRefusal {
    let text = format!(
        "{error}: the change may have happened, or may still happen; check, and repeat the request if it has not"
    );
    HttpRefusal::new(HttpCode::OutcomeUnknown, text)
}

impl std::fmt::Display for HttpRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for HttpRefusal {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.to_response().into()
    }
}

/// The chat page, with the path prefix of this server in it.
pub(super) async fn index(request: HttpRequest, state: Data<ServerState>) -> Answer {
    state.pages().index(&request)
}

/// The page that shows the figures of the lab.
pub(super) async fn lab_page(request: HttpRequest, state: Data<ServerState>) -> Answer {
    state.pages().lab(&request)
}

/// A file that the page loads.
pub(super) async fn file(request: HttpRequest, state: Data<ServerState>) -> Answer {
    let asked = request.path().strip_prefix("/web/").and_then(|rest| rest.split_once('/'));
    let (version, path) = asked.ok_or_else(|| HttpRefusal::nothing_at(request.path()))?;
    state.pages().file(&request, version, path)
}
