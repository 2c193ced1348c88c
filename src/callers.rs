//! The callers of the HTTP API, and their rights to read and to operate.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use serde::Deserialize;
use starling_actors::identity::{Caller, Claims};
use starling_protocol::{ClientId, RoomName};

use crate::auth::shown_token;
use crate::http::room_in;
use crate::lab::Watcher;
use crate::query;
use crate::refusal::{HttpCode, HttpRefusal};
use crate::state::ServerState;
use crate::unread::refuse_unread;

#[derive(Deserialize)]
struct TokenQuery {
    token: Option<String>,
}

fn token_of(request: &HttpRequest) -> Option<String> {
    let query = query::read::<TokenQuery>(request.query_string()).ok().and_then(|query| query.token);
    shown_token(request.headers(), query)
}

/// Refuses a plain request to `/ws` for the same reasons as a handshake, but for those of moderation. A browser does not
/// tell a page why its WebSocket was refused, so the page asks this way. Returns the content of a client's token.
pub(crate) fn check_handshake(request: &HttpRequest, room: &RoomName) -> Result<Option<Claims>, HttpRefusal> {
    let reader = match caller(request) {
        Ok(caller) => Reader(caller),
        Err(refusal) if token_of(request).is_some() => return Err(refusal),
        // A client without a token may still send one in `hello`.
        Err(_) => return Ok(None),
    };
    reader.check(room)?;
    Ok(if let Reader(Caller::Client(claims)) = reader { Some(claims) } else { None })
}

fn caller(request: &HttpRequest) -> Result<Caller, HttpRefusal> {
    let Some(state) = request.app_data::<Data<ServerState>>() else {
        return Err(HttpRefusal::new(HttpCode::Unavailable, "the server is not ready"));
    };
    let token = token_of(request);
    if token.as_ref().is_some_and(|token| state.access().is_admin_token(token)) {
        return Ok(Caller::Operator);
    }
    match (&state.chat_config().tokens, token) {
        (None, _) => Ok(Caller::Anyone),
        (Some(_), None) => Err(HttpRefusal::new(HttpCode::Unauthorized, "a token is required")),
        (Some(tokens), Some(token)) => match tokens.verify(&token) {
            Ok(claims) => Ok(Caller::Client(claims)),
            Err(bad) => Err(HttpRefusal::new(HttpCode::Unauthorized, bad.to_string())),
        },
    }
}

/// A caller that may read.
#[derive(Debug)]
pub(crate) struct Reader(pub(crate) Caller);

impl Reader {
    /// Refuses a room that the reader's token does not allow.
    pub(crate) fn check(&self, room: &RoomName) -> Result<(), HttpRefusal> {
        if self.0.rooms().allow(room) {
            return Ok(());
        }
        Err(HttpRefusal::new(HttpCode::Forbidden, format!("the token does not allow the room {room}")))
    }
}

impl FromRequest for Reader {
    type Error = HttpRefusal;
    type Future = Ready<Result<Self, HttpRefusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller(request).map(Self))
    }
}

impl FromRequest for Watcher {
    type Error = HttpRefusal;
    type Future = Ready<Result<Self, HttpRefusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller(request).map(|caller| match caller {
            Caller::Anyone => Self { is_operator: false, sees_names: true, expires_at: None },
            Caller::Operator => Self { is_operator: true, sees_names: true, expires_at: None },
            Caller::Client(claims) => Self {
                is_operator: claims.is_admin,
                sees_names: claims.operates(None),
                expires_at: Some(claims.expires_at),
            },
        }))
    }
}

/// A caller with an operator's rights about the room in the path; without one there, about the whole server. Its request
/// has nothing that its operation does not read.
#[derive(Debug)]
pub(crate) struct Operator {
    /// Whether it decides about the whole server, too.
    pub(crate) operates_server: bool,
    /// The name in its token; `None` for `CHAT_ADMIN_TOKEN`.
    pub(crate) name: Option<ClientId>,
}

impl FromRequest for Operator {
    type Error = HttpRefusal;
    type Future = Ready<Result<Self, HttpRefusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(operator(request).and_then(|operator| {
            let room = room_in(request.match_info())?;
            operator.of(room.as_ref())
        }))
    }
}

/// An operator whose token may be limited to rooms, for the handlers that find the room elsewhere than in the path.
#[derive(Debug)]
pub(crate) struct RoomsOperator {
    /// The content of its token; `None` for `CHAT_ADMIN_TOKEN`.
    claims: Option<Claims>,
}

impl RoomsOperator {
    /// Whether it decides about this room; without a room, about the whole server.
    pub(crate) fn operates(&self, room: Option<&RoomName>) -> bool {
        self.claims.as_ref().is_none_or(|claims| claims.operates(room))
    }

    /// Refuses what it does not decide about.
    pub(crate) fn of(self, room: Option<&RoomName>) -> Result<Operator, HttpRefusal> {
        if self.operates(room) {
            let operates_server = self.operates(None);
            return Ok(Operator { operates_server, name: self.claims.map(|claims| claims.client_id) });
        }
        let text = match room {
            Some(room) => format!("the token does not allow the room {room}"),
            None => "the token is limited to rooms, and this is about the whole server".into(),
        };
        Err(HttpRefusal::new(HttpCode::Forbidden, text))
    }
}

impl FromRequest for RoomsOperator {
    type Error = HttpRefusal;
    type Future = Ready<Result<Self, HttpRefusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(operator(request))
    }
}

fn operator(request: &HttpRequest) -> Result<RoomsOperator, HttpRefusal> {
    let claims = match caller(request)? {
        Caller::Operator => None,
        Caller::Client(claims) if claims.is_admin => Some(claims),
        Caller::Client(_) => return Err(HttpRefusal::new(HttpCode::Forbidden, "the token has no operator rights")),
        Caller::Anyone => {
            let state = request.app_data::<Data<ServerState>>();
            let is_configured = state.is_some_and(|state| state.access().has_operators());
            let (code, text) = match token_of(request) {
                _ if !is_configured => {
                    (HttpCode::Forbidden, "the operator API is disabled: CHAT_ADMIN_TOKEN is not set")
                }
                None => (HttpCode::Unauthorized, "the operators' token is required"),
                Some(_) => (HttpCode::Unauthorized, "the token is not that of the operators"),
            };
            return Err(HttpRefusal::new(code, text));
        }
    };
    refuse_unread(request)?;
    Ok(RoomsOperator { claims })
}
