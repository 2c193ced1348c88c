//! The floor of the measurements: an epoll loop that does what a chat cannot do without, and nothing else.
//!
//! It answers handshakes, hands each text to all connections of the same path with one write for each of them and turn
//! of the loop, and sends every connection a ping each 25 s, spread evenly. It has no runtime, no actors, no names, no
//! rules, no history and no limits, and closes no silent connection. Its cost is that of the kernel and a bare loop.

#![expect(clippy::indexing_slicing, reason = "the numbers of rooms and connections are its own")]

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use actix_http::ws::hash_key;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;

const HEARTBEAT_SECONDS: usize = 25;
const PING: [u8; 2] = [0x89, 0];
const LISTENER: u64 = u64::MAX;
const EVENTS: usize = 1_024;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

struct Connection {
    socket: TcpStream,
    /// `None` before the handshake.
    room: Option<usize>,
    /// The beginning of a frame.
    input: Vec<u8>,
    /// What the kernel has not taken.
    unsent: Vec<u8>,
}

/// The connections of one path.
#[derive(Default)]
struct Room {
    members: Vec<usize>,
    /// The frames of this turn.
    said: Vec<u8>,
}

#[derive(Default)]
struct Rooms {
    all: Vec<Room>,
    by_path: HashMap<String, usize>,
    /// The rooms in which something was said in this turn.
    spoken: Vec<usize>,
}

impl Rooms {
    fn enter(&mut self, path: &str, connection: usize) -> usize {
        let room = *self.by_path.entry(path.to_owned()).or_insert(self.all.len());
        if room == self.all.len() {
            self.all.push(Room::default());
        }
        self.all[room].members.push(connection);
        room
    }

    fn say(&mut self, room: usize, text: &[u8]) {
        let said = &mut self.all[room].said;
        if said.is_empty() {
            self.spoken.push(room);
        }
        said.push(0x80 | TEXT);
        match u16::try_from(text.len()) {
            Ok(size @ 0..=125) => said.push(size.to_le_bytes()[0]),
            Ok(size) => {
                said.push(126);
                said.extend_from_slice(&size.to_be_bytes());
            }
            Err(_) => {
                said.push(127);
                said.extend_from_slice(&(text.len() as u64).to_be_bytes());
            }
        }
        said.extend_from_slice(text);
    }
}

/// A frame from a client at the beginning of these bytes: its opcode, its mask, and where its payload begins and ends.
/// `None`: it is not complete.
fn frame(bytes: &[u8]) -> Option<(u8, [u8; 4], usize, usize)> {
    let size = usize::from(bytes.get(1)? & 0x7f);
    let (size, at) = match size {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        size => (size, 2),
    };
    let (begin, end) = (at + 4, at + 4 + size);
    let mask = bytes.get(at..begin)?.try_into().ok()?;
    (bytes.len() >= end).then_some((bytes[0] & 0x0f, mask, begin, end))
}

impl Connection {
    /// Reads all available input. `None` if the peer has closed.
    fn read(&mut self, number: usize, rooms: &mut Rooms, buffer: &mut [u8]) -> Option<()> {
        loop {
            let size = match self.socket.read(buffer) {
                Ok(0) => return None,
                Ok(size) => size,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
                Err(_) => return None,
            };
            if self.input.is_empty() {
                let taken = self.take(number, rooms, buffer.get_mut(..size)?)?;
                self.input.extend_from_slice(buffer.get(taken..size)?);
            } else {
                let mut input = std::mem::take(&mut self.input);
                input.extend_from_slice(buffer.get(..size)?);
                let taken = self.take(number, rooms, &mut input)?;
                input.drain(..taken);
                self.input = input;
            }
            if size < buffer.len() {
                return Some(());
            }
        }
    }

    /// Handles the complete frames in this input, or the handshake, and returns how many bytes they have. `None` if the
    /// connection ends.
    fn take(&mut self, number: usize, rooms: &mut Rooms, input: &mut [u8]) -> Option<usize> {
        let Some(room) = self.room else {
            // The load generator sends its handshake in one piece, and nothing before the answer.
            self.room = Some(rooms.enter(&self.open(input)?, number));
            return Some(input.len());
        };
        let mut taken = 0;
        while let Some((opcode, mask, begin, end)) = frame(&input[taken..]) {
            let payload = &mut input[taken + begin..taken + end];
            match opcode {
                TEXT => {
                    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
                        *byte ^= key;
                    }
                    rooms.say(room, payload);
                }
                CLOSE => return None,
                _ => {}
            }
            taken += end;
        }
        Some(taken)
    }

    /// Answers the handshake and returns its path.
    fn open(&self, request: &[u8]) -> Option<String> {
        let request = std::str::from_utf8(request).ok()?;
        let path = request.split(' ').nth(1)?.to_owned();
        let is_key = |line: &&str| line.to_ascii_lowercase().starts_with("sec-websocket-key:");
        let key = request.lines().find(is_key)?.split_once(':')?.1.trim();
        let accept = hash_key(key.as_bytes());
        let accept = std::str::from_utf8(&accept).ok()?;
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        (&self.socket).write_all(answer.as_bytes()).ok()?;
        Some(path)
    }

    /// Sends what the kernel takes, and keeps the rest until it takes more.
    fn send(&mut self, bytes: &[u8]) {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return;
        }
        // A closed connection is detected when it is read.
        let sent = self.socket.write(bytes).unwrap_or(0);
        self.unsent.extend_from_slice(&bytes[sent..]);
    }

    /// The kernel takes bytes again.
    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            let Ok(sent) = self.socket.write(&self.unsent) else { return };
            self.unsent.drain(..sent);
        }
        self.unsent = Vec::new();
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement of real time")]
fn now() -> Instant {
    Instant::now()
}

fn accept(
    listener: &TcpListener,
    poll: impl rustix::fd::AsFd,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    while let Ok((socket, _)) = listener.accept() {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let data = EventData::new_u64(connections.len() as u64);
        epoll::add(&poll, &socket, data, EventFlags::IN | EventFlags::OUT | EventFlags::ET)?;
        connections.push(Some(Connection { socket, room: None, input: Vec::new(), unsent: Vec::new() }));
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    eprintln!("listening on {}: a bare loop", listener.local_addr()?);
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut rooms = Rooms::default();
    let mut events = Vec::with_capacity(EVENTS);
    let mut buffer = vec![0; 65_536];
    let (mut second, mut next) = (0, now() + Duration::from_secs(1));
    loop {
        events.clear();
        let timeout = Timespec::try_from(next.saturating_duration_since(now())).unwrap_or_default();
        epoll::wait(&poll, spare_capacity(&mut events), Some(&timeout))?;
        for event in &events {
            if event.data.u64() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let Ok(number) = usize::try_from(event.data.u64()) else { continue };
            let Some(connection) = connections.get_mut(number).and_then(Option::as_mut) else { continue };
            let flags = event.flags;
            if flags.contains(EventFlags::OUT) {
                connection.flush();
            }
            let reads = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
            if reads && connection.read(number, &mut rooms, &mut buffer).is_none() {
                if let Some(room) = connection.room {
                    rooms.all[room].members.retain(|member| *member != number);
                }
                connections[number] = None;
            }
        }
        for room in std::mem::take(&mut rooms.spoken) {
            let Room { members, said } = &mut rooms.all[room];
            for member in members {
                if let Some(connection) = &mut connections[*member] {
                    connection.send(said);
                }
            }
            said.clear();
        }
        if now() >= next {
            next += Duration::from_secs(1);
            second = (second + 1) % HEARTBEAT_SECONDS;
            for connection in connections.iter_mut().skip(second).step_by(HEARTBEAT_SECONDS).flatten() {
                connection.send(&PING);
            }
        }
    }
}
