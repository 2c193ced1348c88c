//! The files of a database: where they are, and which of them was opened.

use std::fs::{self, File};
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

    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Its number on its file system.
    pub(super) fn inode(self) -> u64 {
        self.inode
    }
}
