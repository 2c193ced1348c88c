//! The beginning of a frame, or of a packet, whose rest has not arrived yet.

use actix_http::ws::Item;

use super::socket::FRAME_BYTES_MAX;

/// A message of several frames, or a packet, is larger than a bot takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of more than {FRAME_BYTES_MAX} bytes")]
pub(super) struct TooLarge;

/// The incomplete frame and the incomplete packet of one bot.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// The fragments of a frame that the server sent in several parts.
    parts: Vec<u8>,
    /// The beginning of a packet. Some protocols' packets do not end with a frame.
    packet: Vec<u8>,
}

impl Fragments {
    /// Adds a fragment of a frame. Returns the whole frame after the last fragment.
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

    /// Takes the beginning of a packet.
    pub(super) fn take_packet(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.packet)
    }

    /// Keeps the beginning of a packet.
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
