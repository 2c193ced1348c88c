//! An attacker's connection, which can flood the server and can leave its input unread. Thousands of them share a
//! thread.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use socket2::{Domain, Socket, Type};
use test_kit::blocking::Blocking;
use test_kit::raw::{CLOSE, handshake_request_with};
use tokio::time::Instant;

/// The longest wait for a connection, or for the answer to a handshake.
const PATIENCE: Duration = Duration::from_secs(20);

/// The number of bytes of frames in one write.
const FLOOD_BYTES: usize = 64 * 1024;

/// An attacker's observations: numbers by name.
pub(crate) type Saw = BTreeMap<String, f64>;

/// Connects. `narrow` gives the socket a small receive buffer, so that the kernel keeps little unread data.
pub(crate) fn connect(address: SocketAddr, narrow: bool) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if narrow {
        socket.set_recv_buffer_size(4_096)?;
    }
    socket.connect_timeout(&address.into(), PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// Opens a WebSocket with additional header fields in the handshake.
pub(crate) fn open_websocket(address: SocketAddr, path: &str, narrow: bool, fields: &str) -> io::Result<TcpStream> {
    let request = handshake_request_with(path, fields);
    Ok(Blocking::over(connect(address, narrow)?, &request)?.into_socket())
}

/// Makes the connection end with a TCP reset when the socket is closed.
pub(crate) fn reset(socket: &TcpStream) {
    socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
}

/// An attacker's connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// `None` after the connection has ended.
    socket: Option<TcpStream>,
    pub(crate) reads: bool,
    flood: Vec<u8>,
    /// The position in the flood.
    written: usize,
    /// The first and the last received bytes, and the number of all received bytes.
    head: Vec<u8>,
    tail: Vec<u8>,
    pub(crate) received: u64,
    /// All received bytes, if `keeping` was called.
    kept: Option<Vec<u8>>,
    /// The code of the server's close frame.
    code: Option<u16>,
}

impl Client {
    /// Takes over a connection. The client reads, and writes nothing on its own.
    pub(crate) fn new(socket: TcpStream) -> Self {
        socket.set_nonblocking(true).unwrap();
        Self {
            socket: Some(socket),
            reads: true,
            flood: Vec::new(),
            written: 0,
            head: Vec::new(),
            tail: Vec::new(),
            received: 0,
            kept: None,
            code: None,
        }
    }

    /// Makes the client write these bytes without end.
    pub(crate) fn flooding(mut self, flood: &[u8]) -> Self {
        self.flood = flood.repeat((FLOOD_BYTES / flood.len().max(1)).max(1));
        self
    }

    /// Makes the client leave its input unread.
    pub(crate) fn deaf(mut self) -> Self {
        self.reads = false;
        self
    }

    /// Makes the client keep all received bytes.
    pub(crate) fn keeping(mut self) -> Self {
        self.kept = Some(Vec::new());
        self
    }

    /// Whether the connection is still open.
    pub(crate) fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// The received bytes, if the client keeps them.
    pub(crate) fn kept(&self) -> &[u8] {
        self.kept.as_deref().unwrap_or_default()
    }

    /// Writes as much as the socket accepts. Returns the number of bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> usize {
        self.socket.as_mut().and_then(|socket| socket.write(bytes).ok()).unwrap_or(0)
    }

    /// Writes all bytes, and blocks until the socket has accepted them. The server may close the connection meanwhile.
    pub(crate) fn send_all(&mut self, bytes: &[u8]) {
        if let Some(socket) = &mut self.socket {
            socket.set_nonblocking(false).unwrap();
            socket.write_all(bytes).unwrap_or_default();
            socket.set_nonblocking(true).unwrap();
        }
    }

    /// Reads one byte if one is available.
    pub(crate) fn read_byte(&mut self) {
        let mut byte = [0];
        if let Some(Ok(count)) = self.socket.as_mut().map(|socket| socket.read(&mut byte)) {
            self.note(&byte[..count]);
        }
    }

    /// Stops the flood and starts to read.
    pub(crate) fn calm_down(&mut self) {
        self.flood.clear();
        self.reads = true;
    }

    /// Closes the connection.
    pub(crate) fn close(&mut self) {
        self.socket = None;
    }

    fn interest(&self) -> EventFlags {
        let reads = if self.reads { EventFlags::IN } else { EventFlags::empty() };
        let writes = if self.flood.is_empty() { EventFlags::empty() } else { EventFlags::OUT };
        reads | writes
    }

    fn note(&mut self, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        self.head.extend(bytes.iter().take(16 - self.head.len()));
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(128)..]);
        self.tail.drain(..self.tail.len().saturating_sub(128));
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(bytes);
        }
    }

    /// Continues the flood.
    fn write(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        match socket.write(&self.flood[self.written..]) {
            Ok(count) => self.written = (self.written + count) % self.flood.len(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // A close frame may still be readable.
            Err(_) => self.calm_down(),
        }
    }

    /// Reads once. Records the close code at the end of the connection.
    fn read(&mut self, room: &mut [u8]) {
        let Some(socket) = &mut self.socket else { return };
        let count = match socket.read(room) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => 0,
        };
        self.note(&room[..count]);
        if count == 0 {
            // A close frame is the last frame.
            let is_close =
                |at: &usize| self.tail[*at] == CLOSE && usize::from(self.tail[at + 1]) == self.tail.len() - at - 2;
            let at = (0..self.tail.len().saturating_sub(3)).find(is_close);
            self.code = at.map(|at| u16::from_be_bytes([self.tail[at + 2], self.tail[at + 3]]));
            self.close();
        }
    }
}

/// Runs the clients' reads and writes for this time, or until all connections have ended.
pub(crate) fn run(clients: &mut [Client], time: Duration) {
    run_acting(clients, time, time, |_| ());
}

/// Like [`run`], but also calls `act` at the beginning and at each interval.
pub(crate) fn run_acting(
    clients: &mut [Client],
    time: Duration,
    interval: Duration,
    mut act: impl FnMut(&mut [Client]),
) {
    let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
    for (number, client) in (0..).zip(clients.iter()) {
        if let (Some(socket), false) = (&client.socket, client.interest().is_empty()) {
            epoll::add(&epoll, socket, EventData::new_u64(number), client.interest()).unwrap();
        }
    }
    let (mut events, mut room) = (Vec::with_capacity(1_024), vec![0; 256 * 1024]);
    let end = Instant::now() + time;
    let mut due = Instant::now();
    while clients.iter().any(Client::is_open) {
        let now = Instant::now();
        if now >= end {
            return;
        }
        if now >= due {
            act(clients);
            // Missed intervals are made up for, but only those of the last second.
            due = (due + interval).max(now.checked_sub(Duration::from_secs(1)).unwrap_or(now));
        }
        let wait = end.min(due).saturating_duration_since(Instant::now());
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), Some(&wait.try_into().unwrap())).unwrap();
        for event in &events {
            // Copied, because the fields of an event are not aligned.
            let (data, flags) = (event.data, event.flags);
            let client = &mut clients[usize::try_from(data.u64()).unwrap()];
            let (wants, over) = (client.interest(), EventFlags::HUP | EventFlags::ERR);
            if wants.contains(EventFlags::OUT) && flags.intersects(EventFlags::OUT | over) {
                client.write();
                if let (Some(socket), true) = (&client.socket, client.flood.is_empty()) {
                    epoll::modify(&epoll, socket, data, client.interest()).unwrap();
                }
            }
            if wants.contains(EventFlags::IN) && flags.intersects(EventFlags::IN | over) {
                client.read(&mut room);
            }
        }
    }
}

/// The number of clients per close code.
pub(crate) fn codes(clients: &[Client]) -> Saw {
    let mut seen = Saw::new();
    for client in clients {
        *seen.entry(client.code.map_or("none".into(), |code| code.to_string())).or_default() += 1.0;
    }
    seen
}

/// The number of clients per HTTP status of their first answer, and the number of open connections.
pub(crate) fn told(clients: &[Client]) -> Saw {
    let mut seen = Saw::from([("open".to_owned(), clients.iter().filter(|client| client.is_open()).count() as f64)]);
    for client in clients.iter().filter(|client| client.head.starts_with(b"HTTP/") && client.head.len() >= 12) {
        *seen.entry(String::from_utf8_lossy(&client.head[9..12]).into_owned()).or_default() += 1.0;
    }
    seen
}
