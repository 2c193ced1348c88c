//! Measures the minimal cost of heartbeats: an epoll loop that answers handshakes, sends each connection a ping every
//! 25 s, spread evenly over that time, and discards all input.
//!
//! It has no runtime, no actors and no rules, and closes no silent connection. Its cost is that of the kernel and a
//! bare loop.

use std::io::{ErrorKind, Read, Write};
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

struct Connection {
    socket: TcpStream,
    is_open: bool,
}

impl Connection {
    /// Reads the available input. The load generator sends its handshake in one piece. `None` if the peer has closed.
    fn read(&mut self, buffer: &mut [u8]) -> Option<()> {
        let size = match self.socket.read(buffer) {
            Ok(0) => return None,
            Ok(size) => size,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
            Err(_) => return None,
        };
        if !self.is_open {
            let request = std::str::from_utf8(buffer.get(..size)?).ok()?;
            let is_key = |line: &&str| line.to_ascii_lowercase().starts_with("sec-websocket-key:");
            let key = request.lines().find(is_key)?.split_once(':')?.1.trim();
            let accept = hash_key(key.as_bytes());
            let accept = std::str::from_utf8(&accept).ok()?;
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            self.socket.write_all(answer.as_bytes()).ok()?;
            self.is_open = true;
        }
        Some(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement of real time")]
fn now() -> Instant {
    Instant::now()
}

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    eprintln!("listening on {}: bare heartbeats", listener.local_addr()?);
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Vec::with_capacity(EVENTS);
    let mut buffer = vec![0; 4_096];
    let (mut second, mut next) = (0, now() + Duration::from_secs(1));
    loop {
        events.clear();
        let timeout = Timespec::try_from(next.saturating_duration_since(now())).unwrap_or_default();
        epoll::wait(&poll, spare_capacity(&mut events), Some(&timeout))?;
        for event in &events {
            let token = event.data.u64();
            if token == LISTENER {
                while let Ok((socket, _)) = listener.accept() {
                    socket.set_nonblocking(true)?;
                    socket.set_nodelay(true)?;
                    let data = EventData::new_u64(connections.len() as u64);
                    epoll::add(&poll, &socket, data, EventFlags::IN | EventFlags::ET)?;
                    connections.push(Some(Connection { socket, is_open: false }));
                }
            } else if let Some(slot) = usize::try_from(token).ok().and_then(|token| connections.get_mut(token)) {
                let has_gone = slot.as_mut().is_some_and(|connection| connection.read(&mut buffer).is_none());
                if has_gone {
                    *slot = None;
                }
            }
        }
        if now() >= next {
            next += Duration::from_secs(1);
            second = (second + 1) % HEARTBEAT_SECONDS;
            for connection in connections.iter().skip(second).step_by(HEARTBEAT_SECONDS).flatten() {
                // A closed connection is detected when it is read.
                drop((&connection.socket).write(&PING));
            }
        }
    }
}
