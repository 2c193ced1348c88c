//! Somebody who only wants to chat while others attack, and notes how long each message takes to come back.
//!
//! A thread and a blocking socket of its own, so that what an attacker does with its own thread is not measured.

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

/// Time between two messages: with its way back, a little below what a client may send in the long run.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a message may take before the chat counts as dead.
const PATIENCE: Duration = Duration::from_secs(20);

/// Somebody who chats, alone in a room. See the module.
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

/// The round trips of a while.
#[derive(Debug, Clone)]
pub struct RoundTrips(Vec<Duration>);

impl RoundTrips {
    /// What 99 of 100 took at most; with nothing measured, for ever.
    pub fn p99(&self) -> Duration {
        self.0.get((self.0.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(Duration::MAX)
    }
}

impl Bystander {
    /// Connects to a server and begins to chat.
    ///
    /// # Errors
    /// It is not let in.
    pub fn arrive(server: impl Listens) -> io::Result<Self> {
        Self::chat_over(Blocking::connect(server.address(), None, "/ws/calm", PATIENCE)?, || ())
    }

    /// Connects to this path of a server, in whose room it is alone, from this address of the machine itself, and begins to
    /// chat. Where the machine allows it, its thread goes before those of attackers.
    ///
    /// # Errors
    /// It is not let in.
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

    /// Forgets what it has noted so far.
    pub fn forget(&self) {
        drop(self.take());
    }

    fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.shared.round_trips.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What it has noted since it was asked before.
    pub fn round_trips(&self) -> RoundTrips {
        let mut all = self.take();
        all.sort_unstable();
        RoundTrips(all)
    }

    /// Waits until one more is noted, or its chat has ended.
    pub fn next_one(&self) {
        let noted = self.count();
        while self.count() == noted && self.is_well() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// How many it has noted.
    pub fn count(&self) -> usize {
        self.shared.round_trips.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether it still chats.
    pub fn is_well(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends it.
    ///
    /// # Errors
    /// What went wrong in its chat: a message that did not come back, or another order.
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
