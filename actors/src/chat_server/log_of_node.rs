//! The log of all nodes in the hands of a chat that is one of them.

use crate::nodes::log::Log;
use crate::nodes::record::{Incarnation, LogPosition};

/// The log of all nodes, as this node has it.
pub(super) struct LogOfNode {
    pub(super) log: Box<dyn Log>,
    /// See [`LogState::id`].
    pub(super) id: u64,
    /// The record behind which this node begins to read.
    pub(super) behind: LogPosition,
    pub(super) life: Incarnation,
}
