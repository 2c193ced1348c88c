//! Refusals over HTTP: a status, and a one-line JSON body `{"code":…,"message":…}`. That of a ban has its end in `until`.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use actix_http::header::HttpDate;
use actix_http::{Response, StatusCode, body::BoxBody, header};
use bytes::Bytes;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use serde::Serialize;
use starling_actors::chat_server::command::OpenRefusal;
use starling_actors::clock;
use starling_protocol::ErrorCode;

use crate::headers;

macro_rules! http_codes {
    ($(#[doc = $doc:literal] $variant:ident = $text:literal, $status:ident;)+) => {
        /// The reason that a request is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum HttpCode {
            $(#[doc = $doc] $variant,)+
        }

        impl HttpCode {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The reason in a sentence.
            pub(crate) fn about(self) -> &'static str {
                match self {
                    $(Self::$variant => $doc.trim_ascii(),)+
                }
            }

            pub(crate) fn status(self) -> StatusCode {
                match self {
                    $(Self::$variant => StatusCode::$status,)+
                }
            }
        }
    };
}

http_codes! {
    /// The request is malformed or has an invalid parameter.
    BadRequest = "bad_request", BAD_REQUEST;
    /// The client's name is not valid.
    BadName = "bad_name", BAD_REQUEST;
    /// The room's name is not valid.
    BadRoom = "bad_room", BAD_REQUEST;
    /// A token is required, but missing or not valid.
    Unauthorized = "unauthorized", UNAUTHORIZED;
    /// The caller has no right to do this, or the page's origin is not allowed.
    Forbidden = "forbidden", FORBIDDEN;
    /// An operator has banned the client's name or address.
    Banned = "banned", FORBIDDEN;
    /// The room is private, and the caller is not invited.
    NotInvited = "not_invited", FORBIDDEN;
    /// There are as many sanctions as there may be.
    TooManySanctions = "too_many_sanctions", CONFLICT;
    /// There are as many rooms with settings as there may be.
    TooManySettings = "too_many_settings", CONFLICT;
    /// There is no such mute or ban.
    NoSuchSanction = "no_such_sanction", NOT_FOUND;
    /// There are as many invitations as there may be, to the room or in all.
    TooManyInvitations = "too_many_invitations", CONFLICT;
    /// There is no such invitation.
    NoSuchInvitation = "no_such_invitation", NOT_FOUND;
    /// The message has no text.
    MessageEmpty = "message_empty", BAD_REQUEST;
    /// The message exceeds `CHAT_MESSAGE_BYTES`.
    MessageTooLarge = "message_too_large", PAYLOAD_TOO_LARGE;
    /// No client with that name is connected or has an inbox.
    NoSuchClient = "no_such_client", NOT_FOUND;
    /// The path does not exist.
    NoSuchPath = "no_such_path", NOT_FOUND;
    /// The room does not exist.
    NoSuchRoom = "no_such_room", NOT_FOUND;
    /// The path exists, but not with that method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// Another connection holds the name.
    NameTaken = "name_taken", CONFLICT;
    /// The path accepts only WebSocket handshakes.
    UpgradeRequired = "upgrade_required", UPGRADE_REQUIRED;
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT;
    /// The body exceeds its limit.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE;
    /// The request target exceeds its limit.
    UriTooLong = "uri_too_long", URI_TOO_LONG;
    /// The request head exceeds its limits.
    HeadTooLarge = "head_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE;
    /// The request needs a feature that this server does not have.
    NotImplemented = "not_implemented", NOT_IMPLEMENTED;
    /// The client's address has reached its limit of connections.
    TooManyConnections = "too_many_connections", TOO_MANY_REQUESTS;
    /// The client's address has exceeded its rate.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS;
    /// The server is full, is stopping or has a failure.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE;
    /// It is unknown whether the requested change has happened, or will happen.
    OutcomeUnknown = "outcome_unknown", GATEWAY_TIMEOUT;
}

/// The methods of a resource that is only read, as `Allow` has them.
pub(crate) const READS: &str = "GET, HEAD, OPTIONS";

/// A refusal over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpRefusal {
    pub(crate) code: HttpCode,
    pub(crate) message: String,
    /// The time after which a retry may succeed, if known.
    retry_after: Option<Duration>,
    /// The end of a ban, in milliseconds since the Unix epoch, if it has one.
    until: Option<u64>,
    /// The methods of the resource, if the method was refused.
    allow: Option<Cow<'static, str>>,
}

#[derive(Serialize)]
struct Body<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

impl HttpRefusal {
    pub(crate) fn new(code: HttpCode, message: impl Into<String>) -> Self {
        let retry_after = (code == HttpCode::Unavailable).then_some(Duration::from_secs(1));
        Self { code, message: message.into(), retry_after, until: None, allow: None }
    }

    /// The refusal of a path that no route has.
    pub(crate) fn nothing_at(path: &str) -> Self {
        Self::new(HttpCode::NoSuchPath, format!("there is nothing at {path}"))
    }

    /// Adds the time after which a retry may succeed.
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Adds the methods of the resource.
    pub(crate) fn allow(self, methods: impl Into<Cow<'static, str>>) -> Self {
        Self { allow: Some(methods.into()), ..self }
    }

    /// The complete response as bytes, for refusals outside the framework. The connection ends with it.
    pub(crate) fn to_bytes(&self, is_head: bool) -> Bytes {
        let response = self.to_response();
        let body = self.body();
        let mut text = format!("HTTP/1.1 {}\r\n", response.status());
        let date = HttpDate::from(UNIX_EPOCH + Duration::from_millis(clock::unix_ms()));
        let own =
            [("content-length", body.len().to_string()), ("connection", "close".into()), ("date", date.to_string())];
        for (name, value) in &own {
            text.extend([name, ": ", value, "\r\n"]);
        }
        for (name, value) in response.headers() {
            // Each value is a constant of this program or a number.
            text.extend([name.as_str(), ": ", value.to_str().unwrap_or_default(), "\r\n"]);
        }
        text.push_str("\r\n");
        if !is_head {
            text.push_str(&body);
        }
        text.into()
    }

    /// The body: one line.
    pub(crate) fn body(&self) -> String {
        let body = Body { code: self.code.as_str(), message: &self.message, until: self.until };
        let mut text = serde_json::to_string(&body).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The complete response; the connection ends with it.
    pub(crate) fn to_response(&self) -> Response<BoxBody> {
        let mut response = Response::build(self.code.status());
        response.insert_header((header::CONTENT_TYPE, "application/json")).force_close();
        if self.code == HttpCode::UpgradeRequired {
            response.insert_header((header::UPGRADE, "websocket"));
            response.insert_header((header::SEC_WEBSOCKET_VERSION, "13"));
        }
        if self.code == HttpCode::Unauthorized {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(methods) = &self.allow {
            response.insert_header((header::ALLOW, &**methods));
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up, so that a client that waits for exactly this time is not refused again.
            let seconds = wait.as_millis().div_ceil(1_000).max(1);
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        for header in headers::COMMON.into_iter().chain([headers::NO_CONTENT_POLICY, headers::NO_STORE]) {
            response.insert_header(header);
        }
        response.body(self.body()).map_into_boxed_body()
    }
}

impl From<OpenRefusal> for HttpRefusal {
    fn from(refusal: OpenRefusal) -> Self {
        let code = match &refusal {
            OpenRefusal::NameTaken(_) => HttpCode::NameTaken,
            OpenRefusal::NameReserved => HttpCode::BadName,
            OpenRefusal::TokenExpired => HttpCode::Unauthorized,
            OpenRefusal::TokenOfAnother(_) | OpenRefusal::RoomClosed(_) => HttpCode::Forbidden,
            OpenRefusal::Judged(refusal) if refusal.code == ErrorCode::NotInvited => HttpCode::NotInvited,
            OpenRefusal::Judged(_) => HttpCode::Banned,
            OpenRefusal::TooManyRooms | OpenRefusal::Unavailable => HttpCode::Unavailable,
        };
        let until = if let OpenRefusal::Judged(refusal) = &refusal { refusal.until } else { None };
        Self { until, ..Self::new(code, refusal.to_string()) }
    }
}

/// Counts the handshakes that were refused, by code.
#[derive(Debug)]
pub(crate) struct RefusedHandshakes(Vec<IntCounter>);

impl RefusedHandshakes {
    /// Registers the counters; the diagnosis judges them, too.
    ///
    /// # Errors
    /// A registry has them already.
    pub(crate) fn register(registries: [&Registry; 2]) -> Result<Self, prometheus::Error> {
        let opts = Opts::new("chat_refused_handshakes_total", "WebSocket handshakes refused over HTTP, by code.");
        let counters = IntCounterVec::new(opts, &["code"])?;
        for registry in registries {
            registry.register(Box::new(counters.clone()))?;
        }
        Ok(Self(HttpCode::ALL.iter().map(|code| counters.with_label_values(&[code.as_str()])).collect()))
    }

    pub(crate) fn count(&self, code: HttpCode) {
        if let Some(counter) = self.0.get(code as usize) {
            counter.inc();
        }
    }
}
