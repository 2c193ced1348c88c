//! The boundary between the chat and the log of all nodes.

use std::sync::Arc;

use bytes::Bytes;

use super::heard::Heard;
use super::record::{Incarnation, LogPosition, RecordId};
use crate::vitals::Vitals;

/// Most records that are reported ahead of the one that was [applied](Log::applied), so that a node that starts does not
/// hold the whole log in memory.
pub const RECORDS_AHEAD_MAX: u64 = 4_096;

/// Receives what is heard. It must not block.
pub type HeardSink = Arc<dyn Fn(Heard) + Send + Sync>;

/// What the engine knows of the log when a node starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// Tells this log from another one, and from one of the same name that was made again.
    pub id: u64,
    /// The first record that is kept; one past `last` where none is.
    pub first: LogPosition,
    /// The newest record; 0 where there never was one.
    pub last: LogPosition,
    /// The records behind which a checkpoint is stored, the oldest first. The log has each of them: it is only ever
    /// trimmed in front of one, and a checkpoint of a record that the log has lost is none.
    pub checkpoints: Vec<RecordId>,
}

/// The log of all nodes, and the way between nodes beside it.
///
/// The contract:
/// - All calls come from the `ChatServer`'s thread, [`begin`](Self::begin) and
///   [`connect`](Self::connect) first. No method may wait for the network.
/// - **Order.** Records that were [written](Self::write) reach the log in their order, or not at all. Every record of the
///   log comes back through the sink as [`Heard::Record`], in the order of the log and without a gap, from the one behind
///   the position at which this node starts.
/// - **Loss.** Where records may not have reached the log, the sink gets [`Heard::Lost`] once it can be written again.
///   Writing a record twice is harmless.
/// - **Reach.** [`Heard::Reachable`] says whether the log can be written. It begins as `false`, and becomes `true` once all
///   records have been read that were in the log when the node started.
/// - **Life.** While this node lives, all nodes get [`Heard::Alive`] of it several times in two seconds, this one too.
pub trait Log: Send {
    /// Starts to read the log, behind this record.
    fn connect(&mut self, behind: LogPosition, sink: HeardSink, vitals: &Vitals);

    /// Says which life this node lives from now on.
    fn begin(&mut self, life: Incarnation);

    /// Appends a record.
    fn write(&mut self, record: Bytes);

    /// Stores a checkpoint: the state behind this record. The newest three are kept, and the log from the record of the
    /// oldest on.
    fn store_checkpoint(&mut self, at: RecordId, state: Bytes);

    /// Everything up to this record has happened here: further records may be reported, see [`RECORDS_AHEAD_MAX`].
    fn applied(&mut self, position: LogPosition);
}
