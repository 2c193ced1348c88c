//! The files of a database: where they are, and which process they belong to.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::OpenError;

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
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (options.open(&path).map_err(of)?, false),
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
        return Ok(fs::canonicalize(folder).map_err(of)?.join(name));
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
