//! The lock file beside a database, which allows only one process to use it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::continuity::NotedStamps;
use super::file::{FileIdentity, Rights, beside};
use super::open_error::OpenError;
use super::ownership;

/// The held lock of a database. A lock file that this process created is removed on drop, unless [`keep`](Self::keep)
/// was called.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    /// Whether the file is removed on drop.
    is_removed: bool,
}

impl Lock {
    /// Takes the lock of a database. Fails at once if another process holds it.
    pub(super) fn take(database: &Path) -> Result<Self, OpenError> {
        let path = beside(database, ".lock");
        let of = |error| OpenError::of_file(database, error);
        let mut options = File::options();
        options.read(true).write(true);
        let made = match fs::metadata(database) {
            Ok(metadata) => Rights::of(&metadata).create_new(&path),
            Err(_) => options.clone().create_new(true).open(&path),
        };
        let (file, is_new) = match made {
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
        // Between opening and locking, another process may have removed the file and locked a new one.
        let locked = file.metadata().map(|metadata| FileIdentity::of(&metadata)).map_err(of)?;
        if FileIdentity::at(&path).ok() != Some(locked) {
            return Err(held());
        }
        Ok(Self { file, path, is_removed: is_new })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Leaves the lock file in place when the lock is dropped.
    pub(super) fn keep(&mut self) {
        self.is_removed = false;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.is_removed {
            // If the removal fails, an empty file is left.
            fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}
