//! The names in the path of a request. A handshake and any other request read them here, and find their route by the
//! same patterns, so a path means the same to both.
//!
//! The router has decoded a part of the path, except for `%25`, `%2B` and `%2F`. It stays so: no name has one of these
//! characters, and to decode a part once more would turn `%%36%31` into `a`.

use std::future::{Ready, ready};

use actix_web::dev::{Path, Payload, ResourceDef, Url};
use actix_web::http::Uri;
use actix_web::{FromRequest, HttpRequest};
use starling_protocol::{ClientId, RoomName, limits};

use super::fields::{client_of, room_of};
use crate::refusal::HttpRefusal;

/// The parts of the patterns of `endpoints` that are names.
const ROOM: &str = "room";
const CLIENT: &str = "clientId";

/// The pattern of the lobby's WebSocket.
pub(super) const LOBBY_WEBSOCKET: &str = "/ws";
/// The pattern of a room's WebSocket.
pub(super) const ROOM_WEBSOCKET: &str = "/ws/{room}";

/// The paths at which a WebSocket opens.
#[derive(Debug)]
pub(crate) struct WebSocketPaths([ResourceDef; 2]);

impl WebSocketPaths {
    pub(crate) fn new() -> Self {
        Self([LOBBY_WEBSOCKET, ROOM_WEBSOCKET].map(ResourceDef::new))
    }

    /// Finds the path of a handshake. `None`: it does not accept WebSockets.
    pub(crate) fn find(&self, uri: &Uri) -> Option<Path<Url>> {
        let mut path = Path::new(Url::new(uri.clone()));
        self.0.iter().any(|pattern| pattern.capture_match_info(&mut path)).then_some(path)
    }
}

/// The room in a path; `None`: its pattern has none.
///
/// # Errors
/// `bad_room`.
pub(crate) fn room_in(path: &Path<Url>) -> Result<Option<RoomName>, HttpRefusal> {
    path.get(ROOM).map(room_of).transpose()
}

/// The room that a handshake at this path, or a plain request there, is about.
///
/// # Errors
/// `bad_room`.
pub(crate) fn wanted_room(path: &Path<Url>) -> Result<RoomName, HttpRefusal> {
    room_in(path)?.map_or_else(|| room_of(limits::LOBBY), Ok)
}

/// The room in the path of a request.
#[derive(Debug)]
pub(super) struct RoomInPath(pub(super) RoomName);

impl FromRequest for RoomInPath {
    type Error = HttpRefusal;
    type Future = Ready<Result<Self, HttpRefusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(
            room_in(request.match_info())
                .and_then(|room| room.map(Self).ok_or_else(|| HttpRefusal::nothing_at(request.path()))),
        )
    }
}

/// The client in the path of a request.
#[derive(Debug)]
pub(super) struct ClientInPath(pub(super) ClientId);

impl FromRequest for ClientInPath {
    type Error = HttpRefusal;
    type Future = Ready<Result<Self, HttpRefusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let name = request.match_info().get(CLIENT).ok_or_else(|| HttpRefusal::nothing_at(request.path()));
        ready(name.and_then(client_of).map(Self))
    }
}
