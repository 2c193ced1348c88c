//! The extent of the write-ahead log, according to SQLite.

use rusqlite::Connection;

/// The extent of the write-ahead log.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogExtent {
    pub(super) pages: u64,
    /// The number of these pages that are already checkpointed into the database.
    pages_in_database: u64,
    pub(super) page_bytes: u64,
}

impl LogExtent {
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let page_bytes = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| {
            Ok(Self { pages: row.get(1)?, pages_in_database: row.get(2)?, page_bytes })
        })
    }

    pub(super) fn is_in_database(self) -> bool {
        self.pages <= self.pages_in_database
    }
}
