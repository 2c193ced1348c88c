//! Parses the body of an HTTP request byte by byte, to find its end.
//!
//! The parser is pure: it does no I/O.

use crate::refusal::{HttpCode, HttpRefusal};

/// Most bytes of a chunked body that are not data: sizes, extensions and trailers.
const FRAMING_BYTES_MAX: u64 = 64 * 1024;

/// Takes up to `left` of these bytes, and returns the number of missing bytes.
fn pass(left: u64, bytes: &[u8], taken: &mut usize) -> u64 {
    let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    *taken += count;
    left - count as u64
}

/// The parser of one body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Body {
    part: Part,
    /// Data bytes that may still arrive.
    data_left: u64,
    /// Other bytes that may still arrive.
    framing_left: u64,
    data_max: u64,
}

/// The next part of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The rest of a body whose length is known.
    Rest(u64),
    /// A chunk's size; the digits read so far.
    Size { size: u64, digits: u8 },
    /// The extension after a chunk's size.
    Extension { size: u64 },
    /// The line feed of a chunk's size.
    SizeEnd { size: u64 },
    /// The data of a chunk; the number is that of the missing bytes.
    Data(u64),
    /// The carriage return after a chunk's data.
    DataCr,
    /// The line feed after a chunk's data.
    DataLf,
    /// The start of a trailer field, or the end of the trailers.
    Trailer,
    /// The rest of such a field's name.
    TrailerName,
    /// The value of a trailer field.
    TrailerValue,
    /// The line feed after a trailer field.
    TrailerLf,
    /// The line feed that ends all.
    LastLf,
    /// The body is complete.
    End,
}

impl Body {
    pub(crate) fn of_length(length: u64) -> Self {
        Self { part: Part::Rest(length), data_left: length, framing_left: 0, data_max: length }
    }

    pub(crate) fn chunked(data_max: u64) -> Self {
        let part = Part::Size { size: 0, digits: 0 };
        Self { part, data_left: data_max, framing_left: FRAMING_BYTES_MAX, data_max }
    }

    /// Whether the body is complete.
    pub(crate) fn is_over(&self) -> bool {
        self.part == Part::End
    }

    /// Returns how many of these bytes belong to the body.
    ///
    /// # Errors
    /// 400 for a malformed chunked body, 413 for one that is too large.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, HttpRefusal> {
        let mut taken = 0;
        while let (false, Some(rest)) = (self.is_over(), bytes.get(taken..).filter(|rest| !rest.is_empty())) {
            if let Part::Rest(left) = self.part {
                let left = pass(left, rest, &mut taken);
                self.part = if left == 0 { Part::End } else { Part::Rest(left) };
                continue;
            }
            if let Part::Data(left) = self.part {
                let left = pass(left, rest, &mut taken);
                self.part = if left == 0 { Part::DataCr } else { Part::Data(left) };
                continue;
            }
            let Some(byte) = rest.first() else { break };
            taken += 1;
            self.framing_left = self.framing_left.checked_sub(1).ok_or_else(framing_too_large)?;
            self.part = self.step(*byte)?;
        }
        Ok(taken)
    }

    fn step(&mut self, byte: u8) -> Result<Part, HttpRefusal> {
        Ok(match (self.part, byte) {
            (Part::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < 16 => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Part::Size { size: (size << 4) | u64::from(digit), digits: digits + 1 }
            }
            (Part::Size { size, digits: 1.. } | Part::Extension { size }, b'\r') => Part::SizeEnd { size },
            (Part::Size { size, digits: 1.. }, b';') | (Part::Extension { size }, b'\t' | b' '..=b'~' | 0x80..) => {
                Part::Extension { size }
            }
            (Part::SizeEnd { size: 0 } | Part::TrailerLf, b'\n') => Part::Trailer,
            (Part::SizeEnd { size }, b'\n') => {
                self.data_left = self.data_left.checked_sub(size).ok_or_else(|| body_too_large(self.data_max))?;
                Part::Data(size)
            }
            (Part::DataCr, b'\r') => Part::DataLf,
            (Part::DataLf, b'\n') => Part::Size { size: 0, digits: 0 },
            (Part::Trailer, b'\r') => Part::LastLf,
            (Part::Trailer | Part::TrailerName, _) if is_token(byte) => Part::TrailerName,
            (Part::TrailerName, b':') | (Part::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => Part::TrailerValue,
            (Part::TrailerValue, b'\r') => Part::TrailerLf,
            (Part::LastLf, b'\n') => Part::End,
            _ => return Err(HttpRefusal::new(HttpCode::BadRequest, "the chunked body is malformed")),
        })
    }
}

fn framing_too_large() -> HttpRefusal {
    let text = format!("the chunk sizes, extensions and trailers of the body have more than {FRAMING_BYTES_MAX} bytes");
    HttpRefusal::new(HttpCode::BodyTooLarge, text)
}

pub(crate) fn body_too_large(most: u64) -> HttpRefusal {
    HttpRefusal::new(HttpCode::BodyTooLarge, format!("the body has more than {most} bytes"))
}

/// Whether this byte is allowed in a field name.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a chunked body of at most 10 bytes, split at every position. Returns its length, or the refusal.
    fn length_of(body: &str) -> Result<Option<usize>, HttpCode> {
        let mut outcomes = (0..=body.len()).map(|cut| {
            let (first, second) = body.as_bytes().split_at(cut);
            let mut chunked = Body::chunked(10);
            let taken = chunked.take(first).and_then(|taken| Ok(taken + chunked.take(second)?));
            taken.map(|taken| chunked.is_over().then_some(taken)).map_err(|refusal| refusal.code)
        });
        let outcome = outcomes.next().unwrap();
        assert!(outcomes.all(|other| other == outcome), "{body:?}");
        outcome
    }

    #[test]
    fn a_chunked_body_is_followed_to_its_end() {
        for (body, length) in [
            ("0\r\n\r\nGET", Ok(Some(5))),
            ("3\r\nabc\r\n0\r\n\r\nGET", Ok(Some(13))),
            ("3;a=\"b\"\r\nabc\r\n00\r\nX: y\r\n\r\nGET", Ok(Some(26))),
            ("0\r\nX-1:\r\nY: \x7a\t\r\n\r\nGET", Ok(Some(18))),
            ("3\r\nabc", Ok(None)),
            ("a\r\n0123456789\r\n0\r\n\r\n", Ok(Some(20))),
            ("b\r\n", Err(HttpCode::BodyTooLarge)),
            ("ffffffffffffffff\r\n", Err(HttpCode::BodyTooLarge)),
            ("fffffffffffffffff\r\n", Err(HttpCode::BadRequest)),
            ("\r\n", Err(HttpCode::BadRequest)),
            ("x\r\n", Err(HttpCode::BadRequest)),
            ("3\nabc\r\n", Err(HttpCode::BadRequest)),
            ("3\r\nabcd\r\n", Err(HttpCode::BadRequest)),
            ("-1\r\n", Err(HttpCode::BadRequest)),
            ("0x3\r\n", Err(HttpCode::BadRequest)),
            // Trailers are fields, with a name, a colon and no line folding.
            ("0\r\nno colon\r\n\r\n", Err(HttpCode::BadRequest)),
            ("0\r\nnothing\r\n\r\n", Err(HttpCode::BadRequest)),
            ("0\r\n: y\r\n\r\n", Err(HttpCode::BadRequest)),
            ("0\r\nX : y\r\n\r\n", Err(HttpCode::BadRequest)),
            ("0\r\nX: y\r\n z\r\n\r\n", Err(HttpCode::BadRequest)),
            ("0\r\nX: y\n\r\n", Err(HttpCode::BadRequest)),
        ] {
            assert_eq!(length_of(body), length, "{body:?}");
        }
    }

    #[test]
    fn a_chunked_body_that_is_refused_for_its_size_is_told_which_part_is_too_large() {
        for (body, part) in [
            ("b\r\n".to_owned(), "the body has more than 10 bytes"),
            (format!("1;{}", "a".repeat(70_000)), "extensions and trailers of the body have more than 65536 bytes"),
            (
                format!("0\r\n{}", "X: y\r\n".repeat(20_000)),
                "extensions and trailers of the body have more than 65536 bytes",
            ),
        ] {
            let refusal = Body::chunked(10).take(body.as_bytes()).unwrap_err();
            assert_eq!(refusal.code, HttpCode::BodyTooLarge);
            assert!(refusal.message.ends_with(part), "{}", refusal.message);
        }
    }
}
