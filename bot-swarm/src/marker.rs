//! The marker: what every message of a bot says about itself, so that every receiver can check it.
//!
//! It stands at the beginning of the text, 40 characters that JSON does not escape: `~s1~` and 27 bytes in base64.
//! The rest of the text is padding. A text without a marker was written by somebody else and is counted, not judged.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::clock::Nanos;

const PACKED: usize = 27;

/// What a message says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// The host whose monotonic clock `planned` is of, see [`host_tag`](crate::clock::host_tag); 0: unknown.
    pub host: u16,
    /// The process run of the sender.
    pub run: u32,
    /// The sender's number in its swarm.
    pub sender: u32,
    /// For whom the message is.
    pub target: MarkedTarget,
    /// The sender's own count of its messages to this target, from 1.
    pub number: u32,
    /// When the message was to be sent by the plan.
    pub planned: Nanos,
}

/// For whom a marked message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkedTarget {
    /// The room whose name has this [`tag`].
    Room(u32),
    /// The bot of this number, in the sender's swarm.
    Bot(u32),
}

impl Marker {
    /// What a marker begins with.
    pub const PREFIX: &str = "~s1~";

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
        if length == PACKED { Self::unpack(&packed) } else { None }
    }

    fn pack(&self) -> [u8; PACKED] {
        let (kind, target) = match self.target {
            MarkedTarget::Room(tag) => (b'r', tag),
            MarkedTarget::Bot(number) => (b'p', number),
        };
        let mut packed = [0; PACKED];
        let mut rest = packed.as_mut_slice();
        for field in [
            &[kind][..],
            &self.host.to_be_bytes(),
            &self.run.to_be_bytes(),
            &self.sender.to_be_bytes(),
            &target.to_be_bytes(),
            &self.number.to_be_bytes(),
            &self.planned.0.to_be_bytes(),
        ] {
            bytes::BufMut::put_slice(&mut rest, field);
        }
        packed
    }

    fn unpack(packed: &[u8; PACKED]) -> Option<Self> {
        let mut rest = packed.as_slice();
        let fields = &mut rest;
        let kind = bytes::Buf::get_u8(fields);
        let host = bytes::Buf::get_u16(fields);
        let run = bytes::Buf::get_u32(fields);
        let sender = bytes::Buf::get_u32(fields);
        let target = bytes::Buf::get_u32(fields);
        let number = bytes::Buf::get_u32(fields);
        let planned = Nanos(bytes::Buf::get_u64(fields));
        let target = match kind {
            b'r' => MarkedTarget::Room(target),
            b'p' => MarkedTarget::Bot(target),
            _ => return None,
        };
        Some(Self { host, run, sender, target, number, planned })
    }
}

/// A number that stands for a name: 32-bit FNV-1a.
pub fn tag(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(target: MarkedTarget) -> Marker {
        Marker { host: 7, run: 0xdead_beef, sender: 1_999, target, number: 42, planned: Nanos(u64::MAX - 1) }
    }

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        for target in [MarkedTarget::Room(tag("lobby")), MarkedTarget::Bot(3)] {
            for bytes in [0, Marker::LEN, Marker::LEN + 1, 500] {
                let text = marker(target).render(bytes);
                assert_eq!(text.len(), bytes.max(Marker::LEN));
                assert_eq!(Marker::parse(&text), Some(marker(target)));
            }
        }
    }

    #[test]
    fn a_marker_needs_no_escapes_in_json() {
        let text = marker(MarkedTarget::Bot(u32::MAX)).render(64);
        assert_eq!(serde_json::to_string(&text).unwrap().len(), text.len() + 2);
    }

    #[test]
    fn what_people_write_has_no_marker() {
        for text in
            ["", "hello", "~s1~", "~s1~ hello, this is not a marker at all, is it?", "~s1~äöüäöüäöüäöüäöüäöüäöü"]
        {
            assert_eq!(Marker::parse(text), None, "{text}");
        }
        let cut = &marker(MarkedTarget::Bot(1)).render(0)[..Marker::LEN - 1];
        assert_eq!(Marker::parse(cut), None);
    }
}
