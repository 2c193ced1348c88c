//! Opening a database, or refusing it without touching it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Statement, TransactionBehavior};
use starling_protocol::{ClientId, Epoch, MessageId, Seq};

use super::SqliteSettings;
use super::continuity::{Continuity, MarkError, NotedStamps};
use super::ownership::{self, UNFINISHED};
use super::schema::{self, APPLICATION_ID, DROPPED, DbRoom, VERSION};
use crate::clock;
use crate::history::{Restored, RoomKey, StoredId, StoredRoom, UnclaimedInbox};
use crate::identity::IdOwner;

/// How long a connection waits for another one of this process, or for an operator's tool.
const BUSY: Duration = Duration::from_secs(2);

/// Up to this size a database is checked as a whole before it is opened; a larger one by `starling history check`.
const CHECKED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How many messages of an inbox are looked at for who wrote them; one with more is not taken for one sender's.
const SENDERS_LOOKED_AT: u32 = 100;

/// How many threads read.
const READERS: usize = 2;

/// The write-ahead log is taken back into the database by the writer itself when it has so many pages of 4 KiB; the
/// checkpoints in the background keep it far below.
const LOG_PAGES_MAX: u32 = 16_384;

/// Why a database is not opened: one line for the operator. It was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made, or the file beside the database that locks it.
    #[error("the history {path} cannot be opened: {error}")]
    File {
        /// The database.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Nothing can be stored in it.
    #[error("the history {path} cannot be used: {reason}")]
    Unfit {
        /// The path.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// Its disk has no room left.
    #[error("the history {path} cannot be opened: the disk is full")]
    DiskFull {
        /// The database.
        path: PathBuf,
    },
    /// Another process works with it.
    #[error("the history {path} is held by another process; stop that one first")]
    Held {
        /// The database.
        path: PathBuf,
    },
    /// It was written by a newer version of this program.
    #[error("the history {path} has version {version}, newer than {VERSION}, the newest that this program knows")]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// It belongs to another program.
    #[error("{path} is a database, but not a history of this program")]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// A file with a name that a file of the history would have belongs to another program.
    #[error("the history {path} cannot be used: {file} is there, and not of this program")]
    ForeignBeside {
        /// The database.
        path: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// It is no database, or not a whole one.
    #[error("the history {path} is damaged: {reason}")]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The database does not let itself be opened.
    #[error("the history {path} cannot be opened: {error}")]
    Database {
        /// The database.
        path: PathBuf,
        /// What it says.
        error: rusqlite::Error,
    },
}

impl OpenError {
    fn of_file(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        if error.kind() == io::ErrorKind::StorageFull { Self::DiskFull { path } } else { Self::File { path, error } }
    }

    fn of(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Held { path },
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { path, reason: error.to_string() }
            }
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            // The index of the log is made as large as it gets when it is made: where that fails, there is no room.
            _ if error.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => {
                Self::DiskFull { path }
            }
            _ => Self::Database { path, error },
        }
    }
}

/// An open database and what it says of the time before.
#[derive(Debug)]
pub(super) struct Opened {
    /// Numbers above this one have nothing in the database: neither a room, nor messages or `id`s of one that has ended.
    pub(super) last_number: u32,
    pub(super) continuity: Continuity,
    pub(super) identity: FileIdentity,
    pub(super) writer: Connection,
    pub(super) readers: Vec<Connection>,
    pub(super) checkpoints: Connection,
    /// The numbers of the restored rooms, in their order.
    pub(super) rooms: Vec<DbRoom>,
    pub(super) restored: Restored,
    /// Rooms that were dropped and still have messages.
    pub(super) dropped: Vec<DbRoom>,
}

/// Opens the database of the settings, and makes it where there is none.
pub(super) fn open(settings: &SqliteSettings) -> Result<(Opened, Lock), OpenError> {
    let path = settings.path.as_path();
    ownership::check(path)?;
    let mut lock = Lock::take(path)?;
    let (is_new, had_log) = (!path.exists(), beside(path, "-wal").exists());
    let opened = open_locked(settings, &lock);
    match &opened {
        Ok(_) => {
            lock.keep();
            // A restore that was killed has left it.
            remove(path, &[UNFINISHED]);
        }
        // What another process holds may be its own.
        Err(OpenError::Held { .. }) => {}
        Err(_) if is_new => remove(path, &["", "-wal", "-shm", "-journal"]),
        // Looking at a database makes an empty log. One that is not empty has what was stored last.
        Err(_) if !had_log && fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() == 0) => {
            remove(path, &["-wal", "-shm"]);
        }
        Err(_) => {}
    }
    Ok((opened?, lock))
}

fn open_locked(settings: &SqliteSettings, lock: &Lock) -> Result<Opened, OpenError> {
    let path = settings.path.as_path();
    inspect(path)?;
    let of = |error| OpenError::of(path, error);
    let of_file = |error| OpenError::of_file(path, error);
    let mut writer = open_writer(settings, true).map_err(of)?;
    let identity = FileIdentity::at(path).map_err(of_file)?;
    let begun = Continuity::begin(&mut writer, lock.file(), identity, settings.sync);
    let continuity = begun.map_err(|error| match error {
        MarkError::Database(error) => of(error),
        MarkError::Lock(error) => OpenError::of_file(path, error),
    })?;
    let readers = (0..READERS).map(|_| open_reader(path)).collect::<rusqlite::Result<_>>().map_err(of)?;
    let checkpoints = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(of)?;
    let (rooms, restored, dropped) = restore(&writer, settings).map_err(of)?;
    let last_number = schema::last_number(&writer).map_err(of)?;
    Ok(Opened { last_number, continuity, identity, writer, readers, checkpoints, rooms, restored, dropped })
}

fn remove(path: &Path, endings: &[&str]) {
    for ending in endings {
        // Not all of them are there.
        fs::remove_file(beside(path, ending)).unwrap_or_default();
    }
}

/// The path of a file that belongs to a database.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Keeps two processes from one database: a locked file beside it. One that was made just now is removed again, unless
/// it is kept.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    is_removed: bool,
}

impl Lock {
    /// Takes the lock of a database.
    pub(super) fn take(database: &Path) -> Result<Self, OpenError> {
        let path = beside(database, ".lock");
        let of = |error| OpenError::of_file(database, error);
        let mut options = File::options();
        options.read(true).write(true);
        let (file, is_new) = match options.clone().create_new(true).open(&path) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_file = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
                if !is_file || !NotedStamps::are_all_of(&File::open(&path).map_err(of)?).map_err(of)? {
                    return Err(ownership::foreign(database, path));
                }
                (options.open(&path).map_err(of)?, false)
            }
            Err(error) => return Err(of(error)),
        };
        let held = || OpenError::Held { path: database.to_owned() };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held()),
            Err(TryLockError::Error(error)) => return Err(of(error)),
        }
        // Another process may have removed it between the two, and hold a new one.
        let locked = file.metadata().map(|metadata| FileIdentity::of(&metadata)).map_err(of)?;
        if FileIdentity::at(&path).ok() != Some(locked) {
            return Err(held());
        }
        Ok(Self { file, path, is_removed: is_new })
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Leaves the file where it is.
    pub(super) fn keep(&mut self) {
        self.is_removed = false;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.is_removed {
            // Whoever cannot remove it leaves an empty file.
            fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

/// Lets the database undo a transaction that the death of a process has cut off, as a first start's may be.
///
/// Before there is a write-ahead log, a transaction is undone from a journal beside the database. A connection that only
/// reads cannot do that, so it cannot read either.
fn recover(path: &Path) -> rusqlite::Result<()> {
    if !path.exists() || !fs::metadata(beside(path, "-journal")).is_ok_and(|journal| journal.len() > 0) {
        return Ok(());
    }
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// Where the database is: an absolute path without symbolic links, the same for everybody who means this file.
///
/// Makes the folder.
pub(super) fn locate(path: &Path) -> Result<PathBuf, OpenError> {
    let of = |error| OpenError::File { path: path.to_owned(), error };
    let unfit = |reason| OpenError::Unfit { path: path.to_owned(), reason };
    let text = path.to_string_lossy();
    if text.starts_with(':') || text.starts_with("file:") {
        return Err(unfit("it is not taken for the path of a file, write ./ before it"));
    }
    let name = path.file_name().ok_or_else(|| unfit("it does not end with the name of a file"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(of)?;
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        let folder = fs::canonicalize(folder).map_err(of)?;
        sync_names_above(&folder).map_err(of)?;
        return Ok(folder.join(name));
    }
    let located = fs::canonicalize(path).map_err(of)?;
    let metadata = fs::metadata(&located).map_err(of)?;
    if !metadata.is_file() {
        return Err(unfit("it is not a file"));
    }
    if metadata.nlink() > 1 {
        return Err(unfit(
            "the file has several names (hard links), and its log would be found under one of them only",
        ));
    }
    Ok(located)
}

/// Puts the name of a folder on the disk, and the names of the folders that lead to it on its file system.
///
/// SQLite syncs the folder of a database, but not the name of that folder: a power cut could take a folder that was made
/// just now, with all that was synced in it.
fn sync_names_above(folder: &Path) -> io::Result<()> {
    let device = fs::metadata(folder)?.dev();
    for above in folder.ancestors().skip(1) {
        if fs::metadata(above)?.dev() != device {
            break;
        }
        match File::open(above).and_then(|above| above.sync_all()) {
            // Somebody else's folder was not made by this process.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            outcome => outcome?,
        }
    }
    Ok(())
}

/// The file that was opened, to be told from another one at the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// The file that is at this path now.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&fs::metadata(path)?))
    }

    fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Its number on its file system.
    pub(super) fn inode(self) -> u64 {
        self.inode
    }
}

/// Looks at a database, without the right to change it. One that is not there, or empty, is a new one.
pub(super) fn inspect(path: &Path) -> Result<(), OpenError> {
    let of = |error| OpenError::File { path: path.to_owned(), error };
    let damaged = |reason: String| OpenError::Damaged { path: path.to_owned(), reason };
    ownership::check_database(path)?;
    // Before anything is read, as what is undone may be all there is.
    recover(path).map_err(|error| OpenError::of(path, error))?;
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(of(error)),
    };
    if size == 0 {
        return Ok(());
    }
    let connection = open_reader(path).map_err(|error| OpenError::of(path, error))?;
    let looked = || -> rusqlite::Result<_> {
        let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((application, tables, schema::version(&connection)?))
    };
    let (application, tables, version) = looked().map_err(|error| OpenError::of(path, error))?;
    if application != APPLICATION_ID {
        // A process that died while it made the database leaves an empty one.
        return if tables == 0 { Ok(()) } else { Err(OpenError::Foreign { path: path.to_owned() }) };
    }
    if version > u32::from(VERSION) {
        return Err(OpenError::Newer { path: path.to_owned(), version });
    }
    if size <= CHECKED_BYTES_MAX {
        let found: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| OpenError::of(path, error))?;
        if found != "ok" {
            return Err(damaged(found.lines().last().unwrap_or_default().to_owned()));
        }
    }
    Ok(())
}

/// A connection with these rights.
pub(super) fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// The connection that writes, with the newest schema. Without `create` the database must be there already.
pub(super) fn open_writer(settings: &SqliteSettings, create: bool) -> rusqlite::Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
    let mut connection = connect(&settings.path, flags)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", settings.sync.pragma())?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES_MAX)?;
    connection.pragma_update(None, "journal_size_limit", u64::from(LOG_PAGES_MAX) * 4_096)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Also where there is nothing to migrate: whoever holds the database is found out now.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    schema::migrate(&transaction)?;
    transaction.commit()?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "cache_size", -4_096)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

fn damaged_value(column: usize, error: impl std::error::Error + Send + std::marker::Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// The rooms, one row each, and the `id`s of the last minutes: never a look at all messages.
fn restore(
    connection: &Connection,
    settings: &SqliteSettings,
) -> rusqlite::Result<(Vec<DbRoom>, Restored, Vec<DbRoom>)> {
    let (mut numbers, mut restored, mut dropped) = (Vec::new(), Restored::default(), Vec::new());
    let mut senders =
        connection.prepare("SELECT client_id FROM messages WHERE place BETWEEN ?1 AND ?2 ORDER BY place LIMIT ?3")?;
    let mut places = rustc_hash::FxHashMap::default();
    let mut select = connection.prepare("SELECT id, name, epoch, seq, oldest, delivered FROM rooms ORDER BY id")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let number = DbRoom(row.get(0)?);
        let name: String = row.get(1)?;
        if name.starts_with(DROPPED) {
            dropped.push(number);
            continue;
        }
        let key = RoomKey::parse(&name).map_err(|error| damaged_value(1, error))?;
        let delivered = Seq(row.get::<_, i64>(5)?.cast_unsigned());
        let unclaimed = match key.owner().filter(|_| delivered == Seq(0)) {
            Some(owner) => unclaimed(&mut senders, number, owner)?,
            None => None,
        };
        places.insert(number, numbers.len());
        numbers.push(number);
        restored.rooms.push(StoredRoom {
            key,
            unclaimed,
            epoch: Epoch(row.get::<_, i64>(2)?.cast_unsigned()),
            seq: Seq(row.get::<_, i64>(3)?.cast_unsigned()),
            oldest: Seq(row.get::<_, i64>(4)?.cast_unsigned()),
            delivered,
        });
    }
    let kept = u64::try_from(settings.ids_kept.as_millis()).unwrap_or(u64::MAX);
    let since = clock::unix_ms().saturating_sub(kept).cast_signed();
    let mut select = connection.prepare(
        "SELECT place, at, client_id, id, owner FROM (
            SELECT place, at, client_id, id, owner FROM messages WHERE at >= ?1 AND id IS NOT NULL
            UNION ALL SELECT place, at, client_id, id, owner FROM dropped_ids WHERE at >= ?1
        ) ORDER BY at DESC, place DESC LIMIT ?2",
    )?;
    let mut rows = select.query((since, settings.ids_max))?;
    while let Some(row) = rows.next()? {
        let (number, seq) = schema::of_place(row.get(0)?);
        let Some(room) = places.get(&number).copied() else { continue };
        let (client_id, id): (String, String) = (row.get(2)?, row.get(3)?);
        let client_id = ClientId::parse(&client_id).map_err(|error| damaged_value(2, error))?;
        // A version that stored no owner remembered by name: that is right only where names are authenticated.
        let owner: Option<i64> = row.get(4)?;
        let owner = owner.map_or_else(|| IdOwner::authenticated(&client_id), |owner| IdOwner(owner.cast_unsigned()));
        restored.ids.push(StoredId {
            owner,
            room,
            seq: Seq(seq),
            at: row.get::<_, i64>(1)?.cast_unsigned(),
            client_id,
            id: MessageId::parse(&id).map_err(|error| damaged_value(3, error))?,
        });
    }
    restored.ids.reverse();
    Ok((numbers, restored, dropped))
}

/// Who made an inbox of which nothing was delivered; `None` where its owner has written, so was here.
fn unclaimed(senders: &mut Statement<'_>, inbox: DbRoom, owner: &ClientId) -> rusqlite::Result<Option<UnclaimedInbox>> {
    let span = (schema::place(inbox, 0), schema::place(inbox, schema::SEQ_MAX), SENDERS_LOOKED_AT);
    let senders = senders.query_map(span, |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let Some(maker) = senders.first().filter(|_| !senders.iter().any(|sender| sender == owner.as_str())) else {
        return Ok(None);
    };
    let is_alone = senders.len() < SENDERS_LOOKED_AT as usize && senders.iter().all(|sender| sender == maker);
    let maker = ClientId::parse(maker).map_err(|error| damaged_value(0, error))?;
    Ok(Some(UnclaimedInbox { maker, is_alone }))
}
