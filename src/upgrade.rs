//! The WebSocket handshake: from an HTTP request to a session.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use actix_http::header::HeaderValue;
use actix_http::{HttpMessage, Method, Request, header, ws};
use bytes::{Bytes, BytesMut};
use log::debug;
use serde::Deserialize;
use starling_actors::chat_server::command::OpenSession;
use starling_actors::client_address::ClientAddress;
use starling_actors::frame::Format;
use starling_actors::identity::Identity;
use starling_actors::session::Session;
use starling_actors::{LocalHub, clock};
use starling_protocol::{ClientId, ClientKey, RoomName, SUBPROTOCOL};
use tokio::io::AsyncWriteExt;

use crate::auth;
use crate::extensions;
use crate::http::{WebSocketPaths, client_of, wanted_room};
use crate::http_stream::HttpStream;
use crate::query;
use crate::refusal::{HttpCode, HttpRefusal, READS};
use crate::state::ServerState;

/// Serves the upgrade requests of one worker thread.
///
/// Requests for `/ws` become sessions. No others arrive here: on other paths [`HttpStream`] removes the `Upgrade`
/// header.
#[derive(Debug)]
pub(crate) struct Upgrade {
    hub: LocalHub,
    state: Arc<ServerState>,
    paths: WebSocketPaths,
}

/// The parameters in the query of a handshake.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    client_id: Option<ClientId>,
    key: Option<ClientKey>,
    token: Option<String>,
    format: Format,
}

/// A handshake that was checked.
#[derive(Debug)]
struct Admitted {
    room: RoomName,
    wanted: Wanted,
    identity: Identity,
    address: ClientAddress,
}

impl Upgrade {
    pub(crate) fn new(hub: LocalHub, state: Arc<ServerState>) -> Rc<Self> {
        Rc::new(Self { hub, state, paths: WebSocketPaths::new() })
    }

    /// Serves a request. A client that leaves before it is answered is normal, so it is logged at `debug` only.
    pub(crate) async fn serve(&self, request: Request, stream: Box<HttpStream>) {
        if let Err(failure) = self.try_serve(request, stream).await {
            debug!("handshake failed: {failure}");
        }
    }

    async fn try_serve(&self, request: Request, stream: Box<HttpStream>) -> io::Result<()> {
        let Admitted { room, wanted, identity, address } = match self.check(&request, &stream) {
            Ok(admitted) => admitted,
            Err(refusal) => return Box::pin(self.refuse(&refusal, &request, stream)).await,
        };
        let accepted_at = stream.accepted_at();
        let extension = self.negotiate(&request);
        let answer = accept(&request, extension);
        // Before the request is not counted any more, so that a stop waits for either.
        let counted = self.state.admission().count_websocket();
        let (socket, place, unread) = stream.into_parts();
        let (read_half, write_half) = socket.split();
        // Registered before the chat is asked, so that its outbox holds the chat's first events behind the handshake
        // response.
        let session = self.hub.register(write_half, answer, wanted.format);
        let Some(session) = session else { return Ok(()) };
        if extension.is_some() {
            self.hub.deflate(session);
        }
        let open = OpenSession {
            session,
            address,
            identity,
            client_id: wanted.client_id,
            key: wanted.key,
            room,
            fresh_key: ClientKey(clock::secret()),
            watch_presence: wanted.format == Format::Text,
        };
        match self.state.chat().open_session(open).await {
            Ok(()) => {
                if let Some(at) = accepted_at {
                    self.state.metrics().welcomed(clock::now().saturating_duration_since(at));
                }
                Session::start(&self.hub, session, read_half, unread, place.of_websocket(counted));
                Ok(())
            }
            Err(refusal) => {
                let Some(write_half) = self.hub.withdraw(session) else { return Ok(()) };
                let Some(socket) = read_half.reunite(write_half) else { return Ok(()) };
                let io = HttpStream::refused(socket, place, Arc::clone(&self.state));
                Box::pin(self.refuse(&refusal.into(), &request, io)).await
            }
        }
    }

    /// Checks a handshake.
    fn check(&self, request: &Request, stream: &HttpStream) -> Result<Admitted, HttpRefusal> {
        let Some(path) = self.paths.find(request.uri()) else { return Err(HttpRefusal::nothing_at(request.path())) };
        ws::verify_handshake(request.head()).map_err(|error| {
            let code = match error {
                ws::HandshakeError::UnsupportedVersion
                | ws::HandshakeError::NoWebsocketUpgrade
                | ws::HandshakeError::NoConnectionUpgrade => HttpCode::UpgradeRequired,
                ws::HandshakeError::GetMethodRequired => HttpCode::MethodNotAllowed,
                ws::HandshakeError::NoVersionHeader | ws::HandshakeError::BadWebsocketKey => HttpCode::BadRequest,
            };
            let refusal = HttpRefusal::new(code, error.to_string());
            if code == HttpCode::MethodNotAllowed { refusal.allow(READS) } else { refusal }
        })?;
        for name in [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION] {
            if request.headers().get_all(&name).count() != 1 {
                return Err(HttpRefusal::new(HttpCode::BadRequest, format!("the handshake must have one {name}")));
            }
        }
        if !request.headers().get(header::SEC_WEBSOCKET_KEY).is_some_and(is_handshake_key) {
            return Err(HttpRefusal::new(HttpCode::BadRequest, "Sec-WebSocket-Key must be 16 bytes in Base64"));
        }
        let address = self.state.admission().check(request)?;
        if let Some(it) = self.state.not_ready() {
            return Err(it.into());
        }
        let room = wanted_room(&path)?;
        let mut wanted = Wanted::parse(request.uri().query().unwrap_or_default())?;
        // Checked before the token, because verifying a token costs more than refusing the connection.
        self.state.admission().check_websocket(stream.place())?;
        let token = auth::shown_token(request.headers(), wanted.token.take());
        let identity = match (&self.state.chat_config().tokens, token) {
            (None, _) => Identity::Open,
            // A page cannot set a header, and a token in a URL would end up in logs, so a page may send its token in
            // `hello`. A program must send it in the header.
            (Some(_), None) if request.headers().contains_key(header::ORIGIN) => Identity::Unproven,
            (Some(_), None) => return Err(HttpRefusal::new(HttpCode::Unauthorized, "a token is required")),
            (Some(tokens), Some(token)) => match tokens.verify(&token) {
                Ok(claims) => Identity::Proven(Arc::new(claims)),
                Err(bad) => return Err(HttpRefusal::new(HttpCode::Unauthorized, bad.to_string())),
            },
        };
        Ok(Admitted { room, wanted, identity, address })
    }

    /// Negotiates the extension; returns its value in the response.
    fn negotiate(&self, request: &Request) -> Option<&'static str> {
        let is_offered = self.state.chat_config().compression_bytes_min > 0;
        let asked = request.headers().get_all(header::SEC_WEBSOCKET_EXTENSIONS);
        extensions::negotiate(asked.filter_map(|value| value.to_str().ok())).filter(|_| is_offered)
    }

    /// Sends a refusal and ends the connection.
    async fn refuse(&self, refusal: &HttpRefusal, request: &Request, mut stream: Box<HttpStream>) -> io::Result<()> {
        self.state.refused().count(refusal.code);
        debug!("handshake refused: {}: {}", refusal.code.as_str(), refusal.message);
        stream.write_all(&refusal.to_bytes(request.method() == Method::HEAD)).await?;
        stream.flush().await?;
        stream.shutdown().await
    }
}

/// Whether this is 16 bytes in Base64 (RFC 6455, section 4.2.1).
fn is_handshake_key(value: &HeaderValue) -> bool {
    let digits = value.as_bytes().strip_suffix(b"==").unwrap_or_default();
    digits.len() == 22 && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte))
}

/// The response to an accepted handshake.
fn accept(request: &Request, extension: Option<&'static str>) -> Bytes {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map_or(&[][..], HeaderValue::as_bytes);
    let asked = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    let asks_for_ours = asked.flat_map(|list| list.split(',')).any(|protocol| protocol.trim() == SUBPROTOCOL);
    let mut answer = BytesMut::with_capacity(256);
    answer.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ",
    );
    answer.extend_from_slice(&ws::hash_key(key));
    for (name, value) in [
        (header::SEC_WEBSOCKET_PROTOCOL, asks_for_ours.then_some(SUBPROTOCOL)),
        (header::SEC_WEBSOCKET_EXTENSIONS, extension),
    ] {
        if let Some(value) = value {
            for part in ["\r\n", name.as_str(), ": ", value] {
                answer.extend_from_slice(part.as_bytes());
            }
        }
    }
    answer.extend_from_slice(b"\r\n\r\n");
    answer.freeze()
}

/// Checks a query like a handshake does. Returns the name in it, if there is one.
pub(crate) fn wanted_name(query: &str) -> Result<Option<ClientId>, HttpRefusal> {
    Wanted::parse(query).map(|wanted| wanted.client_id)
}

/// The query parameters of a handshake, as text.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HandshakeQuery {
    client_id: Option<String>,
    key: Option<String>,
    token: Option<String>,
    format: Option<String>,
}

impl Wanted {
    fn parse(query: &str) -> Result<Self, HttpRefusal> {
        let query: HandshakeQuery = query::read(query)?;
        let client_id = query.client_id.as_deref().map(client_of).transpose()?;
        let format = match query.format.as_deref() {
            None | Some("json") => Format::Json,
            Some("text") => Format::Text,
            Some(_) => return Err(HttpRefusal::new(HttpCode::BadRequest, "`format` must be json or text")),
        };
        // A key that no server has issued cannot take a name back, so it counts as absent.
        let key = query.key.and_then(|key| key.parse().ok());
        Ok(Self { client_id, key, token: query.token, format })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_tells_name_key_token_and_format() {
        let wanted = Wanted::parse(&format!("clientId=alice&format=text&key={:032x}&token=t.o.k", 5)).unwrap();
        assert_eq!((wanted.format, wanted.key), (Format::Text, Some(ClientKey(5))));
        assert_eq!((wanted.client_id.unwrap().as_str(), wanted.token.as_deref()), ("alice", Some("t.o.k")));
        assert_eq!(Wanted::parse("clientId=a%20b").unwrap_err().code, HttpCode::BadName);
        assert_eq!(Wanted::parse("format=xml").unwrap_err().code, HttpCode::BadRequest);
        for query in ["", "key=", "key=0"] {
            assert_eq!(Wanted::parse(query).unwrap().key, None, "{query}");
        }
    }
}
