//! The files of a database: their paths, and the identity of the opened files.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rusqlite::{Connection, OpenFlags};

use super::open_error::OpenError;

/// The ending of an unfinished restore, before it is renamed.
pub(super) const UNFINISHED: &str = ".restoring";

/// The ending of the search index.
pub(super) const SEARCH_ENDING: &str = "-search";

/// The endings of the files that belong to a database or its search index. Commands refuse to create files with these
/// endings, because the history of the name without the ending would use the file as its own.
const RESERVED: [&str; 6] = ["-wal", "-shm", "-journal", ".lock", UNFINISHED, SEARCH_ENDING];

/// The path of a file that belongs to a database.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The file name in a path. An error if SQLite would not use the path as a file path.
pub(super) fn name(path: &Path) -> Result<&OsStr, &'static str> {
    let text = path.to_string_lossy();
    if text.starts_with(':') || text.starts_with("file:") {
        return Err("SQLite would not treat it as a file path, write ./ before it");
    }
    path.file_name().ok_or("it does not end with a file name")
}

/// Checks that a database may be created at a path.
pub(super) fn check_new_name(path: &Path) -> Result<(), &'static str> {
    let name = name(path)?.as_encoded_bytes();
    if RESERVED.iter().any(|ending| name.ends_with(ending.as_bytes())) {
        return Err(
            "these endings are reserved for the files of a history: -wal, -shm, -journal, .lock, .restoring, -search",
        );
    }
    Ok(())
}

/// Locates a database like [`locate`], and checks that this process may create it there.
pub(super) fn locate_new(path: &Path) -> Result<PathBuf, OpenError> {
    let unfit = |reason| OpenError::Unfit { path: path.to_owned(), reason };
    check_new_name(path).map_err(unfit)?;
    let located = locate(path)?;
    // The path may be a link to a reserved name.
    check_new_name(&located).map_err(unfit)?;
    Ok(located)
}

/// The absolute path of a database without symbolic links, so that all processes use the same path for one file.
///
/// Creates the folder if it does not exist.
pub(super) fn locate(path: &Path) -> Result<PathBuf, OpenError> {
    let of = |error| OpenError::File { path: path.to_owned(), error };
    let unfit = |reason| OpenError::Unfit { path: path.to_owned(), reason };
    let name = name(path).map_err(unfit)?;
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
        return Err(unfit("it is not a regular file"));
    }
    if metadata.nlink() > 1 {
        return Err(unfit("the file has several hard links, and SQLite finds its log under only one of the names"));
    }
    Ok(located)
}

/// Syncs the name of a folder to the disk, and the names of its parent folders on the same file system.
///
/// SQLite syncs the folder of a database, but not the name of that folder. A power failure could lose a new folder
/// together with everything that was synced in it.
fn sync_names_above(folder: &Path) -> io::Result<()> {
    let device = fs::metadata(folder)?.dev();
    for above in folder.ancestors().skip(1) {
        if fs::metadata(above)?.dev() != device {
            break;
        }
        match File::open(above).and_then(|above| above.sync_all()) {
            // This process has not created a folder of another user.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Reads the file of a database as if it had no log. No connection to it may be open in this process: its locks would
/// end.
pub(super) fn open_without_log(path: &Path) -> rusqlite::Result<Connection> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let encoded: Vec<_> = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
    let uri = format!("file:{}?immutable=1", encoded.concat());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri, flags)
}

/// The owner of a file, and its access rights.
///
/// A file that is made beside a history, or in its place, gets the history's rights. So a command that root runs keeps
/// the files usable for a server of another user, and reveals messages to nobody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rights {
    mode: u32,
    owner: u32,
    group: u32,
}

impl Rights {
    /// The rights of this file.
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self { mode: metadata.mode() & 0o666 | 0o600, owner: metadata.uid(), group: metadata.gid() }
    }

    /// The same rights, with the owner of this folder.
    pub(super) fn in_folder(self, folder: &fs::Metadata) -> Self {
        Self { owner: folder.uid(), group: folder.gid(), ..self }
    }

    /// The options to make a file that belongs to whoever makes it, and that nobody else may read than these rights
    /// say.
    pub(super) fn new_file(self) -> fs::OpenOptions {
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(self.mode);
        options
    }

    /// Makes a file with these rights.
    pub(super) fn create_new(self, path: &Path) -> io::Result<File> {
        let file = self.new_file().mode(0o600).open(path)?;
        // Only root may change the owner, and not every file system has rights. Otherwise the file keeps its creator as
        // owner.
        fchown(&file, Some(self.owner), Some(self.group)).unwrap_or_default();
        file.set_permissions(Permissions::from_mode(self.mode)).unwrap_or_default();
        Ok(file)
    }
}

/// Identifies an opened file, to detect another file at the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// The identity of the file that is at this path now.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&fs::metadata(path)?))
    }

    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// The inode number.
    pub(super) fn inode(self) -> u64 {
        self.inode
    }
}

/// The files of an open database. The next start finds the stored messages only if these files stay complete and at
/// their paths.
#[derive(Debug)]
pub(super) struct OpenFiles {
    database: OpenFile,
    log: OpenFile,
    log_index: OpenFile,
    lock: OpenFile,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    identity: FileIdentity,
    /// The length at the last check. A file may not become shorter. `None` for a file whose length is not checked.
    bytes: Option<AtomicU64>,
}

impl OpenFile {
    fn at(path: PathBuf) -> io::Result<Self> {
        Ok(Self { identity: FileIdentity::at(&path)?, path, bytes: None })
    }

    fn that_grows(self) -> Self {
        Self { bytes: Some(AtomicU64::new(0)), ..self }
    }

    /// The metadata of the file at the path, if it is the file that was opened. This function does not open the file,
    /// because closing it would release the locks that this process has on it.
    fn metadata(&self) -> Option<fs::Metadata> {
        let found = fs::symlink_metadata(&self.path).ok();
        found.filter(|metadata| FileIdentity::of(metadata) == self.identity)
    }

    fn has_bytes(&self, bytes: u64) -> bool {
        self.metadata().is_some_and(|found| found.len() >= bytes)
    }

    fn check(&self) -> Result<(), FileFault> {
        let found = self.metadata().ok_or_else(|| FileFault::Moved(self.path.clone()))?.len();
        if let Some(bytes) = &self.bytes {
            if found < bytes.load(Relaxed) {
                return Err(FileFault::Cut(self.path.clone()));
            }
            bytes.store(found, Relaxed);
        }
        Ok(())
    }

    /// Records the current length. If the file is missing, the next check reports it.
    fn note_bytes(&self) {
        if let (Some(bytes), Some(found)) = (&self.bytes, self.metadata()) {
            bytes.store(found.len(), Relaxed);
        }
    }
}

/// The reason that stored messages would be lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FileFault {
    #[error("the file {} is missing or was replaced", .0.display())]
    Moved(PathBuf),
    #[error("the file {} was truncated", .0.display())]
    Cut(PathBuf),
}

impl OpenFiles {
    /// The files of a database that this process has just opened and locked.
    pub(super) fn of(database: &Path) -> io::Result<Self> {
        let file = |ending| OpenFile::at(beside(database, ending));
        let (database, log) = (file("")?.that_grows(), file("-wal")?.that_grows());
        let files = Self { database, log, log_index: file("-shm")?, lock: file(".lock")? };
        files.note_bytes();
        Ok(files)
    }

    /// Checks that all files are at their paths and have not become shorter.
    pub(super) fn check(&self) -> Result<(), FileFault> {
        [&self.database, &self.lock, &self.log_index, &self.log].into_iter().try_for_each(OpenFile::check)
    }

    /// Records the length of the log after a commit. From now on the log may not become shorter.
    pub(super) fn note_stored(&self) {
        self.log.note_bytes();
    }

    /// Records the current lengths, after another process has shortened the files legitimately.
    pub(super) fn note_bytes(&self) {
        self.database.note_bytes();
        self.log.note_bytes();
    }

    /// Whether the fault is that the log is not at its path. Open connections still have it.
    pub(super) fn is_without_log(&self, fault: &FileFault) -> bool {
        *fault == FileFault::Moved(self.log.path.clone())
    }

    /// Whether the fault is a truncated log. Another process may have checkpointed it into the database before.
    pub(super) fn is_log_cut(&self, fault: &FileFault) -> bool {
        *fault == FileFault::Cut(self.log.path.clone())
    }

    /// Whether the database file has at least the given number of pages.
    pub(super) fn has_database_of(&self, pages: u64, page_bytes: u64) -> bool {
        self.database.has_bytes(pages * page_bytes)
    }

    /// Whether the log file has at least the given number of pages.
    pub(super) fn has_log_of(&self, pages: u64, page_bytes: u64) -> bool {
        /// The header of a write-ahead log.
        const HEAD_BYTES: u64 = 32;
        /// The header of each page in the log.
        const PAGE_HEAD_BYTES: u64 = 24;
        self.log.has_bytes(if pages == 0 { 0 } else { HEAD_BYTES + pages * (page_bytes + PAGE_HEAD_BYTES) })
    }
}
