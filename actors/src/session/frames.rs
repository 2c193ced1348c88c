//! Decodes WebSocket messages, as strictly as RFC 6455 requires, and as RFC 7692 if compression was negotiated.
//!
//! A frame is refused as soon as its invalid bytes have arrived: an invalid header before the payload, and invalid
//! UTF-8 before the rest of the text. Only a compressed text is checked when it is complete.

use actix_http::ws::{OpCode, Parser};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use smallvec::SmallVec;
use starling_protocol::CloseCode;

use crate::deflate::{self, InflateError};

const LAST: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;

/// Most bytes that the payload of a ping, a pong or a close may have.
const CONTROL_BYTES_MAX: u8 = 125;

/// A message of a client.
#[derive(Debug)]
pub enum Incoming {
    /// A complete text, from one frame or from several fragments.
    Text(ByteString),
    /// A ping, to be answered with its payload.
    Ping(Bytes),
    /// The client closes the connection. Later frames are ignored.
    Close,
    /// A pong or a fragment of a text: it needs no reaction.
    Nothing,
}

/// The reason to close a connection whose client has sent an invalid frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadFrame {
    /// The code of the close frame.
    pub code: CloseCode,
    /// The reason in the close frame, for a person.
    pub reason: &'static str,
}

impl BadFrame {
    const BINARY: Self = Self { code: CloseCode::BinaryFrame, reason: "only text frames are accepted" };
    const TOO_LARGE: Self = Self { code: CloseCode::FrameTooLarge, reason: "the frame is too large" };
    const NOT_UTF8: Self = Self { code: CloseCode::NotUtf8, reason: "the text is not UTF-8" };

    const fn protocol(reason: &'static str) -> Self {
        Self { code: CloseCode::ProtocolError, reason }
    }
}

/// Decodes the messages of one connection.
#[derive(Debug)]
pub struct Frames {
    frame_bytes: u32,
    /// Whether the client may compress its texts.
    inflates: bool,
    /// Whether texts are discarded, because the session is closing.
    ignores_texts: bool,
    /// The text that has begun but not ended; usually `None`.
    unfinished: Option<Box<Unfinished>>,
}

/// A text of which only a part has arrived.
#[derive(Debug, Default)]
struct Unfinished {
    /// The payload of its frames so far.
    payload: BytesMut,
    is_compressed: bool,
    /// Whether its first frame is complete. If not, `payload` is empty.
    has_frame: bool,
    /// Bytes of the incomplete frame's payload that are known to be UTF-8.
    checked: usize,
    /// The first bytes of a character that is split between two reads or fragments.
    half_character: SmallVec<[u8; 4]>,
}

impl Unfinished {
    /// Checks the bytes that continue the text.
    fn check_utf8(&mut self, bytes: &[u8]) -> Result<(), BadFrame> {
        if self.is_compressed {
            return Ok(());
        }
        // A split character is completed first, so that the rest can be checked in place.
        let mut rest = bytes;
        while !self.half_character.is_empty() {
            let Some((next, others)) = rest.split_first() else { return Ok(()) };
            rest = others;
            self.half_character.push(*next);
            match std::str::from_utf8(&self.half_character) {
                Ok(_) => self.half_character.clear(),
                Err(error) if error.error_len().is_some() => return Err(BadFrame::NOT_UTF8),
                Err(_) => {}
            }
        }
        if let Err(error) = std::str::from_utf8(rest) {
            if error.error_len().is_some() {
                return Err(BadFrame::NOT_UTF8);
            }
            self.half_character = SmallVec::from_slice(rest.get(error.valid_up_to()..).unwrap_or_default());
        }
        Ok(())
    }
}

impl Frames {
    /// `frame_bytes` limits the payload of a message, with all its fragments, before and after decompression.
    /// `inflates`: whether compression was negotiated.
    pub fn new(frame_bytes: u32, inflates: bool) -> Self {
        Self { frame_bytes, inflates, ignores_texts: false, unfinished: None }
    }

    /// Returns every further text as an empty one, without checking or inflating it.
    pub fn ignore_texts(&mut self) {
        self.ignores_texts = true;
    }

    /// Decodes the next message. `None`: it is not complete yet.
    ///
    /// # Errors
    /// [`BadFrame`]; the caller must ignore all further bytes.
    pub fn decode(&mut self, unread: &mut BytesMut) -> Option<Result<Incoming, BadFrame>> {
        if unread.len() < 2 {
            return None;
        }
        self.try_decode(unread).transpose()
    }

    fn try_decode(&mut self, unread: &mut BytesMut) -> Result<Option<Incoming>, BadFrame> {
        let reserved = self.check_header(unread)?;
        let is_last = unread.first().is_some_and(|first| first & LAST != 0);
        // The parser supports no extensions, so the bit of this one is hidden from it.
        clear(unread, reserved);
        let parsed = Parser::parse(unread, true, self.frame_bytes as usize);
        let Some((_, opcode, payload)) = parsed.map_err(|_| BadFrame::protocol("not the WebSocket protocol"))? else {
            self.check_incomplete(unread, reserved)?;
            set(unread, reserved);
            return Ok(None);
        };
        let payload = payload.unwrap_or_default();
        match opcode {
            OpCode::Ping => Ok(Some(Incoming::Ping(payload.freeze()))),
            OpCode::Pong => Ok(Some(Incoming::Nothing)),
            OpCode::Close => check_close(&payload).map(|()| Some(Incoming::Close)),
            OpCode::Text if is_last => {
                self.unfinished = None;
                self.to_text(payload.freeze(), reserved != 0).map(Some)
            }
            OpCode::Text | OpCode::Continue | OpCode::Binary | OpCode::Bad => {
                self.add(&payload, is_last, reserved != 0).map(Some)
            }
        }
    }

    /// Checks the part of a frame's header that has arrived. Returns the RSV1 bit if it is set, which marks a
    /// compressed text.
    fn check_header(&self, unread: &[u8]) -> Result<u8, BadFrame> {
        const RSV1: u8 = 0x40;
        let Some((&[first, second], rest)) = unread.split_first_chunk::<2>() else { return Ok(0) };
        let goes_on = self.unfinished.as_ref().is_some_and(|unfinished| unfinished.has_frame);
        let (mut reserved, mut before) = (0, 0);
        match first & OPCODE {
            0 if !goes_on => return Err(BadFrame::protocol("a continuation without a message")),
            0 => before = self.unfinished.as_ref().map_or(0, |unfinished| unfinished.payload.len()),
            1 | 2 if goes_on => return Err(BadFrame::protocol("a message within another")),
            1 | 2 if self.inflates => reserved = RSV1,
            8..=10 if first & LAST == 0 => return Err(BadFrame::protocol("a control frame in fragments")),
            8..=10 if second & LENGTH > CONTROL_BYTES_MAX => {
                return Err(BadFrame::protocol("a control frame of more than 125 bytes"));
            }
            1 | 2 | 8..=10 => {}
            _ => return Err(BadFrame::protocol("an unknown opcode")),
        }
        if first & RESERVED & !reserved != 0 {
            return Err(BadFrame::protocol("a reserved bit is set"));
        }
        if second & MASKED == 0 {
            return Err(BadFrame::protocol("a frame without a mask"));
        }
        if first & OPCODE == 2 {
            return Err(BadFrame::BINARY);
        }
        let (length, is_minimal) = match second & LENGTH {
            126 => match rest.first_chunk() {
                Some(length) => (u64::from(u16::from_be_bytes(*length)), u16::from_be_bytes(*length) > 125),
                None => return Ok(first & reserved),
            },
            127 => match rest.first_chunk() {
                Some(length) => (u64::from_be_bytes(*length), u64::from_be_bytes(*length) > u64::from(u16::MAX)),
                None => return Ok(first & reserved),
            },
            length => (u64::from(length), true),
        };
        if !is_minimal || length > i64::MAX as u64 {
            return Err(BadFrame::protocol("an invalid payload length"));
        }
        if length + before as u64 > u64::from(self.frame_bytes) {
            return Err(BadFrame::TOO_LARGE);
        }
        Ok(first & reserved)
    }

    /// Checks the arrived part of an incomplete frame that belongs to a text.
    fn check_incomplete(&mut self, unread: &[u8], reserved: u8) -> Result<(), BadFrame> {
        let Some(&[first, second]) = unread.first_chunk::<2>() else { return Ok(()) };
        let mask_at = match second & LENGTH {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let is_text = first & OPCODE <= 1;
        let Some((mask, masked)) = unread.get(mask_at..).and_then(<[u8]>::split_first_chunk::<4>) else {
            return Ok(());
        };
        if !is_text || masked.is_empty() || reserved != 0 {
            return Ok(());
        }
        let unfinished = self.unfinished.get_or_insert_default();
        let from = std::mem::replace(&mut unfinished.checked, masked.len());
        let mask = mask.iter().cycle().skip(from % mask.len());
        let new: Vec<u8> = masked.iter().skip(from).zip(mask).map(|(byte, mask)| byte ^ mask).collect();
        unfinished.check_utf8(&new)
    }

    /// Adds a frame to the text that it is a part of.
    fn add(&mut self, payload: &[u8], is_last: bool, is_compressed: bool) -> Result<Incoming, BadFrame> {
        let mut unfinished = self.unfinished.take().unwrap_or_default();
        if !unfinished.has_frame {
            unfinished.is_compressed = is_compressed;
            unfinished.has_frame = true;
        }
        let checked = std::mem::take(&mut unfinished.checked);
        unfinished.check_utf8(payload.get(checked..).unwrap_or_default())?;
        unfinished.payload.extend_from_slice(payload);
        if is_last {
            return self.to_text(unfinished.payload.freeze(), unfinished.is_compressed);
        }
        self.unfinished = Some(unfinished);
        Ok(Incoming::Nothing)
    }

    fn to_text(&self, payload: Bytes, is_compressed: bool) -> Result<Incoming, BadFrame> {
        if self.ignores_texts {
            return Ok(Incoming::Text(ByteString::new()));
        }
        let payload = if is_compressed {
            let inflated = deflate::inflate(&payload, self.frame_bytes as usize);
            inflated.map_err(|error| match error {
                InflateError::TooLarge => BadFrame::TOO_LARGE,
                InflateError::Broken => BadFrame::protocol("the compressed text is broken"),
            })?
        } else {
            payload
        };
        ByteString::try_from(payload).map(Incoming::Text).map_err(|_| BadFrame::NOT_UTF8)
    }
}

fn clear(unread: &mut BytesMut, bits: u8) {
    if let Some(first) = unread.first_mut() {
        *first &= !bits;
    }
}

fn set(unread: &mut BytesMut, bits: u8) {
    if let Some(first) = unread.first_mut() {
        *first |= bits;
    }
}

/// Checks the payload of a close frame: nothing, or a code that may travel and a reason.
fn check_close(payload: &[u8]) -> Result<(), BadFrame> {
    let reason = payload.get(2..).unwrap_or_default();
    if std::str::from_utf8(reason).is_err() {
        return Err(BadFrame { code: CloseCode::NotUtf8, reason: "the reason of the close is not UTF-8" });
    }
    let parsed = Parser::try_parse_close_payload(payload);
    parsed.map(drop).map_err(|_| BadFrame::protocol("a close code that may not be sent"))
}

#[cfg(test)]
mod tests;
