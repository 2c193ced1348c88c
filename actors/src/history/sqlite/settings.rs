//! What the store is told once, when it is opened.

use std::path::PathBuf;
use std::time::Duration;

use crate::history::Durability;

/// Where the store is, what its commits survive, and its bounds.
#[derive(Debug, Clone)]
pub struct SqliteSettings {
    /// The database; its folder is made.
    pub path: PathBuf,
    /// A commit counts as done when what it stores survives this.
    pub durability: Durability,
    /// Most messages kept of one room; the oldest go first. `None`: all.
    pub keep_messages: Option<u64>,
    /// How long a message is kept. `None`: for ever.
    pub keep_for: Option<Duration>,
    /// Most bytes in use in the database; the oldest messages of all go first. `None`: no bound.
    pub keep_bytes: Option<u64>,
    /// How long a message's `id` is remembered.
    pub ids_kept: Duration,
    /// Most `id`s that are taken over from before.
    pub ids_max: u32,
}

/// The value of SQLite's `synchronous` with which a commit survives this.
pub(super) fn synchronous(durability: Durability) -> &'static str {
    match durability {
        Durability::Process => "NORMAL",
        Durability::Machine => "FULL",
    }
}
