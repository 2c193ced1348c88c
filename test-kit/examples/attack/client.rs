//! A connection of an attacker: what it writes without end, and whether it reads. Thousands of them share a thread.

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

/// How long a connection, or the answer to a handshake, may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many bytes of frames are written at once.
const FLOOD_BYTES: usize = 64 * 1024;

/// What an attacker saw: figures by name.
pub(crate) type Saw = BTreeMap<String, f64>;

/// Connects. `narrow`: the kernel keeps little of what is not read.
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

/// A connection whose handshake, with further header fields, was answered with 101.
pub(crate) fn open_websocket(address: SocketAddr, path: &str, narrow: bool, fields: &str) -> io::Result<TcpStream> {
    let request = handshake_request_with(path, fields);
    Ok(Blocking::over(connect(address, narrow)?, &request)?.into_socket())
}

/// Ends a connection without a goodbye of any kind.
pub(crate) fn reset(socket: &TcpStream) {
    socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
}

/// A connection of an attacker.
#[derive(Debug)]
pub(crate) struct Client {
    /// `None`: it has ended.
    socket: Option<TcpStream>,
    pub(crate) reads: bool,
    flood: Vec<u8>,
    /// How much of the flood is written before it begins anew.
    written: usize,
    /// The first bytes that came, the last ones, and how many there were.
    head: Vec<u8>,
    tail: Vec<u8>,
    pub(crate) received: u64,
    /// All that came, where it is kept.
    kept: Option<Vec<u8>>,
    /// What the server closed it with.
    code: Option<u16>,
}

impl Client {
    /// Takes over a connection; it reads, and writes nothing by itself.
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

    /// It writes this without end.
    pub(crate) fn flooding(mut self, flood: &[u8]) -> Self {
        self.flood = flood.repeat((FLOOD_BYTES / flood.len().max(1)).max(1));
        self
    }

    /// It does not read.
    pub(crate) fn deaf(mut self) -> Self {
        self.reads = false;
        self
    }

    /// It keeps all that comes.
    pub(crate) fn keeping(mut self) -> Self {
        self.kept = Some(Vec::new());
        self
    }

    /// Whether the connection has not ended.
    pub(crate) fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// What came, where it is kept.
    pub(crate) fn kept(&self) -> &[u8] {
        self.kept.as_deref().unwrap_or_default()
    }

    /// Writes as much as the network takes, and returns how much that is.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> usize {
        self.socket.as_mut().and_then(|socket| socket.write(bytes).ok()).unwrap_or(0)
    }

    /// Writes all of this, however long that takes. The server may close the connection meanwhile.
    pub(crate) fn send_all(&mut self, bytes: &[u8]) {
        if let Some(socket) = &mut self.socket {
            socket.set_nonblocking(false).unwrap();
            socket.write_all(bytes).unwrap_or_default();
            socket.set_nonblocking(true).unwrap();
        }
    }

    /// Reads one byte, if there is one.
    pub(crate) fn read_byte(&mut self) {
        let mut byte = [0];
        if let Some(Ok(count)) = self.socket.as_mut().map(|socket| socket.read(&mut byte)) {
            self.note(&byte[..count]);
        }
    }

    /// Writes nothing more by itself, and reads.
    pub(crate) fn calm_down(&mut self) {
        self.flood.clear();
        self.reads = true;
    }

    /// Ends it.
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

    /// Goes on with the flood.
    fn write(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        match socket.write(&self.flood[self.written..]) {
            Ok(count) => self.written = (self.written + count) % self.flood.len(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // It may still have been told why.
            Err(_) => self.calm_down(),
        }
    }

    /// Reads once, and notes the end of the connection.
    fn read(&mut self, room: &mut [u8]) {
        let Some(socket) = &mut self.socket else { return };
        let count = match socket.read(room) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => 0,
        };
        self.note(&room[..count]);
        if count == 0 {
            // The close frame is the last that came.
            let is_close =
                |at: &usize| self.tail[*at] == CLOSE && usize::from(self.tail[at + 1]) == self.tail.len() - at - 2;
            let at = (0..self.tail.len().saturating_sub(3)).find(is_close);
            self.code = at.map(|at| u16::from_be_bytes([self.tail[at + 2], self.tail[at + 3]]));
            self.close();
        }
    }
}

/// Lets clients write and read for a while, or until all have ended.
pub(crate) fn run(clients: &mut [Client], time: Duration) {
    run_acting(clients, time, time, |_| ());
}

/// The same; `act` is called at the beginning and at each interval.
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
            // What was missed for lack of time is caught up with for a second at most.
            due = (due + interval).max(now.checked_sub(Duration::from_secs(1)).unwrap_or(now));
        }
        let wait = end.min(due).saturating_duration_since(Instant::now());
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), Some(&wait.try_into().unwrap())).unwrap();
        for event in &events {
            // A copy: an event's fields are not aligned.
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

/// How many clients were closed with which code.
pub(crate) fn codes(clients: &[Client]) -> Saw {
    let mut seen = Saw::new();
    for client in clients {
        *seen.entry(client.code.map_or("none".into(), |code| code.to_string())).or_default() += 1.0;
    }
    seen
}

/// How many clients got which status of HTTP first, and how many connections are still open.
pub(crate) fn told(clients: &[Client]) -> Saw {
    let mut seen = Saw::from([("open".to_owned(), clients.iter().filter(|client| client.is_open()).count() as f64)]);
    for client in clients.iter().filter(|client| client.head.starts_with(b"HTTP/") && client.head.len() >= 12) {
        *seen.entry(String::from_utf8_lossy(&client.head[9..12]).into_owned()).or_default() += 1.0;
    }
    seen
}
