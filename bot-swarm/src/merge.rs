//! One report of many: what several processes of a swarm found, as if one had found it.
//!
//! Each process judges what its own bots receive from whomever, so counts and ledgers add up; latencies are added as
//! histograms, never as percentiles of percentiles. The sum is judged anew by what was expected.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::config::Config;
use crate::doubt::Doubt;
use crate::expect::Expectations;
use crate::footprint::Footprint;
use crate::latencies::Latencies;
use crate::ledger::Tally;
use crate::outcome::Outcome;
use crate::report::document::{Report, Second};
use crate::report::folder::{self, FolderError};
use crate::stats::{Counters, Stats};

/// Why reports do not make one.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A report cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A folder holds no report, nor does any folder in it.
    #[error("{} holds no report", .0.display())]
    NoReport(PathBuf),
    /// A report was written by a version that left the histograms out.
    #[error("{} has no histograms: it was written by an older version", .0.display())]
    NoHistograms(PathBuf),
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
        /// What it expects.
        expect: String,
    },
}

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

/// Makes one report of many, and judges it by `expect`, or by what all of them were held to.
///
/// # Errors
/// [`MergeError`].
pub fn merge(reports: &[(PathBuf, Report)], expect: Option<Expectations>) -> Result<Report, MergeError> {
    let mut seen: BTreeMap<(u64, &str), &Path> = BTreeMap::new();
    let mut sum = Outcome::default();
    let mut doubts = Vec::new();
    for (path, report) in reports {
        let name = report.config.get("BOT_NAME_PREFIX").map_or("", String::as_str);
        if let Some(first) = seen.insert((report.started_at, name), path) {
            let (first, second) = (first.to_owned(), path.clone());
            return Err(MergeError::Twice { first, second, name: name.to_owned() });
        }
        if report.histograms.is_empty() && !report.latencies.is_empty() {
            return Err(MergeError::NoHistograms(path.clone()));
        }
        add(&mut sum, report);
        doubts.extend(report.verdict.doubts.iter().map(|doubt| format!("{name}: {doubt}")));
    }
    sum.config = Config { expect: expect.map_or_else(|| common_expectation(reports), Ok)?, ..Config::default() };
    let starts = || reports.iter().map(|(_, report)| report.started_at);
    let first = starts().min().unwrap_or_default();
    let ends =
        reports.iter().map(|(_, report)| Duration::from_millis(report.started_at - first) + seconds(report.seconds));
    sum.started = UNIX_EPOCH + Duration::from_millis(first);
    sum.elapsed = ends.max().unwrap_or_default();
    let sum = sum.judge_with(doubts.into_iter().map(Doubt::OfPart).collect());
    let mut merged = Report::of(&sum);
    merged.config = common_config(reports);
    merged.config.insert("BOT_EXPECT".to_owned(), sum.config.expect.to_string());
    merged.series = series(reports, first);
    Ok(merged)
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// What all reports were held to.
fn common_expectation(reports: &[(PathBuf, Report)]) -> Result<Expectations, MergeError> {
    let expectation = |report: &Report| report.config.get("BOT_EXPECT").cloned().unwrap_or_default();
    let Some((path, first)) = reports.first() else { return Ok(Expectations::clean()) };
    let expect = expectation(first);
    if let Some((_, other)) = reports.iter().find(|(_, report)| expectation(report) != expect) {
        return Err(MergeError::Expectations { first: expect, other: expectation(other) });
    }
    expect.parse().map_err(|_| MergeError::UnknownExpectation { path: path.clone(), expect })
}

/// The settings that all have in common.
fn common_config(reports: &[(PathBuf, Report)]) -> BTreeMap<String, String> {
    let Some((_, first)) = reports.first() else { return BTreeMap::new() };
    let is_common =
        |(name, value): &(&String, &String)| reports.iter().all(|(_, report)| report.config.get(*name) == Some(*value));
    first.config.iter().filter(is_common).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Adds what a report tells to an outcome.
fn add(sum: &mut Outcome, report: &Report) {
    let ledger = &report.ledger;
    let mut stats = Stats {
        counters: Counters::of(|name| report.counters.get(name).copied()),
        errors: report.errors.clone(),
        ..Stats::default()
    };
    for (kind, steps) in &report.histograms {
        if let Some(latencies) = stats.kind_mut(kind) {
            *latencies = Latencies::of(steps);
        }
    }
    if let Some(remote) = &report.remote {
        stats.clocks_off_max = seconds(remote.clocks_off_max_ms / 1e3);
    }
    sum.stats.merge(&stats);
    sum.tally += Tally {
        expected: ledger.expected,
        received: ledger.received,
        lost: ledger.lost,
        lost_and_told: ledger.lost_and_told,
        twice: ledger.twice,
        out_of_order: ledger.out_of_order,
        wrong_room: ledger.wrong_room,
        misdelivered: ledger.misdelivered,
        contradictions: ledger.contradictions,
        private_unknown: ledger.private_unknown,
    };
    sum.unanswered += report.messages.unanswered;
    sum.away += report.bots.away;
    sum.bots += u32::try_from(report.bots.asked).unwrap_or(u32::MAX);
    let swarm = &report.swarm;
    let Footprint { user, system, resident_bytes, open_files } = &mut sum.footprint;
    *user += seconds(swarm.user_seconds);
    *system += seconds(swarm.system_seconds);
    *resident_bytes += swarm.resident_bytes;
    *open_files += swarm.open_files;
}

/// The seconds of all, by the wall clock: counts are added. Latencies of single seconds are kept as percentiles alone,
/// which do not add up, so there are none.
fn series(reports: &[(PathBuf, Report)], first: u64) -> Vec<Second> {
    let mut seconds: BTreeMap<u64, Second> = BTreeMap::new();
    for (_, report) in reports {
        let offset = (report.started_at - first) as f64 / 1e3;
        let mut counted: BTreeSet<u64> = BTreeSet::new();
        for second in &report.series {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive count of seconds")]
            let at = (offset + second.start).max(0.0) as u64;
            let sum = seconds.entry(at).or_insert_with(|| Second::empty(at as f64));
            // Of a second that a phase parts in two, the later part says how it ends.
            let is_first = counted.insert(at);
            sum.add(second, is_first);
        }
    }
    seconds.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::Judgement;

    /// A process in which deliveries took these milliseconds.
    fn report(name: &str, millis: std::ops::Range<u64>, spoil: impl FnOnce(&mut Outcome)) -> (PathBuf, Report) {
        let mut outcome = Outcome::default();
        outcome.config.name_prefix = name.to_owned();
        outcome.config.expect = "clean, p99<2s".parse().unwrap();
        outcome.bots = 10;
        let counters = &mut outcome.stats.counters;
        (counters.wanted, counters.ever_connected, counters.sent, counters.acked) = (10, 10, 100, 100);
        millis.for_each(|ms| outcome.stats.delivery.record(Duration::from_millis(ms)));
        spoil(&mut outcome);
        (name.into(), Report::of(&outcome.judge_with(Vec::new())))
    }

    #[test]
    fn latencies_are_added_as_histograms_and_not_as_percentiles() {
        let parts = [report("a", 1..1_000, |_| ()), report("b", 1_000..2_000, |_| ())];
        let whole = report("c", 1..2_000, |_| ()).1;
        let merged = merge(&parts, None).unwrap();
        assert_eq!(merged.latencies, whole.latencies);
        assert_eq!(merged.histograms, whole.histograms);
        assert_eq!((merged.bots.connected, merged.messages.sent), (20, 200));
        assert_eq!((merged.verdict.line.as_str(), merged.exit_code()), ("KEPT: clean, p99<2s", 0));
        assert_eq!(merge(&[(parts[0].0.clone(), merged)], None).unwrap().latencies, whole.latencies, "again and again");
    }

    #[test]
    fn the_sum_is_judged_anew_and_what_one_doubts_is_doubted() {
        let good = || report("a", 1..100, |_| ());
        let lost = report("b", 1..100, |outcome| outcome.tally.lost = 3);
        let line = merge(&[good(), lost], None).unwrap().verdict.line;
        assert_eq!(line, "BROKEN: clean: 3 lost");
        let late = report("b", 1..100, |outcome| outcome.doubts = vec![Doubt::Ports { times: 7 }]);
        let mut late = late;
        late.1.verdict.doubts = vec!["the swarm had no local port left".to_owned()];
        let merged = merge(&[good(), late], None).unwrap();
        assert_eq!(merged.verdict.judgement, Judgement::Invalid);
        assert_eq!(merged.verdict.line, "INVALID: b: the swarm had no local port left");
        let few = merge(&[good()], Some("connected>=500".parse().unwrap())).unwrap();
        assert_eq!(few.verdict.line, "BROKEN: connected>=500: 10");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let good = || report("a", 1..100, |_| ());
        let mut other = report("b", 1..100, |_| ());
        other.1.config.insert("BOT_EXPECT".into(), "lost=0".into());
        assert!(matches!(merge(&[good(), good()], None), Err(MergeError::Twice { .. })));
        assert!(matches!(merge(&[good(), other.clone()], None), Err(MergeError::Expectations { .. })));
        assert!(merge(&[good(), other.clone()], Some(Expectations::clean())).is_ok());
        other.1.histograms.clear();
        assert!(matches!(merge(&[other], None), Err(MergeError::NoHistograms(_))));
    }
}
