//! A WebSocket without an async runtime. A test runs it in its own thread, so that its times include no other work.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::DEADLINE;
use crate::raw::{CLOSE, PING, PONG, RawFrame, frame, handshake_request};

/// Connects, optionally from a given local address. No read waits longer than `patience`.
///
/// # Errors
/// The connection fails.
pub fn open(server: SocketAddr, source: Option<Ipv4Addr>, patience: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect_timeout(&server.into(), patience)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(patience))?;
    Ok(socket.into())
}

/// Sends a GET on a new connection. Returns status and body.
///
/// # Errors
/// The connection fails, or ends before the answer.
pub fn get(server: SocketAddr, source: Option<Ipv4Addr>, path: &str) -> io::Result<(u16, String)> {
    let mut stream = open(server, source, DEADLINE)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    Ok((status, body.to_owned()))
}

/// A blocking WebSocket: each call returns when its work is done.
#[derive(Debug)]
pub struct Blocking {
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Blocking {
    /// Connects to a path like `/ws?clientId=alice`, optionally from a given local address. The welcome is the next
    /// frame. No read waits longer than `patience`.
    ///
    /// # Errors
    /// The connection fails, or the handshake is refused; then the error contains the head of the answer.
    pub fn connect(server: SocketAddr, source: Option<Ipv4Addr>, path: &str, patience: Duration) -> io::Result<Self> {
        Self::over(open(server, source, patience)?, &handshake_request(path))
    }

    /// Upgrades a connection to a WebSocket with this request.
    ///
    /// # Errors
    /// The handshake is refused, and the error contains the head of the answer; or the connection ends.
    pub fn over(mut socket: TcpStream, request: &str) -> io::Result<Self> {
        socket.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        // Reads nothing beyond the head, because the caller may use the socket directly.
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte)?;
            head.extend_from_slice(&byte);
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(io::Error::new(ErrorKind::ConnectionRefused, String::from_utf8_lossy(&head).into_owned()));
        }
        Ok(Self { socket, unread: Vec::new() })
    }

    /// The socket. Panics if received bytes are still buffered here.
    pub fn into_socket(self) -> TcpStream {
        assert!(self.unread.is_empty(), "a part of a frame is still buffered");
        self.socket
    }

    /// Sends a frame. `first` is its first byte: the FIN bit and the opcode.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        self.socket.write_all(&frame(first, payload))
    }

    /// Receives the next frame that is not a ping. Answers pings.
    ///
    /// # Errors
    /// The connection has ended, or no frame arrives in time.
    pub fn receive(&mut self) -> io::Result<RawFrame> {
        loop {
            let frame = self.receive_any()?;
            if frame.opcode != PING {
                return Ok(frame);
            }
            self.send(PONG, &frame.payload)?;
        }
    }

    /// Discards frames up to the next ping, and returns its payload. The caller answers it.
    ///
    /// # Errors
    /// The connection has ended, or no frame arrives in time.
    pub fn receive_ping(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let frame = self.receive_any()?;
            if frame.opcode == PING {
                return Ok(frame.payload);
            }
        }
    }

    /// Closes the connection in order, and returns the number of pings that arrived before its end.
    ///
    /// # Errors
    /// The connection has ended, or no frame arrives in time.
    pub fn close(mut self) -> io::Result<usize> {
        self.send(CLOSE, &1000_u16.to_be_bytes())?;
        let mut pings = 0;
        loop {
            match self.receive_any()?.opcode {
                CLOSE => return Ok(pings),
                opcode => pings += usize::from(opcode == PING),
            }
        }
    }

    /// Receives the next frame.
    fn receive_any(&mut self) -> io::Result<RawFrame> {
        let mut room = [0; 16 * 1024];
        loop {
            if let Some(frame) = RawFrame::take(&mut self.unread) {
                return Ok(frame);
            }
            match self.socket.read(&mut room)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.unread.extend_from_slice(&room[..count]),
            }
        }
    }

    /// Receives frames until one contains `part`, and discards the others.
    ///
    /// # Errors
    /// The server has closed the connection, the connection has ended, or no frame arrives in time.
    pub fn receive_until(&mut self, part: &str) -> io::Result<RawFrame> {
        loop {
            let frame = self.receive()?;
            if frame.says(part) {
                return Ok(frame);
            }
            if let Some(code) = frame.close_code() {
                return Err(io::Error::new(ErrorKind::ConnectionAborted, format!("closed by the server with {code}")));
            }
        }
    }
}
