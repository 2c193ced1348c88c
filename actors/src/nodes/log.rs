//! The boundary between the chat and the log of all nodes.

use std::sync::Arc;

use bytes::Bytes;

use super::heard::{Heard, RelayedMessage};
use super::record::{Incarnation, LogPosition};
use crate::vitals::Vitals;

/// Receives what is heard. It must not block.
pub type HeardSink = Arc<dyn Fn(Heard) + Send + Sync>;

/// The log of all nodes, and the ways between nodes beside it.
///
/// The contract:
/// - All calls come from the `ChatServer`'s thread, [`connect`](Self::connect) first. No method may wait for the network.
/// - **Order.** Records that were [written](Self::write) reach the log in their order, or not at all. Every record of the
///   log comes back through the sink as [`Heard::Record`], in the order of the log, from the one behind the position at
///   which this node starts.
/// - **Loss.** Where records may not have reached the log, the sink gets [`Heard::Lost`] once it can be written again.
///   Writing a record twice is harmless.
/// - **Relays.** A relay is delivered at most once. A relay with a number comes back as [`Heard::RelayAnswer`], with
///   `is_delivered: false` where the other node does not answer in time.
pub trait Log: Send {
    /// Starts to read the log.
    fn connect(&mut self, sink: HeardSink, vitals: &Vitals);

    /// Says which life this node lives from now on. Other nodes hear that it lives.
    fn begin(&mut self, life: Incarnation);

    /// Appends a record.
    fn write(&mut self, record: Bytes);

    /// Sends a private message to another node.
    fn relay(&mut self, to: Incarnation, number: u64, message: RelayedMessage);

    /// Answers the relay of another node.
    fn answer(&mut self, to: Incarnation, number: u64, is_delivered: bool);

    /// Everything up to this record has happened here.
    fn applied(&mut self, position: LogPosition);
}
