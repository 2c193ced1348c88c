//! The stream that HTTP is spoken on: a [`Socket`] that hands the framework one request at a time.
//!
//! Invariants:
//! - The framework gets the next request when all that it wrote for the one before is with the kernel. So its buffers
//!   hold one request and one answer, however many a client sends and however little it reads.
//! - A head has `CHAT_HANDSHAKE_SECONDS`; so has a connection that asks nothing. A body, and an answer that the kernel
//!   does not take, must make progress ([`PROGRESS_BYTES`]). So every connection ends in bounded time.
//! - What is refused here is answered here, and the connection ends with it.
//!
//! At the upgrade the socket leaves it ([`HttpStream::into_parts`]): a WebSocket pays nothing for this.

mod phase;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use log::debug;
use socket2::SockRef;
use starling_actors::socket::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use self::phase::Phase;
use crate::admission::Place;
use crate::refusal::{HttpCode, HttpRefusal};
use crate::request_body::Body;
use crate::request_head::{self, Follows, Head};
use crate::state::ServerState;

/// What a body must bring in `CHAT_HANDSHAKE_SECONDS`, and a waiting answer in `CHAT_SLOW_CLIENT_SECONDS`; less at the
/// end of either.
pub(crate) const PROGRESS_BYTES: usize = 16 * 1024;

/// What is read of the socket at a time.
const READ_BYTES: usize = 4 * 1024;

/// Bytes that are read and thrown away while a connection ends: a socket that is closed with bytes unread takes what it
/// has written back from its peer (RFC 9112, section 9.6).
const LINGER_BYTES: usize = 256 * 1024;

/// How long that may take.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes of an answer that the kernel takes before it has sent them. With its usual buffer of megabytes a reader of an
/// honest slow line would seem to stand still: room is told only when a third of it is free.
const UNSENT_BYTES: u32 = 16 * 1024;

/// What the framework writes before it reads a body that its client asks for leave to send.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection that speaks HTTP.
#[derive(Debug)]
pub(crate) struct HttpStream {
    socket: Socket,
    place: Place,
    state: Arc<ServerState>,
    phase: Phase,
    /// What was read and not handed on.
    unread: BytesMut,
    /// How much of it is known to have no end of a head.
    scanned: usize,
    /// Whether the request is one for a head: its answer has no body.
    is_for_head: bool,
    /// Whether something of the answer is written.
    is_answered: bool,
    /// Whether the kernel took less than there was.
    is_blocked: bool,
    /// Bytes that have passed since the timer was set.
    progress: usize,
    timer: Pin<Box<Sleep>>,
}

impl HttpStream {
    pub(crate) fn new(socket: Socket, place: Place, state: Arc<ServerState>) -> Self {
        let timer = Box::pin(sleep(state.http_limits().head));
        set_unsent_bytes(&socket, UNSENT_BYTES);
        Self {
            socket,
            place,
            state,
            phase: Phase::Head,
            unread: BytesMut::new(),
            scanned: 0,
            is_for_head: false,
            is_answered: false,
            is_blocked: false,
            progress: 0,
            timer,
        }
    }

    /// The place that the connection has.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The socket, its place, and what was read of it behind the handshake.
    pub(crate) fn into_parts(self) -> (Socket, Place, BytesMut) {
        // 0: as the system has it.
        set_unsent_bytes(&self.socket, 0);
        (self.socket, self.place, self.unread)
    }

    fn set_timer(&mut self, time: Duration) {
        self.progress = 0;
        self.timer.as_mut().reset(Instant::now() + time);
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        self.timer.as_mut().poll(cx).is_ready()
    }

    /// Whether there was too little progress since the timer was set for this time. Sets it again where there was enough.
    fn is_stuck(&mut self, cx: &mut Context<'_>, time: Duration) -> bool {
        while self.is_late(cx) {
            if self.progress < PROGRESS_BYTES {
                return true;
            }
            self.set_timer(time);
        }
        false
    }

    /// Reads more; `false` at the end of what the peer sends.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut room = [0; READ_BYTES];
        let mut buf = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buf))?;
        self.progress += buf.filled().len();
        self.unread.extend_from_slice(buf.filled());
        Poll::Ready(Ok(!buf.filled().is_empty()))
    }

    /// Waits for a whole head, and looks at it.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // Empty lines in front of a request are passed over (RFC 9112, section 2.2).
            let empty = self.unread.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.unread.advance(empty);
            self.is_for_head = request_head::is_for_head(&self.unread);
            if let Some(end) = request_head::end_of_head(&self.unread, self.scanned) {
                self.scanned = 0;
                let bytes = self.unread.split_to(end);
                match self.admit(&bytes) {
                    Ok(Head { bytes, follows }) => self.phase = Phase::HandOver(bytes, follows),
                    Err(refusal) => self.refuse(&refusal),
                }
                return Poll::Ready(Ok(()));
            }
            self.scanned = self.unread.len();
            if let Err(refusal) = request_head::check_beginning(&self.unread) {
                self.refuse(&refusal);
                return Poll::Ready(Ok(()));
            }
            if self.is_late(cx) {
                if self.unread.is_empty() {
                    self.begin_linger();
                } else {
                    let refusal = HttpRefusal::new(HttpCode::RequestTimeout, "the request took too long to come");
                    self.refuse(&refusal);
                }
                return Poll::Ready(Ok(()));
            }
            let was_idle = self.unread.is_empty();
            match ready!(self.poll_fill(cx)) {
                Ok(true) if was_idle && self.is_answered => {
                    self.is_answered = false;
                    self.set_timer(self.state.http_limits().head);
                }
                Ok(true) => {}
                Ok(false) => {
                    self.begin_linger();
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn admit(&mut self, bytes: &[u8]) -> Result<Head, HttpRefusal> {
        let admitted = self.state.admission().admit(&mut self.place, bytes);
        admitted.inspect_err(|refusal| self.state.refused().count(refusal.code))?;
        request_head::read(bytes, self.state.http_limits().body_bytes, self.state.path_prefix())
    }

    /// Answers with a refusal, unless an answer is on its way, and ends the connection.
    fn refuse(&mut self, refusal: &HttpRefusal) {
        debug!("request refused: {}: {}", refusal.code.as_str(), refusal.message);
        self.state.broken().count_refusal(refusal.code);
        self.unread.clear();
        self.set_timer(self.state.http_limits().answer);
        self.phase = Phase::Refusal(refusal.to_bytes(self.is_for_head));
    }

    fn begin_linger(&mut self) {
        self.unread.clear();
        self.set_timer(LINGER);
        self.phase = Phase::Linger { left: LINGER_BYTES };
    }

    /// Ends the connection so that its peer gets all that was written; ready when that is done.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.phase {
                Phase::Refusal(bytes) => {
                    match Pin::new(&mut self.socket).poll_write(cx, bytes) {
                        Poll::Ready(Ok(count)) => bytes.advance(count),
                        Poll::Pending if !self.is_late(cx) => return Poll::Pending,
                        Poll::Ready(Err(_)) | Poll::Pending => self.phase = Phase::End,
                    }
                    if matches!(&self.phase, Phase::Refusal(bytes) if bytes.is_empty()) {
                        self.begin_linger();
                    }
                }
                Phase::Linger { left } => {
                    let mut rest = *left;
                    // A peer that has gone need not be told.
                    drop(Pin::new(&mut self.socket).poll_shutdown(cx));
                    let read = self.poll_fill(cx);
                    rest = rest.saturating_sub(self.unread.len());
                    self.unread.clear();
                    self.phase = match read {
                        Poll::Ready(Ok(true)) if rest > 0 => Phase::Linger { left: rest },
                        Poll::Pending if !self.is_late(cx) => {
                            self.phase = Phase::Linger { left: rest };
                            return Poll::Pending;
                        }
                        Poll::Ready(_) | Poll::Pending => Phase::End,
                    };
                }
                Phase::End => return Poll::Ready(Ok(())),
                Phase::Head | Phase::HandOver(..) | Phase::Body(_) | Phase::Answer | Phase::WebSocket => {
                    self.begin_linger();
                }
            }
        }
    }

    /// Whether the connection ends by itself: the framework has no say in it any more.
    fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Refusal(_) | Phase::Linger { .. } | Phase::End)
    }

    /// A part of the body: refused where it is none, or where it comes too slowly.
    fn poll_body(&mut self, mut body: Body, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_blocked {
            // Its answer did not wait for it: `poll_flush` ends the connection.
            return Poll::Pending;
        }
        if self.unread.is_empty() {
            let time = self.state.http_limits().head;
            if self.is_stuck(cx, time) {
                self.give_up(&HttpRefusal::new(HttpCode::RequestTimeout, "the body took too long to come"));
                return Poll::Ready(Ok(()));
            }
            if !ready!(self.poll_fill(cx))? {
                self.begin_linger();
                return Poll::Ready(Ok(()));
            }
        }
        let most = self.unread.len().min(buf.remaining());
        match body.take(self.unread.get(..most).unwrap_or_default()) {
            Ok(count) => {
                buf.put_slice(&self.unread.split_to(count));
                self.phase = if body.is_over() { Phase::Answer } else { Phase::Body(body) };
            }
            Err(refusal) => self.give_up(&refusal),
        }
        Poll::Ready(Ok(()))
    }

    /// Refuses what has come of a body.
    fn give_up(&mut self, refusal: &HttpRefusal) {
        if self.is_answered { self.begin_linger() } else { self.refuse(refusal) }
    }
}

/// Bounds what the kernel takes before it has sent it. A socket that is gone has no use for it.
fn set_unsent_bytes(socket: &Socket, most: u32) {
    let tcp = match socket {
        Socket::Plain(tcp) => tcp,
        Socket::Tls(stream) => stream.get_ref().0,
    };
    drop(SockRef::from(tcp).set_tcp_notsent_lowat(most));
}

impl AsyncRead for HttpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        loop {
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            match &mut this.phase {
                Phase::Head => ready!(this.poll_head(cx))?,
                Phase::HandOver(head, follows) => {
                    let count = head.len().min(buf.remaining());
                    buf.put_slice(&head.split_to(count));
                    if head.is_empty() {
                        let follows = *follows;
                        this.is_answered = false;
                        this.set_timer(this.state.http_limits().head);
                        this.phase = match follows {
                            Follows::Nothing => Phase::Answer,
                            Follows::Body(body) => Phase::Body(body),
                            Follows::WebSocket => Phase::WebSocket,
                        };
                    }
                }
                Phase::Body(body) => {
                    let body = *body;
                    ready!(this.poll_body(body, cx, buf))?;
                }
                Phase::Answer | Phase::WebSocket => return Poll::Pending,
                Phase::Refusal(_) | Phase::Linger { .. } => ready!(this.poll_end(cx))?,
                Phase::End => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_ending() {
            // The answer to what was refused.
            return Poll::Ready(Ok(buf.len()));
        }
        match Pin::new(&mut this.socket).poll_write(cx, buf)? {
            Poll::Ready(count) => {
                this.progress += count;
                this.is_answered |= buf != CONTINUE;
                Poll::Ready(Ok(count))
            }
            Poll::Pending => {
                ready!(this.poll_blocked(cx))?;
                Poll::Pending
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_ending() {
            return Poll::Ready(Ok(()));
        }
        if Pin::new(&mut this.socket).poll_flush(cx)?.is_pending() {
            return this.poll_blocked(cx);
        }
        this.is_blocked = false;
        if this.is_answered && matches!(this.phase, Phase::Answer | Phase::Body(_)) {
            if matches!(this.phase, Phase::Answer) {
                this.place.request_ended();
                this.phase = Phase::Head;
                this.set_timer(this.state.http_limits().head);
            } else {
                // The answer did not wait for the body.
                this.begin_linger();
            }
            // The framework has read before it wrote.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_end(cx)
    }
}

impl HttpStream {
    /// Waits until the kernel takes more.
    ///
    /// # Errors
    /// The peer takes too little.
    fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let time = self.state.http_limits().answer;
        if !self.is_blocked {
            self.is_blocked = true;
            self.set_timer(time);
        }
        if self.is_stuck(cx, time) { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }
}
