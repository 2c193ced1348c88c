//! Fast parsing of the server's frames.
//!
//! `starling_protocol::codec` defines the protocol's JSON. Deliveries are parsed here a second way, field by field,
//! because they are most of a bot's work: this takes microseconds and borrows all five fields from the frame. A frame
//! that is not written exactly as the codec writes it (escapes in a text, blanks, another order of fields) is parsed by
//! the codec.

use memchr::memchr2;
use starling_protocol::{ServerEvent, codec};

/// The beginning of every `message` frame, as the codec writes it.
const MESSAGE_PREFIX: &str = r#"{"type":"message","#;

/// The highest `seq` that a server may claim: at a million messages a second a room reaches it in a hundred days.
/// Counts of what a million bots miss fit into 64 bits up to there.
pub const SEQ_MAX: u64 = 1 << 43;

/// A frame from the server.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// A message, parsed without allocation.
    Delivery(Delivery<'a>),
    /// Anything else.
    Event(Box<ServerEvent<'a>>),
}

/// The fields of a message that a bot uses.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The sender's name, as the server states it.
    pub from: &'a str,
    /// The text.
    pub text: &'a str,
    /// The room, if it is not private.
    pub room: Option<&'a str>,
    /// Its `seq` in the room or inbox.
    pub seq: Option<u64>,
    /// The receiver's name, if it is private.
    pub to: Option<&'a str>,
    /// The time at which the server accepted it, in milliseconds since the Unix epoch.
    pub at: u64,
}

/// Parses one frame.
///
/// # Errors
/// The parser's error, if the frame is unknown to the protocol or claims a `seq` above [`SEQ_MAX`].
pub fn read(frame: &[u8]) -> Result<Incoming<'_>, serde_json::Error> {
    let frame = std::str::from_utf8(frame).map_err(serde::de::Error::custom)?;
    if let Some(delivery) = read_delivery(frame) {
        return Ok(Incoming::Delivery(delivery));
    }
    let event = codec::decode_event(frame)?;
    match newest_seq(&event).filter(|seq| *seq > SEQ_MAX) {
        Some(seq) => Err(serde::de::Error::custom(format_args!("seq {seq} is impossibly high"))),
        None => Ok(Incoming::Event(Box::new(event))),
    }
}

/// The highest `seq` in an event that a bot uses.
fn newest_seq(event: &ServerEvent<'_>) -> Option<u64> {
    let seq = match event {
        ServerEvent::Welcome(welcome) => {
            let places =
                [welcome.first_room.as_ref().map(|room| room.seq), welcome.inbox.as_ref().map(|inbox| inbox.seq)];
            places.into_iter().flatten().max()
        }
        ServerEvent::Message(message) => message.seq,
        ServerEvent::Edited(edited) => Some(edited.seq),
        ServerEvent::Deleted(deleted) => Some(deleted.seq),
        ServerEvent::Reaction(reaction) => Some(reaction.seq),
        ServerEvent::Ack(ack) => ack.seq,
        ServerEvent::Joined(joined) => Some(joined.seq),
        ServerEvent::Read(read) => Some(read.seq),
        ServerEvent::Left { .. }
        | ServerEvent::Presence(_)
        | ServerEvent::Typing(_)
        | ServerEvent::Settings(_)
        | ServerEvent::Members(_)
        | ServerEvent::Rooms { .. }
        | ServerEvent::History(_)
        | ServerEvent::Pong { .. }
        | ServerEvent::Closing { .. }
        | ServerEvent::Error(_) => None,
    };
    seq.map(|seq| seq.0)
}

/// Parses a delivery that is written exactly as the codec writes one without escapes.
fn read_delivery(frame: &str) -> Option<Delivery<'_>> {
    // No early exit, so that the compiler can check many bytes at once.
    let is_control = |byte: u8| byte < b' ';
    if frame.bytes().fold(false, |any, byte| any | is_control(byte)) {
        return None;
    }
    let mut fields = Fields(frame.strip_prefix(MESSAGE_PREFIX)?);
    let from = fields.text(r#""clientId":""#)?;
    let text = fields.text(r#","Message":""#)?;
    let room = fields.text(r#","room":""#);
    let seq = fields.number(r#","seq":"#);
    if seq > Some(SEQ_MAX) {
        return None;
    }
    let to = fields.text(r#","to":""#);
    let at = fields.number(r#","at":"#)?;
    fields.text(r#","id":""#);
    (fields.0 == "}").then_some(Delivery { from, text, room, seq, to, at })
}

/// The rest of an object, parsed from its front. A field that is absent, or needs the codec, is not consumed.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    /// The text after a key and its quote, up to the next quote.
    fn text(&mut self, key: &str) -> Option<&'a str> {
        let value = self.0.strip_prefix(key)?;
        let (text, rest) = value.split_at_checked(memchr2(b'"', b'\\', value.as_bytes())?)?;
        self.0 = rest.strip_prefix('"')?;
        Some(text)
    }

    /// The digits after a key.
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
        let message = ChatMessage::new(ClientId::parse("alice").unwrap(), text.into(), 1);
        ChatMessage { room: Some(RoomName::lobby()), seq: Some(Seq(42)), ..message }
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
        let other = [&b"hello"[..], b"{}", b"\xff", br#"{"type":"message","Message":"a"}"#, br#"{"type":"dance"}"#];
        for frame in other.into_iter().chain([cut, &raw]) {
            assert!(read(frame).is_err());
        }
    }
}
