//! The database that this process writes.

use std::fs;

use log::warn;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::continuity::{Continuity, Opening};
use super::file::{FileIdentity, beside};
use super::lock::Lock;
use super::open_error::OpenError;
use super::{SqliteSettings, connections};

/// The program that opens a database for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opener {
    /// A server. It makes the database if there is none.
    Server,
    /// An operator's command. The database must exist. If it followed the log of several nodes before, it still does
    /// afterwards.
    Command,
}

/// A database that is marked as written by this process. Dropping it marks it as closed cleanly.
#[derive(Debug)]
pub(super) struct WrittenDatabase {
    pub(super) connection: Connection,
    pub(super) continuity: Continuity,
    is_abandoned: bool,
}

impl WrittenDatabase {
    /// Opens the locked database of the settings.
    pub(super) fn open(settings: &SqliteSettings, lock: &Lock, by: Opener) -> Result<Self, OpenError> {
        let path = settings.path.as_path();
        // Must be checked before the database is opened, because opening it creates a log.
        let had_log = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
        connections::inspect(path)?;
        let mut connection =
            connections::open_writer(settings, by == Opener::Server).map_err(|error| OpenError::of(path, error))?;
        let identity = FileIdentity::at(path).map_err(|error| OpenError::of_file(path, error))?;
        let goes_alone = by == Opener::Server && !settings.follows_log;
        let opening = Opening { had_log, goes_alone, durability: settings.durability };
        let begun = Continuity::begin(&mut connection, lock.file(), identity, opening);
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
