//! Reads WebSocket messages from the socket, no faster than the limits allow.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use futures_util::Stream;
use tokio::time::{Sleep, sleep};
use tokio_util::io::poll_read_buf;

use crate::clock::{self, Instant};
use crate::credits::{Credit, ServerCredits, SessionCredits};
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

/// The state that the stream of messages shares with the session that handles them.
#[derive(Debug)]
pub(super) struct Reading {
    credits: SessionCredits,
    read_at: Cell<Instant>,
    /// Whether all further messages of the client are ignored.
    is_closing: Cell<bool>,
}

impl Reading {
    pub(super) fn new(own_credits: u32, server: &ServerCredits) -> Self {
        Self {
            credits: SessionCredits::new(own_credits, server),
            read_at: Cell::new(clock::now()),
            is_closing: Cell::new(false),
        }
    }

    /// Ignores all further messages of the client; its texts are not even checked.
    pub(super) fn close(&self) {
        self.is_closing.set(true);
    }

    /// Whether all further messages of the client are ignored.
    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    /// The time at which the bytes of the current message were read.
    pub(super) fn read_at(&self) -> Instant {
        self.read_at.get()
    }

    /// Completes when no command of the session is in flight any more.
    pub(super) fn all_answered(&self) -> impl Future<Output = ()> + use<> {
        self.credits.all_back()
    }

    /// The credit of the current message.
    pub(super) fn take_credit(&self) -> Option<Credit> {
        self.credits.take()
    }
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
    reading: Rc<Reading>,
    frames: Frames,
    unread: BytesMut,
    /// Whether `unread` is a part of the thread's buffer.
    borrows_buffer: bool,
    /// Whether all further bytes are ignored.
    is_over: bool,
    small_frames: RateLimit,
    /// A message that waits for a credit or for its rate limit; usually `None`.
    held: Option<Box<Incoming>>,
    /// The timer of the held message, if it waits for its rate limit.
    rate_timer: Option<Pin<Box<Sleep>>>,
}

impl Inbound {
    pub(super) fn new(
        hub: LocalHub,
        session: SessionId,
        socket: ReadHalf,
        unread: BytesMut,
        reading: Rc<Reading>,
    ) -> Self {
        let config = hub.config();
        let frames = Frames::new(config.frame_bytes, hub.is_deflated(session));
        let small_frames = |count: u32| count.saturating_mul(SMALL_FRAMES_PER_COMMAND);
        let small_frames = RateLimit::per_second(
            small_frames(config.messages_per_second),
            small_frames(config.burst),
            reading.read_at(),
        );
        Self {
            hub,
            session,
            socket,
            reading,
            frames,
            unread,
            borrows_buffer: false,
            is_over: false,
            small_frames,
            held: None,
            rate_timer: None,
        }
    }

    /// Passes a message on: a text once it has a credit and space for its answer, other messages at their own rate.
    fn poll_hand_on(&mut self, message: Incoming, cx: &mut Context<'_>) -> Poll<Incoming> {
        let may_go = if carries_command(&message) {
            match self.poll_room(cx) {
                Poll::Ready(()) => self.reading.credits.poll_ready(cx),
                Poll::Pending => Poll::Pending,
            }
        } else {
            self.poll_rate(&message, cx)
        };
        if may_go.is_pending() {
            self.hub.hold_back(self.session, true);
            self.held = Some(Box::new(message));
            return Poll::Pending;
        }
        self.hub.worker().session.complete_n(1);
        Poll::Ready(message)
    }

    /// Ready when the client's pending and unsent answers leave space for one more. So answers alone can never fill the
    /// client's outbox; only messages of other clients can.
    fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let (hub, credits) = (&self.hub, &self.reading.credits);
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

    /// Ready when the rate allows a message without a command; a close is always allowed.
    fn poll_rate(&mut self, message: &Incoming, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(message, Incoming::Close) {
            return Poll::Ready(());
        }
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
        let now = clock::now();
        self.reading.read_at.set(now);
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

impl Stream for Inbound {
    type Item = Result<Incoming, BadFrame>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(message) = this.held.take() {
            let handed_on = this.poll_hand_on(*message, cx);
            if handed_on.is_ready() {
                this.hub.hold_back(this.session, false);
            }
            return handed_on.map(|message| Some(Ok(message)));
        }
        loop {
            if this.is_over {
                this.unread = BytesMut::new();
            }
            if this.reading.is_closing() {
                this.frames.ignore_texts();
            }
            match this.frames.decode(&mut this.unread) {
                None => {}
                Some(Ok(message)) => {
                    this.hub.worker().session.arrive_n(1);
                    this.is_over = matches!(message, Incoming::Close);
                    let handed_on = this.poll_hand_on(message, cx);
                    if handed_on.is_pending() {
                        this.return_buffer();
                    }
                    return handed_on.map(|message| Some(Ok(message)));
                }
                Some(Err(error)) => {
                    this.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            // The thread's buffer is reused only once no connection holds a slice of it.
            this.return_buffer();
            match this.poll_read(cx) {
                Poll::Ready(0) => return Poll::Ready(None),
                Poll::Ready(_) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if self.held.is_some() {
            self.hub.worker().session.complete_n(1);
        }
    }
}

/// Whether a message makes the session send a command on.
fn carries_command(message: &Incoming) -> bool {
    matches!(message, Incoming::Text(_))
}
