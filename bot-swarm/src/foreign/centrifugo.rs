//! Centrifugo's client protocol in JSON: commands with an `id`, replies with the same id, and pushes; one per line.

use std::borrow::Cow;

use awc::ws::Message;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::{Heard, ROOM, text};

const CONNECT: u64 = 1;
const SUBSCRIBE: u64 = 2;

/// The beginning of a push. Most frames are pushes.
const PUSH: &[u8] = br#"{"push":"#;

/// The answer to a ping: both are empty objects.
const PONG: &str = "{}";

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(default)]
    id: u64,
    #[serde(borrow)]
    error: Option<Failure<'a>>,
    push: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Failure<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

pub(super) fn wire_id(serial: u64) -> u64 {
    serial + SUBSCRIBE
}

pub(super) fn connect(_: &str) -> Message {
    text(&json!({ "id": CONNECT, "connect": { "name": "bot-swarm" } }))
}

pub(super) fn publish(id: u64, said: &str) -> Message {
    text(&json!({ "id": id, "publish": { "channel": ROOM, "data": { "text": said } } }))
}

pub(super) fn hear(frame: &[u8], told: &mut impl FnMut(Heard<'_>)) {
    for line in frame.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if line.starts_with(PUSH) {
            if memchr::memmem::find(line, br#""pub":"#).is_some() {
                told(Heard::Said(line));
            }
            continue;
        }
        let Ok(reply) = serde_json::from_slice::<Reply<'_>>(line) else {
            told(Heard::Nonsense);
            continue;
        };
        if reply.push.is_some() {
            told(Heard::Said(line));
            continue;
        }
        let is_message = reply.id > SUBSCRIBE;
        if let Some(Failure { message }) = reply.error {
            told(Heard::Refused(is_message.then_some(reply.id), format!("centrifugo: {message}")));
            continue;
        }
        told(match reply.id {
            0 => Heard::Answer(text(&PONG)),
            CONNECT => Heard::Answer(text(&json!({ "id": SUBSCRIBE, "subscribe": { "channel": ROOM } }))),
            SUBSCRIBE => Heard::Joined,
            id => Heard::Taken(id),
        });
    }
}
