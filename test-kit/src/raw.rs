//! HTTP requests and WebSocket frames written byte by byte, including those that no library would send.

mod frames;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};

pub use self::frames::{
    BINARY, CLOSE, COMPRESSED_TEXT, FIRST_PART, LAST_PART, NEXT_PART, PING, PONG, RawFrame, TEXT, fragments, frame,
    header, text_frame,
};
use crate::{LOOK, Listens, within};

/// The header fields of a handshake, without `Host`.
pub const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// An HTTP answer of the server.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body. Empty for an answer without `Content-Length`.
    pub body: String,
}

impl HttpAnswer {
    fn parse(head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: String::new() }
    }

    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }

    /// Parses the body as JSON. Panics unless the content type is JSON.
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON: {error}: {self:?}"))
    }

    /// Checks the status and the code in the one-line JSON body of a refusal.
    pub fn expect_refusal(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(self.json()["message"].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        assert_eq!(self.body.trim_end().lines().count(), 1, "{self:?}");
    }
}

/// A connection on which the test writes every byte. After a split, both halves work at the same time.
#[derive(Debug)]
pub struct Raw<S = TcpStream> {
    stream: S,
    unread: Vec<u8>,
}

impl Raw {
    /// Connects from a given local address, and sends nothing.
    pub async fn open_from(source: [u8; 4], address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        let stream = within("a TCP connection", socket.connect(address)).await.unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Connects, and sends nothing.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = within("a TCP connection", TcpStream::connect(address)).await.unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Takes over an existing connection.
    pub fn from_std(stream: std::net::TcpStream) -> Self {
        Self { stream: TcpStream::from_std(stream).unwrap(), unread: Vec::new() }
    }

    /// Connects with a small receive buffer, so that the server soon notices that this client does not read.
    pub async fn open_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let stream = within("a TCP connection", socket.connect(address)).await.unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Opens a WebSocket and reads its welcome.
    pub async fn connect(server: impl Listens, path: &str) -> Self {
        let mut raw = Self::open(server.address()).await.shake_hands(path).await;
        assert!(raw.frame().await.unwrap().text().contains("\"welcome\""));
        raw
    }

    /// Writes as much as the socket accepts at once. The rest is discarded.
    pub fn send_what_goes(&self, bytes: &[u8]) {
        self.stream.try_write(bytes).map(drop).unwrap_or_default();
    }

    /// Writes one byte per interval, until the connection has ended.
    pub async fn trickle(&mut self, interval: Duration) {
        let mut room = [0; 4096];
        loop {
            match tokio::time::timeout(interval, self.stream.read(&mut room)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(_)) => {}
                Err(_) => self.send_what_goes(b"x"),
            }
        }
    }

    /// Reads at most `bytes` per interval, until the connection has ended. Returns the number of bytes.
    pub async fn read_slowly(&mut self, bytes: usize, interval: Duration) -> usize {
        let mut room = vec![0; bytes];
        let mut total = 0;
        loop {
            match self.stream.read(&mut room).await {
                Ok(0) | Err(_) => return total,
                Ok(count) => total += count,
            }
            tokio::time::sleep(interval).await;
        }
    }

    /// Reads one byte per interval until the server has closed the connection. Leaves the remaining input unread.
    pub async fn dawdle(&mut self, interval: Duration) {
        while !self.is_closed() {
            // There may be nothing to read yet.
            self.stream.try_read(&mut [0]).map(drop).unwrap_or_default();
            tokio::time::sleep(interval).await;
        }
    }

    /// Waits until the server has closed the connection, without reading: a write fails then.
    pub async fn closed_unread(&self) {
        while !self.is_closed() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether the server has closed the connection. Consumes a byte if there is one.
    pub fn has_ended(&self) -> bool {
        match self.stream.try_read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }

    fn is_closed(&self) -> bool {
        self.stream.try_write(b"x").is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
    }

    /// Closes the connection with a TCP reset.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Splits the connection into its writing half and its reading half.
    pub fn split(self) -> (Raw<OwnedWriteHalf>, Raw<OwnedReadHalf>) {
        let (reading, writing) = self.stream.into_split();
        (Raw { stream: writing, unread: Vec::new() }, Raw { stream: reading, unread: self.unread })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    /// Uses any stream as the connection.
    pub fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// Requests a WebSocket upgrade with additional headers, and returns the answer.
    pub async fn ask_for_websocket(&mut self, path: &str, headers: &str) -> HttpAnswer {
        self.send(request("GET", path, &format!("{HANDSHAKE}{headers}")).as_bytes()).await;
        self.answer().await
    }

    /// Upgrades this connection to a WebSocket. The welcome is the next frame.
    pub async fn shake_hands(mut self, path: &str) -> Self {
        let answer = self.ask_for_websocket(path, "").await;
        assert_eq!(answer.status, 101, "{answer:?}");
        self
    }

    /// Sends a GET and returns the answer.
    pub async fn get(&mut self, path: &str) -> HttpAnswer {
        self.send(request("GET", path, "").as_bytes()).await;
        self.answer().await
    }
}

impl<S: AsyncWrite + Unpin> Raw<S> {
    /// Writes bytes. Ignores an error, because the server may have closed, and tests check what it sent before.
    pub async fn send(&mut self, bytes: &[u8]) {
        within("sending bytes", self.stream.write_all(bytes)).await.unwrap_or_default();
    }

    /// Writes bytes. Panics if the server has closed the connection.
    pub async fn write(&mut self, bytes: &[u8]) {
        within("sending bytes", self.stream.write_all(bytes)).await.unwrap();
    }

    /// Writes a text frame.
    pub async fn send_text(&mut self, text: &str) {
        self.send(&frame(TEXT, text.as_bytes())).await;
    }

    /// Closes the writing direction of the connection.
    pub async fn shut_down(&mut self) {
        self.stream.shutdown().await.unwrap_or_default();
    }
}

impl<S: AsyncRead + Unpin> Raw<S> {
    /// Reads more input; `false` at the end.
    async fn read(&mut self) -> bool {
        self.try_read().await.unwrap_or_default()
    }

    async fn try_read(&mut self) -> io::Result<bool> {
        let mut buffer = vec![0; 64 * 1024];
        let count = within("bytes from the server", self.stream.read(&mut buffer)).await?;
        self.unread.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }

    /// Reads one byte from the socket into the buffer.
    pub async fn read_byte(&mut self) {
        let mut byte = [0];
        let count = within("a byte of the server", self.stream.read(&mut byte)).await.unwrap_or(0);
        self.unread.extend_from_slice(&byte[..count]);
    }

    /// Reads an answer: its head, and its body if it has a `Content-Length`.
    pub async fn answer(&mut self) -> HttpAnswer {
        let mut answer = self.head().await;
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length && self.read().await {}
        let body: Vec<u8> = self.unread.drain(..length).collect();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// The next frame. `None` if the connection has ended, with or without an error.
    pub async fn frame(&mut self) -> Option<RawFrame> {
        let frame = self.try_frame().await.unwrap_or_default();
        assert!(frame.is_some() || self.unread.is_empty(), "the connection ended within a frame");
        frame
    }

    /// The next frame. `None` if the server has closed the connection. Panics if it ends within a frame.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn try_frame(&mut self) -> io::Result<Option<RawFrame>> {
        loop {
            if let Some(frame) = RawFrame::take(&mut self.unread) {
                return Ok(Some(frame));
            }
            if !self.try_read().await? {
                assert!(self.unread.is_empty(), "the connection ended within a frame");
                return Ok(None);
            }
        }
    }

    /// Reads everything up to the end. Returns the frames before the close frame, and the close code.
    pub async fn drain(&mut self) -> (Vec<RawFrame>, Option<u16>) {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            if let Some(code) = frame.close_code() {
                assert_eq!(self.frame().await, None, "no frame follows the close frame");
                return (frames, Some(code));
            }
            frames.push(frame);
        }
        (frames, None)
    }

    /// Reads the head of an answer, and leaves the rest.
    pub async fn head(&mut self) -> HttpAnswer {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.read().await, "the connection ended without an answer: {:?}", self.unread);
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        HttpAnswer::parse(std::str::from_utf8(&head).unwrap())
    }

    /// Reads to the end. Returns the number of bytes.
    pub async fn end(&mut self) -> usize {
        while self.read().await {}
        self.unread.len()
    }
}

fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

/// A handshake request with additional header fields, each with its line break.
pub fn handshake_request_with(path: &str, fields: &str) -> String {
    request("GET", path, &format!("{HANDSHAKE}{fields}"))
}

/// A handshake request.
pub fn handshake_request(path: &str) -> String {
    request("GET", path, HANDSHAKE)
}

/// Sends an HTTP request on a new connection, and returns the answer.
pub async fn http(server: impl Listens, method: &str, path: &str, headers: &str) -> HttpAnswer {
    let mut raw = Raw::open(server.address()).await;
    raw.send(request(method, path, headers).as_bytes()).await;
    raw.answer().await
}

/// Sends a plain `GET` on a new connection.
pub async fn get(server: impl Listens, path: &str) -> HttpAnswer {
    http(server, "GET", path, "Connection: close\r\n").await
}

/// Sends a handshake request on a new connection, and returns the answer.
pub async fn handshake(server: impl Listens, path: &str) -> HttpAnswer {
    http(server, "GET", path, HANDSHAKE).await
}
