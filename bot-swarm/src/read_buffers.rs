//! The read buffers of one worker's bots: shared, so that a connection at rest needs none.

use std::cell::RefCell;

use bytes::BytesMut;

/// The most bytes of one read.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// The read buffers of one worker's bots.
///
/// One buffer is enough while each read is handled before the next bot reads; more are needed only while a bot is
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

    /// Returns a buffer.
    pub(crate) fn give_back(&self, buffer: BytesMut) {
        self.0.borrow_mut().push(buffer);
    }
}
