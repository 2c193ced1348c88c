//! The buffers into which the bots of one worker read: shared, so that a connection at rest needs none.

use std::cell::RefCell;

use bytes::BytesMut;

/// Bytes read at once.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// The buffers into which the bots of one worker read.
///
/// One is enough as long as what was read is handled before the next bot reads; it takes more only while a bot is
/// interrupted in the middle of many frames.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffers(RefCell<Vec<BytesMut>>);

impl ReadBuffers {
    /// Takes an empty buffer with room for [`READ_BYTES`].
    pub(crate) fn take(&self) -> BytesMut {
        let mut buffer = self.0.borrow_mut().pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve(READ_BYTES);
        buffer
    }

    /// Gives a buffer back.
    pub(crate) fn give_back(&self, buffer: BytesMut) {
        self.0.borrow_mut().push(buffer);
    }
}
