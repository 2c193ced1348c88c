//! Reads WebSocket messages from the socket, no faster than the limits allow.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use tokio::time::{Sleep, sleep};
use tokio_util::io::poll_read_buf;

use crate::clock::{self, Instant};
use crate::credits::{Credit, SessionCredits};
use crate::hub::LocalHub;
use crate::ids::SessionId;
use crate::rate_limit::RateLimit;
use crate::session::frames::{BadFrame, Frames, Incoming};
use crate::socket::ReadHalf;

/// Most bytes in one read.
const READ_BYTES: usize = 64 * 1024;

/// Frames without a command (pings, pongs, fragments of a text) that are allowed per frame that may carry one. They
/// have no answer that could refuse them, so a client that sends more is read more slowly.
const SMALL_FRAMES_PER_COMMAND: u32 = 20;

/// A message that the session handles now.
#[derive(Debug)]
pub(super) enum Received {
    /// A text that carries a command, with the command's credit.
    Text(ByteString, Credit),
    /// A ping, to be answered with its payload.
    Ping(Bytes),
    /// The client closes the connection.
    Close,
    /// It needs no reaction.
    Nothing,
}

/// The messages of one connection. Ends when the peer has gone.
///
/// - A complete text is passed on only with a [credit](crate::credits), and only if there is space for its answer.
///   Until then the socket is not read, so TCP slows the peer. An incomplete frame holds no credit, so a client that
///   sends one and waits takes nothing from others.
/// - The read buffer belongs to the thread. A connection keeps only the beginning of a frame that is still incomplete.
/// - Frames without a command have their own rate. Above it, the socket is not read for the time to wait.
/// - After an error, and after the peer's close frame, the rest is read and discarded, so that the peer can receive the
///   close frame before its connection ends.
#[derive(Debug)]
pub(super) struct Inbound {
    hub: LocalHub,
    session: SessionId,
    socket: ReadHalf,
    credits: SessionCredits,
    /// The time at which the bytes of the current message were read.
    read_at: Instant,
    frames: Frames,
    unread: BytesMut,
    /// Whether `unread` is a part of the thread's buffer.
    borrows_buffer: bool,
    /// Whether all further bytes are ignored.
    is_over: bool,
    /// Whether all further messages are ignored, because the session is closing.
    is_closing: bool,
    small_frames: RateLimit,
    /// A message that waits for a credit or for its rate limit; usually `None`.
    held: Option<Box<Incoming>>,
    /// The timer of the held message, if it waits for its rate limit.
    rate_timer: Option<Pin<Box<Sleep>>>,
}

impl Inbound {
    pub(super) fn new(hub: LocalHub, session: SessionId, socket: ReadHalf, unread: BytesMut, now: Instant) -> Self {
        let config = hub.config();
        let frames = Frames::new(config.frame_bytes, hub.is_deflated(session));
        let small_frames = |count: u32| count.saturating_mul(SMALL_FRAMES_PER_COMMAND);
        let small_frames =
            RateLimit::per_second(small_frames(config.messages_per_second), small_frames(config.burst), now);
        let credits = SessionCredits::new(config.session_credits);
        Self {
            hub,
            session,
            socket,
            credits,
            read_at: now,
            frames,
            unread,
            borrows_buffer: false,
            is_over: false,
            is_closing: false,
            small_frames,
            held: None,
            rate_timer: None,
        }
    }

    /// The time at which the bytes of the current message were read.
    pub(super) fn read_at(&self) -> Instant {
        self.read_at
    }

    /// Ignores all further messages of the client; its texts are not even checked.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
        self.frames.ignore_texts();
        self.credits.give_up();
    }

    /// Whether all further messages of the client are ignored.
    pub(super) fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Ready when no command of the session is in flight any more.
    pub(super) fn poll_all_answered(&self, cx: &Context<'_>) -> Poll<()> {
        self.credits.poll_all_back(cx)
    }

    /// The next message; `None` when the peer has gone.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Received, BadFrame>>> {
        if let Some(message) = self.held.take() {
            let received = self.poll_receive(*message, cx);
            if received.is_ready() {
                self.hub.hold_back(self.session, false);
            }
            return received.map(|received| Some(Ok(received)));
        }
        loop {
            if self.is_over {
                self.unread = BytesMut::new();
            }
            match self.frames.decode(&mut self.unread) {
                None => {}
                Some(Ok(message)) => {
                    self.hub.worker().session.arrive_n(1);
                    self.is_over = matches!(message, Incoming::Close);
                    let received = self.poll_receive(message, cx);
                    if received.is_pending() {
                        self.return_buffer();
                    }
                    return received.map(|received| Some(Ok(received)));
                }
                Some(Err(error)) => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            // The thread's buffer is reused only once no connection holds a slice of it.
            self.return_buffer();
            if ready!(self.poll_read(cx)) == 0 {
                return Poll::Ready(None);
            }
        }
    }

    /// Returns a message once it may be handled, and holds it until then: a text until it has a credit and there is
    /// space for its answer, others until their own rate allows them.
    fn poll_receive(&mut self, message: Incoming, cx: &mut Context<'_>) -> Poll<Received> {
        let may_go = match &message {
            Incoming::Close => Poll::Ready(None),
            Incoming::Text(_) if self.is_closing => Poll::Ready(None),
            Incoming::Text(_) => self.poll_credit(cx).map(Some),
            Incoming::Ping(_) | Incoming::Nothing => self.poll_rate(cx).map(|()| None),
        };
        let Poll::Ready(credit) = may_go else {
            self.hub.hold_back(self.session, true);
            self.held = Some(Box::new(message));
            return Poll::Pending;
        };
        self.hub.worker().session.complete_n(1);
        Poll::Ready(match (message, credit) {
            (Incoming::Text(text), Some(credit)) => Received::Text(text, credit),
            (Incoming::Ping(payload), _) => Received::Ping(payload),
            (Incoming::Close, _) => Received::Close,
            (Incoming::Text(_), None) | (Incoming::Nothing, _) => Received::Nothing,
        })
    }

    /// Ready when a command has a credit and its answer has space.
    fn poll_credit(&mut self, cx: &mut Context<'_>) -> Poll<Credit> {
        if self.poll_room(cx).is_pending() {
            // A client that does not read its answers keeps no credit from others.
            self.credits.give_up();
            return Poll::Pending;
        }
        self.credits.poll_take(self.hub.metrics().credits(), cx)
    }

    /// Ready when the client's pending and unsent answers leave space for one more. So answers alone can never fill the
    /// client's outbox; only messages of other clients can.
    fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let (hub, credits) = (&self.hub, &self.credits);
        let most = hub.config().answers_bytes();
        let has_room = || hub.bytes_before_command(self.session) + credits.asked_bytes() < most;
        if has_room() {
            return Poll::Ready(());
        }
        hub.wake_when_less_waits(self.session, cx.waker());
        credits.wake_at_return(cx);
        // A credit may have been returned before the waker was registered.
        if has_room() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ready when the rate allows a message without a command.
    fn poll_rate(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(sleep) = &mut self.rate_timer {
                ready!(sleep.as_mut().poll(cx));
                self.rate_timer = None;
            }
            let now = clock::now();
            match self.small_frames.take(now) {
                Ok(()) => return Poll::Ready(()),
                Err(wait) => self.rate_timer = Some(Box::pin(sleep(wait))),
            }
        }
    }

    /// Reads once. Returns the number of bytes; 0: the peer has gone.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let Self { hub, socket, unread, borrows_buffer, .. } = self;
        let count = hub.with_read_buffer(|buffer| {
            buffer.clear();
            buffer.reserve(READ_BYTES);
            // A broken connection counts as ended.
            let count = ready!(poll_read_buf(Pin::new(socket), cx, buffer)).unwrap_or(0);
            if unread.is_empty() {
                *unread = buffer.split();
                *borrows_buffer = true;
            } else {
                unread.extend_from_slice(buffer);
            }
            Poll::Ready(count)
        });
        let count = ready!(count);
        self.read_at = clock::now();
        self.hub.heard(self.session);
        Poll::Ready(count)
    }

    /// Copies the unread bytes out of the thread's buffer, so that the next connection can use it.
    fn return_buffer(&mut self) {
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        } else if self.borrows_buffer {
            self.unread = BytesMut::from(self.unread.as_ref());
        }
        self.borrows_buffer = false;
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if self.held.is_some() {
            self.hub.worker().session.complete_n(1);
        }
    }
}
