//! The stream under a connection: plain TCP, or TLS over it (`docs/decisions/0008-tls-in-the-socket.md`).
//!
//! For a plain connection each call is one system call and one match. A connection with TLS lives on one thread, so
//! both of its halves share the stream through a `RefCell`.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::server::TlsStream;

/// A connection's stream.
#[derive(Debug)]
pub enum Socket {
    /// A write goes straight to the kernel.
    Plain(TcpStream),
    /// TLS over TCP, its handshake done.
    Tls(Box<TlsStream<TcpStream>>),
}

type SharedTls = Rc<RefCell<TlsStream<TcpStream>>>;

/// The reading half of a stream.
#[derive(Debug)]
pub enum ReadHalf {
    /// Reads what the kernel has.
    Plain(OwnedReadHalf),
    /// Shares the TLS state with its writing half.
    Tls(SharedTls),
}

/// The writing half of a stream.
#[derive(Debug)]
pub enum WriteHalf {
    /// A write goes straight to the kernel.
    Plain(OwnedWriteHalf),
    /// A half of a TLS stream. Boxed, because it is larger than that of TCP, which most connections use.
    Tls(Box<TlsWriteHalf>),
}

/// The half of a TLS stream that is written.
#[derive(Debug)]
pub struct TlsWriteHalf {
    stream: SharedTls,
    /// The task that waits until the socket is writable. The TLS stream stores one waker for writing and each attempt
    /// replaces it, so every attempt uses this waker.
    waiting: RefCell<Waker>,
}

impl TlsWriteHalf {
    /// Does as much as is possible without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is possible. The waiting task is then woken once it is.
    fn at_once<T>(
        &self,
        act: impl FnOnce(Pin<&mut TlsStream<TcpStream>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let waiting = self.waiting.borrow();
        match act(Pin::new(&mut *self.stream.borrow_mut()), &mut Context::from_waker(&waiting)) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl From<OwnedReadHalf> for ReadHalf {
    fn from(half: OwnedReadHalf) -> Self {
        Self::Plain(half)
    }
}

impl From<OwnedWriteHalf> for WriteHalf {
    fn from(half: OwnedWriteHalf) -> Self {
        Self::Plain(half)
    }
}

impl Socket {
    /// Splits the stream into its halves.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Plain(socket) => {
                let (reading, writing) = socket.into_split();
                (reading.into(), writing.into())
            }
            Self::Tls(stream) => {
                let shared = Rc::new(RefCell::new(*stream));
                let waiting = RefCell::new(Waker::noop().clone());
                (ReadHalf::Tls(Rc::clone(&shared)), WriteHalf::Tls(Box::new(TlsWriteHalf { stream: shared, waiting })))
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(&mut *stream.borrow_mut()).poll_read(cx, buf),
        }
    }
}

impl ReadHalf {
    /// Joins the halves again. `None`: the halves belong to different streams.
    pub fn reunite(self, other: WriteHalf) -> Option<Socket> {
        match (self, other) {
            (Self::Plain(reading), WriteHalf::Plain(writing)) => reading.reunite(writing).ok().map(Socket::Plain),
            (Self::Tls(reading), WriteHalf::Tls(writing)) => {
                drop(writing);
                Rc::into_inner(reading).map(|stream| Socket::Tls(Box::new(stream.into_inner())))
            }
            (Self::Plain(_), WriteHalf::Tls(_)) | (Self::Tls(_), WriteHalf::Plain(_)) => None,
        }
    }
}

impl WriteHalf {
    /// Whether accepted bytes reach the kernel at once. If not, [`try_flush`](Self::try_flush) must follow.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Writes as many bytes as are accepted at once.
    ///
    /// # Errors
    /// `WouldBlock` if none are; any other error means that the peer is gone.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_write(bytes),
            Self::Tls(_) => self.try_write_vectored(&[IoSlice::new(bytes)]),
        }
    }

    /// Writes as many bytes of several buffers as are accepted at once. TLS buffers at most 64 KiB more than the kernel
    /// accepts.
    ///
    /// # Errors
    /// `WouldBlock` if none are; any other error means that the peer is gone.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_write_vectored(slices),
            Self::Tls(half) => half.at_once(|stream, cx| stream.poll_write_vectored(cx, slices)),
        }
    }

    /// Passes buffered bytes on to the kernel.
    ///
    /// # Errors
    /// `WouldBlock` if some are left; any other error means that the peer is gone.
    pub(crate) fn try_flush(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(half) => half.at_once(AsyncWrite::poll_flush),
        }
    }

    fn with_tcp<T>(&self, act: impl FnOnce(&TcpStream) -> T) -> T {
        match self {
            Self::Plain(socket) => act(socket.as_ref()),
            Self::Tls(half) => act(half.stream.borrow().get_ref().0),
        }
    }

    /// Ready when the socket is writable.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Tls(half) = self {
            half.waiting.borrow_mut().clone_from(cx.waker());
        }
        self.with_tcp(|socket| socket.poll_write_ready(cx))
    }

    /// Shuts the socket down for writing.
    pub(crate) fn shut_down(&self) {
        // Errors are ignored: the peer may be gone already.
        if let Self::Tls(half) = self {
            drop(half.at_once(AsyncWrite::poll_shutdown));
        }
        drop(self.with_tcp(|socket| SockRef::from(socket).shutdown(Shutdown::Write)));
    }

    /// Makes the socket reset on drop: the kernel discards unsent bytes instead of waiting for the peer to read them.
    pub(crate) fn reset_on_drop(&self) {
        // Errors are ignored: a closed socket needs no reset.
        drop(self.with_tcp(|socket| SockRef::from(socket).set_linger(Some(Duration::ZERO))));
    }
}
