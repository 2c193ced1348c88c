//! Compression with permessage-deflate (RFC 7692), without context takeover.
//!
//! Without a shared context, each thread needs only one compressor and one decompressor for all its connections, and
//! the same compressed frame fits every client that accepts compression.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The end of each message's compressed stream; RFC 7692 omits it on the wire.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// An empty block that ends a stream. It has this meaning only between two blocks. Within an incomplete block it is
/// data, and the stream does not end.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// The first capacity for an inflated text. It doubles as the text grows, so a decompression bomb costs at most the
/// limit.
const INFLATED_BYTES: usize = 4 * 1024;

thread_local! {
    // The default level: the fastest one uses fixed Huffman codes, and saves half as much of a short text.
    static COMPRESSOR: RefCell<Compress> = RefCell::new(Compress::new(Compression::default(), false));
    static INFLATER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// The reason that a compressed text cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InflateError {
    /// The inflated text exceeds the limit.
    TooLarge,
    /// The payload is not valid DEFLATE, or it is truncated.
    Broken,
}

/// Compresses a payload. `None` if the result would not be shorter.
pub(crate) fn compress(payload: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.reset();
        let mut out = Vec::with_capacity(payload.len() + TAIL.len());
        compressor.compress_vec(payload, &mut out, FlushCompress::Sync).ok()?;
        // If the buffer is full, the output may be incomplete.
        let is_whole = out.len() < out.capacity() && compressor.total_in() == payload.len() as u64;
        let length = out.strip_suffix(&TAIL).filter(|_| is_whole)?.len();
        out.truncate(length);
        Some(out)
    })
}

/// Inflates a payload to at most `bytes_max` bytes.
///
/// # Errors
/// [`InflateError`].
pub(crate) fn inflate(payload: &[u8], bytes_max: usize) -> Result<Bytes, InflateError> {
    INFLATER.with_borrow_mut(|inflater| {
        inflater.reset(false);
        let mut out = Vec::with_capacity(INFLATED_BYTES.min(bytes_max + 1));
        let mut is_ended = true;
        for (is_payload, mut input) in [(true, payload), (false, &TAIL), (false, &LAST_BLOCK)] {
            if is_ended && !is_payload {
                // The payload is empty, or it ends with a final block.
                break;
            }
            while !input.is_empty() || out.len() == out.capacity() {
                if out.len() == out.capacity() {
                    // A limit of one byte more than allowed detects a text that is too large.
                    let room = (bytes_max + 1).saturating_sub(out.len());
                    out.reserve_exact(out.len().min(room).max(1));
                }
                let (read, written) = (inflater.total_in(), out.len());
                let status = inflater.decompress_vec(input, &mut out, FlushDecompress::Sync);
                let status = status.map_err(|_| InflateError::Broken)?;
                if out.len() > bytes_max {
                    return Err(InflateError::TooLarge);
                }
                let read = usize::try_from(inflater.total_in() - read).unwrap_or(usize::MAX);
                input = input.get(read..).unwrap_or_default();
                if status == Status::StreamEnd {
                    // A sender may end its stream within a message; then another one begins (RFC 7692, 7.2.3.4).
                    inflater.reset(false);
                    is_ended = true;
                } else if read == 0 && out.len() == written {
                    // No progress: the output is complete, or the input is invalid.
                    break;
                } else {
                    is_ended = false;
                }
            }
            if !input.is_empty() {
                return Err(InflateError::Broken);
            }
        }
        if !is_ended {
            return Err(InflateError::Broken);
        }
        Ok(out.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_as_it_was_whatever_was_compressed_before() {
        for length in [400, 1_000, 70_000, 300_000] {
            let text: String = (0..).map(|number: u32| format!("{} ", number % 97)).take(length / 3).collect();
            let compressed = compress(text.as_bytes()).unwrap();
            assert!(compressed.len() < text.len());
            assert_eq!(inflate(&compressed, text.len()).unwrap(), text);
            assert_eq!(inflate(&compressed, text.len() - 1), Err(InflateError::TooLarge));
        }
    }

    #[test]
    fn what_would_not_be_shorter_is_not_compressed() {
        let mut random = noise();
        assert_eq!(compress(&random), None);
        assert_eq!(compress(b""), None);
        assert_eq!(compress(b"x"), None);
        random.extend([b'x'; 200]);
        assert!(compress(&random).is_some());
    }

    /// Bytes without any pattern.
    fn noise() -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[3]
        };
        std::iter::repeat_with(next).take(500).collect()
    }

    #[test]
    fn an_empty_message_and_one_of_several_streams_are_read() {
        assert_eq!(inflate(&[0x00], 10).unwrap(), "");
        assert_eq!(inflate(b"", 10).unwrap(), "");
        // The examples of RFC 7692, 7.2.3: one block, one that is stored, one that ends its stream, and two blocks.
        for hello in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ] {
            assert_eq!(inflate(hello, 5).unwrap(), "Hello", "{hello:02x?}");
        }
    }

    #[test]
    fn a_text_that_is_cut_short_is_broken_and_never_a_shorter_text() {
        let words: String = (0..).map(|number: u32| format!("{} ", number * 7 % 97)).take(2_000).collect();
        // A block with fixed codes, one with its own codes, one that is stored, and several blocks.
        for text in ["hello hello hello, everybody", &words, &words.repeat(30)] {
            let mut stored = vec![0x00, 0x1c, 0x00, 0xe3, 0xff];
            stored.extend_from_slice(b"hello hello hello, everybody\x00");
            for compressed in [compress(text.as_bytes()).unwrap_or_default(), stored] {
                let step = (compressed.len() / 500).max(1);
                // One byte can be a message of its own: the empty one.
                for length in (2..compressed.len()).step_by(step) {
                    let cut = inflate(&compressed[..length], 1_000_000);
                    // The last byte of the stored one says no more than that another block follows. Where its data
                    // lacks four bytes, the tail takes their place: that is no UTF-8.
                    let is_no_text = |cut: &Bytes| std::str::from_utf8(cut).is_err();
                    let is_whole = |cut: &Bytes| *cut == text || cut == "hello hello hello, everybody";
                    assert!(
                        cut.as_ref().map_or(true, |cut| is_no_text(cut) || is_whole(cut)),
                        "{length} bytes: {cut:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_bomb_costs_at_most_the_limit() {
        let bomb = compress(&vec![b'x'; 50_000_000]).unwrap();
        assert!(bomb.len() < 1_000_000);
        assert_eq!(inflate(&bomb, 131_072), Err(InflateError::TooLarge));
    }

    #[test]
    fn what_is_not_deflate_is_broken_and_hurts_nobody_after_it() {
        for broken in [&b"\xff\xff\xff"[..], &[0x06], &[0x01, 0x05, 0x00, 0x00, 0x00, b'x']] {
            assert_eq!(inflate(broken, 100), Err(InflateError::Broken), "{broken:02x?}");
        }
        let text = "hello ".repeat(20);
        assert_eq!(inflate(&compress(text.as_bytes()).unwrap(), 1_000).unwrap(), text);
    }
}
