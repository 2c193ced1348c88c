//! Where the reports are that make one, and when their runs have ended.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::part::MergeError;
use crate::report::folder::{self, FolderError};

/// How often it is looked whether the runs go on.
const POLL: Duration = Duration::from_millis(200);

/// How long before somebody waits for it a run may have ended.
const RECENT: Duration = Duration::from_secs(30);

/// How many times in a row no run goes on before missing reports are not awaited any more: half a minute.
const QUIET_POLLS_MAX: u32 = 150;

/// Finds the reports that paths stand for: a file, a folder with a report in it, or a folder of such folders.
///
/// # Errors
/// [`MergeError::NoReport`], or why a folder cannot be read.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, MergeError> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() || path.join(folder::JSON).exists() {
            found.push(path.clone());
            continue;
        }
        let unread = |error| FolderError::File { path: path.clone(), error };
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unread)? {
            folders.push(entry.map_err(unread)?.path());
        }
        folders.retain(|folder| folder.join(folder::JSON).exists());
        folders.sort();
        if folders.is_empty() {
            return Err(MergeError::NoReport(path.clone()));
        }
        found.append(&mut folders);
    }
    Ok(found)
}

/// Waits until so many reports are there and none of their runs goes on. Answers them.
///
/// What an earlier run left does not count: a report whose run does not go on counts if it was written at most half a minute
/// before, or later. Reports that are missing half a minute after the last run ended are not awaited. The runs must be on
/// this host: it is by the kernel that it is known whether they go on.
///
/// # Errors
/// [`MergeError::NoReport`] where none counts after half a minute, and what [`find`] says.
pub fn wait(paths: &[PathBuf], count: usize) -> Result<Vec<PathBuf>, MergeError> {
    let since = SystemTime::now().checked_sub(RECENT).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut counted = BTreeSet::new();
    let mut quiet_polls = 0;
    loop {
        let found = there(paths)?;
        let is_quiet = !found.iter().any(|path| folder::goes_on(path));
        counted.extend(found.into_iter().filter(|path| folder::goes_on(path) || folder::written_since(path, since)));
        quiet_polls = if is_quiet { quiet_polls + 1 } else { 0 };
        if is_quiet && !counted.is_empty() && (counted.len() >= count || quiet_polls > QUIET_POLLS_MAX) {
            return Ok(counted.into_iter().collect());
        }
        if quiet_polls > QUIET_POLLS_MAX {
            return Err(MergeError::NoReport(paths.first().cloned().unwrap_or_default()));
        }
        std::thread::sleep(POLL);
    }
}

/// The reports that are there. A path that is not there yet, or has no report, has none.
fn there(paths: &[PathBuf]) -> Result<Vec<PathBuf>, MergeError> {
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| path.exists()) {
        match find(std::slice::from_ref(path)) {
            Ok(reports) => found.extend(reports),
            Err(MergeError::NoReport(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
