//! Where the reports are that make one, and when their runs have ended.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::part::MergeError;
use crate::report::folder::{self, FolderError};

/// How often it is looked whether the runs go on.
const POLL: Duration = Duration::from_millis(200);

/// How long before somebody waits for it a run may have ended.
const RECENT: Duration = Duration::from_secs(30);

/// How many times in a row no run goes on before missing reports are not awaited any more: half a minute.
const QUIET_POLLS_MAX: u32 = 150;

/// How often it is told what is awaited, in polls, where nothing changes: every ten seconds.
const TOLD_POLLS: u32 = 50;

/// What is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Reports that count.
    there: usize,
    /// Reports that are wanted.
    wanted: usize,
    /// The folders of runs that go on.
    going_on: Vec<PathBuf>,
    /// How long the missing ones are still awaited, where no run goes on.
    left: Duration,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { there, wanted, going_on, left } = self;
        write!(f, "waiting: {there} of {wanted} reports are there; ")?;
        match going_on.split_first() {
            None => write!(f, "no run goes on; the missing ones are awaited for {} s", left.as_secs()),
            Some((first, [])) => write!(f, "the run of {} goes on", first.display()),
            Some((first, others)) => write!(f, "the runs of {} and {} more go on", first.display(), others.len()),
        }
    }
}

/// Finds the reports that paths stand for: a file, a folder with a report in it, or a folder of such folders; there, the
/// folder that the sum is written `into` is passed over.
///
/// # Errors
/// [`MergeError::NoReport`], or why a folder cannot be read.
pub fn find(paths: &[PathBuf], into: Option<&Path>) -> Result<Vec<PathBuf>, MergeError> {
    let into = into.and_then(|into| into.canonicalize().ok());
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
        let is_result = |folder: &PathBuf| into.is_some() && folder.canonicalize().ok() == into;
        folders.retain(|folder| folder.join(folder::JSON).exists() && !is_result(folder));
        folders.sort();
        if folders.is_empty() {
            return Err(MergeError::NoReport(path.clone()));
        }
        found.append(&mut folders);
    }
    Ok(found)
}

/// Refuses a sum that would be written over one of its parts, before anything of it is read.
///
/// # Errors
/// [`MergeError::IntoItself`].
pub fn refuse_into_itself(paths: &[PathBuf], into: &Path) -> Result<(), MergeError> {
    let Ok(into) = into.canonicalize() else { return Ok(()) };
    let folder_of = |path: &PathBuf| {
        let path = path.canonicalize().ok()?;
        if path.is_dir() { Some(path) } else { path.parent().map(Path::to_owned) }
    };
    let is_part =
        |path: &&PathBuf| folder_of(path).is_some_and(|folder| folder == into) && into.join(folder::JSON).exists();
    paths.iter().find(is_part).map_or(Ok(()), |path| Err(MergeError::IntoItself(path.clone())))
}

/// Waits until so many reports are there and none of their runs goes on. Answers them. Meanwhile it is `told` what is
/// awaited, when that changes and every ten seconds.
///
/// What an earlier run left does not count: a report whose run does not go on counts if it was written at most half a minute
/// before, or later. Reports that are missing half a minute after the last run ended are not awaited. The runs must be on
/// this host: it is by the kernel that it is known whether they go on. The folder that the sum is written `into` is no part.
///
/// # Errors
/// [`MergeError::NoneInTime`] where none counts after half a minute, and what [`find`] says.
pub fn wait(
    paths: &[PathBuf],
    wanted: usize,
    into: Option<&Path>,
    told: &mut dyn FnMut(&Waiting),
) -> Result<Vec<PathBuf>, MergeError> {
    let since = SystemTime::now().checked_sub(RECENT).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut counted = BTreeSet::new();
    let mut quiet_polls = 0;
    let mut told_last: Option<(u32, usize, usize)> = None;
    for poll in 0.. {
        let found = there(paths, into)?;
        let going_on: Vec<PathBuf> = found.iter().filter(|path| folder::goes_on(path)).cloned().collect();
        let is_quiet = going_on.is_empty();
        counted.extend(found.into_iter().filter(|path| going_on.contains(path) || folder::written_since(path, since)));
        quiet_polls = if is_quiet { quiet_polls + 1 } else { 0 };
        if is_quiet && !counted.is_empty() && (counted.len() >= wanted || quiet_polls > QUIET_POLLS_MAX) {
            return Ok(counted.into_iter().collect());
        }
        if quiet_polls > QUIET_POLLS_MAX {
            break;
        }
        let is_news = told_last.is_none_or(|(at, there, going)| {
            poll >= at + TOLD_POLLS || (there, going) != (counted.len(), going_on.len())
        });
        if is_news {
            told_last = Some((poll, counted.len(), going_on.len()));
            let left = POLL * QUIET_POLLS_MAX.saturating_sub(quiet_polls);
            told(&Waiting { there: counted.len(), wanted, going_on, left });
        }
        std::thread::sleep(POLL);
    }
    Err(MergeError::NoneInTime(paths.first().cloned().unwrap_or_default()))
}

/// The reports that are there. A path that is not there yet, or has no report, has none.
fn there(paths: &[PathBuf], into: Option<&Path>) -> Result<Vec<PathBuf>, MergeError> {
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| path.exists()) {
        match find(std::slice::from_ref(path), into) {
            Ok(reports) => found.extend(reports),
            Err(MergeError::NoReport(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
