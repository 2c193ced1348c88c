//! A client of the chat over awc, as a program would be one.

use actix_codec::Framed;
use awc::BoxedSocket;
use awc::ws::{CloseCode, CloseReason, Codec, Frame, Message, WebsocketsRequest};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;

use crate::pattern::Captures;
use crate::{DEADLINE, Listens, within};

/// Larger than any frame of the server.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A request for a WebSocket that waits longer for an answer than awc by itself does.
fn request(server: &impl Listens, path: &str) -> WebsocketsRequest {
    let client = awc::Client::builder().timeout(DEADLINE).finish();
    client.ws(format!("ws://{}{path}", server.address())).max_frame_size(FRAME_BYTES_MAX)
}

/// What a client gets. Pings are answered by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A text.
    Text(String),
    /// A pong, with its payload.
    Pong(Bytes),
    /// A close frame: its code and its reason.
    Close(Option<u16>, String),
    /// The connection has ended.
    End,
}

/// A connection to a server.
pub struct Client {
    name: String,
    socket: Framed<BoxedSocket, Codec>,
    subprotocol: Option<String>,
    /// Whether it is answered in lines.
    reads_lines: bool,
    barriers: u32,
    /// Pings of the server so far.
    pub pings: u32,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to a path, like `/ws?clientId=alice`, and leaves the welcome to be read.
    pub async fn open(server: impl Listens, path: &str) -> Self {
        Self::open_with(path, request(&server, path)).await
    }

    /// Connects to a path and offers this subprotocol, or none.
    pub async fn open_offering(server: impl Listens, path: &str, subprotocol: Option<&str>) -> Self {
        Self::open_with(path, request(&server, path).protocols(subprotocol)).await
    }

    /// Connects as a page of this server would.
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

    /// Connects to a path, and returns the welcome too.
    pub async fn enter(server: impl Listens, path: &str) -> (Self, Value) {
        let mut client = Self::open(server, path).await;
        let welcome = client.expect(r#"{"type":"welcome"}"#).await;
        (client, welcome)
    }

    /// Connects to a path, and returns the welcome too. `None`: there is no server, or it went away.
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

    /// The subprotocol that the server took.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Sends any WebSocket message.
    pub async fn send(&mut self, message: Message) {
        let what = format!("{}: the network takes a frame", self.name);
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

    /// Sends a JSON frame. `false`: the connection has ended.
    pub async fn try_send_json(&mut self, frame: &Value) -> bool {
        self.socket.send(Message::Text(frame.to_string().into())).await.is_ok()
    }

    /// Says goodbye.
    pub async fn send_close(&mut self, code: u16) {
        self.send(Message::Close(Some(CloseReason { code: CloseCode::from(code), description: None }))).await;
    }

    /// What comes next.
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

    /// The next text.
    pub async fn text(&mut self) -> String {
        let got = self.receive().await;
        let Received::Text(text) = got else { panic!("{}: a text was expected and {got:?} came", self.name) };
        text
    }

    /// The next text, which must match this JSON pattern.
    pub async fn expect(&mut self, pattern: &str) -> Value {
        let text = self.text().await;
        if let Err(reason) = Captures::default().match_text(pattern, &text) {
            panic!("{}: {reason}\n expected {pattern}\n received {text}", self.name);
        }
        serde_json::from_str(&text).unwrap()
    }

    /// The next event, however long it takes. `None`: the connection has ended.
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

    /// The next event of this type; others are passed over.
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

    /// Waits until the server closes the connection, and returns the code; what comes before is passed over.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.receive().await {
                Received::Close(code, _) => return code.expect("a close frame with a code"),
                Received::End => panic!("{}: the connection ended without a close frame", self.name),
                Received::Text(_) | Received::Pong(_) => {}
            }
        }
    }

    /// The end, with this code.
    pub async fn expect_close(&mut self, code: u16) {
        let got = self.receive().await;
        let is_it = matches!(got, Received::Close(Some(got), _) if got == code);
        assert!(is_it, "{}: a close with {code} was expected and {got:?} came", self.name);
        assert_eq!(self.receive().await, Received::End, "{}: the close frame is the last", self.name);
    }

    /// Asks something that is answered at once, and returns what the answer looks like: whatever the server had sent
    /// before comes before it.
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

    /// Nothing has come.
    pub async fn expect_nothing(&mut self) {
        let answer = self.barrier().await;
        let text = self.text().await;
        if let Err(reason) = Captures::default().match_text(&answer, &text) {
            panic!("{}: nothing was expected and this came: {text} ({reason})", self.name);
        }
    }

    /// Says something with an `id` and waits until everybody has it: the whole way through the server works.
    pub async fn expect_chat_works(&mut self) {
        self.barriers += 1;
        let text = format!("still here {}", self.barriers);
        self.send_text(&format!(r#"{{"Message":"{text}"}}"#)).await;
        self.expect(&format!(r#"{{"type":"message","Message":"{text}"}}"#)).await;
    }
}
