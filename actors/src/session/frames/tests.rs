use super::*;

/// A client's frame whose mask is zero, so that the payload stays readable.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first, 0xfe];
    match u16::try_from(payload.len()).unwrap() {
        length @ 126.. => out.extend(length.to_be_bytes()),
        length => out[1] = MASKED | u8::try_from(length).unwrap(),
    }
    out.extend([0; 4]);
    out.extend(payload);
    out
}

/// The texts decoded from these bytes in pieces of this size, and the number of bytes read before an error.
fn read(bytes: &[u8], piece: usize, inflates: bool) -> (Vec<String>, Option<(u16, usize)>) {
    let mut frames = Frames::new(1_000, inflates);
    let (mut unread, mut texts) = (BytesMut::new(), Vec::new());
    for (number, part) in bytes.chunks(piece).enumerate() {
        unread.extend_from_slice(part);
        while let Some(message) = frames.decode(&mut unread) {
            match message {
                Ok(Incoming::Text(text)) => texts.push(text.to_string()),
                Ok(Incoming::Ping(_) | Incoming::Close | Incoming::Nothing) => {}
                Err(bad) => return (texts, Some((bad.code.as_u16(), number * piece + part.len()))),
            }
        }
    }
    (texts, None)
}

#[test]
fn a_byte_that_is_not_utf8_is_refused_when_it_comes() {
    let before = "é".repeat(100);
    let tail = [b'x'; 300];
    let at = |bad: &[u8]| [before.as_bytes(), bad, &tail].concat();
    for (bad, wrong) in [(&b"\xff"[..], 1), (b"\xc3(", 2), (b"\xe2\x82\x28", 3), (b"\xed\xa0\x80", 2), (b"\xf4\x90", 2)]
    {
        let text = at(bad);
        let whole = frame(0x81, &text);
        let header = whole.len() - text.len();
        assert_eq!(read(&whole, 1, false), (vec![], Some((1007, header + 200 + wrong))), "{bad:x?} in one frame");
        // Cut within a character, and the bad byte far before the end.
        let first = frame(0x01, &text[..3]);
        let second = frame(0x00, &text[3..]);
        let parts = [first.clone(), second, frame(0x80, b"")].concat();
        assert_eq!(read(&parts, 1, false), (vec![], Some((1007, first.len() + 8 + 197 + wrong))), "{bad:x?} in parts");
    }
}

#[test]
fn a_text_is_the_same_however_it_is_cut() {
    let text = "é€😀x".repeat(20);
    for cut in 0..=20 {
        let parts = [frame(0x01, &text.as_bytes()[..cut]), frame(0x89, b"?"), frame(0x80, &text.as_bytes()[cut..])];
        let bytes = [parts.concat(), frame(0x81, b"next")].concat();
        for piece in [1, 7, bytes.len()] {
            assert_eq!(read(&bytes, piece, false), (vec![text.clone(), "next".into()], None), "{cut} {piece}");
        }
    }
}

#[test]
fn a_compressed_text_is_inflated_whole_or_in_parts() {
    let text = "hello ".repeat(100);
    let compressed = deflate::compress(text.as_bytes()).unwrap();
    let (head, tail) = compressed.split_at(5);
    let whole = frame(0xc1, &compressed);
    let parts = [frame(0x41, head), frame(0x89, b"?"), frame(0x00, b""), frame(0x80, tail)].concat();
    let bytes = [whole, parts, frame(0x81, b"plain")].concat();
    for piece in [1, 7, bytes.len()] {
        assert_eq!(read(&bytes, piece, true), (vec![text.clone(), text.clone(), "plain".into()], None), "{piece}");
    }
    let refused = |bytes: &[u8], inflates| read(bytes, bytes.len(), inflates).1.map(|(code, _)| code);
    assert_eq!(refused(&frame(0xc1, &compressed), false), Some(1002), "it was not negotiated");
    let bomb = deflate::compress(&[b'x'; 1_001]).unwrap();
    assert_eq!(refused(&frame(0xc1, &bomb), true), Some(1009));
    let not_utf8 = deflate::compress(&[0xff; 100]).unwrap();
    assert_eq!(refused(&frame(0xc1, &not_utf8), true), Some(1007));
}
