//! Several servers as one chat: the part without network.
//!
//! A *node* is one server. The requests of its sessions in one turn become one *record*. All nodes read the same
//! records in the same order from one *log*. A node acts on an entry when it reads the entry from the log, including
//! its own entries. So nodes that have read the same records agree (`docs/nodes.md`).
//!
//! - [`record`]: the content of a record, and its encoding.
//! - [`packer`]: this node's pending entries.
//! - [`replica`]: which records count.
//! - [`heard`]: events of the log and of other nodes.
//! - [`known`]: the nodes as one of them knows them.
//! - [`log`]: the boundary to the log itself.
//! - [`names`]: the names and their holders.
//! - [`typing`]: who types; not in the log.
//! - [`start`]: the record at which a starting node begins to read.
//! - [`checkpoint`]: the state of all nodes as bytes.
//! - [`digest`]: the check that nodes agree.

pub mod checkpoint;
pub mod digest;
pub mod heard;
pub mod known;
pub mod log;
pub mod names;
pub mod packer;
pub mod record;
pub mod replica;
pub mod start;
pub mod typing;
