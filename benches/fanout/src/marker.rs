//! The marker at the beginning of a payload: who sent it, which of its messages it is, and when it was due.
//!
//! A server returns the payload unchanged, in a frame of any form. So a marker consists of characters that need no
//! escape, and is found by its first four.

use memchr::memchr_iter;

/// The first characters.
const SIGN: &[u8; 4] = b"~fb~";

/// The fields, six bits a character: sender, target, number, time.
const WIDTHS: [usize; 4] = [4, 4, 6, 10];

/// The length of a marker.
pub(crate) const BYTES: usize = 28;

const CHARACTERS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

const VALUES: [u8; 256] = {
    let mut values = [0; 256];
    let mut value = 0;
    while value < 64 {
        values[CHARACTERS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// The content of a marker that is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    pub(crate) sender: usize,
    /// The receiver of a private message; otherwise any.
    pub(crate) target: usize,
    pub(crate) number: u32,
    /// The time at which the message was due, on this process's [clock](crate::clock).
    pub(crate) due: u64,
}

impl Content {
    /// Writes the marker to the beginning of a payload.
    pub(crate) fn write(self, payload: &mut [u8]) {
        let (sign, mut rest) = payload.split_at_mut(SIGN.len());
        sign.copy_from_slice(SIGN);
        let fields = [self.sender as u64, self.target as u64, u64::from(self.number), self.due];
        for (width, mut value) in WIDTHS.into_iter().zip(fields) {
            let (field, after) = rest.split_at_mut(width);
            for character in field.iter_mut().rev() {
                *character = CHARACTERS[(value & 63) as usize];
                value >>= 6;
            }
            rest = after;
        }
    }
}

/// A marker that has arrived. Its fields are decoded on demand: not every delivery needs all of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marker<'a>(&'a [u8]);

impl<'a> Marker<'a> {
    /// The marker at this offset, if there is one.
    pub(crate) fn at(bytes: &'a [u8], offset: usize) -> Option<Self> {
        let marker = bytes.get(offset..offset + BYTES)?;
        marker.starts_with(SIGN).then_some(Self(marker))
    }

    /// The offset of the first marker from here on.
    pub(crate) fn find(bytes: &[u8], from: usize) -> Option<usize> {
        // Not `memmem`: its preparation takes longer than most frames are long.
        let rest = bytes.get(from..)?;
        let at = memchr_iter(SIGN[0], rest.get(..(rest.len() + 1).checked_sub(BYTES)?)?);
        at.map(|at| from + at).find(|at| bytes[*at..].starts_with(SIGN))
    }

    fn field(self, begin: usize, end: usize) -> u64 {
        self.0[begin..end].iter().fold(0, |value, character| value << 6 | u64::from(VALUES[usize::from(*character)]))
    }

    pub(crate) fn sender(self) -> usize {
        self.field(4, 8) as usize
    }

    pub(crate) fn target(self) -> usize {
        self.field(8, 12) as usize
    }

    #[expect(clippy::cast_possible_truncation, reason = "a number is written as 32 bits")]
    pub(crate) fn number(self) -> u32 {
        self.field(12, 18) as u32
    }

    pub(crate) fn due(self) -> u64 {
        self.field(18, 28)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_wherever_it_stands() {
        let mut payload = [b'x'; 40];
        Content { sender: 12_345, target: 9_999_999, number: u32::MAX, due: 1 << 59 }.write(&mut payload);
        let frame = [b"{\"Message\":\"~ ~fb \"".as_slice(), &payload].concat();
        let at = Marker::find(&frame, 0).unwrap();
        let marker = Marker::at(&frame, at).unwrap();
        assert_eq!(
            (marker.sender(), marker.target(), marker.number(), marker.due()),
            (12_345, 9_999_999, u32::MAX, 1 << 59)
        );
        assert_eq!(Marker::find(&frame, at + 1), None);
        assert!(Marker::at(&frame[..at + BYTES - 1], at).is_none(), "it is cut short");
    }
}
