//! Reading what the server sends, made cheap for what comes most.
//!
//! `starling_protocol::codec` is where the protocol's JSON is known. A delivery is read here once more, field by field,
//! because it is most of what a bot does: five fields are needed for microseconds, all borrowed from the frame. Whatever
//! is not written as the codec writes it (escapes in a text, blanks, another order of fields) goes through the codec.

use memchr::memchr2;
use starling_protocol::{ServerEvent, codec};

/// What every `message` frame of the server begins with, by the codec.
const MESSAGE_PREFIX: &str = r#"{"type":"message","#;

/// What came from the server.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// A message, read without allocation.
    Delivery(Delivery<'a>),
    /// Anything else.
    Event(Box<ServerEvent<'a>>),
}

/// What a bot looks at in a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// Who wrote it, as the server says.
    pub from: &'a str,
    /// What was written.
    pub text: &'a str,
    /// The room, where it was written in one.
    pub room: Option<&'a str>,
    /// Its place in that room.
    pub seq: Option<u64>,
    /// To whom, where it is private.
    pub to: Option<&'a str>,
    /// When the server took it, in milliseconds since the Unix epoch.
    pub at: u64,
}

/// Reads one frame.
///
/// # Errors
/// The parser's, where the frame is nothing that the protocol knows.
pub fn read(frame: &[u8]) -> Result<Incoming<'_>, serde_json::Error> {
    let frame = std::str::from_utf8(frame).map_err(serde::de::Error::custom)?;
    if let Some(delivery) = read_delivery(frame) {
        return Ok(Incoming::Delivery(delivery));
    }
    codec::decode_event(frame).map(|event| Incoming::Event(Box::new(event)))
}

/// A delivery, if it is written exactly as the codec writes those that need no escapes.
fn read_delivery(frame: &str) -> Option<Delivery<'_>> {
    // Without an early end, so that the compiler looks at many bytes at once.
    let is_control = |byte: u8| byte < b' ';
    if frame.bytes().fold(false, |any, byte| any | is_control(byte)) {
        return None;
    }
    let mut fields = Fields(frame.strip_prefix(MESSAGE_PREFIX)?);
    let from = fields.text(r#""clientId":""#)?;
    let text = fields.text(r#","Message":""#)?;
    let room = fields.text(r#","room":""#);
    let seq = fields.number(r#","seq":"#);
    let to = fields.text(r#","to":""#);
    let at = fields.number(r#","at":"#)?;
    fields.text(r#","id":""#);
    (fields.0 == "}").then_some(Delivery { from, text, room, seq, to, at })
}

/// What is left of an object, read from its front. A field that is not there, or not plain, leaves it as it is.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    /// The text behind a key and its quote, up to the next quote.
    fn text(&mut self, key: &str) -> Option<&'a str> {
        let value = self.0.strip_prefix(key)?;
        let (text, rest) = value.split_at_checked(memchr2(b'"', b'\\', value.as_bytes())?)?;
        self.0 = rest.strip_prefix('"')?;
        Some(text)
    }

    /// The digits behind a key.
    fn number(&mut self, key: &str) -> Option<u64> {
        let value = self.0.strip_prefix(key)?;
        let mut number = 0u64;
        let mut length = 0;
        for digit in value.bytes().take_while(u8::is_ascii_digit) {
            number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            length += 1;
        }
        self.0 = value.get(length..).filter(|_| length > 0)?;
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use starling_protocol::{ChatMessage, ClientId, MessageId, RoomName, Seq};

    use super::*;

    fn message(text: &str) -> ChatMessage<'_> {
        ChatMessage {
            client_id: ClientId::parse("alice").unwrap(),
            text: text.into(),
            room: Some(RoomName::lobby()),
            seq: Some(Seq(42)),
            to: None,
            at: 1,
            id: None,
        }
    }

    fn encoded(message: ChatMessage<'_>) -> Vec<u8> {
        let mut frame = Vec::new();
        codec::encode_event(&ServerEvent::Message(message), &mut frame);
        frame
    }

    #[test]
    fn what_the_codec_writes_is_read_by_fields() {
        let plain = |text| Delivery { from: "alice", text, room: Some("lobby"), seq: Some(42), to: None, at: 1 };
        let id = MessageId::parse("7-1").unwrap();
        let private = ChatMessage { room: None, seq: None, to: ClientId::parse("bob").ok(), ..message("psst") };
        let cases = [
            (message("hello"), plain("hello")),
            (message(""), plain("")),
            (message("{grüße, 你好}"), plain("{grüße, 你好}")),
            (ChatMessage { id: Some(id.clone()), ..message("hello") }, plain("hello")),
            (private, Delivery { from: "alice", text: "psst", room: None, seq: None, to: Some("bob"), at: 1 }),
        ];
        for (message, expected) in cases {
            let frame = encoded(message);
            let Incoming::Delivery(delivery) = read(&frame).unwrap() else { panic!("read through the codec") };
            assert_eq!(delivery, expected);
        }
    }

    #[test]
    fn what_is_written_otherwise_is_read_through_the_codec() {
        let frames = [
            encoded(message("a \"word\"")),
            encoded(message("two\nlines")),
            encoded(message("back\\slash")),
            encoded(ChatMessage { id: MessageId::parse("a\"b").ok(), ..message("with an id") }),
            br#"{"type":"message","Message":"first","clientId":"alice","at":1}"#.to_vec(),
            br#"{"type":"message","clientId":"alice", "Message":"a blank","at":1}"#.to_vec(),
            br#"{"type":"message","clientId":"alice","Message":"more","at":1,"new":true}"#.to_vec(),
        ];
        for frame in frames {
            let Incoming::Event(event) = read(&frame).unwrap() else { panic!("read by fields") };
            assert!(matches!(*event, ServerEvent::Message(_)), "{event:?}");
        }
    }

    #[test]
    fn a_frame_that_is_no_event_is_an_error() {
        let cut = &encoded(message("hello"))[..60];
        let raw = br#"{"type":"message","clientId":"a","Message":"X","at":1}"#
            .map(|byte| if byte == b'X' { b'\n' } else { byte });
        let other = [&b"hello"[..], b"{}", b"\xff", br#"{"type":"message","clientId":"a"}"#, br#"{"type":"dance"}"#];
        for frame in other.into_iter().chain([cut, &raw]) {
            assert!(read(frame).is_err());
        }
    }
}
