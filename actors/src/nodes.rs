//! Several servers as one chat: the part that knows no network.
//!
//! A *node* is one server. What its sessions ask for in one turn is packed into one *record*, and all nodes read the same
//! records in the same order from one *log*. A node acts on an entry when it reads it back, its own entries too, so that
//! nodes that have read the same records agree (`docs/nodes.md`).
//!
//! - [`record`]: what is in a record, and its bytes.
//! - [`packer`]: this node's entries on their way into the log.
//! - [`replica`]: which records count.
//! - [`heard`]: what a node hears from the log and from other nodes.
//! - [`log`]: the boundary to the log itself.
//! - [`names`]: who holds which name.
//! - [`start`]: where a node that starts begins to read.
//! - [`checkpoint`]: the state of all nodes as bytes.
//! - [`digest`]: whether nodes agree.

pub mod checkpoint;
pub mod digest;
pub mod heard;
pub mod log;
pub mod names;
pub mod packer;
pub mod record;
pub mod replica;
pub mod start;
