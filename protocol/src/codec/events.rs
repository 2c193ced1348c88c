//! Encoding and decoding of server frames.

use crate::event::{ChatMessage, ServerEvent};
use crate::names::Seq;

/// Encodes a server frame and appends it to `out`.
#[expect(clippy::missing_panics_doc, reason = "it cannot panic, see below")]
pub fn encode_event(event: &ServerEvent<'_>, out: &mut Vec<u8>) {
    if let ServerEvent::Message(message) = event {
        return write_message(message, out);
    }
    #[expect(clippy::expect_used, reason = "events have string keys only, and a Vec takes every write")]
    serde_json::to_writer(out, event).expect("an event has a JSON form");
}

/// Encodes the most frequent frame, with the same result as Serde. Serde checks keys, names and texts for escapes byte
/// by byte. This function checks only texts and ids, many bytes at once.
fn write_message(message: &ChatMessage<'_>, out: &mut Vec<u8>) {
    let ChatMessage { client_id, text, room, seq, to, at, id, reply_to, edited_at, deleted, changed_seq, reactions } =
        message;
    out.extend_from_slice(MESSAGE_PREFIX.as_bytes());
    write_name("clientId", client_id.as_str(), out);
    if !text.is_empty() {
        out.extend_from_slice(br#","Message":"#);
        write_text(text, out);
    }
    if let Some(room) = room {
        out.push(b',');
        write_name("room", room.as_str(), out);
    }
    if let Some(Seq(seq)) = seq {
        out.extend_from_slice(br#","seq":"#);
        write_number(*seq, out);
    }
    if let Some(to) = to {
        out.push(b',');
        write_name("to", to.as_str(), out);
    }
    out.extend_from_slice(br#","at":"#);
    write_number(*at, out);
    if let Some(id) = id {
        out.extend_from_slice(br#","id":"#);
        write_text(id.as_str(), out);
    }
    if let Some(Seq(of)) = reply_to {
        out.extend_from_slice(br#","replyTo":"#);
        write_number(*of, out);
    }
    if edited_at.is_some() || *deleted || changed_seq.is_some() || !reactions.is_empty() {
        write_changes(message, out);
    }
    out.push(b'}');
}

/// Encodes the fields of a message that was changed.
#[cold]
fn write_changes(message: &ChatMessage<'_>, out: &mut Vec<u8>) {
    if let Some(at) = message.edited_at {
        out.extend_from_slice(br#","editedAt":"#);
        write_number(at, out);
    }
    if message.deleted {
        out.extend_from_slice(br#","deleted":true"#);
    }
    if let Some(Seq(changed)) = message.changed_seq {
        out.extend_from_slice(br#","changedSeq":"#);
        write_number(changed, out);
    }
    if !message.reactions.is_empty() {
        out.extend_from_slice(br#","reactions":"#);
        #[expect(clippy::expect_used, reason = "a Vec takes every write")]
        serde_json::to_writer(out, &message.reactions).expect("reactions have a JSON form");
    }
}

/// Encodes a field whose value is a name, which never contains characters that JSON escapes.
fn write_name(field: &str, name: &str, out: &mut Vec<u8>) {
    for part in ["\"", field, "\":\"", name, "\""] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    // No early exit, so that the compiler can vectorize the loop.
    let is_escaped = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    if text.bytes().fold(false, |any, byte| any | is_escaped(byte)) {
        #[expect(clippy::expect_used, reason = "a Vec takes every write")]
        serde_json::to_writer(out, text).expect("a text has a JSON form");
    } else {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    #[expect(clippy::expect_used, reason = "a Vec takes every write")]
    serde_json::to_writer(out, &number).expect("a number has a JSON form");
}

/// The start of every `message` frame of the server. A decoder that finds it need not read the `type` first.
const MESSAGE_PREFIX: &str = r#"{"type":"message","#;

/// Reads one frame of the server. Texts without escapes are borrowed from `text`.
///
/// # Errors
/// The parser's error if the frame is not JSON, has an unknown `type`, or lacks a field.
pub fn decode_event(text: &str) -> Result<ServerEvent<'_>, serde_json::Error> {
    if text.starts_with(MESSAGE_PREFIX) {
        return serde_json::from_str::<ChatMessage<'_>>(text).map(ServerEvent::Message);
    }
    serde_json::from_str(text)
}
