//! A client for the Starling chat server: it reconnects, resumes without gaps, and sends each message once.
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
//! - **It stays connected.** A lost connection is made again after a random pause of at most 0.5 s, and of at most 20 s
//!   after many failures ("full jitter"). The client waits at least as long as the server asks for, and tries the
//!   next URL if there are several. A server that sends nothing for two of its heartbeats counts as lost.
//! - **No gap.** A room's stream has every message in order. After a lost connection the client resumes from the newest
//!   message that it has; if the server no longer has what was missed, [`RoomEvent::Joined`] says `recovered: false`.
//!   A [`Position`] that is stored beside the application's own data continues after a restart of the application.
//! - **Once.** [`send`](RoomHandle::send) gives each message an `id`, sends it again until the server has acknowledged
//!   it, and returns when that has happened. Where a repetition could deliver it twice, it says so
//!   ([`SendError::Unconfirmed`]).
//! - **Within the limits.** It sends no faster than the server allows, and waits where it is told to.
//! - **Its name.** It takes its name back from its own dead connection with the `key` of the server. It gets a new
//!   token when the old one is about to end.
//! - **Bounded.** A stream that nobody reads holds [`events_max`](Options::events_max) events; a room then continues
//!   from the server's history when it is read again.
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

/// The examples of the README are compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use starling_protocol as protocol;

pub use client::{Client, Private, PrivateHandle, Receipt, Room, RoomHandle, RoomOptions, State};
pub use errors::{BadName, ClosedBy, SendError};
pub use events::{PrivateEvent, PrivateEvents, RoomEvent, RoomEvents};
pub use history::History;
pub use options::{BoxFuture, ByteStream, Options, TokenError};
pub use position::Position;
