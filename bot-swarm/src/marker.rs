//! The marker: what every message of a bot says about itself, so that every receiver can check it.
//!
//! It stands at the beginning of the text, 40 characters that JSON does not escape: `~s2~` and 27 bytes in base64.
//! The rest of the text is padding. A text without a marker was written by somebody else and is counted, not judged.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | a bit for a room or a bot, and how far off the server's time may be, in milliseconds; 127: it is not known |
//! | 2 | the sender's host |
//! | 4 | the sender's process run |
//! | 3 | the sender |
//! | 3 | the room, or the bot |
//! | 4 | the sender's count of its messages to it |
//! | 6 | the planned time by the host's clock, in microseconds |
//! | 4 | the planned time by the server's clock, in ticks |

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::{Buf as _, BufMut as _};

use crate::clock::Nanos;
use crate::server_clock::OnServer;

const PACKED: usize = 27;

const NANOS_PER_MICRO: u64 = 1_000;

/// Bytes of numbers that stand for bots and rooms.
const NUMBER_BYTES: usize = 3;

/// Bytes of a planned time by the host's clock: enough for a host that is up for eight years.
const PLANNED_BYTES: usize = 6;

/// The bit of a message to a room.
const TO_ROOM: u8 = 0x80;

/// In place of milliseconds that the server's time may be off: it is not known. One more than
/// [`OFF_BY_MAX`](crate::server_clock::OFF_BY_MAX).
const OFF_BY_TOO_MUCH: u8 = 0x7f;

/// What a message says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// The host whose monotonic clock `planned` is of, see [`Host`](crate::clock::Host); 0: unknown.
    pub host: u16,
    /// The process run of the sender.
    pub run: u32,
    /// The sender's number in its swarm, below 2^24.
    pub sender: u32,
    /// For whom the message is.
    pub target: MarkedTarget,
    /// The sender's own count of its messages to this target, from 1.
    pub number: u32,
    /// When the message was to be sent by the plan, to a microsecond.
    pub planned: Nanos,
    /// When that was by the server's clock. `None`: the sender did not know.
    pub on_server: Option<OnServer>,
}

/// For whom a marked message is. Both numbers are below 2^24.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkedTarget {
    /// The room whose name has this [`tag`](crate::tag::tag).
    Room(u32),
    /// The bot of this number, in the sender's swarm.
    Bot(u32),
}

impl Marker {
    /// What a marker begins with.
    pub const PREFIX: &str = "~s2~";

    /// Bytes of a marker; no bot's message is shorter.
    pub const LEN: usize = Self::PREFIX.len() + PACKED / 3 * 4;

    /// Writes the text of a message: the marker, then padding up to `bytes`.
    pub fn render(&self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes.max(Self::LEN));
        text.push_str(Self::PREFIX);
        BASE64_URL_SAFE_NO_PAD.encode_string(self.pack(), &mut text);
        text.extend(std::iter::repeat_n('x', bytes.saturating_sub(Self::LEN)));
        text
    }

    /// Reads the marker of a message. `None`: the text was not written by a bot.
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(Self::PREFIX)?.as_bytes().get(..Self::LEN - Self::PREFIX.len())?;
        let mut packed = [0; PACKED];
        // Exactly as long as it must be, so the decoder's estimate of the length cannot be too large for it.
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(encoded, &mut packed).ok()?;
        (length == PACKED).then(|| Self::unpack(&packed))
    }

    fn pack(&self) -> [u8; PACKED] {
        let (kind, target) = match self.target {
            MarkedTarget::Room(tag) => (TO_ROOM, tag),
            MarkedTarget::Bot(number) => (0, number),
        };
        let off_by = self.on_server.and_then(|on_server| off_by_ms(on_server.off_by)).unwrap_or(OFF_BY_TOO_MUCH);
        let mut packed = [0; PACKED];
        let mut rest = packed.as_mut_slice();
        rest.put_u8(kind | off_by);
        rest.put_u16(self.host);
        rest.put_u32(self.run);
        rest.put_uint(self.sender.into(), NUMBER_BYTES);
        rest.put_uint(target.into(), NUMBER_BYTES);
        rest.put_u32(self.number);
        rest.put_uint(self.planned.0 / NANOS_PER_MICRO, PLANNED_BYTES);
        rest.put_u32(self.on_server.map_or(0, |on_server| on_server.tick));
        packed
    }

    fn unpack(packed: &[u8; PACKED]) -> Self {
        let mut rest = packed.as_slice();
        let first = rest.get_u8();
        let host = rest.get_u16();
        let run = rest.get_u32();
        let sender = get_number(&mut rest);
        let target = get_number(&mut rest);
        let number = rest.get_u32();
        let planned = Nanos(rest.get_uint(PLANNED_BYTES) * NANOS_PER_MICRO);
        let tick = rest.get_u32();
        let target = if first & TO_ROOM == 0 { MarkedTarget::Bot(target) } else { MarkedTarget::Room(target) };
        let off_by = first & !TO_ROOM;
        let on_server = OnServer { tick, off_by: Duration::from_millis(off_by.into()) };
        let on_server = Some(on_server).filter(|_| off_by != OFF_BY_TOO_MUCH);
        Self { host, run, sender, target, number, planned, on_server }
    }
}

fn get_number(packed: &mut &[u8]) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "three bytes")]
    let number = packed.get_uint(NUMBER_BYTES) as u32;
    number
}

/// Whole milliseconds, rounded up. `None`: too many for a marker.
fn off_by_ms(off_by: Duration) -> Option<u8> {
    let ms = off_by.as_micros().div_ceil(1_000);
    u8::try_from(ms).ok().filter(|ms| *ms < OFF_BY_TOO_MUCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::tag;

    fn marker(target: MarkedTarget) -> Marker {
        let on_server = Some(OnServer { tick: u32::MAX - 1, off_by: Duration::from_millis(126) });
        let planned = Nanos(0xffff_ffff_ffff * NANOS_PER_MICRO);
        Marker { host: 7, run: 0xdead_beef, sender: 0xff_ffff, target, number: u32::MAX, planned, on_server }
    }

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        for target in [MarkedTarget::Room(tag("lobby")), MarkedTarget::Bot(0xff_ffff)] {
            for bytes in [0, Marker::LEN, Marker::LEN + 1, 500] {
                let text = marker(target).render(bytes);
                assert_eq!(text.len(), bytes.max(Marker::LEN));
                assert_eq!(Marker::parse(&text), Some(marker(target)));
            }
        }
    }

    #[test]
    fn how_far_off_the_servers_time_may_be_is_rounded_up_and_too_far_is_not_known() {
        let read = |on_server| Marker::parse(&Marker { on_server, ..marker(MarkedTarget::Bot(3)) }.render(0)).unwrap();
        let off_by = |micros| {
            let written = OnServer { tick: 5, off_by: Duration::from_micros(micros) };
            read(Some(written)).on_server.map(|on_server| on_server.off_by)
        };
        assert_eq!(off_by(601), Some(Duration::from_millis(1)));
        assert_eq!(off_by(126_000), Some(Duration::from_millis(126)));
        assert_eq!(off_by(126_001), None);
        assert_eq!(read(None).on_server, None);
    }

    #[test]
    fn a_marker_needs_no_escapes_in_json() {
        let text = marker(MarkedTarget::Bot(0)).render(64);
        assert_eq!(serde_json::to_string(&text).unwrap().len(), text.len() + 2);
    }

    #[test]
    fn what_people_write_has_no_marker() {
        for text in
            ["", "hello", "~s2~", "~s2~ hello, this is not a marker at all, is it?", "~s2~äöüäöüäöüäöüäöüäöüäöü"]
        {
            assert_eq!(Marker::parse(text), None, "{text}");
        }
        let cut = &marker(MarkedTarget::Bot(1)).render(0)[..Marker::LEN - 1];
        assert_eq!(Marker::parse(cut), None);
    }
}
