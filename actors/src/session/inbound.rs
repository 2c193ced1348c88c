//! From the socket to WebSocket messages.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::str::Utf8Error;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use actix_http::ws::{Codec, Item};
use actix_web_actors::ws::{Frame, Message, ProtocolError};
use bytes::BytesMut;
use bytestring::ByteString;
use futures_util::Stream;
use tokio_util::codec::Decoder;
use tokio_util::io::poll_read_buf;

use crate::clock;
use crate::credits::{Credit, ServerCredits, SessionCredits};
use crate::hub::LocalHub;
use crate::ids::SessionId;
use crate::socket::ReadHalf;

/// Most bytes taken from a socket at once.
const READ_BYTES: usize = 64 * 1024;

/// What the stream of messages and the session that handles them share.
#[derive(Debug)]
pub(super) struct Reading {
    credits: SessionCredits,
    read_at: Cell<Instant>,
}

impl Reading {
    pub(super) fn new(own_credits: u32, server: &ServerCredits) -> Self {
        Self { credits: SessionCredits::new(own_credits, server), read_at: Cell::new(clock::now()) }
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
/// - A whole text is handed on with a [credit](crate::credits) only; until there is one nothing more is read, so TCP
///   slows the peer. Half a frame holds no credit: whoever sends one and waits takes nothing from others.
/// - The buffer that is read into belongs to the thread; only the beginning of a frame that is still to come is kept
///   per connection.
/// - After an error the rest is read and thrown away, so that the peer can take its close frame before its connection
///   ends.
#[derive(Debug)]
pub(super) struct Inbound {
    hub: LocalHub,
    session: SessionId,
    socket: ReadHalf,
    reading: Rc<Reading>,
    codec: Codec,
    unread: BytesMut,
    /// Whether `unread` is a part of the thread's buffer.
    borrows_buffer: bool,
    failed: bool,
    /// A whole text that waits for a credit, and since when.
    held: Option<(Message, Instant)>,
}

impl Inbound {
    pub(super) fn new(
        hub: LocalHub,
        session: SessionId,
        socket: ReadHalf,
        unread: BytesMut,
        reading: Rc<Reading>,
    ) -> Self {
        let codec = Codec::new().max_size(hub.config().frame_bytes as usize);
        Self { hub, session, socket, reading, codec, unread, borrows_buffer: false, failed: false, held: None }
    }

    /// Hands a message on, a text as soon as there is a credit for it.
    fn poll_hand_on(&mut self, message: Message, since: Instant, cx: &mut Context<'_>) -> Poll<Message> {
        if carries_command(&message) && self.reading.credits.poll_ready(cx).is_pending() {
            self.hub.hold_back(self.session, true);
            self.held = Some((message, since));
            return Poll::Pending;
        }
        let stage = &self.hub.worker().session;
        stage.waited(clock::now().saturating_duration_since(since), 1);
        stage.complete_n(1);
        Poll::Ready(message)
    }

    fn decode(&mut self) -> Option<Result<Message, ProtocolError>> {
        if self.unread.is_empty() {
            return None;
        }
        let frame = match self.codec.decode(&mut self.unread) {
            Ok(Some(frame)) => frame,
            // The codec would wait until all of a frame that is too large has come.
            Ok(None) if announced_bytes(&self.unread) <= u64::from(self.hub.config().frame_bytes) => return None,
            Ok(None) => return Some(Err(ProtocolError::Overflow)),
            Err(error) => return Some(Err(error)),
        };
        Some(match frame {
            Frame::Text(bytes) => ByteString::try_from(bytes).map(Message::Text).map_err(not_utf8),
            Frame::Binary(bytes) => Ok(Message::Binary(bytes)),
            Frame::Continuation(item) => Ok(Message::Continuation(item)),
            Frame::Ping(payload) => Ok(Message::Ping(payload)),
            Frame::Pong(payload) => Ok(Message::Pong(payload)),
            Frame::Close(reason) => Ok(Message::Close(reason)),
        })
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
        self.hub.heard(self.session, now);
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
    type Item = Result<Message, ProtocolError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some((message, since)) = this.held.take() {
            let handed_on = this.poll_hand_on(message, since, cx);
            if handed_on.is_ready() {
                this.hub.hold_back(this.session, false);
            }
            return handed_on.map(|message| Some(Ok(message)));
        }
        loop {
            if this.failed {
                this.unread = BytesMut::new();
            }
            match this.decode() {
                None => {}
                Some(Ok(message)) => {
                    this.hub.worker().session.arrive_n(1);
                    let handed_on = this.poll_hand_on(message, this.reading.read_at(), cx);
                    if handed_on.is_pending() {
                        this.return_buffer();
                    }
                    return handed_on.map(|message| Some(Ok(message)));
                }
                Some(Err(error)) => {
                    this.failed = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            match this.poll_read(cx) {
                Poll::Ready(0) => return Poll::Ready(None),
                Poll::Ready(_) => {}
                Poll::Pending => {
                    this.return_buffer();
                    return Poll::Pending;
                }
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
fn carries_command(message: &Message) -> bool {
    matches!(message, Message::Text(_) | Message::Continuation(Item::Last(_)))
}

/// How long the payload is that the beginning of a frame announces; 0 while that is not known.
fn announced_bytes(unread: &[u8]) -> u64 {
    const LENGTH_BITS: u8 = 0x7f;
    let Some((head, rest)) = unread.split_first_chunk::<2>() else { return 0 };
    match head[1] & LENGTH_BITS {
        126 => rest.first_chunk().map_or(0, |length| u16::from_be_bytes(*length).into()),
        127 => rest.first_chunk().map_or(0, |length| u64::from_be_bytes(*length)),
        length => length.into(),
    }
}

fn not_utf8(error: Utf8Error) -> ProtocolError {
    ProtocolError::Io(io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Whether a text frame was not UTF-8, rather than the protocol broken.
pub(super) fn is_not_utf8(error: &ProtocolError) -> bool {
    let ProtocolError::Io(error) = error else { return false };
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Utf8Error>)
}
