//! A node's access to the log of all nodes.

use crate::nodes::log::Log;
use crate::nodes::record::{Incarnation, LogPosition};

/// The log of all nodes, as this node uses it.
pub(super) struct LogOfNode {
    pub(super) log: Box<dyn Log>,
    /// See [`LogState::id`].
    pub(super) id: u64,
    /// This node begins to read after this record.
    pub(super) behind: LogPosition,
    pub(super) life: Incarnation,
}
