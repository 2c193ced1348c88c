//! What came of a frame, or of a packet, whose rest is still to come.

use actix_http::ws::Item;

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
    pub(super) fn join(&mut self, item: &Item) -> Option<Vec<u8>> {
        let (part, is_last) = match item {
            Item::FirstText(part) | Item::FirstBinary(part) => {
                self.parts.clear();
                (part, false)
            }
            Item::Continue(part) => (part, false),
            Item::Last(part) => (part, true),
        };
        self.parts.extend_from_slice(part);
        is_last.then(|| std::mem::take(&mut self.parts))
    }

    /// Takes what came of a packet before.
    pub(super) fn take_packet(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.packet)
    }

    /// Keeps what came of a packet.
    pub(super) fn keep_packet(&mut self, begun: Vec<u8>) {
        self.packet = begun;
    }
}
