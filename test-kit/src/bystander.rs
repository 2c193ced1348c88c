//! A bystander: a client that only chats while others attack, and measures how long each message takes to come back.
//!
//! It has its own thread and a blocking socket, so that the attackers' work in other threads is not measured.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

use crate::Listens;
use crate::blocking::Blocking;
use crate::raw::TEXT;

/// The pause between two messages. Together with the round trip, it keeps the client slightly below its rate limit.
const PAUSE: Duration = Duration::from_millis(20);

/// The longest wait for a message before the chat counts as dead.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that chats alone in a room. See the module.
#[derive(Debug)]
pub struct Bystander {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    round_trips: Mutex<Vec<Duration>>,
}

/// The round trips of a period.
#[derive(Debug, Clone)]
pub struct RoundTrips(Vec<Duration>);

impl RoundTrips {
    /// The 99th percentile; [`Duration::MAX`] without measurements.
    pub fn p99(&self) -> Duration {
        self.0.get((self.0.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(Duration::MAX)
    }
}

impl Bystander {
    /// Connects to a server and starts to chat.
    ///
    /// # Errors
    /// The server refuses the connection.
    pub fn arrive(server: impl Listens) -> io::Result<Self> {
        Self::chat_over(Blocking::connect(server.address(), None, "/ws/calm", PATIENCE)?, || ())
    }

    /// Connects to a path of a server, optionally from a given local address, and starts to chat. No other client may
    /// be in the path's room. If the machine permits it, the thread has a higher priority than the attackers.
    ///
    /// # Errors
    /// The server refuses the connection.
    pub fn arrive_first(server: impl Listens, source: Option<Ipv4Addr>, path: &str) -> io::Result<Self> {
        let go_first = || rustix::process::nice(-10).map(drop).unwrap_or_default();
        Self::chat_over(Blocking::connect(server.address(), source, path, PATIENCE)?, go_first)
    }

    fn chat_over(mut socket: Blocking, prepare: fn()) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let chatting = Arc::clone(&shared);
        let thread = thread::Builder::new().name("bystander".into()).spawn(move || {
            prepare();
            chatting.chat(&mut socket)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Discards the measurements so far.
    pub fn forget(&self) {
        drop(self.take());
    }

    fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.shared.round_trips.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the measurements since the last call, and discards them.
    pub fn round_trips(&self) -> RoundTrips {
        let mut all = self.take();
        all.sort_unstable();
        RoundTrips(all)
    }

    /// Waits for one more measurement, or until the chat has ended.
    pub fn next_one(&self) {
        let noted = self.count();
        while self.count() == noted && self.is_well() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The number of measurements.
    pub fn count(&self) -> usize {
        self.shared.round_trips.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether the chat is still running.
    pub fn is_well(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Stops the chat.
    ///
    /// # Errors
    /// The error of the chat: for example, a message did not come back.
    pub fn leave(mut self) -> io::Result<()> {
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
    fn chat(&self, socket: &mut Blocking) -> io::Result<()> {
        for number in 0_u64.. {
            if self.is_over.load(Relaxed) {
                break;
            }
            let begun = Instant::now();
            socket.send(TEXT, format!("{{\"Message\":\"calm {number}.\"}}").as_bytes())?;
            socket.receive_until(&format!("\"calm {number}.\""))?;
            self.round_trips.lock().unwrap_or_else(PoisonError::into_inner).push(begun.elapsed());
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}
