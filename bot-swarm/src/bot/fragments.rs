//! What came of a frame, or of a packet, whose rest is still to come.

use actix_http::ws::Item;

use super::socket::FRAME_BYTES_MAX;

/// A message of several frames, or a packet, is larger than a bot takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of more than {FRAME_BYTES_MAX} bytes")]
pub(super) struct TooLarge;

/// The beginnings that a bot keeps until they are whole.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// The parts of a frame that the server sent in several.
    parts: Vec<u8>,
    /// What came of a packet that is not whole, where a protocol's packets need not end with a frame.
    packet: Vec<u8>,
}

impl Fragments {
    /// Adds a part of a frame. Answers the whole frame, if it was the last part.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub(super) fn join(&mut self, item: &Item) -> Result<Option<Vec<u8>>, TooLarge> {
        let (part, is_last) = match item {
            Item::FirstText(part) | Item::FirstBinary(part) => {
                self.parts.clear();
                (part, false)
            }
            Item::Continue(part) => (part, false),
            Item::Last(part) => (part, true),
        };
        if self.parts.len() + part.len() > FRAME_BYTES_MAX {
            return Err(TooLarge);
        }
        self.parts.extend_from_slice(part);
        Ok(is_last.then(|| std::mem::take(&mut self.parts)))
    }

    /// Takes what came of a packet before.
    pub(super) fn take_packet(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.packet)
    }

    /// Keeps what came of a packet.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub(super) fn keep_packet(&mut self, begun: Vec<u8>) -> Result<(), TooLarge> {
        if begun.len() > FRAME_BYTES_MAX {
            return Err(TooLarge);
        }
        self.packet = begun;
        Ok(())
    }
}
