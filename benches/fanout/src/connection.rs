//! One connection: its socket, and what waits to be read or written.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use socket2::{Domain, Protocol, Socket, Type};

use crate::transport::{Tls, Transport};

/// The stages of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not begun.
    New,
    Connecting,
    /// The request is sent; the response is awaited.
    Handshake,
    /// The server has accepted; a frame with a certain text is awaited.
    Greeting,
    Ready,
    /// It has ended, or has never become ready.
    Ended,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: Option<Transport>,
    pub(crate) stage: Stage,
    /// Whether it never reads once it is ready.
    pub(crate) is_slow: bool,
    /// The time at which it began to connect.
    pub(crate) begun: u64,
    /// The beginning of an incomplete frame.
    pub(crate) unread: Vec<u8>,
    unsent: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(is_slow: bool) -> Self {
        Self { socket: None, stage: Stage::New, is_slow, begun: 0, unread: Vec::new(), unsent: Vec::new() }
    }

    /// Begins to connect, from this address if there is one.
    pub(crate) fn connect(
        &mut self,
        to: SocketAddrV4,
        from: Option<Ipv4Addr>,
        tls: Option<&Tls>,
        now: u64,
    ) -> io::Result<()> {
        self.begun = now;
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if let Some(from) = from {
            socket.bind(&SocketAddr::from((from, 0)).into())?;
        }
        match socket.connect(&SocketAddr::V4(to).into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
        self.socket = Some(Transport::new(socket.into(), tls)?);
        self.stage = Stage::Connecting;
        Ok(())
    }

    /// The connection is made: sends the request for a WebSocket.
    pub(crate) fn request(&mut self, host: &str, path: &str, key: [u8; 16]) -> io::Result<()> {
        if let Some(error) = self.socket.as_ref().map(|socket| socket.tcp().take_error()).transpose()?.flatten() {
            return Err(error);
        }
        self.stage = Stage::Handshake;
        let key = STANDARD.encode(key);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        self.send(request.as_bytes()).map(drop)
    }

    /// Reads once. `Ok(None)`: there is nothing to read now. `Ok(Some(0))`: the server has ended the connection.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(socket) = &mut self.socket else { return Ok(None) };
        loop {
            return match socket.read(buffer) {
                Ok(count) => Ok(Some(count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.socket.as_ref().is_some_and(Transport::has_unsent)
    }

    /// Sends bytes, or keeps what the socket does not take now. Returns whether it took them all.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let sent = if self.unsent.is_empty() { write(self.socket.as_mut(), bytes)? } else { 0 };
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(sent == bytes.len())
    }

    /// Sends what was kept.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let sent = write(self.socket.as_mut(), &self.unsent)?;
        self.unsent.drain(..sent);
        match self.socket.as_mut().map(Transport::flush) {
            Some(Err(error)) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    pub(crate) fn end(&mut self) {
        self.socket = None;
        self.stage = Stage::Ended;
        (self.unread, self.unsent) = (Vec::new(), Vec::new());
    }
}

/// Writes as much as the socket takes.
fn write(socket: Option<&mut Transport>, bytes: &[u8]) -> io::Result<usize> {
    let Some(socket) = socket else { return Ok(0) };
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            // TLS takes no more.
            Ok(0) => break,
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
