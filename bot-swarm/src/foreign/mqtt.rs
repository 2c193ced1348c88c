//! MQTT 3.1.1 over WebSocket: binary packets, which do not necessarily end with a frame. Publications are acknowledged
//! in both directions.

use std::time::Duration;

use awc::ws::Message;
use bytes::{Buf as _, BufMut as _, Bytes};

use super::{Heard, ROOM};

/// The keep-alive interval: the server expects a packet from the client at least this often.
pub(super) const KEEP_ALIVE: Duration = Duration::from_mins(1);

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PINGREQ: u8 = 0xc0;
const PINGRESP: u8 = 0xd0;

/// The level of the protocol, 3.1.1.
const LEVEL: u8 = 4;
/// A session without earlier state, which ends with the connection.
const CLEAN_SESSION: u8 = 0x02;
const QOS: u8 = 1;
const QOS_BITS: u8 = 0x06;

/// The most bytes that encode the length of a packet.
const LENGTH_BYTES_MAX: usize = 4;

/// The packet identifier of the only subscription. It does not collide with those of messages.
const SUBSCRIPTION: u16 = 1;

/// Packet identifiers have 16 bits and are not 0. A bot has far fewer messages in flight.
pub(super) fn wire_id(serial: u64) -> u64 {
    (serial.saturating_sub(1)) % u64::from(u16::MAX) + 1
}

pub(super) fn connect(name: &str) -> Message {
    let mut body = Vec::new();
    put_text(&mut body, "MQTT");
    body.extend([LEVEL, CLEAN_SESSION]);
    body.put_u16(u16::try_from(KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX));
    put_text(&mut body, name);
    packet(CONNECT, &body)
}

pub(super) fn publish(id: u64, said: &str) -> Message {
    let mut body = Vec::with_capacity(said.len() + ROOM.len() + 4);
    put_text(&mut body, ROOM);
    body.put_u16(u16::try_from(id).unwrap_or(u16::MAX));
    body.extend_from_slice(said.as_bytes());
    packet(PUBLISH | QOS << 1, &body)
}

pub(super) fn ping() -> Message {
    packet(PINGREQ, &[])
}

fn subscribe() -> Message {
    let mut body = Vec::new();
    body.put_u16(SUBSCRIPTION);
    put_text(&mut body, ROOM);
    body.push(QOS);
    packet(SUBSCRIBE, &body)
}

/// Handles every complete packet. Returns the number of bytes that are left.
pub(super) fn hear(mut bytes: &[u8], told: &mut impl FnMut(Heard<'_>)) -> usize {
    loop {
        let Some((kind, head, length)) = header(bytes) else {
            let is_endless = bytes.len() > LENGTH_BYTES_MAX;
            if is_endless {
                told(Heard::Nonsense);
            }
            return if is_endless { 0 } else { bytes.len() };
        };
        let Some(body) = bytes.get(head..head + length) else { return bytes.len() };
        if hear_packet(kind, body, told).is_none() {
            told(Heard::Nonsense);
        }
        bytes = bytes.get(head + length..).unwrap_or_default();
    }
}

/// The first byte of a packet, and the lengths of its header and body. `None`: incomplete, or the length is too long.
fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (kind, rest) = bytes.split_first()?;
    let mut length = 0;
    for (place, byte) in rest.iter().take(LENGTH_BYTES_MAX).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((*kind, place + 2, length));
        }
    }
    None
}

fn hear_packet(kind: u8, mut body: &[u8], told: &mut impl FnMut(Heard<'_>)) -> Option<()> {
    match kind & 0xf0 {
        CONNACK => told(match body.get(1)? {
            0 => Heard::Answer(subscribe()),
            code => Heard::Refused(None, format!("mqtt: connection refused with code {code}")),
        }),
        SUBACK => told(match body.get(2)? {
            0..=2 => Heard::Joined,
            _ => Heard::Refused(None, "mqtt: the topic was refused".to_owned()),
        }),
        PUBACK => told(Heard::Taken(body.try_get_u16().ok()?.into())),
        PUBLISH => {
            let topic = usize::from(body.try_get_u16().ok()?);
            body = body.get(topic..)?;
            let id = if kind & QOS_BITS == 0 { None } else { Some(body.try_get_u16().ok()?) };
            told(Heard::Said(body));
            if let Some(id) = id {
                told(Heard::Answer(packet(PUBACK, &id.to_be_bytes())));
            }
        }
        PINGRESP => {}
        _ => return None,
    }
    Some(())
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    body.extend_from_slice(text.as_bytes());
}

fn packet(kind: u8, body: &[u8]) -> Message {
    let mut packet = vec![kind];
    let mut length = body.len();
    loop {
        #[expect(clippy::cast_possible_truncation, reason = "seven bits")]
        let bits = (length & 0x7f) as u8;
        length >>= 7;
        packet.push(bits | if length > 0 { 0x80 } else { 0 });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    Message::Binary(Bytes::from(packet))
}
