//! A client of the chat over awc, as a program would be one.

use std::net::SocketAddr;

use actix_codec::Framed;
use awc::BoxedSocket;
use awc::ws::{CloseCode, CloseReason, Codec, Frame, Message};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;

use super::pattern::Captures;
use super::{DEADLINE, TestServer, within};

/// Larger than any frame of the server.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a client gets. Pings are answered by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    Text(String),
    Pong(Bytes),
    Close(Option<u16>, String),
    /// The connection has ended.
    End,
}

/// A connection to a server.
pub(crate) struct Client {
    name: String,
    socket: Framed<BoxedSocket, Codec>,
    subprotocol: Option<String>,
    /// Whether it is answered in lines.
    reads_lines: bool,
    barriers: u32,
    /// Pings of the server so far.
    pub(crate) pings: u32,
}

impl Client {
    /// Connects to a path, like `/ws?clientId=alice`, and leaves the welcome to be read.
    pub(crate) async fn open(server: &TestServer, path: &str) -> Self {
        Self::open_at(server.address(), path, None).await
    }

    /// Connects to a path, and reads the welcome.
    pub(crate) async fn connect(server: &TestServer, path: &str) -> Self {
        Self::connect_at(server.address(), path).await
    }

    /// The same, for a server of which only the address is known.
    pub(crate) async fn connect_at(address: SocketAddr, path: &str) -> Self {
        let mut client = Self::open_at(address, path, None).await;
        if client.reads_lines {
            let line = client.text().await;
            assert!(line.starts_with("* welcome to "), "{}: {line}", client.name);
        } else {
            client.expect(r#"{"type":"welcome"}"#).await;
        }
        client
    }

    /// Waits longer for an answer than awc by itself does.
    fn patient() -> awc::Client {
        awc::Client::builder().timeout(DEADLINE).finish()
    }

    /// Connects and offers this subprotocol.
    pub(crate) async fn open_at(address: SocketAddr, path: &str, subprotocol: Option<&str>) -> Self {
        let request = Self::patient().ws(format!("ws://{address}{path}")).max_frame_size(FRAME_BYTES_MAX);
        Self::open_with(path, request.protocols(subprotocol)).await
    }

    /// Connects as a page of this server would.
    pub(crate) async fn open_as_page(server: &TestServer, path: &str) -> Self {
        Self::open_as_page_at(server.address(), path).await
    }

    /// The same, for a server of which only the address is known.
    pub(crate) async fn open_as_page_at(address: SocketAddr, path: &str) -> Self {
        let request = Self::patient().ws(format!("ws://{address}{path}")).max_frame_size(FRAME_BYTES_MAX);
        Self::open_with(path, request.origin(format!("http://{address}"))).await
    }

    async fn open_with(path: &str, request: awc::ws::WebsocketsRequest) -> Self {
        let (response, socket) = match within(format!("a connection to {path}"), request.connect()).await {
            Ok(connected) => connected,
            Err(error) => panic!("no connection to {path}: {error}"),
        };
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
    pub(crate) fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Sends any WebSocket message.
    pub(crate) async fn send(&mut self, message: Message) {
        let what = format!("{}: the network takes a frame", self.name);
        within(what, self.socket.send(message)).await.unwrap();
    }

    /// Sends a text frame.
    pub(crate) async fn send_text(&mut self, text: &str) {
        self.reads_lines = !text.trim_start().starts_with('{');
        self.send(Message::Text(text.into())).await;
    }

    /// Sends a JSON frame.
    pub(crate) async fn send_json(&mut self, frame: &Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// Says goodbye.
    pub(crate) async fn send_close(&mut self, code: u16) {
        self.send(Message::Close(Some(CloseReason { code: CloseCode::from(code), description: None }))).await;
    }

    /// What comes next.
    pub(crate) async fn receive(&mut self) -> Received {
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
    pub(crate) async fn text(&mut self) -> String {
        let got = self.receive().await;
        let Received::Text(text) = got else { panic!("{}: a text was expected and {got:?} came", self.name) };
        text
    }

    /// The next text, which must match this JSON pattern.
    pub(crate) async fn expect(&mut self, pattern: &str) -> Value {
        let text = self.text().await;
        if let Err(reason) = Captures::default().match_text(pattern, &text) {
            panic!("{}: {reason}\n expected {pattern}\n received {text}", self.name);
        }
        serde_json::from_str(&text).unwrap()
    }

    /// The end, with this code.
    pub(crate) async fn expect_close(&mut self, code: u16) {
        let got = self.receive().await;
        let is_it = matches!(got, Received::Close(Some(got), _) if got == code);
        assert!(is_it, "{}: a close with {code} was expected and {got:?} came", self.name);
        assert_eq!(self.receive().await, Received::End, "{}: the close frame is the last", self.name);
    }

    /// Asks something that is answered at once, and returns what the answer looks like: whatever the server had sent
    /// before comes before it.
    pub(crate) async fn barrier(&mut self) -> String {
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
    pub(crate) async fn expect_nothing(&mut self) {
        let answer = self.barrier().await;
        let text = self.text().await;
        if let Err(reason) = Captures::default().match_text(&answer, &text) {
            panic!("{}: nothing was expected and this came: {text} ({reason})", self.name);
        }
    }

    /// Says something with an `id` and waits until everybody has it: the whole way through the server works.
    pub(crate) async fn expect_chat_works(&mut self) {
        self.barriers += 1;
        let text = format!("still here {}", self.barriers);
        self.send_text(&format!(r#"{{"Message":"{text}"}}"#)).await;
        self.expect(&format!(r#"{{"type":"message","Message":"{text}"}}"#)).await;
    }
}
