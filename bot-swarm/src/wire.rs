//! Reading what the server sends, made cheap for what comes most.
//!
//! `starling_protocol::codec` is where the protocol's JSON is known. A delivery is read here once more, by fields,
//! because a bot needs five of its fields for microseconds: all borrowed from the frame, nothing allocated. Whatever
//! does not fit (escapes in a text, another `type`, another order of fields) goes through the codec.

use serde::Deserialize;
use starling_protocol::{ServerEvent, codec};

/// What every `message` frame of the server begins with, by the codec.
const MESSAGE_PREFIX: &[u8] = br#"{"type":"message","#;

/// What came from the server.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// A message, read without allocation.
    Delivery(Delivery<'a>),
    /// Anything else.
    Event(Box<ServerEvent<'a>>),
}

/// What a bot looks at in a message.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Delivery<'a> {
    /// Who wrote it.
    #[serde(rename = "clientId")]
    pub client_id: &'a str,
    /// What was written.
    #[serde(rename = "Message")]
    pub text: &'a str,
    /// The room, where it was written in one.
    #[serde(default)]
    pub room: Option<&'a str>,
    /// Its place in that room.
    #[serde(default)]
    pub seq: Option<u64>,
    /// To whom, where it is private.
    #[serde(default)]
    pub to: Option<&'a str>,
}

/// Reads one frame.
///
/// # Errors
/// The parser's, where the frame is nothing that the protocol knows.
pub fn read(frame: &[u8]) -> Result<Incoming<'_>, serde_json::Error> {
    if frame.starts_with(MESSAGE_PREFIX)
        && let Ok(delivery) = serde_json::from_slice(frame)
    {
        return Ok(Incoming::Delivery(delivery));
    }
    let text = std::str::from_utf8(frame).map_err(serde::de::Error::custom)?;
    codec::decode_event(text).map(|event| Incoming::Event(Box::new(event)))
}

#[cfg(test)]
mod tests {
    use starling_protocol::{ChatMessage, ClientId, RoomName, Seq};

    use super::*;

    fn encoded(text: &str) -> Vec<u8> {
        let message = ChatMessage {
            client_id: ClientId::parse("alice").unwrap(),
            text: text.into(),
            room: Some(RoomName::lobby()),
            seq: Some(Seq(42)),
            to: None,
            at: 1,
            id: None,
        };
        let mut frame = Vec::new();
        codec::encode_event(&ServerEvent::Message(message), &mut frame);
        frame
    }

    #[test]
    fn what_the_codec_writes_is_read_by_fields() {
        let frame = encoded("hello");
        let Incoming::Delivery(delivery) = read(&frame).unwrap() else { panic!("read through the codec") };
        let expected = Delivery { client_id: "alice", text: "hello", room: Some("lobby"), seq: Some(42), to: None };
        assert_eq!(delivery, expected);
    }

    #[test]
    fn a_text_with_escapes_is_read_through_the_codec() {
        let frame = encoded("a \"word\"");
        let Incoming::Event(event) = read(&frame).unwrap() else { panic!("read by fields") };
        assert!(matches!(*event, ServerEvent::Message(message) if message.text == "a \"word\""));
    }

    #[test]
    fn a_frame_that_is_no_event_is_an_error() {
        for frame in [&b"hello"[..], b"{}", b"\xff", br#"{"type":"message","clientId":"a"}"#, br#"{"type":"dance"}"#] {
            assert!(read(frame).is_err());
        }
    }
}
