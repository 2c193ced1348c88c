//! The marker: a description of each bot's message in its text, so that every receiver can check the message.
//!
//! It is at the beginning of the text, 48 characters that JSON does not escape: `~s3~` and 33 bytes in base64. The rest
//! of the text is padding. A text without a marker is not a bot's; it is counted, not judged. The check covers the
//! marker, the length of the text and the names that the message is delivered under, so every change by a server is
//! [found](Reading::Altered).
//!
//! | bytes | content |
//! |---|---|
//! | 1 | a bit for a room or a bot, and the possible error of the server's time, in milliseconds; 127: unknown |
//! | 2 | the sender's host |
//! | 4 | the sender's process run |
//! | 3 | the sender |
//! | 3 | the room, or the bot |
//! | 4 | the message's number among the sender's messages to this target |
//! | 6 | a bit: the message is sent again; and the planned time by the host's clock, in microseconds |
//! | 4 | the planned time by the server's clock, in ticks |
//! | 3 | a bit: the check covers names; and the sender's own delay of the message, in [`OwnWait`]'s unit |
//! | 3 | the check |

use std::hash::Hasher as _;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::{Buf as _, BufMut as _};
use rustc_hash::FxHasher;

use crate::clock::Nanos;
use crate::server_clock::OnServer;

/// The size of a marker without its check, in bytes.
const FIELDS: usize = 30;

/// The size of a marker before base64 encoding, in bytes.
const PACKED: usize = FIELDS + CHECK_BYTES;

/// The size of the check, in bytes: one of 16 million altered messages passes.
const CHECK_BYTES: usize = 3;

/// The bit of a marker whose check covers names.
const NAMED: u32 = 0x80_0000;

/// The padding of a message's text.
const PADDING: u8 = b'x';

const NANOS_PER_MICRO: u64 = 1_000;

/// The size of a bot's or a room's number, in bytes.
const NUMBER_BYTES: usize = 3;

/// The size of a planned time by the host's clock, in bytes: enough for an uptime of four years.
const PLANNED_BYTES: usize = 6;

/// The bit of a message that is sent again.
const AGAIN: u64 = 0x8000_0000_0000;

/// The bit of a message to a room.
const TO_ROOM: u8 = 0x80;

/// The value for an unknown error of the server's time: one more than
/// [`OFF_BY_MAX`](crate::server_clock::OFF_BY_MAX).
const OFF_BY_TOO_MUCH: u8 = 0x7f;

/// The content of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// The host of the monotonic clock of `planned`, see [`Host`](crate::clock::Host); 0: unknown.
    pub host: u16,
    /// The process run of the sender.
    pub run: u32,
    /// The sender's number in its swarm, below 2^24.
    pub sender: u32,
    /// The receiver of the message.
    pub target: MarkedTarget,
    /// The number of this message among the sender's messages to this target, from 1.
    pub number: u32,
    /// The planned time of sending, to a microsecond.
    pub planned: Nanos,
    /// The planned time by the server's clock. `None`: the sender did not know it.
    pub on_server: Option<OnServer>,
    /// The sender's own delay since then: it is not part of the message's latency.
    pub own_wait: OwnWait,
    /// Whether the sender has sent the message before, with the same `id`, and has got no answer.
    pub is_again: bool,
}

/// A bot's own delay of a message, in tenths of a millisecond, rounded down; at most 13 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnWait(u32);

impl OwnWait {
    /// Its size in a marker, in bytes.
    const BYTES: usize = 3;

    /// The longest delay.
    const MAX: u32 = 0x7f_ffff;

    /// The unit of the delay, in microseconds.
    const MICROS: u64 = 100;

    /// The delay as a duration.
    pub fn duration(self) -> Duration {
        Duration::from_micros(u64::from(self.0) * Self::MICROS)
    }

    /// Adds a delay.
    #[must_use]
    pub fn and(self, more: Duration) -> Self {
        let more = u32::try_from(more.as_micros() / u128::from(Self::MICROS)).unwrap_or(Self::MAX);
        Self(self.0.saturating_add(more).min(Self::MAX))
    }
}

/// The receiver of a marked message. Both numbers are below 2^24.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkedTarget {
    /// The room whose name has this [`tag`](crate::tag::tag).
    Room(u32),
    /// The bot with this number, in the sender's swarm.
    Bot(u32),
}

/// The names that a message is delivered under. The check of its marker covers them.
///
/// Both are empty with a server that delivers only a text, or uses a wrapping of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Names<'a> {
    /// The sender's name, the message's `clientId`.
    pub from: &'a str,
    /// The receiver's name if the message is private, empty otherwise.
    pub to: &'a str,
}

/// The result of reading a message's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// A bot's message, unchanged.
    Marked(Marker),
    /// It begins like a bot's message, but its text, its length or its names were changed.
    Altered,
    /// Not a bot's message.
    Unmarked,
}

impl Marker {
    /// The beginning of a marker.
    pub const PREFIX: &str = "~s3~";

    /// The size of a marker, in bytes; no bot's message is shorter.
    pub const LEN: usize = Self::PREFIX.len() + PACKED / 3 * 4;

    /// Writes the text of a message: the marker, then padding up to `bytes`.
    pub fn render(&self, bytes: usize, names: Names<'_>) -> String {
        let bytes = bytes.max(Self::LEN);
        let mut packed = self.pack(names != Names::default());
        let (fields, check) = packed.split_at_mut(FIELDS);
        check.copy_from_slice(&check_of(fields, bytes, names));
        let mut text = String::with_capacity(bytes);
        text.push_str(Self::PREFIX);
        BASE64_URL_SAFE_NO_PAD.encode_string(packed, &mut text);
        text.extend(std::iter::repeat_n(char::from(PADDING), bytes - Self::LEN));
        text
    }

    /// Reads the text of a message that was delivered under these names. If the check does not cover names, they are
    /// not checked: the message is from a bot with another dialect.
    pub fn read(text: &str, names: Names<'_>) -> Reading {
        let Some(rest) = text.strip_prefix(Self::PREFIX) else { return Reading::Unmarked };
        let read = || {
            let (encoded, padding) = rest.as_bytes().split_at_checked(Self::LEN - Self::PREFIX.len())?;
            let mut packed = [0; PACKED];
            // The text has exactly the right length, so the decoder's estimate of the length fits.
            let length = BASE64_URL_SAFE_NO_PAD.decode_slice(encoded, &mut packed).ok()?;
            let (fields, check) = packed.split_at_checked(FIELDS)?;
            // No early exit, so that the compiler can compare many bytes at once.
            let is_padded = padding.iter().fold(0, |differing, byte| differing | (byte ^ PADDING)) == 0;
            let names = if is_named(fields) { names } else { Names::default() };
            let is_whole = is_padded && length == PACKED && check == check_of(fields, text.len(), names);
            is_whole.then(|| Self::unpack(fields))
        };
        read().map_or(Reading::Altered, Reading::Marked)
    }

    /// Finds the text of a message inside a server's wrapping, and reads it. The text ends with its padding. A text
    /// whose check covers names is from a bot with another dialect, and cannot be checked.
    pub fn find(wrapped: &str) -> Reading {
        let Some(text) = wrapped.find(Self::PREFIX).and_then(|at| wrapped.get(at..)) else { return Reading::Unmarked };
        let padding = text.as_bytes().get(Self::LEN..).unwrap_or_default();
        let end = Self::LEN + padding.iter().take_while(|byte| **byte == PADDING).count();
        let Some(text) = text.get(..end) else { return Reading::Altered };
        let mut packed = [0; PACKED];
        let encoded = text.as_bytes().get(Self::PREFIX.len()..Self::LEN).unwrap_or_default();
        let is_others = BASE64_URL_SAFE_NO_PAD.decode_slice(encoded, &mut packed).is_ok() && is_named(&packed);
        if is_others { Reading::Unmarked } else { Self::read(text, Names::default()) }
    }

    fn pack(&self, is_named: bool) -> [u8; PACKED] {
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
        let again = if self.is_again { AGAIN } else { 0 };
        rest.put_uint((self.planned.0 / NANOS_PER_MICRO) | again, PLANNED_BYTES);
        rest.put_u32(self.on_server.map_or(0, |on_server| on_server.tick));
        let named = if is_named { NAMED } else { 0 };
        rest.put_uint((self.own_wait.0 | named).into(), OwnWait::BYTES);
        packed
    }

    /// Reads the fields from [`FIELDS`] bytes.
    fn unpack(mut rest: &[u8]) -> Self {
        let first = rest.get_u8();
        let host = rest.get_u16();
        let run = rest.get_u32();
        let sender = get_number(&mut rest);
        let target = get_number(&mut rest);
        let number = rest.get_u32();
        let planned = rest.get_uint(PLANNED_BYTES);
        let (planned, is_again) = (Nanos((planned & !AGAIN) * NANOS_PER_MICRO), planned & AGAIN != 0);
        let tick = rest.get_u32();
        let own_wait = OwnWait(get_number(&mut rest) & OwnWait::MAX);
        let target = if first & TO_ROOM == 0 { MarkedTarget::Bot(target) } else { MarkedTarget::Room(target) };
        let off_by = first & !TO_ROOM;
        let on_server = OnServer { tick, off_by: Duration::from_millis(off_by.into()) };
        let on_server = Some(on_server).filter(|_| off_by != OFF_BY_TOO_MUCH);
        Self { host, run, sender, target, number, planned, on_server, own_wait, is_again }
    }
}

/// Whether the check of a marker with these fields covers names.
fn is_named(fields: &[u8]) -> bool {
    const BYTE: usize = FIELDS - OwnWait::BYTES;
    fields.get(BYTE).is_some_and(|byte| u32::from(*byte) << 16 & NAMED != 0)
}

/// The check of a marker with these fields, in a text of this many bytes. It is the same in every process of one
/// version.
fn check_of(fields: &[u8], bytes: usize, Names { from, to }: Names<'_>) -> [u8; CHECK_BYTES] {
    let mut hasher = FxHasher::default();
    hasher.write(fields);
    hasher.write_usize(bytes);
    hasher.write(from.as_bytes());
    hasher.write_usize(from.len());
    hasher.write(to.as_bytes());
    let [.., a, b, c] = hasher.finish().to_be_bytes();
    [a, b, c]
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

    const NAMES: Names<'static> = Names { from: "host-7", to: "" };

    fn marker(target: MarkedTarget) -> Marker {
        let on_server = Some(OnServer { tick: u32::MAX - 1, off_by: Duration::from_millis(126) });
        let planned = Nanos(0x7fff_ffff_ffff * NANOS_PER_MICRO);
        let own_wait = OwnWait::default().and(Duration::from_mins(1));
        let (run, sender, number) = (0xdead_beef, 0xff_ffff, u32::MAX);
        Marker { host: 7, run, sender, target, number, planned, on_server, own_wait, is_again: false }
    }

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        for target in [MarkedTarget::Room(tag("lobby")), MarkedTarget::Bot(0xff_ffff)] {
            for (bytes, is_again) in [(0, false), (Marker::LEN, true), (Marker::LEN + 1, false), (500, true)] {
                let marker = Marker { is_again, ..marker(target) };
                let text = marker.render(bytes, NAMES);
                assert_eq!(text.len(), bytes.max(Marker::LEN));
                assert_eq!(Marker::read(&text, NAMES), Reading::Marked(marker));
            }
        }
    }

    #[test]
    fn whatever_is_changed_in_a_message_is_found() {
        let target = MarkedTarget::Room(tag("lobby"));
        for bytes in [Marker::LEN, 64] {
            let text = marker(target).render(bytes, NAMES);
            let others = [Names { from: "host-8", ..NAMES }, Names { to: "host-8", ..NAMES }, Names::default()];
            for names in others {
                assert_eq!(Marker::read(&text, names), Reading::Altered, "{names:?}");
            }
            for place in 0..bytes {
                let mut changed = text.clone().into_bytes();
                changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(changed).unwrap();
                let expected = if place < Marker::PREFIX.len() { Reading::Unmarked } else { Reading::Altered };
                assert_eq!(Marker::read(&changed, NAMES), expected, "{changed}");
            }
            for other in [format!("{text}x"), format!("{text}<br>"), text[..bytes - 1].to_owned()] {
                assert_eq!(Marker::read(&other, NAMES), Reading::Altered, "{other}");
            }
        }
    }

    #[test]
    fn what_bots_of_another_dialect_said_is_not_called_altered() {
        let target = MarkedTarget::Room(tag("lobby"));
        let plain = marker(target).render(0, Names::default());
        assert_eq!(Marker::read(&plain, NAMES), Reading::Marked(marker(target)));
        assert_eq!(Marker::find(&marker(target).render(0, NAMES)), Reading::Unmarked);
    }

    #[test]
    fn a_marker_is_found_in_whatever_a_server_wraps_it_in() {
        let target = MarkedTarget::Room(tag("lobby"));
        for bytes in [Marker::LEN, 100] {
            let text = marker(target).render(bytes, Names::default());
            let read = |wrapped: &str| Marker::find(wrapped);
            assert_eq!(read(&format!(r#"42["message","{text}"]"#)), Reading::Marked(marker(target)));
            assert_eq!(read(&format!(r#"{{"text":"{}"}}"#, &text[..bytes - 1])), Reading::Altered);
            assert_eq!(read(r#"{"text":"hello"}"#), Reading::Unmarked);
        }
    }

    #[test]
    fn what_a_bot_kept_waiting_is_added_up_and_bounded() {
        let ms = Duration::from_millis;
        assert_eq!(
            OwnWait::default().and(ms(7)).and(Duration::from_micros(1_999)).duration(),
            Duration::from_micros(8_900)
        );
        let longest = OwnWait::default().and(Duration::MAX).and(ms(1));
        assert_eq!(longest.duration().as_secs(), 838);
    }

    #[test]
    fn how_far_off_the_servers_time_may_be_is_rounded_up_and_too_far_is_not_known() {
        let read = |on_server| {
            let text = Marker { on_server, ..marker(MarkedTarget::Bot(3)) }.render(0, NAMES);
            let Reading::Marked(marker) = Marker::read(&text, NAMES) else { panic!("{text}") };
            marker
        };
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
        let text = marker(MarkedTarget::Bot(0)).render(64, NAMES);
        assert_eq!(serde_json::to_string(&text).unwrap().len(), text.len() + 2);
    }

    #[test]
    fn what_people_write_has_no_marker() {
        for text in ["", "hello", "~s2~ of another version", "~ s3~", "äöüäöüäöüäöüäöüäöüäöü"] {
            assert_eq!(Marker::read(text, NAMES), Reading::Unmarked, "{text}");
        }
        for text in ["~s3~", "~s3~ hello, this is not a marker at all, is it?", "~s3~äöüäöüäöüäöüäöüäöüäöüäöüäöü"]
        {
            assert_eq!(Marker::read(text, NAMES), Reading::Altered, "{text}");
        }
    }
}
