//! A WebSocket client of the chat, built on awc.

use actix_codec::Framed;
use awc::BoxedSocket;
use awc::ws::{CloseCode, CloseReason, Codec, Frame, Message, WebsocketsRequest};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;

use crate::pattern::Captures;
use crate::{DEADLINE, Listens, within};

/// Larger than any frame that the server sends.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A WebSocket request with a longer timeout than awc's default.
fn request(server: &impl Listens, path: &str) -> WebsocketsRequest {
    let client = awc::Client::builder().timeout(DEADLINE).finish();
    client.ws(format!("ws://{}{path}", server.address())).max_frame_size(FRAME_BYTES_MAX)
}

/// Input of a client. Pings are answered automatically.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A text.
    Text(String),
    /// A pong, with its payload.
    Pong(Bytes),
    /// A close frame with its code and reason.
    Close(Option<u16>, String),
    /// The connection has ended.
    End,
}

/// A connection to a server.
pub struct Client {
    name: String,
    socket: Framed<BoxedSocket, Codec>,
    subprotocol: Option<String>,
    /// Whether the server answers this client with lines of text instead of JSON.
    reads_lines: bool,
    barriers: u32,
    /// The number of pings received from the server.
    pub pings: u32,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to a path like `/ws?clientId=alice`. The welcome is the next text.
    pub async fn open(server: impl Listens, path: &str) -> Self {
        Self::open_with(path, request(&server, path)).await
    }

    /// Connects to a path, and optionally offers a subprotocol.
    pub async fn open_offering(server: impl Listens, path: &str, subprotocol: Option<&str>) -> Self {
        Self::open_with(path, request(&server, path).protocols(subprotocol)).await
    }

    /// Connects with the `Origin` header of a page from this server.
    pub async fn open_as_page(server: impl Listens, path: &str) -> Self {
        let origin = format!("http://{}", server.address());
        Self::open_with(path, request(&server, path).origin(origin)).await
    }

    /// Connects to a path, and reads the welcome.
    pub async fn connect(server: impl Listens, path: &str) -> Self {
        let mut client = Self::open(server, path).await;
        if client.reads_lines {
            let line = client.text().await;
            assert!(line.starts_with("* welcome to "), "{}: {line}", client.name);
        } else {
            client.expect(r#"{"type":"welcome"}"#).await;
        }
        client
    }

    /// Connects to a path, and returns the client with its welcome.
    pub async fn enter(server: impl Listens, path: &str) -> (Self, Value) {
        let mut client = Self::open(server, path).await;
        let welcome = client.expect(r#"{"type":"welcome"}"#).await;
        (client, welcome)
    }

    /// Like [`enter`](Self::enter), but returns `None` if the connection fails or ends before the welcome.
    pub async fn try_enter(server: impl Listens, path: &str) -> Option<(Self, Value)> {
        let (response, socket) = request(&server, path).connect().await.ok()?;
        let mut client = Self::over(path, &response, socket);
        let welcome = client.next().await?;
        Some((client, welcome))
    }

    async fn open_with(path: &str, request: WebsocketsRequest) -> Self {
        let (response, socket) = match within(format!("a connection to {path}"), request.connect()).await {
            Ok(connected) => connected,
            Err(error) => panic!("no connection to {path}: {error}"),
        };
        Self::over(path, &response, socket)
    }

    fn over(path: &str, response: &awc::ClientResponse, socket: Framed<BoxedSocket, Codec>) -> Self {
        let subprotocol = response.headers().get("sec-websocket-protocol");
        Self {
            name: path.to_owned(),
            socket,
            subprotocol: subprotocol.map(|value| value.to_str().unwrap().to_owned()),
            reads_lines: path.contains("format=text"),
            barriers: 0,
            pings: 0,
        }
    }

    /// The subprotocol that the server has selected.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Sends any WebSocket message.
    pub async fn send(&mut self, message: Message) {
        let what = format!("{}: sending a frame", self.name);
        within(what, self.socket.send(message)).await.unwrap();
    }

    /// Sends a text frame.
    pub async fn send_text(&mut self, text: &str) {
        self.reads_lines = !text.trim_start().starts_with('{');
        self.send(Message::Text(text.into())).await;
    }

    /// Sends a JSON frame.
    pub async fn send_json(&mut self, frame: &Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// Sends a JSON frame. Returns `false` if the connection has ended.
    pub async fn try_send_json(&mut self, frame: &Value) -> bool {
        self.socket.send(Message::Text(frame.to_string().into())).await.is_ok()
    }

    /// Sends a close frame.
    pub async fn send_close(&mut self, code: u16) {
        self.send(Message::Close(Some(CloseReason { code: CloseCode::from(code), description: None }))).await;
    }

    /// Receives the next text, pong or close frame, or the end of the connection.
    pub async fn receive(&mut self) -> Received {
        loop {
            let frame = within(format!("{}: the next frame", self.name), self.socket.next()).await;
            return match frame {
                None | Some(Err(_)) => Received::End,
                Some(Ok(Frame::Text(text))) => Received::Text(String::from_utf8(text.to_vec()).unwrap()),
                Some(Ok(Frame::Pong(payload))) => Received::Pong(payload),
                Some(Ok(Frame::Close(reason))) => {
                    let (code, text) = reason.map(|reason| (u16::from(reason.code), reason.description)).unzip();
                    Received::Close(code, text.flatten().unwrap_or_default())
                }
                Some(Ok(Frame::Ping(payload))) => {
                    self.pings += 1;
                    self.send(Message::Pong(payload)).await;
                    continue;
                }
                Some(Ok(other)) => panic!("{}: the server sent {other:?}", self.name),
            };
        }
    }

    /// Receives the next text. Panics on anything else.
    pub async fn text(&mut self) -> String {
        let got = self.receive().await;
        let Received::Text(text) = got else { panic!("{}: expected a text, received {got:?}", self.name) };
        text
    }

    /// Receives the next text, which must match this JSON pattern.
    pub async fn expect(&mut self, pattern: &str) -> Value {
        let text = self.text().await;
        if let Err(reason) = Captures::default().match_text(pattern, &text) {
            panic!("{}: {reason}\n expected {pattern}\n received {text}", self.name);
        }
        serde_json::from_str(&text).unwrap()
    }

    /// Receives the next event without a deadline. `None` if the connection has ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await? {
                Ok(Frame::Text(text)) => return Some(serde_json::from_slice(&text).unwrap()),
                Ok(Frame::Ping(payload)) => {
                    self.pings += 1;
                    self.socket.send(Message::Pong(payload)).await.ok()?;
                }
                Ok(Frame::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Receives events until one has this type, and discards the others.
    pub async fn next_of(&mut self, kind: &str) -> Value {
        within(format!("{}: {kind}", self.name), async {
            loop {
                let event = self.next().await.unwrap_or_else(|| panic!("the connection ended before {kind}"));
                if event["type"] == kind {
                    return event;
                }
            }
        })
        .await
    }

    /// Discards input until the server closes the connection. Returns the close code.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.receive().await {
                Received::Close(code, _) => return code.expect("a close frame with a code"),
                Received::End => panic!("{}: the connection ended without a close frame", self.name),
                Received::Text(_) | Received::Pong(_) => {}
            }
        }
    }

    /// Expects a close frame with this code, and then the end of the connection.
    pub async fn expect_close(&mut self, code: u16) {
        let got = self.receive().await;
        let is_it = matches!(got, Received::Close(Some(got), _) if got == code);
        assert!(is_it, "{}: expected a close with {code}, received {got:?}", self.name);
        assert_eq!(self.receive().await, Received::End, "{}: more input after the close frame", self.name);
    }

    /// Sends a request that is answered at once, and returns the pattern of the answer. Everything that the server has
    /// sent before arrives before this answer.
    pub async fn barrier(&mut self) -> String {
        self.barriers += 1;
        let number = self.barriers;
        if self.reads_lines {
            self.send_text(&format!("/who nobody-{number}")).await;
            return format!("! no_such_room: there is no room nobody-{number}");
        }
        self.send_text(&format!(r#"{{"type":"ping","id":"nothing-{number}"}}"#)).await;
        format!(r#"{{"type":"pong","id":"nothing-{number}"}}"#)
    }

    /// Expects that nothing has arrived so far.
    pub async fn expect_nothing(&mut self) {
        let answer = self.barrier().await;
        let text = self.text().await;
        if let Err(reason) = Captures::default().match_text(&answer, &text) {
            panic!("{}: expected nothing, received {text} ({reason})", self.name);
        }
    }

    /// Sends a message and waits until it comes back, which shows that the server works.
    pub async fn expect_chat_works(&mut self) {
        self.barriers += 1;
        let text = format!("still here {}", self.barriers);
        self.send_text(&format!(r#"{{"Message":"{text}"}}"#)).await;
        self.expect(&format!(r#"{{"type":"message","Message":"{text}"}}"#)).await;
    }
}
