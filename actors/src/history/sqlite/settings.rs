//! What the store is told once.

use std::path::PathBuf;
use std::time::Duration;

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// When the system has it: survives the death of the process.
    Normal,
    /// When the disk has it: survives also the death of the machine.
    Full,
}

impl Sync {
    /// SQLite's name for it.
    pub(super) fn pragma(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Full => "FULL",
        }
    }
}

/// What the store is told once.
#[derive(Debug, Clone)]
pub struct SqliteSettings {
    /// The database; its folder is made.
    pub path: PathBuf,
    /// When a commit counts as done.
    pub sync: Sync,
    /// Most messages kept of one room; the oldest go first. `None`: all.
    pub keep_messages: Option<u64>,
    /// How long a message is kept. `None`: for ever.
    pub keep_for: Option<Duration>,
    /// Most bytes in use in the database; the oldest messages of all go first. `None`: no bound.
    pub keep_bytes: Option<u64>,
    /// Most messages of one room in the memory in front.
    pub recent_messages: u32,
    /// Most bytes in the memory in front.
    pub recent_bytes: u64,
    /// How long a message's `id` is remembered.
    pub ids_kept: Duration,
    /// Most `id`s that are taken over from before.
    pub ids_max: u32,
}
