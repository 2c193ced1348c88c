//! The events of a node: records of the log, and signals of other nodes outside the log.

use super::known::SelfReport;
use super::record::{Incarnation, LogPosition, Record, RecordId};
use super::typing::TypingNotice;

/// An event of the log or of another node.
#[derive(Debug)]
pub enum Heard {
    /// The next record of the log.
    Record {
        /// Its position and its time in the log.
        id: RecordId,
        /// Its content.
        record: Record,
    },
    /// Whether the log is reachable. While it is not, this node accepts no clients.
    Reachable(bool),
    /// The log begins at this record now. Reported when it changes.
    Begins(LogPosition),
    /// Records that were written but not read back may be missing in the log. The node must write them again.
    Lost,
    /// A client of any node types. It may be lost.
    Typing(TypingNotice),
    /// A sign of life, of another node or of this one. Each node sends several in two seconds.
    Alive {
        /// The life of the node.
        life: Incarnation,
        /// What the node says of itself, if this version can read it.
        report: Option<SelfReport>,
    },
}
