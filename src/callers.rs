//! Who asks over HTTP, and what that one may read and do.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::web::{Data, Query};
use actix_web::{FromRequest, HttpRequest};
use serde::Deserialize;
use starling_actors::identity::{Claims, RoomGlobs};
use starling_protocol::{ClientId, RoomName};

use crate::auth::shown_token;
use crate::refusal::{HttpCode, HttpRefusal};
use crate::state::ServerState;

#[derive(Deserialize)]
struct TokenQuery {
    token: Option<String>,
}

/// Who asks over HTTP.
enum Caller {
    /// Whoever asks: names are not authenticated.
    Anyone,
    Client(Claims),
    /// Who shows `CHAT_ADMIN_TOKEN`.
    Operator,
}

fn token_of(request: &HttpRequest) -> Option<String> {
    let query = Query::<TokenQuery>::from_query(request.query_string()).ok().and_then(|query| query.into_inner().token);
    shown_token(request.headers(), query)
}

/// Refuses what a handshake would be refused for, so that a browser, which is not told why its WebSocket was, can ask.
pub(crate) fn check_handshake(request: &HttpRequest, room: &RoomName) -> Result<(), HttpRefusal> {
    match caller(request) {
        Ok(Caller::Client(claims)) => Reader { rooms: claims.rooms }.check(room),
        // Without one it may still say hello with one.
        Err(refusal) if token_of(request).is_some() => Err(refusal),
        Ok(Caller::Anyone | Caller::Operator) | Err(_) => Ok(()),
    }
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
        (Some(_), None) => Err(HttpRefusal::new(HttpCode::Unauthorized, "a token is needed")),
        (Some(tokens), Some(token)) => match tokens.verify(&token) {
            Ok(claims) => Ok(Caller::Client(claims)),
            Err(bad) => Err(HttpRefusal::new(HttpCode::Unauthorized, bad.to_string())),
        },
    }
}

/// Who may read over HTTP, and which rooms.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) rooms: RoomGlobs,
}

impl Reader {
    /// Refuses a room that the reader's token does not allow.
    pub(crate) fn check(&self, room: &RoomName) -> Result<(), HttpRefusal> {
        if self.rooms.allow(room) {
            return Ok(());
        }
        Err(HttpRefusal::new(HttpCode::Forbidden, format!("the token does not allow the room {room}")))
    }
}

impl FromRequest for Reader {
    type Error = HttpRefusal;
    type Future = Ready<Result<Self, HttpRefusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller(request).map(|caller| match caller {
            Caller::Anyone | Caller::Operator => Self { rooms: RoomGlobs::ALL },
            Caller::Client(claims) => Self { rooms: claims.rooms },
        }))
    }
}

/// Who may do what operators do.
#[derive(Debug)]
pub(crate) struct Operator {
    /// The name, where a token says it.
    pub(crate) name: Option<ClientId>,
}

impl FromRequest for Operator {
    type Error = HttpRefusal;
    type Future = Ready<Result<Self, HttpRefusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller(request).and_then(|caller| match caller {
            Caller::Operator => Ok(Self { name: None }),
            Caller::Client(claims) if claims.is_admin => Ok(Self { name: Some(claims.client_id) }),
            Caller::Client(_) => Err(HttpRefusal::new(HttpCode::Forbidden, "the token is not an operator's")),
            Caller::Anyone => {
                let state = request.app_data::<Data<ServerState>>();
                let is_configured = state.is_some_and(|state| state.access().has_operators());
                Err(if is_configured {
                    HttpRefusal::new(HttpCode::Unauthorized, "the token of the operators is needed")
                } else {
                    HttpRefusal::new(HttpCode::Forbidden, "there are no operators here: CHAT_ADMIN_TOKEN is not set")
                })
            }
        }))
    }
}
