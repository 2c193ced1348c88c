//! The chat itself, as actors. This crate owns the sockets but knows nothing of HTTP.
//!
//! ```text
//! socket ─ Session ──▶ ChatServer ──▶ history ──▶ ChatServer ──▶ Hub (one per worker thread) ──▶ sockets
//!          parses       rules, seq                 stored         one shared frame to each local member,
//!                                                                 each socket written once per turn
//! ```
//!
//! - [`chat_server`]: the one actor that holds rooms, names and members, around the pure
//!   [`ChatState`](chat_server::state::ChatState).
//! - [`session`]: one actor per connection, the inbound half: frames to commands.
//! - [`hub`]: one actor per worker thread, the outbound half: events to the sockets of that thread.
//! - [`connection`]: one client's [`socket`], plain or TLS, and its bounded outbox.
//! - [`identity`]: the verified identity of a connection, where names are authenticated.
//! - [`moderation`]: the sanctions of operators, their rules and their audit log.
//! - [`room_settings`]: what operators set for a room, and the limits of the values.
//! - [`history`]: the stored messages, behind one trait.
//! - [`stage`], [`credits`], [`rate_limit`], [`metrics`]: the bounds of the queues between the actors, and their
//!   metrics.
//!
//! Invariants (the whole list is in `docs/architecture.md`):
//! - `INV-1` Rooms, members and names live in the `ChatServer` alone; a session never states its own name or room.
//! - `INV-2` `ChatState` does no I/O and reads no clock: the same commands give the same effects.
//! - `INV-3` Within an epoch the seqs of a room rise by exactly one, for every receiver.
//! - `INV-4` Only `connection` writes to a socket; an `Addr` does not leave its actor's module.
//! - `INV-5` A command holds a credit from the read until all outboxes were offered its result; drop returns the
//!   credit.

pub mod chat_server;
pub mod client_address;
pub mod clock;
pub mod config;
pub mod connection;
pub mod credits;
mod deflate;
pub mod followers;
pub mod frame;
pub mod highest;
pub mod histogram;
pub mod history;
pub mod hub;
pub mod identity;
pub mod ids;
mod log_interval;
pub mod metrics;
pub mod moderation;
pub mod nodes;
pub mod passage;
pub mod rate_limit;
pub mod room_settings;
pub mod session;
pub mod socket;
pub mod stage;
pub mod vitals;

pub use chat_server::{ChatServer, ChatServerHandle};
pub use config::ChatConfig;
pub use hub::{Hub, LocalHub};
pub use metrics::Metrics;
