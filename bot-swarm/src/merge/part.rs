//! One report of several, with the data that must be decoded before it can be added.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::last_receivers::{ByTime, LastReceivers};
use crate::report::document::{self, Report};
use crate::report::folder::FolderError;

/// The reason that reports cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A report cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Neither the folder nor any folder in it contains a report.
    #[error("{} contains no report", .0.display())]
    NoReport(PathBuf),
    /// There was no recent report in time.
    #[error("{} has no report from the last half minute, and no run that will write one", .0.display())]
    NoneInTime(PathBuf),
    /// The result would replace one of the merged reports.
    #[error("{} is one of the merged reports, and cannot be the folder of the result", .0.display())]
    IntoItself(PathBuf),
    /// A report of an older version has no histograms.
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
        "the run of {} was over before that of {} began, so they were not one load: leave out old reports, or compare \
         the two with the command compare (also, the clocks of two hosts may differ)",
        earlier.display(),
        later.display()
    )]
    Apart {
        /// The report of the one.
        earlier: PathBuf,
        /// The report of the other.
        later: PathBuf,
    },
    /// The processes had different expectations, and none were given for the result.
    #[error("the reports have different expectations ({first}; {other}): choose those of the result with --expect")]
    Expectations {
        /// The expectations of the first report.
        first: String,
        /// The expectations of another report.
        other: String,
    },
    /// A report contains expectations that this version does not know.
    #[error("{} expects {expect:?}, which is not known", path.display())]
    UnknownExpectation {
        /// The report.
        path: PathBuf,
        /// Its `BOT_EXPECT`.
        expect: String,
    },
}

/// A report, with its decoded last receivers.
pub(super) struct Part<'a> {
    pub(super) path: &'a Path,
    pub(super) report: &'a Report,
    /// The time from the start of the first run to the start of its run.
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

    /// The end of its run, since the start of the first run.
    pub(super) fn end(&self) -> Duration {
        self.later + seconds(self.report.seconds)
    }

    pub(super) fn name(&self) -> &'a str {
        self.report.config.get("BOT_NAME_PREFIX").map_or("", String::as_str)
    }
}

/// A number of seconds in a report; an invalid time counts as zero.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
