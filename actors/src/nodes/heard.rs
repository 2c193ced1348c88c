//! What a node hears: records of the log, and what other nodes tell it beside the log.

use super::record::{Incarnation, Record, RecordId};

/// Something that the log or another node tells this node.
#[derive(Debug)]
pub enum Heard {
    /// The next record of the log.
    Record {
        /// Its place and its time in the log.
        id: RecordId,
        /// What was written.
        record: Record,
    },
    /// Whether the log can be reached. While it cannot, nobody is let in.
    Reachable(bool),
    /// Records that were written and not read back may not be in the log: they are to be written again.
    Lost,
    /// A life says that it lives, of another node or of this one. Each says so several times in two seconds.
    Alive(Incarnation),
}
