//! The stream under the HTTP framework: a [`Socket`] that passes on one request at a time.
//!
//! Invariants:
//! - The framework gets the next request only once the kernel has accepted the whole response to the previous one. So
//!   its buffers hold at most one request and one response, however much a client sends and however little it reads.
//! - A request head must be complete within `CHAT_HANDSHAKE_SECONDS`, and an idle connection is closed after that time.
//!   A body, and a response to a full socket, must make progress ([`PROGRESS_BYTES`]). So every connection ends in
//!   bounded time.
//! - A request that is refused here is answered here, and the connection then ends.
//! - An endless answer (server-sent events) ends when its reader leaves, sends anything or reads too slowly, or when
//!   nothing is written to it for `CHAT_HANDSHAKE_SECONDS`.
//!
//! A WebSocket handshake that is the first request of its connection does not reach the framework
//! ([`HttpStream::first_handshake`]). The upgrade takes the socket out ([`HttpStream::into_parts`]), so a WebSocket has no
//! overhead from this.

mod phase;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::Request;
use bytes::{Buf, BytesMut};
use log::debug;
use socket2::SockRef;
use starling_actors::clock;
use starling_actors::socket::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use self::phase::Phase;
use crate::admission::{Counted, Place};
use crate::reader_left::ReaderLeft;
use crate::refusal::{HttpCode, HttpRefusal};
use crate::request_body::Body;
use crate::request_head::{self, Follows, Head};
use crate::state::ServerState;

/// The progress that a body must make in `CHAT_HANDSHAKE_SECONDS`, and a blocked response in
/// `CHAT_SLOW_CLIENT_SECONDS`. The last part of either may be smaller.
pub(crate) const PROGRESS_BYTES: usize = 16 * 1024;

/// Bytes per read from the socket.
const READ_BYTES: usize = 4 * 1024;

/// Bytes that are read and discarded while a connection ends. If a socket is closed with unread bytes, the kernel
/// resets it, and the peer may lose the response (RFC 9112, section 9.6).
const LINGER_BYTES: usize = 256 * 1024;

/// Longest time for that.
const LINGER: Duration = Duration::from_secs(1);

/// Unsent bytes of a response that the kernel may buffer. With the usual buffer of megabytes, an honest client on a
/// slow line would seem to make no progress, because the kernel reports space only when a third of the buffer is free.
const UNSENT_BYTES: u32 = 16 * 1024;

/// Written by the framework before it reads a body whose client has sent `Expect: 100-continue`.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// An HTTP connection.
#[derive(Debug)]
pub(crate) struct HttpStream {
    socket: Socket,
    /// The time at which the connection was accepted; `None` after its first request.
    accepted_at: Option<clock::Instant>,
    place: Place,
    state: Arc<ServerState>,
    phase: Phase,
    /// Counts the current request until its answer is written; `None` between requests and during an endless answer.
    request: Option<Counted>,
    /// Bytes that were read but not passed on.
    unread: BytesMut,
    /// The number of bytes in `unread` that were searched for the end of the head.
    scanned: usize,
    /// Whether the request is `HEAD`, so that its response has no body.
    is_for_head: bool,
    /// Whether a part of the response was written.
    is_answered: bool,
    /// Whether the socket is full.
    is_blocked: bool,
    /// Bytes read and written since the timer was set.
    progress: usize,
    timer: Pin<Box<Sleep>>,
}

impl HttpStream {
    /// A connection that was accepted at this time.
    pub(crate) fn accepted(socket: Socket, place: Place, state: Arc<ServerState>, at: clock::Instant) -> Box<Self> {
        Self::new(socket, place, state, Some(at))
    }

    /// A connection that [`Self::into_parts`] took apart for a WebSocket, and whose handshake is refused.
    pub(crate) fn refused(socket: Socket, place: Place, state: Arc<ServerState>) -> Box<Self> {
        Self::new(socket, place, state, None)
    }

    fn new(socket: Socket, place: Place, state: Arc<ServerState>, accepted_at: Option<clock::Instant>) -> Box<Self> {
        let timer = Box::pin(sleep(state.http_limits().head));
        // Boxed, because futures and the framework move it many times.
        Box::new(Self {
            socket,
            accepted_at,
            place,
            state,
            phase: Phase::Head,
            request: None,
            unread: BytesMut::new(),
            scanned: 0,
            is_for_head: false,
            is_answered: false,
            is_blocked: false,
            progress: 0,
            timer,
        })
    }

    /// The framework gets the connection, so its responses may be long.
    pub(crate) fn hand_to_framework(&self) {
        set_unsent_bytes(&self.socket, UNSENT_BYTES);
    }

    /// The framework hands the connection back for a WebSocket.
    pub(crate) fn take_from_framework(&self) {
        // 0 restores the system's default.
        set_unsent_bytes(&self.socket, 0);
    }

    /// The time at which the connection was accepted, if this is its first request.
    pub(crate) fn accepted_at(&self) -> Option<clock::Instant> {
        self.accepted_at
    }

    /// The place that the connection holds.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Waits for the first request. If it is a WebSocket handshake, returns it; the framework gets any other.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) async fn first_handshake(&mut self) -> io::Result<Option<Request>> {
        poll_fn(|cx| {
            while matches!(self.phase, Phase::Head) {
                ready!(self.poll_head(cx))?;
            }
            let Phase::HandOver(head, Follows::WebSocket) = &self.phase else { return Poll::Ready(Ok(None)) };
            let handshake = request_head::handshake(head);
            if handshake.is_some() {
                self.handed_over(Follows::WebSocket);
            }
            Poll::Ready(Ok(handshake))
        })
        .await
    }

    /// The head was passed on.
    fn handed_over(&mut self, follows: Follows) {
        self.is_answered = false;
        self.set_timer(self.state.http_limits().head);
        self.phase = match follows {
            Follows::Nothing => Phase::Answer,
            Follows::Body(body) => Phase::Body(body),
            Follows::WebSocket => Phase::WebSocket,
            Follows::EndlessAnswer => {
                self.request = None;
                Phase::EndlessAnswer
            }
        };
    }

    /// The socket, its place, and the bytes that were read after the handshake.
    pub(crate) fn into_parts(self: Box<Self>) -> (Socket, Place, BytesMut) {
        (self.socket, self.place, self.unread)
    }

    fn set_timer(&mut self, time: Duration) {
        self.progress = 0;
        self.timer.as_mut().reset(Instant::now() + time);
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        self.timer.as_mut().poll(cx).is_ready()
    }

    /// Whether there was too little progress in this time. If there was enough, the timer is set again.
    fn is_stuck(&mut self, cx: &mut Context<'_>, time: Duration) -> bool {
        while self.is_late(cx) {
            if self.progress < PROGRESS_BYTES {
                return true;
            }
            self.set_timer(time);
        }
        false
    }

    /// Reads once; `false` when the peer has ended its side.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut room = [0; READ_BYTES];
        let mut buf = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buf))?;
        self.progress += buf.filled().len();
        self.unread.extend_from_slice(buf.filled());
        Poll::Ready(Ok(!buf.filled().is_empty()))
    }

    /// Waits for a complete head and checks it.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // Empty lines in front of a request are passed over (RFC 9112, section 2.2).
            let empty = self.unread.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.unread.advance(empty);
            self.is_for_head = request_head::is_for_head(&self.unread);
            if let Some(end) = request_head::end_of_head(&self.unread, self.scanned) {
                self.scanned = 0;
                let bytes = self.unread.split_to(end);
                self.request = Some(self.state.admission().count_request());
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
                    let refusal = HttpRefusal::new(HttpCode::RequestTimeout, "the request took too long to arrive");
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

    /// Sends a refusal, and then ends the connection.
    fn refuse(&mut self, refusal: &HttpRefusal) {
        debug!("request refused: {}: {}", refusal.code.as_str(), refusal.message);
        self.state.broken().count_refusal(refusal.code);
        self.unread.clear();
        self.set_timer(self.state.http_limits().answer);
        self.phase = Phase::Refusal(refusal.to_bytes(self.is_for_head));
    }

    fn begin_linger(&mut self) {
        self.request = None;
        self.unread.clear();
        self.set_timer(LINGER);
        self.phase = Phase::Linger { left: LINGER_BYTES };
    }

    /// Ends the connection so that the peer can receive everything that was written. Ready when it has ended.
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
                    // An error means that the peer has already gone.
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
                Phase::Head
                | Phase::HandOver(..)
                | Phase::Body(_)
                | Phase::Answer
                | Phase::EndlessAnswer
                | Phase::WebSocket => {
                    self.begin_linger();
                }
            }
        }
    }

    /// Whether the connection is ending by itself, without the framework.
    fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Refusal(_) | Phase::Linger { .. } | Phase::End)
    }

    /// Reads a part of the body. An invalid or slow body is refused.
    fn poll_body(&mut self, mut body: Body, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_blocked {
            // The response did not wait for the body; `poll_flush` ends the connection.
            return Poll::Pending;
        }
        if self.unread.is_empty() {
            let time = self.state.http_limits().head;
            if self.is_stuck(cx, time) {
                self.give_up(&HttpRefusal::new(HttpCode::RequestTimeout, "the body took too long to arrive"));
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

    /// Ready with an error when an endless answer ends.
    fn poll_reader_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // While the socket is full, `poll_blocked` has the timer.
        if !self.is_blocked && self.is_late(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        // Any input ends the answer, because nothing more can be asked on this connection.
        drop(ready!(self.poll_fill(cx)));
        Poll::Ready(Err(io::Error::other(ReaderLeft)))
    }

    /// Refuses an incomplete body. If the response has begun, it only ends the connection.
    fn give_up(&mut self, refusal: &HttpRefusal) {
        if self.is_answered { self.begin_linger() } else { self.refuse(refusal) }
    }
}

/// Limits the unsent bytes that the kernel buffers. An error means that the socket is gone.
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
                        this.handed_over(follows);
                    }
                }
                Phase::Body(body) => {
                    let body = *body;
                    ready!(this.poll_body(body, cx, buf))?;
                }
                Phase::Answer | Phase::WebSocket => return Poll::Pending,
                Phase::EndlessAnswer => return this.poll_reader_left(cx),
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
            // The framework's response to a request that was refused here; it is discarded.
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut this.socket).poll_write(cx, buf);
        if matches!((&this.phase, &written), (Phase::EndlessAnswer, Poll::Ready(Err(_)))) {
            return Poll::Ready(Err(io::Error::other(ReaderLeft)));
        }
        match written? {
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
        if matches!(this.phase, Phase::EndlessAnswer) && this.progress > 0 {
            this.set_timer(this.state.http_limits().head);
        }
        if this.is_answered && matches!(this.phase, Phase::Answer | Phase::Body(_)) {
            if matches!(this.phase, Phase::Answer) {
                this.place.request_ended();
                this.request = None;
                this.accepted_at = None;
                this.phase = Phase::Head;
                this.set_timer(this.state.http_limits().head);
            } else {
                // The response was sent before the body was complete.
                this.begin_linger();
            }
            // The framework polls the read before the write, so it must be woken to read the next request.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_end(cx)
    }
}

impl HttpStream {
    /// Waits until the socket is writable.
    ///
    /// # Errors
    /// The peer reads too slowly.
    fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let time = self.state.http_limits().answer;
        if !self.is_blocked {
            self.is_blocked = true;
            self.set_timer(time);
        }
        if self.is_stuck(cx, time) { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }
}
