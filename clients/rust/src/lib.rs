//! A client for the Starling chat server. It reconnects, resumes without gaps, and sends each message once.
//!
//! ```no_run
//! use starling_client::{Client, Options, RoomEvent};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(Options::new(["ws://127.0.0.1:8080"]).client_id("alice".parse()?));
//! let mut dev = client.room("dev")?;
//! dev.send("hello").await?;
//! while let Some(event) = dev.next().await {
//!     if let RoomEvent::Message(message) = event {
//!         println!("{}: {}", message.client_id, message.text);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What it does
//!
//! - **It stays connected.** The client reconnects after a random pause ("full jitter"): at first at most 0.5 s, after
//!   many failures at most 20 s, and never shorter than the server asks for. With several URLs it tries the next one.
//!   It closes a connection that is silent for two heartbeats.
//! - **No gap.** A room's stream has every message in order. After a lost connection the client resumes after its
//!   newest message; if the server no longer has the missed messages, [`RoomEvent::Joined`] has `recovered: false`. An
//!   application that stores the [`Position`] with its own data can continue there after a restart.
//! - **Once.** [`send`](RoomHandle::send) gives each message an `id`, repeats it until the server has acknowledged it,
//!   and then returns. If a repetition could deliver the message twice, it fails with [`SendError::Unconfirmed`].
//! - **Within the limits.** It sends no faster than the server allows, and waits as long as the server asks for.
//! - **Its name.** It takes its name back from its own dead connection with the server's `key`. It gets a new token
//!   when the old one is about to expire.
//! - **Bounded.** An unread stream holds at most [`events_max`](Options::events_max) events. A room continues from the
//!   server's history when the application reads again.
//!
//! The protocol itself is in `docs/protocol.md`; its types are those of [`starling_protocol`].

mod address;
mod backoff;
mod client;
mod core;
mod driver;
mod errors;
mod events;
mod history;
mod options;
mod pacing;
mod position;
mod token;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use starling_protocol as protocol;

pub use client::{Client, Private, PrivateHandle, Receipt, Room, RoomHandle, RoomOptions, State};
pub use errors::{BadName, ClosedBy, SendError};
pub use events::{MessageChange, PrivateEvent, PrivateEvents, RoomEvent, RoomEvents};
pub use history::History;
pub use options::{BoxFuture, ByteStream, Options, TokenError};
pub use position::Position;
