//! A WebSocket without a runtime: for a thread of its own, whose times nobody else's work is part of.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::DEADLINE;
use crate::raw::{PING, PONG, RawFrame, frame, handshake_request};

/// Connects, from this address of the machine itself if one is given. No read takes longer than `patience`.
///
/// # Errors
/// There is no connection.
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

/// Status and body of a GET, on a connection of its own.
///
/// # Errors
/// There is no connection, or it ends before the answer.
pub fn get(server: SocketAddr, source: Option<Ipv4Addr>, path: &str) -> io::Result<(u16, String)> {
    let mut stream = open(server, source, DEADLINE)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    Ok((status, body.to_owned()))
}

/// A WebSocket. Every call waits until it is done.
#[derive(Debug)]
pub struct Blocking {
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Blocking {
    /// Connects to a path, like `/ws?clientId=alice`, from this address of the machine itself if one is given; the welcome
    /// is the next frame. No read takes longer than `patience`.
    ///
    /// # Errors
    /// There is no connection, or the handshake is refused: the error has the head of the answer.
    pub fn connect(server: SocketAddr, source: Option<Ipv4Addr>, path: &str, patience: Duration) -> io::Result<Self> {
        Self::over(open(server, source, patience)?, &handshake_request(path))
    }

    /// Makes a connection a WebSocket with this request.
    ///
    /// # Errors
    /// The handshake is refused, and the error has the head of the answer; or the connection ends.
    pub fn over(mut socket: TcpStream, request: &str) -> io::Result<Self> {
        socket.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        // Nothing behind the answer is taken: it belongs to whoever reads on, or does not.
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

    /// The connection, once nothing that was read is waiting here.
    pub fn into_socket(self) -> TcpStream {
        assert!(self.unread.is_empty(), "a frame was begun");
        self.socket
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        self.socket.write_all(&frame(first, payload))
    }

    /// The next frame but pings, which are answered.
    ///
    /// # Errors
    /// The connection has ended, or nothing comes in time.
    pub fn receive(&mut self) -> io::Result<RawFrame> {
        let mut room = [0; 16 * 1024];
        loop {
            while let Some(frame) = RawFrame::take(&mut self.unread) {
                if frame.opcode != PING {
                    return Ok(frame);
                }
                self.send(PONG, &frame.payload)?;
            }
            match self.socket.read(&mut room)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.unread.extend_from_slice(&room[..count]),
            }
        }
    }

    /// The next frame that contains this; others are passed over.
    ///
    /// # Errors
    /// The server has closed the connection, it has ended, or nothing comes in time.
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
