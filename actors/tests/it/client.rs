//! A WebSocket client for the tests: it says exactly what is written, and reads when it is told to.

use std::io;
use std::time::Duration;

use actix_http::ws::{Codec, Frame, Item, Message};
use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use starling_protocol::{RoomName, ServerEvent, codec};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::{Decoder, Encoder};

use crate::server::DEADLINE;

pub(crate) struct Client {
    socket: TcpStream,
    codec: Codec,
    unread: BytesMut,
    /// Every byte of text frames so far, for those who compare them.
    pub(crate) texts: Vec<Bytes>,
}

/// The frame of a text, as a client sends it.
pub(crate) fn text_frame(text: &str) -> BytesMut {
    frame(Message::Text(text.into()))
}

/// A text in fragments.
pub(crate) fn fragments(parts: &[&str]) -> BytesMut {
    let mut codec = Codec::new().client_mode();
    let mut bytes = BytesMut::new();
    for (place, part) in parts.iter().enumerate() {
        let part = Bytes::copy_from_slice(part.as_bytes());
        let item = match place {
            0 => Item::FirstText(part),
            last if last + 1 == parts.len() => Item::Last(part),
            _ => Item::Continue(part),
        };
        codec.encode(Message::Continuation(item), &mut bytes).unwrap();
    }
    bytes
}

pub(crate) fn frame(message: Message) -> BytesMut {
    let mut bytes = BytesMut::new();
    Codec::new().client_mode().encode(message, &mut bytes).unwrap();
    bytes
}

impl Client {
    pub(crate) fn new(socket: TcpStream) -> Self {
        let codec = Codec::new().client_mode().max_size(usize::MAX);
        Self { socket, codec, unread: BytesMut::new(), texts: Vec::new() }
    }

    /// Writes bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        let writing = async {
            while !rest.is_empty() {
                self.socket.writable().await.unwrap();
                match self.socket.try_write(rest) {
                    Ok(count) => rest = &rest[count..],
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            }
        };
        timeout(DEADLINE, writing).await.expect("the server reads");
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.write(&text_frame(text)).await;
    }

    /// Says something in the first room.
    pub(crate) async fn say(&mut self, text: &str) {
        self.send(&format!(r#"{{"Message":"{text}"}}"#)).await;
    }

    /// The next frame; `None` at the end of the connection, where no frame may be cut.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        let reading = async {
            loop {
                if let Some(frame) = self.codec.decode(&mut self.unread).expect("whole frames only") {
                    return Some(frame);
                }
                self.socket.readable().await.unwrap();
                let mut buffer = vec![0; 64 * 1024];
                match self.socket.try_read(&mut buffer) {
                    Ok(0) => {
                        assert!(self.unread.is_empty(), "the last frame is cut");
                        return None;
                    }
                    Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => panic!("the connection broke: {error}"),
                }
            }
        };
        timeout(DEADLINE, reading).await.expect("the server has nothing to say")
    }

    /// The next frame as a short line: what an event says, a line as it is, `ping`, `pong`, `closed 1000`, `end`.
    pub(crate) async fn line(&mut self) -> String {
        match self.frame().await {
            None => "end".into(),
            Some(Frame::Text(bytes)) => {
                self.texts.push(bytes.clone());
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                if text.starts_with('{') { shown(&codec::decode_event(&text).unwrap()) } else { text }
            }
            Some(Frame::Ping(_)) => "ping".into(),
            Some(Frame::Pong(payload)) => format!("pong {}", String::from_utf8_lossy(&payload)),
            Some(Frame::Close(reason)) => format!("closed {}", reason.map_or(0, |reason| u16::from(reason.code))),
            Some(other) => panic!("the server sends no such frame: {other:?}"),
        }
    }

    pub(crate) async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..count {
            lines.push(self.line().await);
        }
        lines
    }

    /// Ends the connection without a word, as a machine does that loses its power and comes back.
    pub(crate) fn reset(self) {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

fn shown(event: &ServerEvent<'_>) -> String {
    match event {
        ServerEvent::Welcome(welcome) => format!("welcome {}", welcome.client_id),
        ServerEvent::Message(message) => match message.seq {
            Some(seq) => format!("#{seq} {}: {}", message.client_id, message.text),
            None => format!("private {}: {}", message.client_id, message.text),
        },
        ServerEvent::Ack(ack) => format!("ack {}", ack.id.as_str()),
        ServerEvent::Joined(joined) => format!("joined {}", joined.room.as_ref().map_or("inbox", RoomName::as_str)),
        ServerEvent::Left { room, .. } => format!("left {room}"),
        ServerEvent::Presence(presence) => format!("presence {}", presence.count),
        ServerEvent::Members(members) => format!("members {}", members.count),
        ServerEvent::Rooms { rooms, .. } => format!("rooms {}", rooms.len()),
        ServerEvent::History(history) => format!("history {}", history.messages.len()),
        ServerEvent::Pong { .. } => "pong".into(),
        ServerEvent::Closing { reason, reconnect_after_ms } => format!("closing {reason} {reconnect_after_ms}"),
        ServerEvent::Error(refusal) => format!("error {}", refusal.code.as_str()),
    }
}
