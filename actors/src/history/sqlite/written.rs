//! The database that this process writes.

use std::fs;

use log::warn;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::continuity::Continuity;
use super::file::{FileIdentity, beside};
use super::lock::Lock;
use super::open_error::OpenError;
use super::{SqliteSettings, connections};

/// A database that is marked as written by this process. Dropping it marks it as closed cleanly.
#[derive(Debug)]
pub(super) struct WrittenDatabase {
    pub(super) connection: Connection,
    pub(super) continuity: Continuity,
    is_abandoned: bool,
}

impl WrittenDatabase {
    /// Opens the locked database of the settings. Without `create` it must be there already.
    pub(super) fn open(settings: &SqliteSettings, lock: &Lock, create: bool) -> Result<Self, OpenError> {
        let path = settings.path.as_path();
        // Must be checked before the database is opened, because opening it creates a log.
        let had_log = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
        connections::inspect(path)?;
        let mut connection = connections::open_writer(settings, create).map_err(|error| OpenError::of(path, error))?;
        let identity = FileIdentity::at(path).map_err(|error| OpenError::of_file(path, error))?;
        let begun = Continuity::begin(&mut connection, lock.file(), identity, had_log, settings.durability);
        let continuity = begun.map_err(|error| error.at(path))?;
        Ok(Self { connection, continuity, is_abandoned: false })
    }

    /// Leaves the database as a crash would, without the mark of a clean stop. The next start recovers from the log.
    pub(super) fn abandon(&mut self) {
        self.is_abandoned = true;
        // On close, SQLite would checkpoint the log and remove the file at its path, which may belong to another
        // process by now.
        let set = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        debug_assert!(set.is_ok(), "every connection has this switch: {set:?}");
    }
}

impl Drop for WrittenDatabase {
    fn drop(&mut self) {
        if self.is_abandoned {
            return;
        }
        if let Err(error) = self.continuity.end(&mut self.connection) {
            warn!("cannot record that the history is complete; its rooms may begin new epochs: {error}");
            self.abandon();
        }
    }
}
