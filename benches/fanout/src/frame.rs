//! Frames of WebSocket: writes those of a client, and splits what a server sends.

/// The kinds of frames that matter here.
pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A frame that breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadFrame;

/// A complete frame of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) payload: &'a [u8],
}

/// Splits off the first frame. `None`: it is incomplete.
///
/// # Errors
/// The frame is masked, or uses an extension.
pub(crate) fn split(bytes: &[u8]) -> Result<Option<(Frame<'_>, &[u8])>, BadFrame> {
    let Some((&[first, second], rest)) = bytes.split_first_chunk() else { return Ok(None) };
    if second & 0x80 != 0 || first & 0x70 != 0 {
        return Err(BadFrame);
    }
    let long = match second {
        126 => rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest)),
        127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length) as usize, rest)),
        short => Some((usize::from(short), rest)),
    };
    let Some((length, rest)) = long else { return Ok(None) };
    Ok(rest.split_at_checked(length).map(|(payload, rest)| (Frame { kind: first & 0x0f, payload }, rest)))
}

/// Appends a masked frame.
pub(crate) fn write(kind: u8, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    let length = payload.len();
    out.push(0x80 | kind);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..126), _) => out.push(0x80 | short),
        (_, Ok(length)) => {
            out.push(0x80 | 0x7e);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(0x80 | 0x7f);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_any_length_is_split_off_once_it_is_complete() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut masked = Vec::new();
            write(TEXT, &payload, [0; 4], &mut masked);
            assert_eq!(split(&masked), Err(BadFrame), "a server must not mask");
            // The same without the bit and the four bytes of the mask.
            let mut plain = masked.clone();
            plain[1] &= 0x7f;
            plain.drain(masked.len() - length - 4..masked.len() - length);
            assert_eq!(split(&plain[..plain.len() - 1]), Ok(None), "{length}");
            plain.push(7);
            assert_eq!(split(&plain), Ok(Some((Frame { kind: TEXT, payload: &payload }, &[7][..]))), "{length}");
        }
    }
}
