//! Opens a database, or refuses it without changing it.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::SqliteSettings;
use super::connections::{connect, open_reader};
use super::file::{OpenFiles, UNFINISHED, beside};
use super::lock::Lock;
use super::numbers::FreeNumbers;
use super::open_error::OpenError;
use super::ownership;
use super::restored::restore;
use super::schema::DbRoom;
use super::written::{Opener, WrittenDatabase};
use crate::history::Restored;

/// The number of reader threads.
const READERS: usize = 2;

/// An open database and its restored content.
#[derive(Debug)]
pub(super) struct Opened {
    /// For new rooms.
    pub(super) numbers: FreeNumbers,
    pub(super) files: OpenFiles,
    pub(super) writer: WrittenDatabase,
    pub(super) readers: Vec<Connection>,
    pub(super) checkpoints: Connection,
    /// A read-only connection for the search.
    pub(super) searcher: Connection,
    /// The numbers of the restored rooms, in the order of `restored.rooms`.
    pub(super) rooms: Vec<DbRoom>,
    pub(super) restored: Restored,
    /// Dropped rooms that still have messages.
    pub(super) dropped: Vec<DbRoom>,
}

/// Opens the database of the settings. Creates it if it does not exist.
pub(super) fn open(settings: &SqliteSettings) -> Result<(Opened, Lock), OpenError> {
    let path = settings.path.as_path();
    ownership::check(path)?;
    let mut lock = Lock::take(path)?;
    let (is_new, had_log) = (!path.exists(), beside(path, "-wal").exists());
    let opened = open_locked(settings, &lock);
    match &opened {
        Ok(_) => {
            lock.keep();
            // A restore that was killed leaves this file.
            remove(path, &[UNFINISHED]);
        }
        // Files of a database that another process holds may belong to that process.
        Err(OpenError::Held { .. }) => {}
        Err(_) if is_new => remove(path, &["", "-wal", "-shm", "-journal"]),
        // Inspecting a database creates an empty log. A log that is not empty contains the last messages.
        Err(_) if !had_log && fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() == 0) => {
            remove(path, &["-wal", "-shm"]);
        }
        Err(_) => {}
    }
    Ok((opened?, lock))
}

fn open_locked(settings: &SqliteSettings, lock: &Lock) -> Result<Opened, OpenError> {
    let path = settings.path.as_path();
    let of = |error| OpenError::of(path, error);
    let writer = WrittenDatabase::open(settings, lock, Opener::Server)?;
    let files = OpenFiles::of(path).map_err(|error| OpenError::of_file(path, error))?;
    let readers = (0..READERS).map(|_| open_reader(path)).collect::<rusqlite::Result<_>>().map_err(of)?;
    let checkpoints = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(of)?;
    let searcher = open_reader(path).map_err(of)?;
    let (rooms, restored, dropped) = restore(&writer.connection, settings).map_err(of)?;
    let numbers = FreeNumbers::of(&writer.connection).map_err(of)?;
    Ok(Opened { numbers, files, writer, readers, checkpoints, searcher, rooms, restored, dropped })
}

fn remove(path: &Path, endings: &[&str]) {
    for ending in endings {
        // Some of them may not exist.
        fs::remove_file(beside(path, ending)).unwrap_or_default();
    }
}
