//! A client of the tests: it sends exactly the given text, and reads on request.

use starling_protocol::{RoomName, ServerEvent, codec};
use test_kit::raw::{CLOSE, PING, PONG, Raw, RawFrame, TEXT, text_frame};
use tokio::net::TcpStream;

pub(crate) struct Client {
    socket: Raw,
    /// Every text so far, to compare bytes.
    pub(crate) texts: Vec<Vec<u8>>,
}

impl Client {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket: Raw::over(socket), texts: Vec::new() }
    }

    /// Writes bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.socket.write(bytes).await;
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.write(&text_frame(text)).await;
    }

    /// Sends a message to the first room.
    pub(crate) async fn say(&mut self, text: &str) {
        self.send(&format!(r#"{{"Message":"{text}"}}"#)).await;
    }

    /// The next frame as a short line: a summary of an event, a line unchanged, `ping`, `pong`, `closed 1000`, `end`.
    pub(crate) async fn line(&mut self) -> String {
        let Some(frame) = self.socket.try_frame().await.expect("the connection does not break") else {
            return "end".into();
        };
        match frame {
            RawFrame { opcode: TEXT, ref payload } => {
                self.texts.push(payload.clone());
                let text = frame.text();
                if text.starts_with('{') { shown(&codec::decode_event(text).unwrap()) } else { text.to_owned() }
            }
            RawFrame { opcode: PING, .. } => "ping".into(),
            RawFrame { opcode: PONG, .. } => format!("pong {}", frame.text()),
            RawFrame { opcode: CLOSE, ref payload } if payload.is_empty() => "closed 0".into(),
            RawFrame { opcode: CLOSE, .. } => format!("closed {}", frame.close_code().unwrap()),
            RawFrame { .. } => panic!("the server sends no such frame: {frame:?}"),
        }
    }

    pub(crate) async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..count {
            lines.push(self.line().await);
        }
        lines
    }

    /// Ends the connection without a close, like a machine that loses power and restarts.
    pub(crate) fn reset(self) {
        self.socket.reset();
    }
}

fn shown(event: &ServerEvent<'_>) -> String {
    match event {
        ServerEvent::Welcome(welcome) => format!("welcome {}", welcome.client_id),
        ServerEvent::Message(message) => match message.seq {
            Some(seq) => format!("#{seq} {}: {}", message.client_id, message.text),
            None => format!("private {}: {}", message.client_id, message.text),
        },
        ServerEvent::Edited(edited) => format!("#{} edits #{}: {}", edited.seq, edited.of, edited.text),
        ServerEvent::Deleted(deleted) => format!("#{} deletes #{}", deleted.seq, deleted.of),
        ServerEvent::Reaction(reaction) => format!("#{} {} to #{}", reaction.seq, reaction.emoji.as_str(), reaction.of),
        ServerEvent::Ack(ack) => format!("ack {}", ack.id.as_str()),
        ServerEvent::Joined(joined) => format!("joined {}", joined.room.as_ref().map_or("inbox", RoomName::as_str)),
        ServerEvent::Left { room, .. } => format!("left {room}"),
        ServerEvent::Presence(presence) => format!("presence {}", presence.count),
        ServerEvent::Typing(typing) => format!("typing {}", typing.client_ids.len()),
        ServerEvent::Read(read) => format!("read {}", read.seq),
        ServerEvent::Settings(event) => format!("settings {}", event.room),
        ServerEvent::Members(members) => format!("members {}", members.count),
        ServerEvent::Rooms { rooms, .. } => format!("rooms {}", rooms.len()),
        ServerEvent::History(history) => format!("history {}", history.messages.len()),
        ServerEvent::Pong { .. } => "pong".into(),
        ServerEvent::Closing { reason, reconnect_after_ms } => format!("closing {reason} {reconnect_after_ms}"),
        ServerEvent::Error(refusal) => format!("error {}", refusal.code.as_str()),
    }
}
