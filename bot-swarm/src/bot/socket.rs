//! The WebSocket of one bot. A connection at rest needs no buffer of its own.
//!
//! awc's `Framed` keeps two buffers of 8 KiB for each connection. Here, only the framework's codec and socket are kept,
//! and the buffers are shared: all bots of a worker read into one, and only incomplete frames and unwritten bytes stay
//! with their bot.
//!
//! Invariants:
//! - Frames leave in the order in which they were given to [`Socket::send`].
//! - Reading never waits for writing.
//! - The stored part of an incomplete frame is bounded by [`FRAME_BYTES_MAX`].

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use actix_codec::{AsyncWrite, Decoder, Encoder, Framed};
use awc::BoxedSocket;
use awc::error::WsProtocolError;
use awc::ws::{Codec, Frame, Message};
use bytes::{Buf as _, BufMut as _, BytesMut};
use futures_util::Stream;
use tokio_util::io::poll_read_buf;

use crate::read_buffers::{READ_BYTES, ReadBuffers};

/// Largest frame that a bot takes, and largest message of several frames: a full page of history of messages of the
/// largest size that most servers allow. Past it the connection is given up.
pub(super) const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most bytes of a frame before its payload.
const FRAME_HEAD_BYTES_MAX: usize = 14;

/// The number of unwritten bytes at which a bot sends no more messages until they are written.
const OUTBOX_BYTES: usize = 16 * 1024;

struct Shared {
    io: BoxedSocket,
    codec: Codec,
    outbox: BytesMut,
    writer: Option<Waker>,
    /// Whether the bot has more to send and waits for room.
    is_awaited: bool,
    /// The number of bytes that may be read until more are allowed; `None`: no limit.
    may_read: Option<usize>,
    reader: Option<Waker>,
}

/// A bot's handle to its connection.
pub(crate) struct Socket(Rc<RefCell<Shared>>);

impl Socket {
    /// Takes over a connection after its handshake.
    ///
    /// A slow socket reads only as much as it is [allowed](Self::allow_to_read).
    pub(crate) fn open(
        framed: Framed<BoxedSocket, Codec>,
        buffers: Rc<ReadBuffers>,
        is_slow: bool,
    ) -> (Self, Inbound, Outflow) {
        let parts = framed.into_parts();
        let shared = Shared {
            io: parts.io,
            codec: parts.codec.clone(),
            outbox: parts.write_buf,
            writer: None,
            is_awaited: false,
            may_read: is_slow.then_some(0),
            reader: None,
        };
        let shared = Rc::new(RefCell::new(shared));
        let inbound = Inbound {
            shared: Rc::clone(&shared),
            codec: parts.codec,
            buffers,
            unread: BytesMut::from(&parts.read_buf[..]),
            is_unread_shared: false,
        };
        (Self(Rc::clone(&shared)), inbound, Outflow { shared })
    }

    /// Adds a frame to the outbox; it is written as soon as the socket accepts it.
    ///
    /// # Errors
    /// If the codec cannot encode it.
    pub(crate) fn send(&self, message: Message) -> Result<(), WsProtocolError> {
        let mut shared = self.0.borrow_mut();
        let Shared { codec, outbox, writer, .. } = &mut *shared;
        codec.encode(message, outbox)?;
        if let Some(writer) = writer.take() {
            writer.wake();
        }
        Ok(())
    }

    /// Allows a slow socket to read this many bytes. It replaces an earlier allowance.
    pub(crate) fn allow_to_read(&self, bytes: usize) {
        let mut shared = self.0.borrow_mut();
        shared.may_read = Some(bytes);
        if let Some(reader) = shared.reader.take() {
            reader.wake();
        }
    }

    /// Whether the outbox has room for a message. If not, [`Outflow::poll_room`] becomes ready when it has.
    pub(crate) fn has_room(&self) -> bool {
        let mut shared = self.0.borrow_mut();
        shared.is_awaited = shared.outbox.len() >= OUTBOX_BYTES;
        !shared.is_awaited
    }
}

/// The stream of frames from the server. Ends when the server closes the connection.
pub(crate) struct Inbound {
    shared: Rc<RefCell<Shared>>,
    codec: Codec,
    buffers: Rc<ReadBuffers>,
    unread: BytesMut,
    /// Whether `unread` is one of the shared buffers.
    is_unread_shared: bool,
}

impl Inbound {
    /// Keeps only the incomplete frame, and returns the shared buffer.
    fn stow(&mut self) {
        if self.is_unread_shared {
            let rest = if self.unread.is_empty() { BytesMut::new() } else { BytesMut::from(&self.unread[..]) };
            self.buffers.give_back(std::mem::replace(&mut self.unread, rest));
            self.is_unread_shared = false;
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let may_read = self.shared.borrow().may_read;
        if may_read == Some(0) {
            self.shared.borrow_mut().reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut buffer = self.buffers.take();
        buffer.extend_from_slice(&self.unread);
        buffer.reserve(READ_BYTES);
        let mut shared = self.shared.borrow_mut();
        let mut space = (&mut buffer).limit(may_read.unwrap_or(READ_BYTES));
        let result = poll_read_buf(Pin::new(&mut shared.io), cx, &mut space);
        if let (Poll::Ready(Ok(read)), Some(may_read)) = (&result, &mut shared.may_read) {
            *may_read = may_read.saturating_sub(*read);
        }
        drop(shared);
        if let Poll::Ready(Ok(1..)) = result {
            self.unread = buffer;
            self.is_unread_shared = true;
        } else {
            self.buffers.give_back(buffer);
        }
        result
    }
}

impl Stream for Inbound {
    type Item = Result<Frame, WsProtocolError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match this.codec.decode(&mut this.unread) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                // The codec checks the size of a frame only when the frame is complete.
                Ok(None) if this.unread.len() > FRAME_BYTES_MAX + FRAME_HEAD_BYTES_MAX => {
                    return Poll::Ready(Some(Err(WsProtocolError::Overflow)));
                }
                Ok(None) => this.stow(),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            match ready!(this.poll_read(cx)) {
                Ok(0) => return Poll::Ready(None),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.stow();
    }
}

/// Writes the outbox while the connection lives.
pub(crate) struct Outflow {
    shared: Rc<RefCell<Shared>>,
}

impl Outflow {
    /// Writes while the connection lives. Becomes ready when the outbox has the room that the bot waits for. Returns an
    /// error if the connection is broken: then [`Inbound`] ends as well and tells the reason.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        ready!(self.poll_write(cx))?;
        if std::mem::take(&mut self.shared.borrow_mut().is_awaited) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_write(&self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let mut shared = self.shared.borrow_mut();
        let Shared { io, outbox, writer, .. } = &mut *shared;
        while !outbox.is_empty() {
            let written = ready!(Pin::new(&mut *io).poll_write(cx, outbox))?;
            if written == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            outbox.advance(written);
        }
        // Returns the memory: most bots are silent most of the time.
        *outbox = BytesMut::new();
        *writer = Some(cx.waker().clone());
        Poll::Ready(Ok(()))
    }
}
