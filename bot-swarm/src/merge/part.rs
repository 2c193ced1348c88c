//! One report of several, as far as it must be understood before it can be added.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::last_receivers::{ByTime, LastReceivers};
use crate::report::document::{self, Report};
use crate::report::folder::FolderError;

/// Why reports do not make one.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A report cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A folder holds no report, nor does any folder in it.
    #[error("{} holds no report", .0.display())]
    NoReport(PathBuf),
    /// No report that counts came in time.
    #[error("{} has no report that was written in the last half minute, and no run that writes one there goes on", .0.display())]
    NoneInTime(PathBuf),
    /// The sum would be written over one of its parts.
    #[error("{} is one of the reports, and cannot be where their sum is written", .0.display())]
    IntoItself(PathBuf),
    /// A report was written by a version that left the histograms out.
    #[error("{} has no histograms: it was written by an older version", .0.display())]
    NoHistograms(PathBuf),
    /// A histogram of a report, or its last receivers, cannot be read.
    #[error("{} has a histogram that cannot be read", .0.display())]
    Histogram(PathBuf),
    /// Two reports are of the same process.
    #[error("{} and {} are reports of the same run of {name}", .first.display(), .second.display())]
    Twice {
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// The prefix of its bots' names.
        name: String,
    },
    /// One run was over before another began.
    #[error(
        "{} is of a run that was over before that of {} began, so they were not one load: leave out what an earlier run left, or \
         hold the two against each other with compare (the clocks of two hosts may also differ)",
        earlier.display(),
        later.display()
    )]
    Apart {
        /// The report of the one.
        earlier: PathBuf,
        /// The report of the other.
        later: PathBuf,
    },
    /// The processes were held to different things, and nobody says to which the sum is to be.
    #[error(
        "the reports were held to different expectations ({first}; {other}): say with --expect to which the sum is"
    )]
    Expectations {
        /// That of the first report.
        first: String,
        /// That of another.
        other: String,
    },
    /// A report says something that this version does not understand.
    #[error("{} expects {expect:?}, which is not known", path.display())]
    UnknownExpectation {
        /// The report.
        path: PathBuf,
        /// Its `BOT_EXPECT`.
        expect: String,
    },
}

/// A report, and what of it is to be read before it can be added.
pub(super) struct Part<'a> {
    pub(super) path: &'a Path,
    pub(super) report: &'a Report,
    /// How much later its run began than the first one.
    pub(super) later: Duration,
    pub(super) last: LastReceivers,
    pub(super) receipts: ByTime,
}

impl<'a> Part<'a> {
    pub(super) fn of(path: &'a Path, report: &'a Report, first: u64) -> Result<Self, MergeError> {
        if report.histograms.is_empty() && !report.latencies.is_empty() {
            return Err(MergeError::NoHistograms(path.to_owned()));
        }
        let later = Duration::from_millis(report.started_at - first);
        let read = |last: &document::LastReceivers| LastReceivers::unpack(last.one_of, &last.receipts);
        let last = report.last_receivers.as_ref().map_or_else(|| Some(LastReceivers::default()), read);
        let last = last.ok_or_else(|| MergeError::Histogram(path.to_owned()))?;
        let receipts = last.by_time();
        Ok(Self { path, report, later, last, receipts })
    }

    /// When its run ended, since the first one began.
    pub(super) fn end(&self) -> Duration {
        self.later + seconds(self.report.seconds)
    }

    pub(super) fn name(&self) -> &'a str {
        self.report.config.get("BOT_NAME_PREFIX").map_or("", String::as_str)
    }
}

/// A number of seconds of a report; what is no time counts as none.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
