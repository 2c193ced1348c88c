//! The HTTP routes, on one page; `/ws` itself is in `upgrade`.

use std::sync::Arc;

use actix_service::{Service, ServiceFactory};
use actix_web::body::{self, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{self, Bytes, Data, Path, PayloadConfig, Query, ServiceConfig};
use actix_web::{App, FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, ResponseError};
use actix_web_prom::PrometheusMetrics;
use serde::{Deserialize, Serialize};
use starling_actors::chat_server::command::{DropError, Posted};
use starling_actors::chat_server::{AskError, HistoryQuery, OperatorPost};
use starling_actors::history::{RoomKey, SearchText};
use starling_protocol::{
    ClientId, ErrorCode, HistoryEvent, HistoryPage, MessageId, RoomName, Seq, ServerEvent, codec, limits,
};

use crate::callers::{self, Operator, Reader};
use crate::refusal::{HttpCode, HttpRefusal};
use crate::state::ServerState;
use crate::{headers, page};

type Answer = Result<HttpResponse, HttpRefusal>;

/// The actix-web application of one worker thread, with the middleware that counts requests and serves `/metrics`.
pub(crate) fn app(
    state: Arc<ServerState>,
    metrics: PrometheusMetrics,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    // A body may be as large as a frame; a larger one cannot be a message.
    let payload = PayloadConfig::new(state.chat_config().frame_bytes as usize);
    let bare_prefix = state.path_prefix().bare().map(str::to_owned);
    App::new()
        .app_data(payload)
        .app_data(Data::from(state))
        .wrap(metrics)
        // Before the metrics, which use the method as a label.
        .wrap_fn(|mut request, next| {
            request.head_mut().method = of_closed_set(&request.head().method);
            next.call(request)
        })
        // The outermost, because `/metrics` needs these headers too.
        .wrap(headers::defaults())
        .configure(|config| routes(config, bare_prefix.as_deref()))
        .default_service(web::to(no_such_path))
}

/// The methods of a resource that is only read.
pub(crate) const READS: &str = "GET, HEAD, OPTIONS";

/// A resource that can only be read.
fn reads<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    resource(path, READS).route(web::get().to(handler.clone())).route(web::head().to(handler))
}

/// A resource with these methods. Other methods are refused; `OPTIONS` lists them.
fn resource(path: &str, methods: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move |request: HttpRequest| async move {
        if request.method() == Method::OPTIONS {
            return Ok(told(methods));
        }
        let text = format!("the method {} is not one of {methods}", request.method());
        Err(HttpRefusal::new(HttpCode::MethodNotAllowed, text).allow(methods))
    }))
}

/// The answer to `OPTIONS`.
fn told(methods: &'static str) -> HttpResponse {
    HttpResponse::NoContent().insert_header((header::ALLOW, methods)).finish()
}

/// The response of `/metrics` without its body, which the middleware adds for `GET`. A `HEAD` response has no
/// `Content-Length`, because the length is not known.
async fn metrics() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(body::None::new())
}

/// The method if HTTP defines it, otherwise `other`. The method is a label, and clients can invent methods. No route
/// has an undefined method, so the response is the same.
fn of_closed_set(method: &Method) -> Method {
    const DEFINED: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    if DEFINED.contains(method) {
        return method.clone();
    }
    Method::from_bytes(b"other").unwrap_or_default()
}

fn routes(config: &mut ServiceConfig, bare_prefix: Option<&str>) {
    if let Some(path) = bare_prefix {
        config.service(reads(path, to_page));
    }
    config
        .service(reads("/", index))
        // Separate patterns instead of one tail match, because the request metrics are labelled by pattern.
        .service(reads("/web/{version}/{file}", file))
        .service(reads("/web/{version}/{folder}/{file}", file))
        .service(reads("/web/{version}/{folder}/{inner}/{file}", file))
        .service(reads("/healthz", healthz))
        .service(reads("/readyz", readyz))
        .service(reads("/metrics", metrics))
        .service(reads("/ws", upgrade_required))
        .service(reads("/ws/{room}", upgrade_required))
        .service(reads("/api/stats", stats))
        .service(reads("/api/rooms", rooms))
        .service(
            resource("/api/rooms/{room}/messages", "GET, HEAD, POST, OPTIONS")
                .route(web::get().to(messages))
                .route(web::head().to(messages))
                .route(web::post().to(post_message)),
        )
        .service(resource("/api/rooms/{room}", "DELETE, OPTIONS").route(web::delete().to(drop_room)))
        .service(resource("/api/inboxes/{clientId}", "DELETE, OPTIONS").route(web::delete().to(drop_inbox)))
        .service(resource("/api/clients/{clientId}", "DELETE, OPTIONS").route(web::delete().to(remove_client)));
}

/// Redirects a request for the prefix without its final slash to the page.
async fn to_page(request: HttpRequest, state: Data<ServerState>) -> HttpResponse {
    let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
    let location = format!("{}{query}", state.path_prefix().page_from_bare());
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, location)).finish()
}

async fn no_such_path(request: HttpRequest) -> Answer {
    if request.method() == Method::OPTIONS && request.path() == "*" {
        return Ok(told("GET, HEAD, POST, DELETE, OPTIONS"));
    }
    Err(HttpRefusal::new(HttpCode::NoSuchPath, format!("there is nothing at {}", request.path())))
}

async fn upgrade_required(request: HttpRequest) -> Answer {
    let room = request.match_info().get("room").unwrap_or(limits::LOBBY);
    if let Ok(room) = RoomName::parse(room) {
        callers::check_handshake(&request, &room)?;
    }
    Err(HttpRefusal::new(HttpCode::UpgradeRequired, "connect here with a WebSocket"))
}

/// The process is alive.
async fn healthz() -> &'static str {
    "alive\n"
}

/// Whether the server can serve.
async fn readyz(state: Data<ServerState>) -> Answer {
    match state.not_ready() {
        None => Ok(HttpResponse::Ok().body("ready\n")),
        Some(reason) => Err(HttpRefusal::new(HttpCode::Unavailable, reason)),
    }
}

/// The body of `/api/stats`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    server: String,
    uptime_seconds: u64,
    connections: i64,
    rooms: i64,
    /// Since the start, like those below.
    messages: u64,
    deliveries: u64,
    /// Messages that wait in all mailboxes and outboxes.
    backlog: u64,
}

async fn stats(state: Data<ServerState>, _: Reader) -> HttpResponse {
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

async fn rooms(state: Data<ServerState>, reader: Reader) -> Answer {
    let (rooms, truncated) = state.chat().rooms(reader.rooms).await.map_err(unanswered)?;
    Ok(event(&ServerEvent::Rooms { id: None, rooms, truncated }))
}

/// The query of `/api/rooms/{room}/messages`.
#[derive(Debug, Deserialize)]
struct PageQuery {
    before: Option<u64>,
    after: Option<u64>,
    limit: Option<u16>,
    /// Search words; the matching messages are returned newest first.
    q: Option<String>,
}

async fn messages(
    state: Data<ServerState>,
    reader: Reader,
    room: Path<String>,
    query: Result<Query<PageQuery>, actix_web::Error>,
) -> Answer {
    let room = RoomName::parse(&room).map_err(|error| HttpRefusal::new(HttpCode::BadRoom, error.to_string()))?;
    reader.check(&room)?;
    let query = query.map_err(|error| HttpRefusal::new(HttpCode::BadRequest, error.to_string()))?;
    let page = match (query.before, query.after) {
        (None, None) => HistoryPage::Newest,
        (Some(before), None) => HistoryPage::Before(Seq(before)),
        (None, Some(after)) => HistoryPage::After(Seq(after)),
        (Some(_), Some(_)) => {
            return Err(HttpRefusal::new(HttpCode::BadRequest, "a page has either `before` or `after`, not both"));
        }
    };
    let search = match query.q.as_deref().map(SearchText::parse) {
        None => None,
        Some(Some(text)) if query.after.is_none() => Some(text),
        Some(Some(_)) => {
            return Err(HttpRefusal::new(HttpCode::BadRequest, "a search takes `before`, not `after`"));
        }
        Some(None) => {
            let text = format!("`q` must have a word, and at most {} bytes", SearchText::BYTES_MAX);
            return Err(HttpRefusal::new(HttpCode::BadRequest, text));
        }
    };
    if search.is_some() && state.is_short_of_memory() {
        return Err(HttpRefusal::new(HttpCode::Unavailable, "the server is short of memory"));
    }
    let limit = query.limit.unwrap_or(limits::HISTORY_LIMIT_DEFAULT);
    if !(1..=limits::HISTORY_LIMIT_MAX).contains(&limit) {
        let text = format!("`limit` must be 1 to {}", limits::HISTORY_LIMIT_MAX);
        return Err(HttpRefusal::new(HttpCode::BadRequest, text));
    }
    let bytes = state.chat_config().page_bytes();
    let page = state.chat().history(HistoryQuery { room: room.clone(), page, search, limit, bytes }).await;
    let page = page.map_err(unanswered)?;
    let messages = page.messages.iter().map(|message| message.to_wire()).collect();
    let (room, has_more) = (Some(room), page.has_more);
    Ok(event(&ServerEvent::History(HistoryEvent { id: None, room, inbox: false, to: None, messages, has_more })))
}

/// The body of an operator's message; its fields are those of `message`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OperatorMessage {
    client_id: Option<ClientId>,
    #[serde(rename = "Message")]
    text: String,
    id: Option<MessageId>,
}

/// The position of a stored message.
#[derive(Debug, Serialize)]
struct PostedMessage {
    room: RoomName,
    seq: Seq,
    at: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// The sender's name if neither the message nor the token has one.
const OPERATOR: &str = "operator";

async fn post_message(
    state: Data<ServerState>,
    operator: Operator,
    room: Path<String>,
    body: Result<Bytes, actix_web::Error>,
) -> Answer {
    let room = RoomName::parse(&room).map_err(|error| HttpRefusal::new(HttpCode::BadRoom, error.to_string()))?;
    let bad = |error: &dyn std::fmt::Display| HttpRefusal::new(HttpCode::BadRequest, error.to_string());
    let body = body.map_err(|error| bad(&error))?;
    // Serde would also accept an array for this struct, but the protocol allows only an object.
    let fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&body).map_err(|error| bad(&error))?;
    let message: OperatorMessage =
        serde_json::from_value(serde_json::Value::Object(fields)).map_err(|error| bad(&error))?;
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
        None => ClientId::parse(OPERATOR).map_err(|error| bad(&error))?,
    };
    let (text, id) = (message.text.into_boxed_str(), message.id);
    let posted =
        state.chat().post(OperatorPost { room: room.clone(), client_id, text, id }).await.map_err(unanswered)?;
    let Posted { seq, at, duplicate } = posted.map_err(|refusal| {
        let code = if refusal.code == ErrorCode::NoSuchRoom { HttpCode::NoSuchRoom } else { HttpCode::Unavailable };
        HttpRefusal::new(code, refusal.message)
    })?;
    Ok(HttpResponse::Ok().json(PostedMessage { room, seq, at, duplicate }))
}

async fn remove_client(state: Data<ServerState>, _: Operator, name: Path<String>) -> Answer {
    let name = ClientId::parse(&name).map_err(|error| HttpRefusal::new(HttpCode::BadName, error.to_string()))?;
    match state.chat().remove_client(name.clone()).await.map_err(unanswered)? {
        0 => Err(HttpRefusal::new(HttpCode::NoSuchClient, format!("nobody here is called {name}"))),
        _ => Ok(HttpResponse::NoContent().finish()),
    }
}

async fn drop_room(state: Data<ServerState>, _: Operator, room: Path<String>) -> Answer {
    let room = RoomName::parse(&room).map_err(|error| HttpRefusal::new(HttpCode::BadRoom, error.to_string()))?;
    let none = HttpRefusal::new(HttpCode::NoSuchRoom, format!("there is no room {room}"));
    dropped(&state, RoomKey::Room(room), none).await
}

async fn drop_inbox(state: Data<ServerState>, _: Operator, owner: Path<String>) -> Answer {
    let owner = ClientId::parse(&owner).map_err(|error| HttpRefusal::new(HttpCode::BadName, error.to_string()))?;
    let none = HttpRefusal::new(HttpCode::NoSuchClient, format!("there is no inbox of {owner}"));
    dropped(&state, RoomKey::Inbox(owner), none).await
}

async fn dropped(state: &ServerState, key: RoomKey, none: HttpRefusal) -> Answer {
    if let Some(reason) = state.not_ready() {
        return Err(HttpRefusal::new(HttpCode::Unavailable, reason));
    }
    match state.chat().drop_room(key).await.map_err(unanswered)? {
        Ok(()) => Ok(HttpResponse::NoContent().finish()),
        Err(DropError::NotThere) => Err(none),
        Err(error @ DropError::NotStored) => Err(HttpRefusal::new(HttpCode::Unavailable, error.to_string())),
    }
}

/// The same JSON as in a WebSocket frame.
fn event(event: &ServerEvent<'_>) -> HttpResponse {
    let mut body = Vec::new();
    codec::encode_event(event, &mut body);
    HttpResponse::Ok().content_type("application/json").body(body)
}

fn unanswered(error: AskError) -> HttpRefusal {
    let code = match error {
        AskError::NotThere => HttpCode::NoSuchRoom,
        AskError::Unavailable(_) | AskError::TimedOut => HttpCode::Unavailable,
    };
    HttpRefusal::new(code, error.to_string())
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
async fn index(request: HttpRequest, state: Data<ServerState>) -> Answer {
    state.pages().index(&request)
}

/// A file that the page loads.
async fn file(request: HttpRequest, state: Data<ServerState>) -> Answer {
    let asked = request.path().strip_prefix("/web/").and_then(|rest| rest.split_once('/'));
    let (version, path) = asked.ok_or_else(|| page::nothing_at(&request))?;
    state.pages().file(&request, version, path)
}
