//! The HTTP routes, on one page; `/ws` itself is in `upgrade`.

use std::sync::Arc;

use actix_service::ServiceFactory;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Query, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, ResponseError};
use actix_web_prom::PrometheusMetrics;
use serde::{Deserialize, Serialize};
use starling_actors::chat_server::{AskError, HistoryQuery};
use starling_actors::history::SearchText;
use starling_protocol::{HistoryEvent, HistoryPage, RoomName, Seq, ServerEvent, codec, limits};

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
    App::new()
        .app_data(Data::from(state))
        .wrap(metrics)
        // The outermost: `/metrics` too is an answer.
        .wrap(headers::defaults())
        .configure(routes)
        .default_service(web::to(no_such_path))
}

fn routes(config: &mut ServiceConfig) {
    config
        .route("/", web::get().to(page::index))
        // Not one pattern with a tail: the figures of requests are by pattern, and know only plain ones.
        .route("/web/{version}/{file}", web::get().to(page::file))
        .route("/web/{version}/{folder}/{file}", web::get().to(page::file))
        .route("/web/{version}/{folder}/{inner}/{file}", web::get().to(page::file))
        .route("/healthz", web::get().to(healthz))
        .route("/healthz", web::head().to(healthz))
        .route("/readyz", web::get().to(readyz))
        .route("/readyz", web::head().to(readyz))
        .route("/ws", web::get().to(upgrade_required))
        .route("/ws/{room}", web::get().to(upgrade_required))
        .route("/api/stats", web::get().to(stats))
        .route("/api/rooms", web::get().to(rooms))
        .route("/api/rooms/{room}/messages", web::get().to(messages));
}

async fn no_such_path(request: HttpRequest) -> Answer {
    Err(HttpRefusal::new(HttpCode::NoSuchPath, format!("there is nothing at {}", request.path())))
}

async fn upgrade_required() -> Answer {
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

/// What `/api/stats` tells.
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
    /// Work that waits in all mailboxes and outboxes.
    backlog: u64,
}

async fn stats(state: Data<ServerState>) -> HttpResponse {
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

async fn rooms(state: Data<ServerState>) -> Answer {
    let (rooms, truncated) = state.chat().rooms().await.map_err(unanswered)?;
    Ok(event(&ServerEvent::Rooms { id: None, rooms, truncated }))
}

/// The query of `/api/rooms/{room}/messages`.
#[derive(Debug, Deserialize)]
struct PageQuery {
    before: Option<u64>,
    after: Option<u64>,
    limit: Option<u16>,
    /// Words that the messages must have; then they come newest first.
    q: Option<String>,
}

async fn messages(
    state: Data<ServerState>,
    room: Path<String>,
    query: Result<Query<PageQuery>, actix_web::Error>,
) -> Answer {
    let room = RoomName::parse(&room).map_err(|error| HttpRefusal::new(HttpCode::BadRoom, error.to_string()))?;
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
            return Err(HttpRefusal::new(
                HttpCode::BadRequest,
                "a search goes back from `before`, never on from `after`",
            ));
        }
        Some(None) => {
            let text = format!("`q` must have a word, and at most {} bytes", SearchText::BYTES_MAX);
            return Err(HttpRefusal::new(HttpCode::BadRequest, text));
        }
    };
    let limit = query.limit.unwrap_or(limits::HISTORY_LIMIT_DEFAULT);
    if !(1..=limits::HISTORY_LIMIT_MAX).contains(&limit) {
        let text = format!("`limit` must be 1 to {}", limits::HISTORY_LIMIT_MAX);
        return Err(HttpRefusal::new(HttpCode::BadRequest, text));
    }
    let bytes = state.chat_config().page_bytes();
    let page = state.chat().history(HistoryQuery { room: room.clone(), page, search, limit, bytes }).await;
    let page = page.map_err(unanswered)?;
    let messages = page.messages.iter().map(|message| message.to_wire()).collect();
    Ok(event(&ServerEvent::History(HistoryEvent { id: None, room, messages, has_more: page.has_more })))
}

/// The same that a WebSocket would get.
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
