//! Writes reports into a folder: `report.json` for programs, `report.html` for people.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::document::{Report, SCHEMA_VERSION};
use super::page::page;

/// The file for programs.
pub const JSON: &str = "report.json";

/// The file for people.
pub const PAGE: &str = "report.html";

/// The number of attempts to claim a folder: a process that only checks whether its run goes on holds it for a moment.
const CLAIM_TRIES: u32 = 50;
const CLAIM_PAUSE: Duration = Duration::from_millis(20);

/// The reason that a report cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file cannot be written, or read.
    #[error("{}", path.display())]
    File {
        /// The file, or its folder.
        path: PathBuf,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// Another run writes its report there.
    #[error("{} is the folder of another run that has not ended", .0.display())]
    Taken(PathBuf),
    /// The file is not a report.
    #[error("{} is not a report of bot-swarm", path.display())]
    NotAReport {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        error: serde_json::Error,
    },
    /// The report has another version than this program reads.
    #[error("{} is a report of version {version}; this program reads version {SCHEMA_VERSION}", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The file's `schemaVersion`.
        version: u64,
    },
}

/// Checks that these files can be written into a folder, which is created if it does not exist. Of its content, only
/// unfinished files are removed.
///
/// # Errors
/// [`FolderError::File`] contains the folder, or the file that cannot be replaced.
pub fn prepare(folder: &Path, files: &[&str]) -> Result<(), FolderError> {
    let failed = |path: &Path, error| FolderError::File { path: path.to_owned(), error };
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for file in files {
        // A process that was killed while writing has left it behind.
        drop(fs::remove_file(unfinished(&folder.join(file))));
    }
    if let Some(path) = files.iter().map(|file| folder.join(file)).find(|path| path.is_dir()) {
        return Err(failed(&path, io::ErrorKind::IsADirectory.into()));
    }
    let probe = folder.join(format!(".{}-{}", JSON, std::process::id()));
    fs::write(&probe, "").and_then(|()| fs::remove_file(&probe)).map_err(|error| failed(folder, error))
}

/// The claim of a running process on its folder. The kernel releases it when the process ends, for whatever reason, so
/// every process on the host can check [whether the run goes on](goes_on).
#[derive(Debug)]
pub struct Claim {
    _folder: Option<File>,
}

/// Claims an existing folder for the run of this process.
///
/// # Errors
/// [`FolderError::Taken`]: another process has it. [`FolderError::File`]: the folder cannot be opened.
pub fn claim(path: &Path) -> Result<Claim, FolderError> {
    let folder = File::open(path).map_err(|error| FolderError::File { path: path.to_owned(), error })?;
    for _ in 0..CLAIM_TRIES {
        match folder.try_lock() {
            Ok(()) => return Ok(Claim { _folder: Some(folder) }),
            Err(TryLockError::WouldBlock) => std::thread::sleep(CLAIM_PAUSE),
            Err(TryLockError::Error(error)) => {
                log::warn!(
                    "{}: cannot lock this folder, so other programs cannot detect the end of this run: {error}",
                    path.display()
                );
                return Ok(Claim { _folder: None });
            }
        }
    }
    Err(FolderError::Taken(path.to_owned()))
}

/// Whether a report was written at `time` or later; `path` is its folder, or the report itself.
pub fn written_since(path: &Path, time: SystemTime) -> bool {
    let report = if path.is_dir() { path.join(JSON) } else { path.to_owned() };
    fs::metadata(report).and_then(|report| report.modified()).is_ok_and(|written| written >= time)
}

/// Whether a process of this host has [claimed](claim) the folder of a report, and has not ended. `path` is the folder,
/// or the report in it.
pub fn goes_on(path: &Path) -> bool {
    let folder = if path.is_dir() { Some(path) } else { path.parent() };
    let lock = File::open(folder.unwrap_or(path)).map(|folder| folder.try_lock_shared());
    matches!(lock, Ok(Err(TryLockError::WouldBlock)))
}

/// Writes a report into a folder, which is created if it does not exist. A report of an earlier run is replaced.
///
/// # Errors
/// [`FolderError::File`].
pub fn write(folder: &Path, report: &Report) -> Result<(), FolderError> {
    write_json(&folder.join(JSON), report)?;
    write_file(&folder.join(PAGE), page(report).as_bytes())
}

/// Removes an earlier run's report from a folder, and the folder if nothing else is in it.
///
/// # Errors
/// [`FolderError::File`].
pub fn remove(folder: &Path) -> Result<(), FolderError> {
    for path in [folder.join(JSON), folder.join(PAGE)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(FolderError::File { path, error }),
            Ok(()) | Err(_) => {}
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Err(FolderError::File { path: folder.to_owned(), error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a value as JSON, and creates its folder if it does not exist.
///
/// # Errors
/// [`FolderError::File`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FolderError> {
    let json = serde_json::to_vec_pretty(value);
    let mut json = json.map_err(|error| FolderError::File { path: path.to_owned(), error: error.into() })?;
    json.push(b'\n');
    write_file(path, &json)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let failed = |error| FolderError::File { path: path.to_owned(), error };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    // The file is complete or absent: an earlier file stays until the new one is complete.
    let unfinished = unfinished(path);
    fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, path)).map_err(|error| {
        // A partial file, for example on a full disk, is useless.
        drop(fs::remove_file(&unfinished));
        failed(error)
    })
}

/// The path of an unfinished file, before it replaces another.
fn unfinished(path: &Path) -> PathBuf {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    unfinished.into()
}

/// Reads a report from a file, or from its folder.
///
/// # Errors
/// [`FolderError`].
pub fn read(path: &Path) -> Result<Report, FolderError> {
    let path = if path.is_dir() { path.join(JSON) } else { path.to_owned() };
    let json = fs::read(&path).map_err(|error| FolderError::File { path: path.clone(), error })?;
    let not_a_report = |error| FolderError::NotAReport { path: path.clone(), error };
    // The version is checked first, because the rest of another version need not fit.
    let value: serde_json::Value = serde_json::from_slice(&json).map_err(not_a_report)?;
    match value.get("schemaVersion").and_then(serde_json::Value::as_u64) {
        Some(version) if version != u64::from(SCHEMA_VERSION) => Err(FolderError::OtherVersion { path, version }),
        _ => serde_json::from_value(value).map_err(not_a_report),
    }
}
