//! From bytes to WebSocket messages.

use std::io;
use std::str::Utf8Error;

use actix_http::ws::Codec;
use actix_web_actors::ws::{Frame, Message, ProtocolError};
use bytes::BytesMut;
use bytestring::ByteString;
use tokio_util::codec::Decoder;

/// Takes the messages of one connection out of what was read from it.
#[derive(Debug)]
pub struct Frames {
    codec: Codec,
    frame_bytes: u32,
}

impl Frames {
    /// `frame_bytes`: the most that a frame may hold.
    pub fn new(frame_bytes: u32) -> Self {
        Self { codec: Codec::new().max_size(frame_bytes as usize), frame_bytes }
    }

    /// Takes the next message. `None`: its end has not come. After an error nothing that follows has a meaning.
    pub fn decode(&mut self, unread: &mut BytesMut) -> Option<Result<Message, ProtocolError>> {
        if unread.is_empty() {
            return None;
        }
        let frame = match self.codec.decode(unread) {
            Ok(Some(frame)) => frame,
            // The codec would wait until all of a frame that is too large has come.
            Ok(None) if announced_bytes(unread) <= u64::from(self.frame_bytes) => return None,
            Ok(None) => return Some(Err(ProtocolError::Overflow)),
            Err(error) => return Some(Err(error)),
        };
        Some(match frame {
            Frame::Text(bytes) => ByteString::try_from(bytes).map(Message::Text).map_err(not_utf8),
            Frame::Binary(bytes) => Ok(Message::Binary(bytes)),
            Frame::Continuation(item) => Ok(Message::Continuation(item)),
            Frame::Ping(payload) => Ok(Message::Ping(payload)),
            Frame::Pong(payload) => Ok(Message::Pong(payload)),
            Frame::Close(reason) => Ok(Message::Close(reason)),
        })
    }
}

/// How long the payload is that the beginning of a frame announces; 0 while that is not known.
fn announced_bytes(unread: &[u8]) -> u64 {
    const LENGTH_BITS: u8 = 0x7f;
    let Some((head, rest)) = unread.split_first_chunk::<2>() else { return 0 };
    match head[1] & LENGTH_BITS {
        126 => rest.first_chunk().map_or(0, |length| u16::from_be_bytes(*length).into()),
        127 => rest.first_chunk().map_or(0, |length| u64::from_be_bytes(*length)),
        length => length.into(),
    }
}

fn not_utf8(error: Utf8Error) -> ProtocolError {
    ProtocolError::Io(io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Whether a text frame was not UTF-8, rather than the protocol broken.
pub(super) fn is_not_utf8(error: &ProtocolError) -> bool {
    let ProtocolError::Io(error) = error else { return false };
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Utf8Error>)
}
