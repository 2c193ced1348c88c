//! Merges the reports of several processes of a swarm, as if one process had run.
//!
//! Each process judges the messages that its own bots receive, from any sender, so counts and ledgers add up. Latencies
//! are added as histograms, of the whole run, of each phase and of each second, never as percentiles of percentiles.
//! The last receiver of a message is the last of all processes. The result is judged again by the expectations.

mod found;
mod over_time;
mod part;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::config::Config;
use crate::doubt::Doubt;
use crate::expect::Expectations;
use crate::footprint::Footprint;
use crate::judgement::STOPPED;
use crate::latencies::Latencies;
use crate::ledger::Tally;
use crate::outcome::Outcome;
use crate::report::document::Report;
use crate::stats::{Counters, Stats};
pub use found::{Waiting, find, refuse_into_itself, wait};
pub use part::MergeError;
use part::{Part, seconds};

/// The requirements for a merged report.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Demands {
    /// The expectations; `None`: those of the reports.
    pub expect: Option<Expectations>,
    /// The required number of reports; `None`: any.
    pub reports: Option<usize>,
}

/// Merges reports into one, and judges it.
///
/// # Errors
/// [`MergeError`].
pub fn merge(reports: &[(PathBuf, Report)], demands: Demands) -> Result<Report, MergeError> {
    let Demands { expect, reports: wanted } = demands;
    let first = reports.iter().map(|(_, report)| report.started_at).min().unwrap_or_default();
    let parts: Vec<Part<'_>> =
        reports.iter().map(|(path, report)| Part::of(path, report, first)).collect::<Result<_, _>>()?;
    refuse_twice(&parts)?;
    refuse_apart(&parts)?;
    let mut sum = Outcome {
        config: Config { expect: expect.map_or_else(|| common_expectation(reports), Ok)?, ..Config::default() },
        started: UNIX_EPOCH + Duration::from_millis(first),
        elapsed: parts.iter().map(Part::end).max().unwrap_or_default(),
        ..Outcome::default()
    };
    let mut doubts = Vec::new();
    if let Some(wanted) = wanted.filter(|wanted| parts.len() < *wanted) {
        doubts.push(format!("{} of {wanted} reports are missing", wanted - parts.len()));
    }
    for part in &parts {
        add(&mut sum, part);
        let stopped = part.report.verdict.notes.iter().filter(|note| note.starts_with(STOPPED));
        sum.notes.extend(stopped.map(|note| format!("{}: {note}", part.name())));
        doubts.extend(part.report.verdict.doubts.iter().map(|doubt| format!("{}: {doubt}", part.name())));
    }
    sum.stats.completion.merge(&sum.last_receivers.latencies(|receipt| receipt.is_judged));
    sum.phases = over_time::phases(&parts, &sum.last_receivers)?;
    let series = over_time::series(&parts, &sum.last_receivers, &sum.phases)?;
    let sum = sum.judge_with(doubts.into_iter().map(Doubt::OfPart).collect());
    let mut merged = Report { series, ..Report::of(&sum) };
    merged.config = common_config(reports);
    merged.config.insert("BOT_EXPECT".to_owned(), sum.config.expect.to_string());
    Ok(merged)
}

/// The content of the result's folder until there is a result.
pub fn not_ended() -> Report {
    let why = "the merge of reports has not ended: it waits, was killed, or failed".to_owned();
    Report::of(&Outcome::default().judge_with(vec![Doubt::OfPart(why)]))
}

fn refuse_twice(parts: &[Part<'_>]) -> Result<(), MergeError> {
    let mut seen: BTreeMap<(u64, &str), &Path> = BTreeMap::new();
    for part in parts {
        let name = part.name();
        if let Some(first) = seen.insert((part.report.started_at, name), part.path) {
            let (first, second) = (first.to_owned(), part.path.to_owned());
            return Err(MergeError::Twice { first, second, name: name.to_owned() });
        }
    }
    Ok(())
}

/// Refuses reports if one run was over before another began: they were not one load.
fn refuse_apart(parts: &[Part<'_>]) -> Result<(), MergeError> {
    // The report of a killed run does not contain its end.
    let ended = parts.iter().filter(|part| part.report.seconds > 0.0);
    let first = ended.min_by_key(|part| part.end());
    let last = parts.iter().max_by_key(|part| part.later);
    match first.zip(last) {
        Some((first, last)) if first.end() < last.later => {
            Err(MergeError::Apart { earlier: first.path.to_owned(), later: last.path.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The expectations that all reports have in common.
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

/// Adds a report to an outcome; of completions, only those of messages that were not done.
fn add(sum: &mut Outcome, part: &Part<'_>) {
    let report = part.report;
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
    stats.completion = stats.completion.without(&part.last.latencies(|receipt| receipt.is_judged));
    sum.last_receivers.merge_process(&part.last, part.later);
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
        altered: ledger.altered,
        resurrected: ledger.resurrected,
        unread: ledger.unread,
        private_unknown: ledger.private_unknown,
    };
    // A report may contain any number.
    let add = |ours: &mut u64, theirs: u64| *ours = ours.saturating_add(theirs);
    add(&mut sum.unanswered, report.messages.unanswered);
    add(&mut sum.deferred, report.messages.deferred);
    add(&mut sum.away, report.bots.away);
    sum.bots = sum.bots.saturating_add(u32::try_from(report.bots.asked).unwrap_or(u32::MAX));
    let swarm = &report.swarm;
    let Footprint { user, system, resident_bytes, open_files } = &mut sum.footprint;
    *user = user.saturating_add(seconds(swarm.user_seconds));
    *system = system.saturating_add(seconds(swarm.system_seconds));
    add(resident_bytes, swarm.resident_bytes);
    add(open_files, swarm.open_files);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::last_receivers::{LastReceivers, PlaceKey};
    use crate::report::document::{Judgement, Phase, Second};

    fn expecting(expect: Expectations) -> Demands {
        Demands { expect: Some(expect), ..Demands::default() }
    }

    /// A process in which deliveries took these times, in milliseconds.
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
        let merged = merge(&parts, Demands::default()).unwrap();
        assert_eq!(merged.latencies, whole.latencies);
        assert_eq!(merged.histograms, whole.histograms);
        assert_eq!((merged.bots.connected, merged.messages.sent), (20, 200));
        assert_eq!((merged.verdict.line.as_str(), merged.exit_code()), ("KEPT: clean, p99<2s", 0));
        assert_eq!(
            merge(&[(parts[0].0.clone(), merged)], Demands::default()).unwrap().latencies,
            whole.latencies,
            "merging again changes nothing"
        );
    }

    /// The messages with these numbers in a room, with the latency of the last receiver in a process, in one second.
    fn last(seqs: std::ops::Range<u64>, ms: u64, second: u64) -> LastReceivers {
        let mut seen = LastReceivers::default();
        seqs.for_each(|seq| seen.note(PlaceKey::of(0, 1, starling_protocol::Epoch(9), seq), Duration::from_millis(ms)));
        let mut last = LastReceivers::default();
        last.merge_second(&seen, Duration::from_secs(second), true);
        last
    }

    /// A process that saw these messages, and did not do three planned ones.
    fn part(name: &str, seqs: std::ops::Range<u64>, ms: u64) -> (PathBuf, Report) {
        report(name, 0..0, |outcome| {
            outcome.last_receivers = last(seqs, ms, 1);
            outcome.stats.completion = outcome.last_receivers.latencies(|_| true);
            outcome.stats.completion.record_many(Duration::from_secs(1), 3);
        })
    }

    #[test]
    fn the_last_receiver_of_a_message_is_the_last_of_all_processes() {
        let parts = [part("a", 1..101, 1), part("b", 51..201, 5)];
        let merged = merge(&parts, Demands::default()).unwrap();
        assert_eq!(merged.histograms["completion"], [[1_000, 50], [5_000, 150], [999_936, 6]]);
        assert_eq!(merged.last_receivers.as_ref().unwrap().messages, 200);
        let again = merge(&[(parts[0].0.clone(), merged.clone()), part("c", 1..11, 7)], Demands::default()).unwrap();
        assert_eq!(again.histograms["completion"], [[1_000, 40], [5_000, 150], [7_000, 10], [999_936, 9]]);
        // Above the limit, all processes keep the same messages, each of which counts for several.
        let many = [part("a", 1..100_001, 1), part("b", 1..50_001, 5)];
        let merged = merge(&many, Demands::default()).unwrap();
        let [[1_000, fast], [5_000, slow], [999_936, 6]] = merged.histograms["completion"][..] else { panic!() };
        assert_eq!((merged.last_receivers.unwrap().one_of, fast % 8, slow % 8), (8, 0, 0));
        assert!(fast.abs_diff(50_000) < 2_500 && slow.abs_diff(50_000) < 2_500, "{fast} {slow}");
        let mut torn = part("a", 1..2, 1);
        torn.1.last_receivers.as_mut().unwrap().receipts = "AAAA".into();
        assert!(matches!(merge(&[torn], Demands::default()), Err(MergeError::Histogram(_))));
    }

    /// A process that began `later` seconds later; its deliveries of two seconds took these times, in milliseconds.
    fn timed(name: &str, later: u64, ms: [u64; 2]) -> (PathBuf, Report) {
        let (path, mut report) = part(name, 1..101, ms[1]);
        report.started_at = 1_000_000 + later * 1_000;
        let packed = |ms: u64, kind: &str, count: u64| (kind.to_owned(), Latencies::of(&[[ms * 1_000, count]]).pack());
        let latency = report.latencies["completion"].clone();
        for second in 0..2_u8 {
            let ms = ms[usize::from(second)];
            let mut row = Second { deliveries: 10, sent: 1, ..Second::empty(second.into()) };
            row.histograms = [packed(ms, "delivery", 10)].into();
            if second == 1 {
                row.histograms.insert("completion".into(), packed(ms, "completion", 100).1);
            }
            row.latencies = row.histograms.keys().map(|kind| (kind.clone(), latency.percentiles)).collect();
            report.phases.push(Phase {
                name: ["ramp", "drain"][usize::from(second)].into(),
                start: second.into(),
                seconds: 1.0,
                sent: 1,
                deliveries: 10,
                latencies: row.histograms.keys().map(|kind| (kind.clone(), latency.clone())).collect(),
                histograms: row.histograms.clone(),
            });
            report.series.push(row);
        }
        (path, report)
    }

    #[test]
    fn seconds_and_phases_are_put_together_with_their_latencies() {
        let merged = merge(&[timed("a", 0, [2, 4]), timed("b", 1, [8, 16])], Demands::default()).unwrap();
        let of = |histograms: &BTreeMap<String, String>, kind: &str| {
            Latencies::unpack(histograms.get(kind).map_or("", String::as_str)).unwrap().steps()
        };
        let seconds: Vec<_> = merged.series.iter().map(|second| of(&second.histograms, "delivery")).collect();
        assert_eq!(seconds, [vec![[2_000, 10]], vec![[4_000, 10], [8_000, 10]], vec![[16_000, 10]]]);
        assert_eq!(merged.series[1].latencies["delivery"].count, 20);
        // Both processes saw all messages; the last receipts are in the second process's second second.
        let seconds: Vec<_> = merged.series.iter().map(|second| of(&second.histograms, "completion")).collect();
        assert_eq!(seconds, [vec![], vec![], vec![[16_000, 100]]]);
        let phases: Vec<_> =
            merged.phases.iter().map(|phase| (phase.name.as_str(), phase.start, phase.seconds)).collect();
        assert_eq!(phases, [("ramp", 0.0, 2.0), ("drain", 1.0, 2.0)]);
        assert_eq!(of(&merged.phases[0].histograms, "delivery"), [[2_000, 10], [8_000, 10]]);
        assert_eq!(of(&merged.phases[1].histograms, "completion"), [[16_000, 100]]);
        assert_eq!((merged.phases[1].deliveries, merged.series[2].phase), (20, 1));
    }

    #[test]
    fn of_a_second_that_one_process_has_forgotten_no_latency_is_told() {
        let mut forgetful = timed("b", 0, [8, 16]);
        forgetful.1.series[0].histograms.clear();
        let merged = merge(&[timed("a", 0, [2, 4]), forgetful], Demands::default()).unwrap();
        assert_eq!((merged.series[0].latencies.len(), merged.series[0].deliveries), (0, 20));
        assert_eq!(merged.series[1].latencies["delivery"].count, 20);
    }

    #[test]
    fn the_sum_is_judged_anew_and_what_one_doubts_is_doubted() {
        let good = || report("a", 1..100, |_| ());
        let lost = report("b", 1..100, |outcome| outcome.tally.lost = 3);
        let line = merge(&[good(), lost], Demands::default()).unwrap().verdict.line;
        assert_eq!(line, "BROKEN: clean: 3 lost");
        let late = report("b", 1..100, |outcome| outcome.doubts = vec![Doubt::Ports { times: 7 }]);
        let mut late = late;
        late.1.verdict.doubts = vec!["the swarm had no local port left".to_owned()];
        let merged = merge(&[good(), late], Demands::default()).unwrap();
        assert_eq!(merged.verdict.judgement, Judgement::Invalid);
        assert_eq!(merged.verdict.line, "INVALID: b: the swarm had no local port left");
        let few = merge(&[good()], expecting("connected>=500".parse().unwrap())).unwrap();
        assert_eq!(few.verdict.line, "BROKEN: connected>=500: 10");
    }

    #[test]
    fn where_so_many_reports_are_wanted_a_missing_one_makes_the_sum_invalid_and_an_old_one_is_refused() {
        let wanted = |reports| Demands { reports: Some(reports), ..Demands::default() };
        let at = |name: &str, started_at: u64, seconds: f64| {
            let (path, report) = report(name, 1..100, |_| ());
            (path, Report { started_at, seconds, ..report })
        };
        let both = [at("a", 5_000, 9.0), at("b", 9_000, 9.0)];
        assert_eq!(merge(&both, wanted(2)).unwrap().verdict.judgement, Judgement::Kept);
        let few = merge(&both, wanted(4)).unwrap();
        assert_eq!(few.verdict.line, "INVALID: 2 of 4 reports are missing");
        let apart = [at("a", 5_000, 3.0), at("b", 9_000, 9.0)];
        assert!(matches!(merge(&apart, wanted(1)), Err(MergeError::Apart { .. })));
        assert!(matches!(merge(&apart, Demands::default()), Err(MergeError::Apart { .. })));
        let killed = [at("a", 5_000, 0.0), at("b", 9_000, 9.0)];
        assert!(merge(&killed, wanted(2)).is_ok(), "the time of its end is unknown");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let good = || report("a", 1..100, |_| ());
        let mut other = report("b", 1..100, |_| ());
        other.1.config.insert("BOT_EXPECT".into(), "lost=0".into());
        assert!(matches!(merge(&[good(), good()], Demands::default()), Err(MergeError::Twice { .. })));
        assert!(matches!(merge(&[good(), other.clone()], Demands::default()), Err(MergeError::Expectations { .. })));
        assert!(merge(&[good(), other.clone()], expecting(Expectations::clean())).is_ok());
        other.1.histograms.clear();
        assert!(matches!(merge(&[other], Demands::default()), Err(MergeError::NoHistograms(_))));
    }

    #[test]
    fn numbers_that_do_not_add_up_are_as_large_as_can_be() {
        let huge = |name: &str| {
            let (path, mut report) = timed(name, 0, [2, 4]);
            let Report { bots, messages, ledger, swarm, series, phases, counters, errors, .. } = &mut report;
            for count in
                [&mut bots.asked, &mut bots.away, &mut messages.unanswered, &mut ledger.lost, &mut swarm.open_files]
            {
                *count = u64::MAX;
            }
            (series[0].sent, phases[0].sent) = (u64::MAX, u64::MAX);
            for count in counters.values_mut() {
                *count = u64::MAX;
            }
            errors.insert("close 1011".into(), u64::MAX);
            (path, report)
        };
        let merged = merge(&[huge("a"), huge("b")], Demands::default()).unwrap();
        assert_eq!(
            (merged.ledger.lost, merged.series[0].sent, merged.messages.planned),
            (u64::MAX, u64::MAX, u64::MAX)
        );
        assert_eq!(merged.exit_code(), 1);
    }
}
