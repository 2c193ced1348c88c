//! Encoded WebSocket frames, including their header. An event is encoded once for all its receivers.

use actix_http::ws::{OpCode, Parser};
use actix_web_actors::ws::CloseReason;
use bytes::{Buf, Bytes, BytesMut};
use starling_protocol::{CloseCode, ServerEvent, codec, console};

use crate::deflate;

/// The format of a connection's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a frame.
    Json,
    /// Plain lines, for a person.
    Text,
}

fn frame(payload: &[u8], opcode: OpCode) -> Bytes {
    write(payload, opcode).freeze()
}

fn write(payload: &[u8], opcode: OpCode) -> BytesMut {
    const HEADER_BYTES_MAX: usize = 10;
    let mut out = BytesMut::with_capacity(payload.len() + HEADER_BYTES_MAX);
    Parser::write_message(&mut out, payload, opcode, true, false);
    out
}

/// The same text in a compressed frame (permessage-deflate) that depends on no other frame. `None` if compression does
/// not make it shorter.
pub fn compressed(text_frame: &Bytes) -> Option<Bytes> {
    const RSV1: u8 = 0x40;
    let header_len = match text_frame.get(1)? {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let mut out = write(&deflate::compress(text_frame.get(header_len..)?)?, OpCode::Text);
    *out.first_mut()? |= RSV1;
    Some(out.freeze())
}

/// Encodes an event. `None` if the format does not show this event.
pub fn event(event: &ServerEvent<'_>, format: Format) -> Option<Bytes> {
    match format {
        Format::Json => {
            let mut json = Vec::with_capacity(256);
            codec::encode_event(event, &mut json);
            Some(frame(&json, OpCode::Text))
        }
        Format::Text => console::render(event).map(|text| lines(&text)),
    }
}

/// Encodes a line of text.
pub fn line(text: &str) -> Bytes {
    frame(text.as_bytes(), OpCode::Text)
}

/// Encodes lines of text, each as a frame of its own, back to back. Tools show one line per frame.
pub fn lines(text: &str) -> Bytes {
    if !text.contains('\n') {
        return line(text);
    }
    let mut out = BytesMut::with_capacity(text.len() + 64);
    for line in text.split('\n') {
        Parser::write_message(&mut out, line, OpCode::Text, true, false);
    }
    out.freeze()
}

/// An empty ping: the last fragment of its message, without payload.
pub fn ping() -> Bytes {
    Bytes::from_static(&[0x89, 0])
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Bytes {
    frame(payload, OpCode::Pong)
}

/// A close frame, the last frame of a connection. The reason may have at most 123 bytes.
pub fn close(code: CloseCode, reason: &str) -> Bytes {
    let mut out = BytesMut::new();
    let reason = CloseReason { code: code.as_u16().into(), description: Some(reason.to_owned()) };
    Parser::write_close(&mut out, Some(reason), false);
    out.freeze()
}

/// The length of the first frame in `bytes`, which the server has encoded and which is therefore not masked.
pub fn first_frame_len(bytes: &Bytes) -> usize {
    let mut header = bytes.clone();
    if header.len() < 2 {
        return header.len();
    }
    header.advance(1);
    match header.get_u8() {
        126 if header.len() >= 2 => 4 + usize::from(header.get_u16()),
        127 if header.len() >= 8 => usize::try_from(header.get_u64()).map_or(bytes.len(), |length| 10 + length),
        length => 2 + usize::from(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_text_is_a_frame() {
        assert_eq!(lines("one"), line("one"));
        assert_eq!(lines("one\n  two\n"), [line("one"), line("  two"), line("")].concat());
    }

    #[test]
    fn the_length_of_a_frame_is_read_from_its_header() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let bytes = line(&"x".repeat(length));
            assert_eq!(first_frame_len(&bytes), bytes.len(), "{length}");
        }
    }
}
