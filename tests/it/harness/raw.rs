//! Bytes by hand: HTTP requests and WebSocket frames that no library would send.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};

use super::{LOOK, TestServer, within};

/// What every handshake says.
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const PING: u8 = 0x89;
pub(crate) const CLOSE: u8 = 0x88;

/// An answer of the server over HTTP.
#[derive(Debug, Clone)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl HttpAnswer {
    fn parse(head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: String::new() }
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }

    /// The body as JSON: one line, and labelled as JSON.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON: {error}: {self:?}"))
    }

    /// Checks the status and the code in the one-line JSON body of a refusal.
    pub(crate) fn expect_refusal(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(self.json()["message"].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        assert_eq!(self.body.trim_end().lines().count(), 1, "{self:?}");
    }
}

/// A WebSocket frame of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawFrame {
    /// With the bit for the last fragment.
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl RawFrame {
    /// The code, where it is a close frame.
    pub(crate) fn close_code(&self) -> Option<u16> {
        (self.opcode == CLOSE).then(|| u16::from_be_bytes([self.payload[0], self.payload[1]]))
    }

    /// Whether this is in it, whatever kind of frame it is.
    pub(crate) fn says(&self, part: &str) -> bool {
        self.payload.windows(part.len()).any(|bytes| bytes == part.as_bytes())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}

/// The header of a client's frame that says its payload is so long.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut out = vec![first];
    match length {
        0..=125 => out.push(0x80 | u8::try_from(length).unwrap()),
        126..=65_535 => {
            out.push(0xfe);
            out.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            out.push(0xff);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    // The mask: a payload stays as it is.
    out.extend_from_slice(&[0; 4]);
    out
}

/// A whole frame of a client.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = header(first, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

/// A connection of which the test writes every byte. Cut in two, both halves work at a time.
#[derive(Debug)]
pub(crate) struct Raw<S = TcpStream> {
    stream: S,
    unread: Vec<u8>,
}

impl Raw {
    /// Connects from this address of the machine itself, and says nothing.
    pub(crate) async fn open_from(source: [u8; 4], address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        let stream = within("a TCP connection", socket.connect(address)).await.unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Connects, and says nothing.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = within("a TCP connection", TcpStream::connect(address)).await.unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Takes over a connection.
    pub(crate) fn from_std(stream: std::net::TcpStream) -> Self {
        Self { stream: TcpStream::from_std(stream).unwrap(), unread: Vec::new() }
    }

    /// Connects with a small buffer for what comes, so that not reading is soon noticed.
    pub(crate) async fn open_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let stream = within("a TCP connection", socket.connect(address)).await.unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// A WebSocket that has read its welcome.
    pub(crate) async fn connect(server: &TestServer, path: &str) -> Self {
        let mut raw = Self::open(server.address()).await.shake_hands(path).await;
        assert!(raw.frame().await.unwrap().text().contains("\"welcome\""));
        raw
    }

    /// Writes as much as the network takes at once.
    pub(crate) fn send_what_goes(&self, bytes: &[u8]) {
        // The rest is of no matter.
        self.stream.try_write(bytes).map(drop).unwrap_or_default();
    }

    /// Writes a byte at each interval, until the connection has ended.
    pub(crate) async fn trickle(&mut self, interval: Duration) {
        let mut room = [0; 4096];
        loop {
            match tokio::time::timeout(interval, self.stream.read(&mut room)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(_)) => {}
                Err(_) => self.send_what_goes(b"x"),
            }
        }
    }

    /// Reads so many bytes at most at each interval, until the connection has ended; returns how many came.
    pub(crate) async fn read_slowly(&mut self, bytes: usize, interval: Duration) -> usize {
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

    /// Reads a byte at each interval until the server has closed the connection, and leaves what came before that.
    pub(crate) async fn dawdle(&mut self, interval: Duration) {
        while !self.is_closed() {
            // Nothing may have come yet.
            self.stream.try_read(&mut [0]).map(drop).unwrap_or_default();
            tokio::time::sleep(interval).await;
        }
    }

    /// Waits until the server has closed the connection, and reads nothing: the kernel tells it.
    pub(crate) async fn closed_unread(&self) {
        while !self.is_closed() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether the server has closed the connection, of which nothing was read.
    pub(crate) fn has_ended(&self) -> bool {
        match self.stream.try_read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }

    fn is_closed(&self) -> bool {
        self.stream.try_write(b"x").is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
    }

    /// Ends it without a goodbye of any kind.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Its writing half and its reading half.
    pub(crate) fn split(self) -> (Raw<OwnedWriteHalf>, Raw<OwnedReadHalf>) {
        let (reading, writing) = self.stream.into_split();
        (Raw { stream: writing, unread: Vec::new() }, Raw { stream: reading, unread: self.unread })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    /// A connection over any stream.
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// Asks for a WebSocket, with more headers, for the sake of the answer.
    pub(crate) async fn ask_for_websocket(&mut self, path: &str, headers: &str) -> HttpAnswer {
        self.send(request("GET", path, &format!("{HANDSHAKE}{headers}")).as_bytes()).await;
        self.answer().await
    }

    /// Makes this connection a WebSocket; the welcome is the next frame.
    pub(crate) async fn shake_hands(mut self, path: &str) -> Self {
        let answer = self.ask_for_websocket(path, "").await;
        assert_eq!(answer.status, 101, "{answer:?}");
        self
    }

    /// Asks something over HTTP.
    pub(crate) async fn get(&mut self, path: &str) -> HttpAnswer {
        self.send(request("GET", path, "").as_bytes()).await;
        self.answer().await
    }
}

impl<S: AsyncWrite + Unpin> Raw<S> {
    /// Writes bytes. The server may have gone: what it said before is what counts.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("the network takes bytes", self.stream.write_all(bytes)).await.unwrap_or_default();
    }

    /// Writes a text frame.
    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send(&frame(TEXT, text.as_bytes())).await;
    }

    /// Says that nothing more will come.
    pub(crate) async fn shut_down(&mut self) {
        self.stream.shutdown().await.unwrap_or_default();
    }
}

impl<S: AsyncRead + Unpin> Raw<S> {
    /// Reads more; false at the end.
    async fn read(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let count = within("bytes of the server", self.stream.read(&mut buffer)).await.unwrap_or(0);
        self.unread.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// Takes one byte from the network, and keeps it.
    pub(crate) async fn read_byte(&mut self) {
        let mut byte = [0];
        let count = within("a byte of the server", self.stream.read(&mut byte)).await.unwrap_or(0);
        self.unread.extend_from_slice(&byte[..count]);
    }

    /// The head of an answer, and its body where its length is said.
    pub(crate) async fn answer(&mut self) -> HttpAnswer {
        let mut answer = self.head().await;
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length && self.read().await {}
        let body: Vec<u8> = self.unread.drain(..length).collect();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// The next frame; `None`: the connection has ended.
    pub(crate) async fn frame(&mut self) -> Option<RawFrame> {
        loop {
            if let Some((opcode, start, length)) = self.frame_bounds()
                && self.unread.len() >= start + length
            {
                let payload = self.unread[start..start + length].to_vec();
                self.unread.drain(..start + length);
                return Some(RawFrame { opcode, payload });
            }
            if !self.read().await {
                assert!(self.unread.is_empty(), "the connection ended within a frame");
                return None;
            }
        }
    }

    fn frame_bounds(&self) -> Option<(u8, usize, usize)> {
        let (opcode, length) = (*self.unread.first()?, *self.unread.get(1)?);
        match length {
            126 => {
                let length = self.unread.get(2..4)?;
                Some((opcode, 4, usize::from(u16::from_be_bytes(length.try_into().unwrap()))))
            }
            127 => {
                let length = self.unread.get(2..10)?;
                Some((opcode, 10, usize::try_from(u64::from_be_bytes(length.try_into().unwrap())).unwrap()))
            }
            length => Some((opcode, 2, usize::from(length))),
        }
    }

    /// Everything up to the end: the frames before the close frame, and its code.
    pub(crate) async fn drain(&mut self) -> (Vec<RawFrame>, Option<u16>) {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            if let Some(code) = frame.close_code() {
                assert_eq!(self.frame().await, None, "the close frame is the last");
                return (frames, Some(code));
            }
            frames.push(frame);
        }
        (frames, None)
    }

    /// The head of an answer, whatever follows it.
    pub(crate) async fn head(&mut self) -> HttpAnswer {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.read().await, "the connection ended without an answer: {:?}", self.unread);
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        HttpAnswer::parse(std::str::from_utf8(&head).unwrap())
    }

    /// Reads to the end; the number of bytes that came.
    pub(crate) async fn end(&mut self) -> usize {
        while self.read().await {}
        self.unread.len()
    }
}

fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

/// The request of a handshake.
pub(crate) fn handshake_request(path: &str) -> String {
    request("GET", path, HANDSHAKE)
}

/// Asks something over HTTP, on a connection of its own.
pub(crate) async fn http_at(address: SocketAddr, method: &str, path: &str, headers: &str) -> HttpAnswer {
    let mut raw = Raw::open(address).await;
    raw.send(request(method, path, headers).as_bytes()).await;
    raw.answer().await
}

/// A plain `GET`.
pub(crate) async fn get(server: &TestServer, path: &str) -> HttpAnswer {
    http_at(server.address(), "GET", path, "Connection: close\r\n").await
}

/// A handshake, for the sake of its answer.
pub(crate) async fn handshake(server: &TestServer, path: &str) -> HttpAnswer {
    http_at(server.address(), "GET", path, HANDSHAKE).await
}

/// A handshake with headers of the test's own.
pub(crate) async fn handshake_with(server: &TestServer, method: &str, path: &str, headers: &str) -> HttpAnswer {
    http_at(server.address(), method, path, headers).await
}
