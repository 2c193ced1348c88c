//! One client's socket and what waits for it.
//!
//! Invariants:
//! - Frames leave in the order in which they were accepted; none is dropped from the middle while the connection is
//!   open, and no frame is ever cut in two.
//! - What waits never exceeds the outbox's bytes: the frame that would exceed it is refused, and the hub closes the
//!   connection as a slow consumer.
//! - Nothing here waits: a write takes what the kernel takes, so one stalled client cannot delay a room.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;

use crate::frame;
use crate::socket::WriteHalf;

/// Most chunks handed to the kernel in one write.
const WRITE_CHUNKS_MAX: usize = 32;

/// Frames that go to the socket together.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Whole frames, one after the other.
    pub bytes: Bytes,
    /// How many.
    pub frames: u32,
    /// How many of them deliver a message.
    pub deliveries: u32,
    /// When the oldest of their commands was read.
    pub read_at: Instant,
    /// When they were offered.
    pub offered_at: Instant,
}

/// The outbox is full: the frames were not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

/// What is left after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing waits.
    All,
    /// The kernel takes no more at the moment.
    Blocked,
    /// The peer is gone; nothing can be written any more.
    Broken,
}

/// What waits in an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queued {
    /// Bytes.
    pub bytes: usize,
    /// Frames.
    pub frames: u32,
}

impl Queued {
    /// Frames that wait no more, of those that waited `before` and those that were offered since: they were written or
    /// dropped.
    pub(crate) fn gone_since(self, before: Self, offered: u32) -> u64 {
        u64::from((offered + before.frames).saturating_sub(self.frames))
    }
}

/// What a write completed, for the figures.
#[derive(Debug, Default)]
pub struct Written {
    /// Chunks that the kernel took to their end.
    pub chunks: Vec<Chunk>,
}

/// A client's socket, the writing half, and its outbox.
#[derive(Debug)]
pub struct Connection {
    socket: WriteHalf,
    /// Whether the handshake may be answered; before, frames are accepted and nothing is written.
    is_open: bool,
    /// Whether the close frame is in the outbox or written; then nothing more is accepted.
    is_closing: bool,
    /// What the kernel has yet to take. An idle connection keeps no room for what may wait one day.
    outbox: Option<Box<Outbox>>,
}

/// What waits for a client.
#[derive(Debug, Default)]
struct Outbox {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    frames: u32,
    /// Bytes of the first chunk that the kernel has.
    first_written: usize,
    /// Since when the kernel has taken nothing of what waits.
    stalled_since: Option<Instant>,
    /// The client's next command waits for room; most of the time there is none.
    waiting_command: Option<Waker>,
}

impl Outbox {
    /// Has the command that waits for room look again.
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

    /// Forgets so many bytes, which the kernel has taken.
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
    /// A connection whose handshake answer `head` is written before anything else, once it is [opened](Self::open).
    pub fn new(socket: impl Into<WriteHalf>, head: Bytes, now: Instant) -> Self {
        let mut connection = Self { socket: socket.into(), is_open: false, is_closing: false, outbox: None };
        if !head.is_empty() {
            connection.push(Chunk { bytes: head, frames: 0, deliveries: 0, read_at: now, offered_at: now });
        }
        connection
    }

    /// Lets the socket be written from now on.
    pub fn open(&mut self) {
        self.is_open = true;
    }

    /// Whether a write would go straight to the kernel: it is open, nothing waits, and no TLS is in between.
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

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.queued().bytes
    }

    /// What waits, for the figures.
    pub fn queued(&self) -> Queued {
        let waiting = |outbox: &Outbox| Queued { bytes: outbox.bytes, frames: outbox.frames };
        self.outbox.as_deref().map_or_else(Queued::default, waiting)
    }

    /// Bytes that wait, as far as the client's next command waits for them: a connection that closes answers none.
    pub fn bytes_before_command(&self) -> usize {
        if self.is_closing { 0 } else { self.queued_bytes() }
    }

    /// Wakes a task when less waits, or the connection closes.
    pub fn wake_when_less_waits(&mut self, waker: &Waker) {
        match &mut self.outbox {
            Some(outbox) => outbox.waiting_command = Some(waker.clone()),
            None => waker.wake_by_ref(),
        }
    }

    /// Whether something waits for the kernel; over TLS that may be what the outbox has already given away.
    pub fn is_waiting(&self) -> bool {
        self.outbox.is_some()
    }

    /// Since when the kernel has taken nothing of what waits.
    pub fn stalled_since(&self) -> Option<Instant> {
        self.outbox.as_ref()?.stalled_since
    }

    /// Accepts frames into the outbox. A closing connection takes them and forgets them.
    ///
    /// # Errors
    /// [`Overflow`] if more than `outbox_bytes` would wait.
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

    /// Writes frames past the empty outbox of a [clear](Self::is_clear) connection and keeps only what the kernel
    /// does not take.
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
        // Kept even where it is too much: the frame that was begun must be ended before a close frame can follow.
        let outbox = self.outbox.get_or_insert_default();
        outbox.stalled_since = Some(chunk.offered_at);
        outbox.push(chunk);
        outbox.bytes -= taken;
        outbox.first_written = taken;
        if outbox.bytes > outbox_bytes { Err(Overflow) } else { Ok(()) }
    }

    /// Hands the kernel as much of what waits as it takes.
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

    /// Accepts the close frame, the last one. What waits before it is still written.
    pub fn close(&mut self, close_frame: Bytes, now: Instant) {
        if self.is_closing {
            return;
        }
        self.push(Chunk { bytes: close_frame, frames: 1, deliveries: 0, read_at: now, offered_at: now });
        self.is_closing = true;
        if let Some(outbox) = &mut self.outbox {
            outbox.wake_command();
        }
    }

    /// Forgets what waits, but for the handshake's answer and the rest of a frame that was begun, and accepts the close
    /// frame.
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

    /// Gives the socket back, whatever waits.
    pub fn into_socket(self) -> WriteHalf {
        self.socket
    }

    /// Tells the peer that nothing follows the close frame.
    pub fn shut_down(&self) {
        self.socket.shut_down();
    }

    /// Makes the socket end without waiting for the peer to read: what the kernel still holds for it is dropped.
    pub fn reset_on_drop(&self) {
        self.socket.reset_on_drop();
    }

    /// Ready when the kernel takes more.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_writable(cx)
    }
}

/// What is left of the frame that the kernel has begun to take; `None` where `written` falls between two frames.
fn rest_of_begun_frame(chunk: &Chunk, written: usize) -> Option<Bytes> {
    // A chunk without frames is the handshake's answer, or the rest of a frame: to be written in any case.
    let mut end = if chunk.frames == 0 { chunk.bytes.len() } else { 0 };
    while end < written {
        end += frame::first_frame_len(&chunk.bytes.slice(end..));
    }
    let rest = chunk.bytes.slice(written..end.min(chunk.bytes.len()));
    (!rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests;
