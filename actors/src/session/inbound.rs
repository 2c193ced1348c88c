//! From the socket to WebSocket messages, at the pace at which they may come.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::BytesMut;
use futures_util::Stream;
use tokio::time::{Instant as Deadline, Sleep, sleep_until};
use tokio_util::io::poll_read_buf;

use crate::clock;
use crate::credits::{Credit, ServerCredits, SessionCredits};
use crate::hub::LocalHub;
use crate::ids::SessionId;
use crate::rate_limit::RateLimit;
use crate::session::frames::{BadFrame, Frames, Incoming};
use crate::socket::ReadHalf;

/// Most bytes taken from a socket at once.
const READ_BYTES: usize = 64 * 1024;

/// How many frames that carry no command (pings, pongs, parts of a text) may come for each one that may carry one.
/// Nobody is told of them, so who sends more is not refused but read more slowly.
const SMALL_FRAMES_PER_COMMAND: u32 = 20;

/// What the stream of messages and the session that handles them share.
#[derive(Debug)]
pub(super) struct Reading {
    credits: SessionCredits,
    read_at: Cell<Instant>,
    /// Whether nothing more is taken from the client.
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

    /// From now on nothing more is taken from the client; its texts are not even looked at.
    pub(super) fn close(&self) {
        self.is_closing.set(true);
    }

    /// Whether nothing more is taken from the client.
    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    /// When the bytes of the message at hand were read.
    pub(super) fn read_at(&self) -> Instant {
        self.read_at.get()
    }

    /// Done when no command of the session is on its way any more.
    pub(super) fn all_answered(&self) -> impl Future<Output = ()> + use<> {
        self.credits.all_back()
    }

    /// The credit of the message at hand.
    pub(super) fn take_credit(&self) -> Option<Credit> {
        self.credits.take()
    }
}

/// The messages of one connection. Ends when the peer has gone.
///
/// - A whole text is handed on with a [credit](crate::credits) only, and only where there is room for its answer; until
///   then nothing more is read, so TCP slows the peer. Half a frame holds no credit: whoever sends one and waits takes
///   nothing from others.
/// - The buffer that is read into belongs to the thread; only the beginning of a frame that is still to come is kept
///   per connection.
/// - Frames without a command are handed on at a rate of their own; above it nothing more is read for as long.
/// - After an error, and after the peer's close frame, the rest is read and thrown away, so that the peer can take its
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
    /// Whether nothing that still comes has a meaning.
    is_over: bool,
    small_frames: RateLimit,
    /// A message that waits for a credit or for its time; most connections have none.
    held: Option<Box<Incoming>>,
    /// When the time of the held message has come, where it waits for that.
    its_time: Option<Pin<Box<Sleep>>>,
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
            its_time: None,
        }
    }

    /// Hands a message on, a text as soon as there is a credit for it, and what carries no command at its rate.
    fn poll_hand_on(&mut self, message: Incoming, cx: &mut Context<'_>) -> Poll<Incoming> {
        let may_go = if carries_command(&message) {
            match self.poll_room(cx) {
                Poll::Ready(()) => self.reading.credits.poll_ready(cx),
                Poll::Pending => Poll::Pending,
            }
        } else {
            self.poll_its_time(&message, cx)
        };
        if may_go.is_pending() {
            self.hub.hold_back(self.session, true);
            self.held = Some(Box::new(message));
            return Poll::Pending;
        }
        self.hub.worker().session.complete_n(1);
        Poll::Ready(message)
    }

    /// Ready when the answers that the client has asked for and not yet taken leave room for one more. What it asks for
    /// is then never what fills its outbox: only what others send it is.
    fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let (hub, credits) = (&self.hub, &self.reading.credits);
        let most = hub.config().answers_bytes();
        let has_room = || hub.bytes_before_command(self.session) + credits.asked_bytes() < most;
        if has_room() {
            return Poll::Ready(());
        }
        hub.wake_when_less_waits(self.session, cx.waker());
        credits.wake_at_return(cx);
        // A credit may have come back before the waker was there.
        if has_room() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ready when a message without a command may be handed on; a goodbye always.
    fn poll_its_time(&mut self, message: &Incoming, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(message, Incoming::Close) {
            return Poll::Ready(());
        }
        loop {
            if let Some(sleep) = &mut self.its_time {
                ready!(sleep.as_mut().poll(cx));
                self.its_time = None;
            }
            let now = clock::now();
            match self.small_frames.take(now) {
                Ok(()) => return Poll::Ready(()),
                Err(wait) => self.its_time = Some(Box::pin(sleep_until(Deadline::from_std(now + wait)))),
            }
        }
    }

    /// Reads once. Ready with the number of bytes; 0: the peer has gone.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let Self { hub, socket, unread, borrows_buffer, .. } = self;
        let count = hub.with_read_buffer(|buffer| {
            buffer.clear();
            buffer.reserve(READ_BYTES);
            // A connection that broke has no more to say.
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

    /// Keeps of the thread's buffer only what is needed.
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
            // The thread's buffer is read into again only where nobody holds a part of it.
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
