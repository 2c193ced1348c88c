//! Socket.IO, protocol 5, over Engine.IO 4 by WebSocket: digits for the kind of a frame, then JSON.

use std::borrow::Cow;

use awc::ws::Message;
use serde::Deserialize;
use serde_json::json;

use super::{Heard, text};

/// The event of the bots' messages.
const EVENT: &str = "message";

#[derive(Deserialize)]
struct Failure<'a> {
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

/// An event that requests an ack with this number.
pub(super) fn emit(id: u64, said: &str) -> Message {
    text(&format!("42{id}{}", json!([EVENT, said])))
}

pub(super) fn hear(frame: &[u8]) -> Heard<'_> {
    match frame {
        // Engine.IO: the handshake of a new connection, or a ping.
        [b'0', ..] => Heard::Answer(text(&"40")),
        b"2" => Heard::Answer(text(&"3")),
        [b'4', b'0', ..] => Heard::Joined,
        b"41" => Heard::Refused(None, "socket.io: disconnected".to_owned()),
        [b'4', b'2', event @ ..] => Heard::Said(event),
        [b'4', b'3', ack @ ..] => {
            let digits = ack.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let id = ack.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            id.map_or(Heard::Nonsense, Heard::Taken)
        }
        [b'4', b'4', failure @ ..] => match serde_json::from_slice::<Failure<'_>>(failure) {
            Ok(Failure { message }) => Heard::Refused(None, format!("socket.io: {message}")),
            Err(_) => Heard::Nonsense,
        },
        _ => Heard::Nonsense,
    }
}
