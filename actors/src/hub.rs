//! The outbound half of a worker thread: from the `ChatServer`'s events to the sockets of that thread.
//!
//! The `ChatServer` sends a message once per hub, never once per member. The hub knows its local members and writes
//! once per turn. A message that is offered to a room joins the room's batch, and the batch waits until all other ready
//! tasks have run. Then the hub joins the batch into one buffer and writes it to every member's socket. Only the bytes
//! that the kernel does not accept go into the member's outbox, as a reference to the same buffer.
//!
//! - [`Hub`] is the actor: its mailbox, its stage, its ticker.
//! - `HubHandle`: other threads reach the hub through it.
//! - [`LocalHub`]: the sessions of the same thread reach the hub through it. `SessionHandle`: the hub reaches the
//!   sessions through it.

mod busiest_room;
mod closing;
mod compression;
mod connections;
mod core;
mod ends;
mod heartbeat;
mod local;
mod messages;
mod offers;
mod session_handle;
mod turn;
mod wheel;

pub use self::closing::Closing;
pub use self::local::{Hub, LocalHub};
pub(crate) use self::messages::{Delivery, HubCommand, HubHandle, MANY};
pub use self::messages::{Replay, ToSession};
pub(crate) use self::session_handle::{FromHub, SentToSession, SessionHandle};
