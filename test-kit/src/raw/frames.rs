//! WebSocket frames as bytes: frames of a client, well formed or not, and the parser for frames of a server.

/// First byte of a text frame.
pub const TEXT: u8 = 0x81;
/// First byte of a binary frame.
pub const BINARY: u8 = 0x82;
/// First byte of a close frame.
pub const CLOSE: u8 = 0x88;
/// First byte of a ping.
pub const PING: u8 = 0x89;
/// First byte of a pong.
pub const PONG: u8 = 0x8a;
/// First byte of a compressed text frame.
pub const COMPRESSED_TEXT: u8 = 0xc1;
/// First byte of the first fragment of a text.
pub const FIRST_PART: u8 = 0x01;
/// First byte of a middle fragment.
pub const NEXT_PART: u8 = 0x00;
/// First byte of the last fragment.
pub const LAST_PART: u8 = 0x80;

/// The mask of complete frames.
const MASK: [u8; 4] = [0x5a, 0x00, 0xc3, 0xff];

/// The header of a client's frame with this payload length. Its mask is zero, so the payload needs no masking.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    header_with([0; 4], first, length)
}

fn header_with(mask: [u8; 4], first: u8, length: u64) -> Vec<u8> {
    let mut out = vec![first];
    match length {
        0..=125 => out.push(0x80 | u8::try_from(length).unwrap()),
        126..=65_535 => {
            out.push(0xfe);
            out.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            out.push(0xff);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out
}

/// A complete frame of a client.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = header_with(MASK, first, payload.len() as u64);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// A text frame of a client.
pub fn text_frame(text: &str) -> Vec<u8> {
    frame(TEXT, text.as_bytes())
}

/// A text of a client in two or more fragments.
pub fn fragments(parts: &[&str]) -> Vec<u8> {
    let last = parts.len() - 1;
    let first = |place| {
        if place == 0 {
            FIRST_PART
        } else if place == last {
            LAST_PART
        } else {
            NEXT_PART
        }
    };
    parts.iter().enumerate().flat_map(|(place, part)| frame(first(place), part.as_bytes())).collect()
}

/// A frame from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// The first byte of the frame: the opcode, with the FIN bit and the compression bit.
    pub opcode: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl RawFrame {
    /// Removes the first frame from the received bytes. `None` if it is not complete yet.
    pub fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let (opcode, length) = (*bytes.first()?, *bytes.get(1)?);
        let (start, length) = match length {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
            127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())).unwrap()),
            length => (2, usize::from(length)),
        };
        let payload = bytes.get(start..start + length)?.to_vec();
        bytes.drain(..start + length);
        Some(Self { opcode, payload })
    }

    /// The code of a close frame. `None` for another frame.
    pub fn close_code(&self) -> Option<u16> {
        (self.opcode == CLOSE).then(|| u16::from_be_bytes([self.payload[0], self.payload[1]]))
    }

    /// Whether the payload contains this text.
    pub fn says(&self, part: &str) -> bool {
        self.payload.windows(part.len()).any(|bytes| bytes == part.as_bytes())
    }

    /// The payload as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}
