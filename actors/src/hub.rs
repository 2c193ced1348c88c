//! The outbound half of a worker thread: from the `ChatServer`'s events to the sockets of that thread.
//!
//! `ChatServer` sends a message once per hub, never once per member. The hub knows its local members, and writes
//! once per turn: what is offered to a room stays in the room's batch until everything else that was ready has run,
//! then the batch is joined once and every member's socket is written once, straight from that one buffer. Only what
//! the kernel does not take moves into the member's own outbox, as a reference to the same buffer.
//!
//! - [`Hub`] is the actor: its mailbox, its stage, its ticker.
//! - [`HubHandle`] is how other threads reach it.
//! - [`LocalHub`] is how the sessions of the same thread reach it.

mod closing;
mod compression;
mod connections;
mod core;
mod ends;
mod heartbeat;
mod local;
mod messages;
mod offers;
mod turn;
mod wheel;

pub use self::closing::Closing;
pub use self::local::{Hub, LocalHub};
pub use self::messages::{Delivery, HubCommand, HubHandle, Replay, ToSession};
