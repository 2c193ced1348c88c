//! Shared tools for the tests of every package. This is only a development dependency; no program contains it.
//!
//! | module | content |
//! |---|---|
//! | [`process`] | a program of this project: variables, listening address, log lines, signals, exit |
//! | [`client`] | a WebSocket client over awc that waits for events |
//! | [`pattern`] | patterns for the frames that a test expects |
//! | [`raw`] | HTTP and WebSocket frames written byte by byte |
//! | [`blocking`] | a WebSocket without a runtime, for a thread of its own |
//! | [`bystander`] | a well-behaved client that measures how long its messages take |
//! | [`token`], [`certificate`] | tokens for authenticated names, certificates for servers |
//! | [`exposition`] | the parser of `/metrics` |
//! | [`namespace`], [`network`] | a network namespace, and a link in it that can be cut |
//! | [`nats`] | a server of NATS that is killed, paused and started again |
//! | [`reverse_proxy`] | a reverse proxy with a sample configuration from the documentation |
//!
//! Every wait has a deadline, and names its condition when it fails. Nothing sleeps for a fixed time to let something
//! else happen. If an assumption of a test does not hold, these tools panic, and the test fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test panics at the first error"
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

/// The deadline of every wait in a test. It is far longer than anything takes on a busy machine, and shorter than the
/// time after which the test runner terminates a test, so that a failed wait reports its condition.
pub const DEADLINE: Duration = Duration::from_secs(50);

/// The interval between two checks of a condition that must be polled.
pub const LOOK: Duration = Duration::from_millis(10);

/// Something that listens on a TCP port: a server, or just its address.
pub trait Listens {
    /// The address on which it listens.
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

/// Waits for `future`, at most [`DEADLINE`].
///
/// Panics with `what` after the deadline.
pub async fn within<T>(what: impl Display, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(DEADLINE, future).await;
    outcome.unwrap_or_else(|_| panic!("timed out after {} s: {what}", DEADLINE.as_secs()))
}

/// Waits until a condition holds, at most [`DEADLINE`].
///
/// Panics with `what` after the deadline.
pub async fn wait_until(what: impl Display, mut holds: impl FnMut() -> bool) {
    wait_for(what, || if holds() { Ok(()) } else { Err("the condition does not hold") }).await;
}

/// Waits until `look` succeeds, at most [`DEADLINE`], and returns its result.
///
/// Panics with `what` and the last error after the deadline.
pub async fn wait_for<T, E: std::fmt::Debug>(what: impl Display, mut look: impl FnMut() -> Result<T, E>) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) => assert!(tokio::time::Instant::now() < deadline, "timed out: {what}: {instead:?}"),
        }
        // Shorter than `LOOK`, because this check is cheap and frequent.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A loopback port that is free at the moment. Another process may take it before the caller uses it.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
