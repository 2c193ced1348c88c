//! The writing half of one client's connection: its socket and its bounded outbox.
//!
//! Invariants:
//! - Frames leave in the order in which they were accepted. While the connection is open, none is dropped from the
//!   middle. A frame that is partly written is always completed.
//! - The outbox never holds more than its limit of bytes. A frame that would exceed it is refused, and the hub closes
//!   the connection as a slow consumer.
//! - No call blocks: a write takes as many bytes as the kernel accepts, so one stalled client cannot delay a room.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::clock::Instant;
use crate::frame;
use crate::passage::Passage;
use crate::socket::WriteHalf;

/// Most chunks handed to the kernel in one write.
const WRITE_CHUNKS_MAX: usize = 32;

/// Frames that go to the socket together.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Complete frames, back to back.
    pub bytes: Bytes,
    /// How many frames `bytes` has; 0 for the handshake's answer and for the rest of a frame that was begun.
    pub frames: u32,
    /// The number of frames in it that deliver a message.
    pub deliveries: u32,
    /// The passage of the oldest of their messages.
    pub passage: Passage,
    /// The time at which they were offered to this connection.
    pub offered_at: Instant,
}

/// The outbox is full: the frames were not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

/// The state of the outbox after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing waits: the kernel has everything, over TLS too.
    All,
    /// The kernel accepts no more bytes at the moment.
    Blocked,
    /// The peer is gone; nothing can be written any more.
    Broken,
}

/// The size of an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queued {
    /// Bytes that the kernel has not accepted; over TLS, without those that the TLS stream has accepted.
    pub bytes: usize,
    /// A frame that is written in part counts as a whole.
    pub frames: u32,
}

impl Queued {
    /// Frames that wait no more, of those that waited `before` and those that were offered since: they were written or
    /// dropped.
    pub(crate) fn gone_since(self, before: Self, offered: u32) -> u64 {
        u64::from((offered + before.frames).saturating_sub(self.frames))
    }
}

/// The chunks that a write completed, for the metrics.
#[derive(Debug, Default)]
pub struct Written {
    /// Chunks that the kernel has accepted completely.
    pub chunks: Vec<Chunk>,
}

/// The writing half of a client's socket, and its outbox.
#[derive(Debug)]
pub struct Connection {
    socket: WriteHalf,
    /// Whether the handshake may be answered; before, frames are accepted and nothing is written.
    is_open: bool,
    /// Whether the close frame was accepted. From then on no frame is accepted.
    is_closing: bool,
    /// Frames that the kernel has yet to accept. `None` while there are none, so that an idle connection needs no
    /// memory for them.
    outbox: Option<Box<Outbox>>,
}

/// The unsent frames of a client.
#[derive(Debug, Default)]
struct Outbox {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    frames: u32,
    /// Bytes of the first chunk that the kernel has.
    first_written: usize,
    /// The time since which the kernel has accepted no bytes; `None` if it is not blocked.
    stalled_since: Option<Instant>,
    /// Wakes the client's next command, which waits for space; usually `None`.
    waiting_command: Option<Waker>,
}

impl Outbox {
    /// Wakes the command that waits for space, so that it checks again.
    fn wake_command(&mut self) {
        if let Some(waker) = self.waiting_command.take() {
            waker.wake();
        }
    }

    fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.bytes.len();
        self.frames += chunk.frames;
        self.chunks.push_back(chunk);
    }

    /// Removes bytes that the kernel has accepted.
    fn advance(&mut self, taken: usize, written: &mut Written) {
        self.wake_command();
        self.bytes -= taken;
        self.first_written += taken;
        while let Some(first) = self.chunks.front() {
            if self.first_written < first.bytes.len() {
                return;
            }
            self.first_written -= first.bytes.len();
            if let Some(chunk) = self.chunks.pop_front() {
                self.frames -= chunk.frames;
                written.chunks.push(chunk);
            }
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.wake_command();
    }
}

impl Connection {
    /// Makes a connection. The handshake response `head` is written before anything else, once the connection is
    /// [opened](Self::open).
    pub fn new(socket: impl Into<WriteHalf>, head: Bytes, now: Instant) -> Self {
        let mut connection = Self { socket: socket.into(), is_open: false, is_closing: false, outbox: None };
        if !head.is_empty() {
            connection.push(Chunk {
                bytes: head,
                frames: 0,
                deliveries: 0,
                passage: Passage::read_at(now),
                offered_at: now,
            });
        }
        connection
    }

    /// Allows writes to the socket from now on.
    pub fn open(&mut self) {
        self.is_open = true;
    }

    /// Whether a write goes straight to the kernel: the connection is open, the outbox is empty, and there is no TLS.
    pub fn is_clear(&self) -> bool {
        self.is_open && !self.is_closing && self.outbox.is_none() && self.socket.is_direct()
    }

    /// Whether the close frame has been accepted.
    pub fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Whether the close frame has been written.
    pub fn has_said_goodbye(&self) -> bool {
        self.is_closing && self.outbox.as_ref().is_none_or(|outbox| outbox.chunks.is_empty())
    }

    /// Bytes that the kernel has not taken, see [`Queued`].
    pub fn queued_bytes(&self) -> usize {
        self.queued().bytes
    }

    /// The size of the outbox, for the metrics.
    pub fn queued(&self) -> Queued {
        let waiting = |outbox: &Outbox| Queued { bytes: outbox.bytes, frames: outbox.frames };
        self.outbox.as_deref().map_or_else(Queued::default, waiting)
    }

    /// Unsent bytes that the client's next command has to wait for; 0 if the connection is closing, because then no
    /// command is answered.
    pub fn bytes_before_command(&self) -> usize {
        if self.is_closing { 0 } else { self.queued_bytes() }
    }

    /// Wakes a task when the outbox shrinks or the connection closes.
    pub fn wake_when_less_waits(&mut self, waker: &Waker) {
        match &mut self.outbox {
            Some(outbox) => outbox.waiting_command = Some(waker.clone()),
            None => waker.wake_by_ref(),
        }
    }

    /// Whether bytes wait for the kernel. With TLS these may have left the outbox already.
    pub fn is_waiting(&self) -> bool {
        self.outbox.is_some()
    }

    /// The time since which the kernel has accepted no bytes.
    pub fn stalled_since(&self) -> Option<Instant> {
        self.outbox.as_ref()?.stalled_since
    }

    /// The time at which the oldest unsent frame was offered.
    pub(crate) fn oldest_offered(&self) -> Option<Instant> {
        self.outbox.as_ref()?.chunks.front().map(|chunk| chunk.offered_at)
    }

    /// Accepts frames into the outbox. A closing connection discards them.
    ///
    /// # Errors
    /// [`Overflow`] if the outbox would hold more than `outbox_bytes`.
    pub fn offer(&mut self, chunk: Chunk, outbox_bytes: usize) -> Result<(), Overflow> {
        if self.is_closing {
            return Ok(());
        }
        if self.queued_bytes() + chunk.bytes.len() > outbox_bytes {
            return Err(Overflow);
        }
        self.push(chunk);
        Ok(())
    }

    fn push(&mut self, chunk: Chunk) {
        self.outbox.get_or_insert_default().push(chunk);
    }

    /// Writes frames straight to the socket of a [clear](Self::is_clear) connection. Only the bytes that the kernel
    /// does not accept go into the outbox.
    ///
    /// # Errors
    /// [`Overflow`] if more than `outbox_bytes` would be left.
    pub fn write_through(&mut self, chunk: Chunk, outbox_bytes: usize) -> Result<(), Overflow> {
        debug_assert!(self.is_clear(), "frames would overtake others");
        let taken = match self.socket.try_write(&chunk.bytes) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // The reading half sees the same and ends the session.
            Err(_) => return Ok(()),
        };
        if taken == chunk.bytes.len() {
            return Ok(());
        }
        // Kept even if it is too much: a frame that is written in part must be completed before a close frame may
        // follow.
        let outbox = self.outbox.get_or_insert_default();
        outbox.stalled_since = Some(chunk.offered_at);
        outbox.push(chunk);
        outbox.bytes -= taken;
        outbox.first_written = taken;
        if outbox.bytes > outbox_bytes { Err(Overflow) } else { Ok(()) }
    }

    /// Writes as much of the outbox as the kernel accepts.
    pub fn flush(&mut self, now: Instant, written: &mut Written) -> Flushed {
        if !self.is_open {
            return Flushed::All;
        }
        while let Some(outbox) = self.outbox.as_mut().filter(|outbox| !outbox.chunks.is_empty()) {
            let mut slices = [IoSlice::new(&[]); WRITE_CHUNKS_MAX];
            let mut count = 0;
            for (slice, chunk) in slices.iter_mut().zip(&outbox.chunks) {
                let written = if count == 0 { outbox.first_written } else { 0 };
                *slice = IoSlice::new(chunk.bytes.get(written..).unwrap_or_default());
                count += 1;
            }
            match self.socket.try_write_vectored(slices.get(..count).unwrap_or_default()) {
                Ok(taken) => {
                    outbox.stalled_since = None;
                    outbox.advance(taken, written);
                }
                Err(error) => return self.not_written(&error, now),
            }
        }
        match self.socket.try_flush() {
            Ok(()) => {
                self.outbox = None;
                Flushed::All
            }
            Err(error) => self.not_written(&error, now),
        }
    }

    fn not_written(&mut self, error: &io::Error, now: Instant) -> Flushed {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.outbox.get_or_insert_default().stalled_since.get_or_insert(now);
            return Flushed::Blocked;
        }
        self.outbox = None;
        Flushed::Broken
    }

    /// Accepts the close frame, the last frame. The frames before it are still written.
    pub fn close(&mut self, close_frame: Bytes, now: Instant) {
        if self.is_closing {
            return;
        }
        self.push(Chunk {
            bytes: close_frame,
            frames: 1,
            deliveries: 0,
            passage: Passage::read_at(now),
            offered_at: now,
        });
        self.is_closing = true;
        if let Some(outbox) = &mut self.outbox {
            outbox.wake_command();
        }
    }

    /// Empties the outbox and accepts the close frame. The handshake response and the rest of a partly written frame
    /// are kept.
    pub fn close_dropping(&mut self, close_frame: Bytes, now: Instant) {
        if self.is_closing {
            return;
        }
        if let Some(mut outbox) = self.outbox.take()
            && let Some(chunk) = outbox.chunks.pop_front()
            && let Some(rest) = rest_of_begun_frame(&chunk, outbox.first_written)
        {
            self.push(Chunk { bytes: rest, frames: 0, deliveries: 0, ..chunk });
        }
        self.close(close_frame, now);
    }

    /// Returns the socket; unsent frames are dropped.
    pub fn into_socket(self) -> WriteHalf {
        self.socket
    }

    /// Shuts the socket down for writing, after the close frame.
    pub fn shut_down(&self) {
        self.socket.shut_down();
    }

    /// Makes the socket reset on drop: the kernel discards unsent bytes instead of waiting for the peer to read them.
    pub fn reset_on_drop(&self) {
        self.socket.reset_on_drop();
    }

    /// Ready when the socket is writable.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_writable(cx)
    }
}

/// The rest of the frame that is written in part; `None` if `written` is a frame boundary.
fn rest_of_begun_frame(chunk: &Chunk, written: usize) -> Option<Bytes> {
    // A chunk without frames is the handshake response or the rest of a frame; it must be written completely.
    let mut end = if chunk.frames == 0 { chunk.bytes.len() } else { 0 };
    while end < written {
        end += frame::first_frame_len(&chunk.bytes.slice(end..));
    }
    let rest = chunk.bytes.slice(written..end.min(chunk.bytes.len()));
    (!rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests;
