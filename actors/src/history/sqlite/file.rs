//! The files of a database: where they are, and which of them was opened.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::OpenError;
use super::ownership::UNFINISHED;
use super::search::ENDING;

/// The endings of the files that a history has beside its database, and its search index beside itself. No file that a
/// command makes has such a name: a history of the name without the ending would take it for its own.
const RESERVED: [&str; 6] = ["-wal", "-shm", "-journal", ".lock", UNFINISHED, ENDING];

/// The path of a file that belongs to a database.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The name of the file at a path that SQLite takes for the path of a file, or why it does not.
pub(super) fn name(path: &Path) -> Result<&OsStr, &'static str> {
    let text = path.to_string_lossy();
    if text.starts_with(':') || text.starts_with("file:") {
        return Err("it is not taken for the path of a file, write ./ before it");
    }
    path.file_name().ok_or("it does not end with the name of a file")
}

/// Why no database may be made at a path, where none may.
pub(super) fn check_new_name(path: &Path) -> Result<(), &'static str> {
    let name = name(path)?.as_encoded_bytes();
    if RESERVED.iter().any(|ending| name.ends_with(ending.as_bytes())) {
        return Err(
            "files that belong to a history have names that end so: -wal, -shm, -journal, .lock, .restoring, -search",
        );
    }
    Ok(())
}

/// Where a database is that this process may make there; else like [`locate`].
pub(super) fn locate_new(path: &Path) -> Result<PathBuf, OpenError> {
    let unfit = |reason| OpenError::Unfit { path: path.to_owned(), reason };
    check_new_name(path).map_err(unfit)?;
    let located = locate(path)?;
    // A link may lead to it.
    check_new_name(&located).map_err(unfit)?;
    Ok(located)
}

/// Where the database is: an absolute path without symbolic links, the same for everybody who means this file.
///
/// Makes the folder.
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

    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Its number on its file system.
    pub(super) fn inode(self) -> u64 {
        self.inode
    }
}

/// The files of an open database. What is stored in them is found by the next start only while they are at their paths, and
/// whole.
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
    /// How long it was when it was looked at last; what was written in it does not get less.
    bytes: Option<AtomicU64>,
}

impl OpenFile {
    fn at(path: PathBuf) -> io::Result<Self> {
        Ok(Self { identity: FileIdentity::at(&path)?, path, bytes: None })
    }

    fn that_grows(self) -> Self {
        Self { bytes: Some(AtomicU64::new(0)), ..self }
    }

    /// The file at the path, if it is the one that was opened. No file is opened here: to close one would end the locks that
    /// this process has on it.
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

    /// Notes how long it is now. One that is not there is found by the next check.
    fn note_bytes(&self) {
        if let (Some(bytes), Some(found)) = (&self.bytes, self.metadata()) {
            bytes.store(found.len(), Relaxed);
        }
    }
}

/// Why what is stored in the open files would be lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FileFault {
    #[error("the file {} is not there any more, or is another one", .0.display())]
    Moved(PathBuf),
    #[error("the file {} was made shorter", .0.display())]
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

    /// Looks whether all files are at their paths, and what was stored is in them.
    pub(super) fn check(&self) -> Result<(), FileFault> {
        [&self.database, &self.lock, &self.log_index, &self.log].into_iter().try_for_each(OpenFile::check)
    }

    /// Notes that something was stored in the log: it does not get shorter from now on.
    pub(super) fn note_stored(&self) {
        self.log.note_bytes();
    }

    /// Notes how long the files are, where another process has made them shorter as it may.
    pub(super) fn note_bytes(&self) {
        self.database.note_bytes();
        self.log.note_bytes();
    }

    /// Whether a fault is that the log is not at its path. The connections that are open still have it.
    pub(super) fn is_without_log(&self, fault: &FileFault) -> bool {
        *fault == FileFault::Moved(self.log.path.clone())
    }

    /// Whether a fault is that the log was made shorter, also where another process has taken it into the database.
    pub(super) fn is_log_cut(&self, fault: &FileFault) -> bool {
        *fault == FileFault::Cut(self.log.path.clone())
    }

    /// Whether the database has so many pages of so many bytes.
    pub(super) fn has_database_of(&self, pages: u64, page_bytes: u64) -> bool {
        self.database.has_bytes(pages * page_bytes)
    }

    /// Whether the log has so many pages of so many bytes.
    pub(super) fn has_log_of(&self, pages: u64, page_bytes: u64) -> bool {
        /// What stands before the pages of a log.
        const HEAD_BYTES: u64 = 32;
        /// What stands before each of them.
        const PAGE_HEAD_BYTES: u64 = 24;
        self.log.has_bytes(if pages == 0 { 0 } else { HEAD_BYTES + pages * (page_bytes + PAGE_HEAD_BYTES) })
    }
}
