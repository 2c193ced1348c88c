//! Phoenix channels with serializer 2.0.0: arrays of the join's `ref`, the message's `ref`, topic, event and payload.

use std::borrow::Cow;

use awc::ws::Message;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::{Heard, ROOM, text};

const HEARTBEAT: u64 = 0;
const JOIN: u64 = 1;

/// The event of the bots' messages.
const EVENT: &str = "new_msg";

/// `ref` of the join, `ref`, topic, event, payload.
type Frame<'a, Payload> = (IgnoredAny, Option<Cow<'a, str>>, IgnoredAny, Cow<'a, str>, Payload);

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
}

pub(super) fn wire_id(serial: u64) -> u64 {
    serial + JOIN
}

pub(super) fn join() -> Message {
    text(&json!([JOIN.to_string(), JOIN.to_string(), topic(), "phx_join", {}]))
}

pub(super) fn push(id: u64, said: &str) -> Message {
    text(&json!([JOIN.to_string(), id.to_string(), topic(), EVENT, { "body": said }]))
}

pub(super) fn heartbeat() -> Message {
    text(&json!([null, HEARTBEAT.to_string(), "phoenix", "heartbeat", {}]))
}

fn topic() -> String {
    format!("room:{ROOM}")
}

pub(super) fn hear(frame: &[u8]) -> Option<Heard<'_>> {
    let Ok((_, reference, _, event, _)) = serde_json::from_slice::<Frame<'_, IgnoredAny>>(frame) else {
        return Some(Heard::Nonsense);
    };
    match event.as_ref() {
        "phx_reply" => {}
        "phx_error" => return Some(Heard::Refused(None, "phoenix: the channel failed".to_owned())),
        "phx_close" => return Some(Heard::Refused(None, "phoenix: the channel was closed".to_owned())),
        _ => return Some(Heard::Said(frame)),
    }
    let status = serde_json::from_slice::<Frame<'_, Reply<'_>>>(frame).map(|(_, _, _, _, reply)| reply.status);
    let id = reference.and_then(|reference| reference.parse::<u64>().ok());
    let (Some(id), Ok(status)) = (id, status) else { return Some(Heard::Nonsense) };
    match (id, status == "ok") {
        (HEARTBEAT, _) => None,
        (JOIN, true) => Some(Heard::Joined),
        (JOIN, false) => Some(Heard::Refused(None, "phoenix: the room was refused".to_owned())),
        (id, true) => Some(Heard::Taken(id)),
        (id, false) => Some(Heard::Refused(Some(id), "phoenix: refused".to_owned())),
    }
}
