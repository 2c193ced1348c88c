//! The nodes of the chat as one of them knows them, for operators.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::Incarnation;

/// What a node says of itself with each sign of life. The log does not depend on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SelfReport {
    /// The version of its program.
    pub version: String,
    /// How long it has lived this life, in seconds.
    pub uptime_seconds: u64,
    /// The connections of its clients.
    pub connections: u64,
    /// The newest record of the log that it has applied.
    pub applied: u64,
}

/// A node that has begun and is not out, as another node or itself knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownNode {
    /// Its name.
    pub name: Box<str>,
    /// Its life.
    pub life: Incarnation,
    /// Whether it is the node that says this.
    pub is_this: bool,
    /// The time since its last sign of life; `None`: there was none since this node began.
    pub silent_for: Option<Duration>,
    /// What it said of itself last, if this version can read it.
    pub report: Option<SelfReport>,
    /// The records that this node has applied, and that it had not applied when it said so.
    pub lag: Option<u64>,
}

/// A change of the nodes of the chat, other than this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeChange {
    /// This node has read the whole log for the first time. These others have begun and are not out.
    Found(Vec<Box<str>>),
    /// A node has begun.
    Joined(Box<str>),
    /// A node has ended in order.
    Left(Box<str>),
    /// A node was declared dead, after this time without a sign of life if this node has heard one.
    Died(Box<str>, Option<Duration>),
}
