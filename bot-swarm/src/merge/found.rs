//! Finds the reports to merge, and waits until their runs have ended.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::part::MergeError;
use crate::report::folder::{self, FolderError};

/// The interval of checks whether the runs go on.
const POLL: Duration = Duration::from_millis(200);

/// The longest time that a run may have ended before the merge waits for it.
const RECENT: Duration = Duration::from_secs(30);

/// The number of consecutive checks without a run after which missing reports are no longer awaited: half a minute.
const QUIET_POLLS_MAX: u32 = 150;

/// The number of checks after which the state is reported again, without a change: every ten seconds.
const TOLD_POLLS: u32 = 50;

/// The state of waiting for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The number of reports that count.
    there: usize,
    /// The number of required reports.
    wanted: usize,
    /// The folders of runs that go on.
    going_on: Vec<PathBuf>,
    /// The remaining time for missing reports, if no run goes on.
    left: Duration,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { there, wanted, going_on, left } = self;
        write!(f, "waiting: {there} of {wanted} reports found; ")?;
        match going_on.split_first() {
            None => write!(f, "no run is active; giving up in {} s", left.as_secs()),
            Some((first, [])) => write!(f, "the run of {} has not ended", first.display()),
            Some((first, others)) => {
                write!(f, "the runs of {} and {} more have not ended", first.display(), others.len())
            }
        }
    }
}

/// Finds the reports that paths stand for: a file, a folder with a report, or a folder of such folders. In the last
/// case, the folder `into` for the result is skipped.
///
/// # Errors
/// [`MergeError::NoReport`], or the reason that a folder cannot be read.
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

/// Refuses to write the result over one of the merged reports, before anything is read.
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

/// Waits until `wanted` reports exist and none of their runs goes on, and returns their paths. Meanwhile it reports the
/// state to `told` after each change and every ten seconds.
///
/// Reports of earlier runs do not count: if its run does not go on, a report counts only if it was written at most half
/// a minute before the call, or later. The wait for missing reports ends half a minute after the last run ended. The
/// runs must be on this host, because kernel locks show whether they go on. The folder `into` for the result is
/// skipped.
///
/// # Errors
/// [`MergeError::NoneInTime`] if there is no report after half a minute, and the errors of [`find`].
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

/// The reports that exist now. A path that does not exist yet or has no report yields none.
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
