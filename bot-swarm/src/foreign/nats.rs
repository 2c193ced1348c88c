//! The client protocol of NATS over WebSocket: lines, and payloads of a length that a line says. Neither ends where frames
//! do.
//!
//! A publication has no answer of its own, and a `PONG` comes when everything before its `PING` is done. So each
//! publication is followed by a `PING`, and the first `PONG` answers the oldest publication. It says that the server has
//! dealt with it, not that it allowed it: what a client may not publish is an error, and comes to nobody.

use std::time::Duration;

use awc::ws::Message;
use serde_json::json;

use super::{Heard, ROOM};

/// The number on the wire of every message: there is none, and the oldest is meant.
pub(super) const OLDEST: u64 = 0;

/// How often the server pings a client by default.
pub(super) const PING_INTERVAL: Duration = Duration::from_mins(2);

/// Longest line that a server may send. The longest is `INFO`, with the addresses of a whole cluster.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Longest payload that a server may be set to take.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The subscription of the room.
const ROOM_SID: &str = "1";

/// The subscription by which a bot hears itself once: then the server has taken all that it sent before.
const JOINED_SID: &str = "2";

const END: &[u8] = b"\r\n";

pub(super) fn connect(name: &str) -> Message {
    let options = json!({
        "verbose": false, "pedantic": false, "echo": true, "protocol": 0, "lang": "rust", "name": name,
        "version": env!("CARGO_PKG_VERSION"),
    });
    // A subject that nobody else has.
    let joined = format!("joined.{:016x}", fastrand::u64(..));
    binary(format!("CONNECT {options}\r\nSUB {ROOM} {ROOM_SID}\r\nSUB {joined} {JOINED_SID}\r\nPUB {joined} 0\r\n\r\n"))
}

pub(super) fn publish(said: &str) -> Message {
    binary(format!("PUB {ROOM} {}\r\n{said}\r\nPING\r\n", said.len()))
}

/// Hears every whole operation. Answers how many bytes are left.
pub(super) fn hear(mut bytes: &[u8], told: &mut impl FnMut(Heard<'_>)) -> usize {
    while let Some(length) = memchr::memmem::find(bytes, END) {
        let whole = bytes;
        let line = whole.get(..length).and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
        let rest = whole.get(length + END.len()..).unwrap_or_default();
        let (operation, arguments) = line.split_once(' ').unwrap_or((line, ""));
        bytes = rest;
        match operation {
            "MSG" => {
                let Some((sid, length)) = message(arguments) else {
                    told(Heard::Nonsense);
                    continue;
                };
                // The line comes again with the rest of its payload.
                let Some((payload, rest)) = rest.split_at_checked(length).filter(|(_, rest)| rest.len() >= END.len())
                else {
                    return whole.len();
                };
                bytes = rest.get(END.len()..).unwrap_or_default();
                match sid {
                    ROOM_SID => told(Heard::Said(payload)),
                    JOINED_SID => told(Heard::Joined),
                    _ => told(Heard::Nonsense),
                }
            }
            "PING" => told(Heard::Answer(binary("PONG\r\n".to_owned()))),
            "PONG" => told(Heard::Taken(OLDEST)),
            "-ERR" => told(Heard::Refused(None, format!("nats: {}", arguments.trim_matches('\'')))),
            "INFO" | "+OK" => {}
            _ => told(Heard::Nonsense),
        }
    }
    if bytes.len() > LINE_BYTES_MAX {
        told(Heard::Nonsense);
        return 0;
    }
    bytes.len()
}

/// The subscription of a message and the length of its payload, of `SUBJECT SID [REPLY-TO] LENGTH`.
fn message(arguments: &str) -> Option<(&str, usize)> {
    let arguments: Vec<&str> = arguments.split_ascii_whitespace().collect();
    let ([_, sid, length] | [_, sid, _, length]) = arguments[..] else { return None };
    let length = length.parse().ok().filter(|length| *length <= PAYLOAD_BYTES_MAX)?;
    Some((sid, length))
}

fn binary(text: String) -> Message {
    Message::Binary(text.into())
}
