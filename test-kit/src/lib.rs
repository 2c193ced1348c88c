//! What the tests of every package stand on. A development dependency only; no program contains it.
//!
//! | module | what it offers |
//! |---|---|
//! | [`process`] | a program of this project: its variables, the line that says where it listens, signals, its end |
//! | [`client`] | a WebSocket client over awc that waits for events |
//! | [`pattern`] | what a test expects of a frame |
//! | [`raw`] | HTTP and WebSocket frames written byte by byte |
//! | [`blocking`] | a WebSocket without a runtime, for a thread of its own |
//! | [`bystander`] | a well-behaved client that measures how long its messages take |
//! | [`token`], [`certificate`] | names that are authenticated, servers that are |
//! | [`exposition`] | the parser of `/metrics` |
//! | [`namespace`], [`network`] | a network namespace, and a link in it that can be cut |
//! | [`nats`] | a server of NATS that is killed, paused and started again |
//! | [`reverse_proxy`] | a reverse proxy that runs a sample of the documentation |
//!
//! Every wait has a deadline and says what it waited for; nothing sleeps to let something else happen. Where a test's
//! assumption does not hold, everything here panics: the panic is the test's result.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test ends with what is wrong"
)]

pub mod blocking;
pub mod bystander;
pub mod certificate;
pub mod client;
pub mod exposition;
pub mod namespace;
pub mod nats;
pub mod network;
pub mod pattern;
pub mod process;
pub mod raw;
pub mod reverse_proxy;
pub mod token;

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

pub use self::bystander::Bystander;
pub use self::client::{Client, Received};
pub use self::exposition::{Exposition, figures_when};
pub use self::process::{Process, Program};
pub use self::raw::Raw;

/// How long a test waits for anything: far longer than it takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_mins(2);

/// How often a condition is checked that nobody announces.
pub const LOOK: Duration = Duration::from_millis(10);

/// Something that listens on a TCP port: a server, or just its address.
pub trait Listens {
    /// Where it listens.
    fn address(&self) -> SocketAddr;
}

impl Listens for SocketAddr {
    fn address(&self) -> SocketAddr {
        *self
    }
}

impl<T: Listens + ?Sized> Listens for &T {
    fn address(&self) -> SocketAddr {
        (**self).address()
    }
}

/// Waits for `future`.
///
/// Panics with `what` past [`DEADLINE`].
pub async fn within<T>(what: impl Display, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(DEADLINE, future).await;
    outcome.unwrap_or_else(|_| panic!("waited {} s in vain: {what}", DEADLINE.as_secs()))
}

/// Waits until a condition holds.
///
/// Panics with `what` past [`DEADLINE`].
pub async fn wait_until(what: impl Display, mut holds: impl FnMut() -> bool) {
    wait_for(what, || if holds() { Ok(()) } else { Err("it does not hold") }).await;
}

/// Waits until there is something, and returns it.
///
/// Panics past [`DEADLINE`] with `what` and with what there was instead.
pub async fn wait_for<T, E: std::fmt::Debug>(what: impl Display, mut look: impl FnMut() -> Result<T, E>) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) => assert!(tokio::time::Instant::now() < deadline, "waited in vain: {what}: {instead:?}"),
        }
        // Shorter than LOOK: a check like this one costs next to nothing, and there are many.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A port of the loopback interface that is free at the moment. Somebody else may take it before it is used.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
