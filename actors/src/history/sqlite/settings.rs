//! The settings of the store, fixed when it is opened.

use std::path::PathBuf;
use std::time::Duration;

use crate::history::Durability;

/// The path, durability and limits of the store.
#[derive(Debug, Clone)]
pub struct SqliteSettings {
    /// The database file. Its folder is created if it does not exist.
    pub path: PathBuf,
    /// Whether the store follows the log of several nodes. If not, a database that has followed one becomes
    /// independent: its rooms begin new epochs, because its messages will have another order than those of the log.
    pub follows_log: bool,
    /// A message counts as committed when it survives this failure.
    pub durability: Durability,
    /// The largest number of messages per room; the oldest are dropped. `None`: no limit.
    pub keep_messages: Option<u64>,
    /// The largest age of a message; older ones are dropped. `None`: no limit.
    pub keep_for: Option<Duration>,
    /// The largest size of the database in bytes; the oldest messages of all rooms are dropped. `None`: no limit.
    pub keep_bytes: Option<u64>,
    /// How long a message's `id` is remembered after the message.
    pub ids_kept: Duration,
    /// The largest number of `id`s that a start restores.
    pub ids_max: u32,
}

/// The value of SQLite's `synchronous` setting for a durability.
pub(super) fn synchronous(durability: Durability) -> &'static str {
    match durability {
        Durability::Process => "NORMAL",
        Durability::Machine => "FULL",
    }
}
