//! The boundary between the chat and the log of all nodes.

use std::sync::Arc;

use bytes::Bytes;

use super::heard::Heard;
use super::record::{Incarnation, LogPosition, RecordId};
use super::typing::TypingNotice;
use crate::vitals::Vitals;

/// Most records that are reported ahead of the one that was [applied](Log::applied), so that a node that starts does not
/// hold the whole log in memory.
pub const RECORDS_AHEAD_MAX: u64 = 4_096;

/// Receives the events. It must not block.
pub type HeardSink = Arc<dyn Fn(Heard) + Send + Sync>;

/// The state of the log when a node starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// Identifies the log. A log that was made again under the same name has another id.
    pub id: u64,
    /// The first record in the log; one past `last` if there is none.
    pub first: LogPosition,
    /// The newest record; 0 if there never was one.
    pub last: LogPosition,
    /// The records after which a checkpoint is stored, the oldest first. The log has each of them: it is trimmed only up to
    /// one of them, and a checkpoint of a record that the log has lost does not count.
    pub checkpoints: Vec<RecordId>,
}

/// The log of all nodes, and the signals between nodes outside it.
///
/// The contract:
/// - All calls come from the `ChatServer`'s thread, [`begin`](Self::begin) and
///   [`connect`](Self::connect) first. No method may wait for the network.
/// - **Order.** Records that were [written](Self::write) reach the log in their order, or not at all. Every record of
///   the log comes back through the sink as [`Heard::Record`], in the order of the log and without a gap, beginning
///   after the position at which this node starts.
/// - **Loss.** If records may not have reached the log, the sink gets [`Heard::Lost`] once the log can be written
///   again. Writing a record twice is harmless.
/// - **Reach.** [`Heard::Reachable`] says whether the log can be written. It begins as `false`, and becomes `true` once
///   this node has read all records that were in the log when it started.
/// - **Begin.** [`Heard::Begins`] says which record is the first of the log, whenever that changes.
/// - **Life.** While this node lives, all nodes, including this one, get [`Heard::Alive`] of it several times in two
///   seconds, with the newest [figures](Self::show).
pub trait Log: Send {
    /// Starts to read the log after this record.
    fn connect(&mut self, behind: LogPosition, sink: HeardSink, vitals: &Vitals);

    /// Sets the life of this node from now on.
    fn begin(&mut self, life: Incarnation);

    /// Appends a record.
    fn write(&mut self, record: Bytes);

    /// Tells all nodes, including this one, that a client types. It may be lost.
    fn tell_typing(&mut self, notice: &TypingNotice);

    /// Stores a checkpoint: the state after this record. The newest three are kept, and the log from the oldest of
    /// them.
    fn store_checkpoint(&mut self, at: RecordId, state: Bytes);

    /// This node has applied all records up to this one. Further records may be reported, see [`RECORDS_AHEAD_MAX`].
    fn applied(&mut self, position: LogPosition);

    /// The figures of this node now, for the signs of life and the metrics. Called several times a second.
    fn show(&mut self, figures: NodeFigures);
}

/// Figures of the chat on this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeFigures {
    /// The connections of its clients.
    pub connections: u64,
    /// The nodes that have begun and are not out, with this one.
    pub nodes_alive: u64,
}
