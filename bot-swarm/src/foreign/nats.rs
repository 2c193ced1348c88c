//! The client protocol of NATS over WebSocket: lines, and payloads whose length is given in a line. Neither necessarily
//! ends with a frame.
//!
//! A publication has no answer of its own, but a `PONG` comes when everything before its `PING` is done. So each
//! publication is followed by a `PING`, and the first `PONG` answers the oldest publication. It means that the server
//! has processed the publication, not that it allowed it: a forbidden publication leads to an error and is not
//! delivered.

use std::time::Duration;

use awc::ws::Message;
use serde_json::json;

use super::{Heard, ROOM};

/// The number on the wire of every message: the protocol has none, so an answer belongs to the oldest.
pub(super) const OLDEST: u64 = 0;

/// The default interval at which the server pings a client.
pub(super) const PING_INTERVAL: Duration = Duration::from_mins(2);

/// The longest line that a server may send, in bytes. The longest is `INFO`, with the addresses of a whole cluster.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The largest payload that a server can be configured to accept, in bytes.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The subscription of the room.
const ROOM_SID: &str = "1";

/// A subscription to a subject of the bot's own. When its message returns, the server has processed everything before
/// it.
const JOINED_SID: &str = "2";

const END: &[u8] = b"\r\n";

pub(super) fn connect(name: &str) -> Message {
    let options = json!({
        "verbose": false, "pedantic": false, "echo": true, "protocol": 0, "lang": "rust", "name": name,
        "version": env!("CARGO_PKG_VERSION"),
    });
    // A subject that no other client has.
    let joined = format!("joined.{:016x}", fastrand::u64(..));
    binary(format!("CONNECT {options}\r\nSUB {ROOM} {ROOM_SID}\r\nSUB {joined} {JOINED_SID}\r\nPUB {joined} 0\r\n\r\n"))
}

pub(super) fn publish(said: &str) -> Message {
    binary(format!("PUB {ROOM} {}\r\n{said}\r\nPING\r\n", said.len()))
}

/// Handles every complete operation. Returns the number of bytes that are left.
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
                // The rest of the payload is missing: the line is read again with the next frame.
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

/// The subscription of a message and the length of its payload, from `SUBJECT SID [REPLY-TO] LENGTH`.
fn message(arguments: &str) -> Option<(&str, usize)> {
    let arguments: Vec<&str> = arguments.split_ascii_whitespace().collect();
    let ([_, sid, length] | [_, sid, _, length]) = arguments[..] else { return None };
    let length = length.parse().ok().filter(|length| *length <= PAYLOAD_BYTES_MAX)?;
    Some((sid, length))
}

fn binary(text: String) -> Message {
    Message::Binary(text.into())
}
