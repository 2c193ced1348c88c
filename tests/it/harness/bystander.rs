//! Somebody who only wants to chat while others attack, and notes how long each message takes to come back.
//!
//! A thread and a blocking socket of its own, so that what an attacker does with its own thread is not measured.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

/// Time between two messages: with its way back, a little below what a client may send in the long run.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a message may take before the chat counts as dead.
const PATIENCE: Duration = Duration::from_secs(20);

const HANDSHAKE: &str = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Somebody who chats, alone in a room. See the module.
#[derive(Debug)]
pub(crate) struct Bystander {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    round_trips: Mutex<Vec<Duration>>,
}

/// The round trips of a while.
#[derive(Debug, Clone)]
pub(crate) struct RoundTrips(Vec<Duration>);

impl RoundTrips {
    /// What 99 of 100 took at most; with nothing measured, for ever.
    pub(crate) fn p99(&self) -> Duration {
        self.0.get((self.0.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(Duration::MAX)
    }
}

impl Bystander {
    /// Connects to a server and begins to chat.
    pub(crate) fn arrive(server: SocketAddr) -> io::Result<Self> {
        let mut socket = TcpStream::connect(server)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(format!("GET /ws/calm HTTP/1.1\r\n{HANDSHAKE}").as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte)?;
            head.extend_from_slice(&byte);
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(io::Error::new(ErrorKind::ConnectionRefused, String::from_utf8_lossy(&head).into_owned()));
        }
        let shared = Arc::new(Shared::default());
        let chatting = Arc::clone(&shared);
        let thread = thread::Builder::new().name("bystander".into()).spawn(move || chatting.chat(&mut socket))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Forgets what it has noted so far.
    pub(crate) fn forget(&self) {
        drop(self.take());
    }

    fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.shared.round_trips.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What it has noted since it was asked before.
    pub(crate) fn round_trips(&self) -> RoundTrips {
        let mut all = self.take();
        all.sort_unstable();
        RoundTrips(all)
    }

    /// How many it has noted.
    pub(crate) fn count(&self) -> usize {
        self.shared.round_trips.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether it still chats.
    pub(crate) fn is_well(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends it.
    ///
    /// # Errors
    /// What went wrong in its chat: a message that did not come back, or another order.
    pub(crate) fn leave(mut self) -> io::Result<()> {
        self.shared.is_over.store(true, Relaxed);
        let outcome = self.thread.take().map(JoinHandle::join);
        match outcome {
            Some(Ok(outcome)) => outcome,
            _ => Err(io::Error::other("the bystander panicked")),
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
    }
}

impl Shared {
    fn chat(&self, socket: &mut TcpStream) -> io::Result<()> {
        for number in 0_u64.. {
            if self.is_over.load(Relaxed) {
                break;
            }
            let begun = Instant::now();
            send(socket, 0x81, format!("{{\"Message\":\"calm {number}.\"}}").as_bytes())?;
            let own = format!("\"calm {number}.\"");
            loop {
                let (opcode, payload) = receive(socket)?;
                match opcode {
                    0x89 => send(socket, 0x8a, &payload)?,
                    0x88 => return Err(io::Error::new(ErrorKind::ConnectionAborted, "closed by the server")),
                    _ if String::from_utf8_lossy(&payload).contains(&own) => break,
                    _ => {}
                }
            }
            self.round_trips.lock().unwrap_or_else(PoisonError::into_inner).push(begun.elapsed());
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

fn send(socket: &mut TcpStream, first: u8, payload: &[u8]) -> io::Result<()> {
    let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126);
    let length = length.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "only short frames are sent"))?;
    socket.write_all(&[&[first, 0x80 | length, 0, 0, 0, 0], payload].concat())
}

fn receive(socket: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    socket.read_exact(&mut head)?;
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            socket.read_exact(&mut length)?;
            usize::from(u16::from_be_bytes(length))
        }
        127 => return Err(io::Error::new(ErrorKind::InvalidData, "a frame of more than 64 KiB")),
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    socket.read_exact(&mut payload)?;
    Ok((head[0], payload))
}
